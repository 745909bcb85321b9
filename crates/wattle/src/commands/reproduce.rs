//! `wattle reproduce`: the five papers' experiments, published figures beside ours, and one of our own.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use wattle_core::nearest::nearest;
use wattle_reproduce::{NAMES, Options, Reproduction, Row, run as run_one};
use wattle_sim::report::{Block, Cell, Page, Plot, Table as PageTable};
use wattle_sim::run_folder;

use crate::commands::simulate::{available_threads, figure};
use crate::exit::ConfigError;
use crate::output::say;
use crate::progress::Progress;
use crate::table::Table;

/// Run the experiments of the five papers on Wattle's policies: published figures beside ours
///
/// Examples:
///   wattle reproduce all
///   wattle reproduce renewable --data ~/traces --out renewable
///
/// Every figure of ours says how it is known and what it rests on; nothing is fitted to a published
/// result. NAME is batchsizer, renewable, cofris, sharing, carbon-adaptive,
/// carbon-budget (ours, on the zones of --data) or all.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ReproduceArgs {
    /// The experiment
    #[arg(value_name = "NAME")]
    name: String,
    /// Folder of real profiles and traces to use in place of the bundled ones
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Write one report.html and one rows.json there, of all experiments together
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace these two files in a folder that is not empty
    #[arg(long, requires = "out")]
    overwrite: bool,
    /// Threads to run on [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Print one JSON object, {"rows": [...]}
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &ReproduceArgs) -> Result<()> {
    let names: Vec<&str> = match args.name.as_str() {
        "all" => NAMES.to_vec(),
        name => match NAMES.iter().find(|known| **known == name) {
            Some(known) => vec![known],
            None => {
                let near = nearest(name, NAMES).unwrap_or_default();
                let known = NAMES.join(", ");
                return Err(anyhow!(
                    "unknown experiment {name:?}, did you mean {near:?}? known: {known}, all"
                ))
                .context(ConfigError);
            }
        },
    };
    if let Some(data) = args.data.as_ref().filter(|data| !data.is_dir()) {
        return Err(anyhow!("--data {} is no folder", data.display())).context(ConfigError);
    }
    if let Some(out) = &args.out {
        // Told before anything runs, not after.
        run_folder::check(out, args.overwrite).context(ConfigError)?;
    }
    let threads = args.threads.unwrap_or_else(available_threads);
    let options = Options { data: args.data.clone(), threads };
    let mut all = Vec::new();
    for name in names {
        let progress = Progress::new(name);
        let done = run_one(name, &options, &|share| progress.tell(share)).context(ConfigError)?;
        drop(progress);
        if !args.json {
            print(&done);
        }
        all.push(done);
    }
    if let Some(out) = &args.out {
        let rows = serde_json::to_string_pretty(&rows(&all))? + "\n";
        let files = [("rows.json", rows), ("report.html", page(&all).to_html())];
        run_folder::write_files(out, &files).context("the result was not written")?;
        if !args.json {
            say(format_args!("wrote {}", out.join("report.html").display()));
        }
    }
    if args.json {
        say(serde_json::to_string_pretty(&rows(&all))?);
    }
    Ok(())
}

/// All rows in one object, each with the experiment it is of.
fn rows(all: &[Reproduction]) -> serde_json::Value {
    let of = |done: &Reproduction| {
        let name = done.name.clone();
        done.rows
            .iter()
            .map(move |row| {
                let mut value = serde_json::json!(row);
                if let Some(object) = value.as_object_mut() {
                    object.insert("experiment".into(), name.clone().into());
                }
                value
            })
            .collect::<Vec<_>>()
    };
    serde_json::json!({ "rows": all.iter().flat_map(of).collect::<Vec<_>>() })
}

fn print(done: &Reproduction) {
    say(format_args!("{}: {}", done.name, done.title));
    let mut table = Table::new(&["figure", "published", "ours", "unit", "basis"]);
    for row in &done.rows {
        table.row([
            row.figure.clone(),
            figure(row.published),
            figure(row.ours),
            row.unit.clone(),
            row.basis.to_string(),
        ]);
    }
    say(table);
    for (why, of) in reasons(&done.rows) {
        say(format_args!("why {of}: {why}"));
    }
    done.notes.iter().for_each(|note| say(format_args!("note: {note}")));
    say("");
}

/// Each reason once, with the figures it is of.
fn reasons(rows: &[Row]) -> Vec<(String, String)> {
    let mut told: Vec<(String, Vec<&str>)> = Vec::new();
    for row in rows.iter().filter(|row| !row.why.is_empty()) {
        match told.iter_mut().find(|(why, _)| *why == row.why) {
            Some((_, figures)) => figures.push(&row.figure),
            None => told.push((row.why.clone(), vec![&row.figure])),
        }
    }
    let short = |figures: Vec<&str>| match figures[..] {
        [one] => format!("{one:?} differs"),
        [first, ..] => format!("{first:?} and {} more differ", figures.len() - 1),
        [] => String::new(),
    };
    told.into_iter().map(|(why, figures)| (why, short(figures))).collect()
}

fn page(all: &[Reproduction]) -> Page {
    let mut blocks = vec![Block::Paragraph(
        "Published figures beside those of Wattle's own policies. Nothing is fitted to a published result."
            .into(),
    )];
    for done in all {
        blocks.push(Block::Heading(format!("{}: {}", done.name, done.title)));
        let mut notes: Vec<String> = Vec::new();
        let rows = done.rows.iter().map(|row| cells(row, &mut notes)).collect();
        blocks.push(Block::Table(PageTable {
            caption: "Published and ours; the numbers are those of the notes below".into(),
            headers: ["figure", "published", "ours", "unit", "basis", "rests on", "why they differ"]
                .map(Into::into)
                .to_vec(),
            rows,
        }));
        let numbered = notes.iter().enumerate().map(|(at, note)| Block::Note(format!("[{}] {note}", at + 1)));
        blocks.extend(numbered);
        blocks.extend(done.notes.iter().cloned().map(Block::Note));
        let plot = |(caption, svg): &(String, String)| Plot {
            svg: svg.clone(),
            alternative: caption.clone(),
            caption: caption.clone(),
        };
        if !done.plots.is_empty() {
            blocks.push(Block::Plots(done.plots.iter().map(plot).collect()));
        }
    }
    Page { title: "The five papers, reproduced".into(), blocks }
}

/// The cells of a row; texts that many rows share become notes with a number.
fn cells(row: &Row, notes: &mut Vec<String>) -> Vec<Cell> {
    let number = |value: Option<f64>| match value {
        Some(value) => Cell::Number(figure(Some(value))),
        None => Cell::Text("-".into()),
    };
    let mut note = |text: &str| {
        if text.is_empty() {
            return Cell::Text(String::new());
        }
        let at = notes.iter().position(|known| known == text).unwrap_or_else(|| {
            notes.push(text.to_owned());
            notes.len() - 1
        });
        Cell::Text(format!("[{}]", at + 1))
    };
    vec![
        Cell::Text(row.figure.clone()),
        number(row.published),
        number(row.ours),
        Cell::Text(row.unit.clone()),
        Cell::Text(row.basis.to_string()),
        note(&row.rests_on),
        note(&row.why),
    ]
}
