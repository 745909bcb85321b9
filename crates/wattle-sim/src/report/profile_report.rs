//! The report of profiles: what they rest on, their response surfaces, fronts, and how well they predict.

#[cfg(test)]
mod tests;

use wattle_core::operating_point::ProfileRow;
use wattle_core::profile::{PointKnob, PowerFigure, Profile, nearest_rank};
use wattle_core::provenance::Provenance;
use wattle_core::units::{Joules, Watts};

use super::number::{joules, milliseconds, number, per_second, watts};
use super::page::{Block, Cell, Page, Plot, Table};
use super::profile_plots::{Named, coloured, errors, fronts, lines, round_caps, surfaces};
use super::profile_slice::{ProfileView, ProfileViewError, spread, turned};

/// Rows of the front that the page lists, at most.
const MOST_LISTED: usize = 40;

/// A page, and the plots on it as files.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfileReport {
    /// The page.
    pub html: String,
    /// The plots as SVG, each with a name for its file that no other has.
    pub plots: Vec<(String, String)>,
}

/// The report of `profiles`, each with the name of its file.
///
/// # Errors
/// Names the file and the knob where a profile can't be drawn as `view` asks.
pub fn profile_report(
    profiles: &[(String, Profile)],
    view: &ProfileView,
) -> Result<ProfileReport, ProfileViewError> {
    profiles.iter().try_for_each(|(file, profile)| view.check(file, profile))?;
    let mut blocks = Vec::new();
    let mut plots = Vec::new();
    if profiles.len() > 1 {
        let all = profiles.iter().map(|(file, profile)| (file.clone(), profile.rows.iter().collect()));
        let all: Vec<_> = all.collect();
        let drawn = fronts("", &all, &view.caps, view.power);
        if !drawn.is_empty() {
            blocks.push(Block::Heading("Side by side".into()));
            plots.extend(drawn.iter().map(|named| (format!("all-{}", named.name), named.plot.svg.clone())));
            blocks.push(Block::Pairs(drawn.into_iter().map(|named| named.plot).collect()));
        }
    }
    for (index, (file, profile)) in profiles.iter().enumerate() {
        let prefix = if profiles.len() > 1 { format!("{}-", index + 1) } else { String::new() };
        let mut keep = |named: Named| {
            plots.push((format!("{prefix}{}", named.name), named.plot.svg.clone()));
            named.plot
        };
        blocks.push(Block::Heading(format!("{} on {}", profile.head.model, profile.head.device)));
        blocks.extend(section(file, profile, view, &mut keep));
    }
    let models: Vec<&str> = profiles.iter().map(|(_, profile)| profile.head.model.as_str()).collect();
    let title =
        if let [one] = models.as_slice() { format!("Profile of {one}") } else { "Profiles".to_owned() };
    Ok(ProfileReport { html: Page { title, blocks }.to_html(), plots })
}

fn section(
    file: &str,
    profile: &Profile,
    view: &ProfileView,
    keep: &mut dyn FnMut(Named) -> Plot,
) -> Vec<Block> {
    let mut blocks = vec![Block::Table(facts(file, profile))];
    let caps = if view.caps.is_empty() { round_caps(profile, view.power) } else { view.caps.clone() };
    let drawn = fronts(profile.head.model.as_str(), &coloured(profile), &caps, view.power);
    if !drawn.is_empty() {
        blocks.push(Block::Pairs(drawn.into_iter().map(&mut *keep).collect()));
    }
    if profile.rows.iter().any(|row| view.power.of(row).is_some()) {
        let counts = match view.power {
            PowerFigure::Max => "the highest of a row, else its 95th percentile, else its mean",
            PowerFigure::P95 => "the 95th percentile of a row, else its highest, else its mean",
            PowerFigure::Mean => "the mean of a row, else its 95th percentile, else its highest",
        };
        blocks.push(Block::Note(format!("Power is {counts}, whichever is known first.")));
    }
    if !caps.is_empty() {
        blocks.push(Block::Table(under_caps(profile, &caps, view.power)));
    }
    let listed = profile.pareto_front(view.power);
    if !listed.is_empty() {
        let count = listed.len();
        let rows = spread(listed, MOST_LISTED).into_iter().map(|row| (row.point.to_string(), Some(row)));
        let table = points(String::new(), "point", rows, view.power);
        let shown = table.rows.len();
        let summary = format!("The front: {shown} of its {count} rows");
        blocks.push(Block::Details { summary, blocks: vec![Block::Table(table)] });
    }
    if let Some((x, y)) = view.axes(profile) {
        let drawn: Vec<Plot> = y
            .map(|y| surfaces(profile, view, x, y))
            .unwrap_or_default()
            .into_iter()
            .map(&mut *keep)
            .collect();
        if !drawn.is_empty() {
            blocks.push(Block::Pairs(drawn));
            let note = "A place without a dot is predicted from the rows around it, at best modelled; an empty \
                        one lies outside what was profiled.";
            blocks.push(Block::Note(note.into()));
        }
        let (along, series) = line_knobs(profile, view, x, y);
        let drawn: Vec<Plot> = lines(profile, view, along, series).into_iter().map(&mut *keep).collect();
        if !drawn.is_empty() {
            blocks.push(Block::Pairs(drawn));
        }
    }
    let found = profile.leave_one_out(view.power);
    blocks.push(Block::Note(format!(
        "Predicted from the others: {} of {} rows. The other {} lie at the border of what was profiled, and \
         nothing is predicted beyond it.",
        found.predicted,
        profile.rows.len(),
        found.outside
    )));
    if let Some(plot) = errors(profile.head.model.as_str(), &found) {
        blocks.push(Block::Pairs(vec![keep(Named { name: "prediction", plot })]));
        let of =
            [("throughput", &found.throughput), ("power", &found.power), ("latency, mean", &found.latency)];
        let rows = of.into_iter().filter(|(_, errors)| !errors.is_empty()).map(|(name, errors)| {
            let percent = |share| {
                Cell::number(nearest_rank(errors, share).map(|error| format!("{} %", number(error * 100.0))))
            };
            vec![Cell::Text(name.into()), percent(0.5), percent(0.9), percent(1.0)]
        });
        blocks.push(Block::Table(Table {
            caption: "Each row, predicted from all the others".into(),
            headers: ["off by", "median", "p90", "worst"].map(String::from).to_vec(),
            rows: rows.collect(),
        }));
    }
    blocks
}

/// The knob along which lines go, and the one they are told apart by: the batch size and the instances
/// where they were turned, unless other knobs are asked for.
fn line_knobs(
    profile: &Profile,
    view: &ProfileView,
    x: PointKnob,
    y: Option<PointKnob>,
) -> (PointKnob, Option<PointKnob>) {
    let turned = turned(profile);
    let is_free = |knob: &PointKnob| turned.contains(knob) && !view.at.iter().any(|(held, _)| held == knob);
    let along = view.x.or(Some(PointKnob::BatchSize).filter(is_free)).unwrap_or(x);
    let by_instances = Some(PointKnob::Instances).filter(is_free);
    let series = view.y.or(by_instances).or(y).filter(|knob| *knob != along);
    (along, series.or(Some(x).filter(|knob| *knob != along)))
}

/// What the profile says of itself.
fn facts(file: &str, profile: &Profile) -> Table {
    let head = &profile.head;
    let worst = profile.rows.iter().filter_map(ProfileRow::power_known).max();
    let power = match worst {
        Some(worst) => Cell::Provenance(Provenance::new(worst, head.power_source.clone())),
        None => Cell::Text(format!("no row tells any ({})", head.power_source)),
    };
    let text = |text: &str| Cell::Text(text.to_owned());
    let optional = |value: &Option<String>| value.as_deref().map(text);
    let facts = [
        ("file", Some(text(file))),
        ("runtime", Some(text(&head.runtime))),
        ("driver", optional(&head.conditions.driver)),
        ("model SHA-256", head.conditions.model_sha256.clone().map(Cell::Hash)),
        ("created", optional(&head.created)),
        ("rows", Some(Cell::Text(profile.rows.len().to_string()))),
        ("time figures", Some(Cell::Text(profile.time_counts().to_string()))),
        ("power figures", Some(Cell::Text(profile.power_counts().to_string()))),
        ("power", Some(power)),
        (
            "idle power",
            Some(head.idle_power_watts.map_or(text("unknown"), |idle| Cell::Text(watts(idle.get())))),
        ),
        ("request overhead", head.request_overhead_ms.map(|ms| Cell::Text(milliseconds(ms)))),
        ("quality", head.quality.map(|quality| Cell::Text(number(quality)))),
        ("sensors", optional(&head.conditions.sensors)),
        ("ambient", optional(&head.conditions.ambient)),
        ("notes", optional(&head.notes)),
    ];
    Table {
        caption: String::new(),
        headers: ["", ""].map(String::from).to_vec(),
        rows: facts.into_iter().filter_map(|(key, cell)| Some(vec![text(key), cell?])).collect(),
    }
}

fn under_caps(profile: &Profile, caps: &[Watts], figure: PowerFigure) -> Table {
    let rows = caps
        .iter()
        .map(|cap| (format!("{} W", number(cap.get())), profile.best_within(*cap, figure, |_| true)));
    points("The most throughput under each cap".into(), "cap", rows, figure)
}

/// A table of points, each under a heading of its own.
fn points<'a>(
    caption: String,
    heading: &str,
    rows: impl Iterator<Item = (String, Option<&'a ProfileRow>)>,
    figure: PowerFigure,
) -> Table {
    let headers =
        [heading, "throughput, rows", "power", "latency, p99", "mean", "energy per row", "known", "point"];
    let has_point = heading != "point";
    let row = |(heading, row): (String, Option<&ProfileRow>)| {
        let of = |of: fn(&ProfileRow) -> Option<f64>| row.and_then(of);
        let known = row.map_or(Cell::Text("no row fits".into()), |row| Cell::Text(row.known_in_words()));
        let mut cells = vec![
            Cell::Text(heading),
            Cell::number(of(|row| row.throughput_rps).map(per_second)),
            Cell::number(row.and_then(|row| figure.of(row)).map(|power| watts(power.get()))),
            Cell::number(of(|row| row.latency_ms_p99).map(milliseconds)),
            Cell::number(of(|row| row.latency_ms_mean).map(milliseconds)),
            Cell::number(of(|row| row.energy_per_row().map(Joules::get)).map(joules)),
            known,
        ];
        if has_point {
            cells.push(Cell::Text(row.map_or_else(String::new, |row| row.point.to_string())));
        }
        cells
    };
    Table {
        caption,
        headers: headers
            .iter()
            .take(if has_point { 8 } else { 7 })
            .map(|header| (*header).to_owned())
            .collect(),
        rows: rows.map(row).collect(),
    }
}
