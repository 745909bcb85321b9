//! The report of the runs of one command.

use super::figures::{MOST_ROWS, checks, differences, models, name, side_by_side};
use super::number::{seconds, watts};
use super::page::{Block, Cell, Page, Table};
use super::run_plots::{compared, over_time};
use crate::plot::shortened;
use crate::request_level::Outcome;
use crate::run_folder::{Written, folder_names};
use crate::summary::Summary;

/// Runs shown over time, at most.
const MOST_SHOWN: usize = 20;
/// Decisions shown of a run, at most.
const MOST_DECISIONS: usize = 50;
/// Characters of the reasons of a decision, at most.
const MOST_REASONS: usize = 500;

/// The report of `written`, as HTML.
pub fn run_report(written: &Written) -> String {
    let runs: Vec<&Summary> = written.runs.iter().map(|run| &run.summary).collect();
    let shown = shown(&written.runs);
    let mut blocks = Vec::new();
    if !written.description.is_empty() {
        blocks.push(Block::Paragraph(written.description.clone()));
    }
    blocks.push(Block::Note(format!(
        "Replayed by Wattle {} in virtual time. Every figure here is of the simulation; how the power behind \
         it is known is said below.",
        written.wattle_version
    )));
    blocks.extend(levels(&runs).map(Block::Note));
    blocks.push(Block::Heading("Results".into()));
    blocks.push(Block::Table(side_by_side(&runs)));
    blocks.extend(differences(&runs).map(Block::Table));
    if runs.len() > MOST_ROWS {
        blocks.push(Block::Note(format!(
            "The first {MOST_ROWS} of {} runs; summary.json has all.",
            runs.len()
        )));
    }
    blocks.push(Block::Plots(compared(&runs)));
    blocks.push(Block::Note("Bars: the mean over seeds, with the lowest and the highest.".into()));
    let of_models = Block::Table(models(&runs));
    blocks.push(Block::Details { summary: "Model by model".into(), blocks: vec![of_models] });
    blocks.push(Block::Heading("What it rests on".into()));
    blocks.push(Block::Table(power(&runs)));
    blocks.push(Block::Table(inputs(written)));
    blocks.push(Block::Table(checks(&runs)));
    let outcomes: Vec<&Outcome> = shown.iter().map(|(run, _)| *run).collect();
    blocks.extend(over_time(&outcomes));
    if shown.len() < runs.len() {
        blocks.push(Block::Note(format!(
            "{} of {} runs are shown over time; the folder runs has all.",
            shown.len(),
            runs.len()
        )));
    }
    blocks.push(Block::Heading("Decisions".into()));
    let names = folder_names(&written.runs);
    for (run, index) in shown {
        let folder = names.get(index).map_or("", String::as_str);
        blocks.push(decisions(run, folder));
    }
    Page { title: written.scenario.clone(), blocks }.to_html()
}

/// All runs with their indices, or one for each label where they are too many.
fn shown(runs: &[Outcome]) -> Vec<(&Outcome, usize)> {
    let mut shown: Vec<(&Outcome, usize)> = runs.iter().zip(0..).collect();
    if runs.len() > MOST_SHOWN {
        let mut labels: Vec<&str> = Vec::new();
        shown.retain(|(run, _)| {
            let is_new = !labels.contains(&run.summary.label.as_str());
            labels.push(&run.summary.label);
            is_new
        });
        shown.truncate(MOST_SHOWN);
    }
    shown
}

/// Length and level of the runs.
fn levels(runs: &[&Summary]) -> Option<String> {
    let first = runs.first()?;
    let how = if first.level == "epoch" {
        "one decision an epoch, without a queue"
    } else {
        "every request is played"
    };
    Some(format!("Each run is of {} at {} level: {how}.", seconds(first.span_seconds), first.level))
}

/// How power is known, device by device.
fn power(runs: &[&Summary]) -> Table {
    let mut known: Vec<(&String, &_, Vec<String>)> = Vec::new();
    for run in runs {
        for (device, provenance) in &run.power_provenance {
            match known.iter_mut().find(|one| one.0 == device && one.1 == provenance) {
                Some(one) => one.2.push(name(run)),
                None => known.push((device, provenance, vec![name(run)])),
            }
        }
    }
    let rows = known.into_iter().map(|(device, provenance, of)| {
        let of = if of.len() == runs.len() { "all".into() } else { shortened(&of.join("; "), 200) };
        vec![Cell::Text(device.clone()), Cell::Provenance(provenance.clone()), Cell::Text(of)]
    });
    Table {
        caption: "How power is known".into(),
        headers: ["device", "power", "runs"].map(String::from).to_vec(),
        rows: rows.collect(),
    }
}

fn inputs(written: &Written) -> Table {
    let rows = written
        .named_inputs()
        .into_iter()
        .map(|input| vec![Cell::Text(input.path.display().to_string()), Cell::Hash(input.sha256)]);
    Table {
        caption: "Files".into(),
        headers: ["file", "SHA-256"].map(String::from).to_vec(),
        rows: rows.collect(),
    }
}

fn decisions(run: &Outcome, folder: &str) -> Block {
    let headers = ["time", "cap", "highest power", "turned", "because"].map(String::from).to_vec();
    let rows = run.decisions.iter().take(MOST_DECISIONS).map(|told| {
        let cap = told.power_cap_watts.map(|cap| watts(cap.get()));
        vec![
            Cell::Number(seconds(told.seconds)),
            Cell::Number(cap.unwrap_or_else(|| "none".into())),
            Cell::number(told.power_watts_max.map(|power| watts(power.get()))),
            Cell::Text(if told.turned { "yes" } else { "no" }.into()),
            Cell::Text(shortened(&told.because.join(" · "), MOST_REASONS)),
        ]
    });
    let table = Table { caption: String::new(), headers, rows: rows.collect() };
    let summary = format!(
        "{}: the first {} of {} told; {} turned something",
        name(&run.summary),
        table.rows.len(),
        run.decisions.len(),
        run.summary.decisions_turned
    );
    let more = Block::Note(format!("More of them are in runs/{folder}/decisions.jsonl."));
    let mut blocks = vec![Block::Table(table)];
    blocks.extend((run.decisions.len() > MOST_DECISIONS).then_some(more));
    Block::Details { summary, blocks }
}
