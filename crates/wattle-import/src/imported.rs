//! What an import gives: profiles, signals, and what was odd.

use std::fmt::Write as _;

use wattle_core::operating_point::ProfileRow;
use wattle_core::profile::{Conditions, Profile, ProfileHead};

use crate::clock::text_of;
use crate::error::{Blame, ImportError};
use crate::oddity::{Oddities, Oddity};
use crate::options::Options;
use crate::series::Sample;

/// What an import gives.
#[derive(Debug, Clone, Default)]
pub struct Imported {
    /// Profiles of models on devices.
    pub profiles: Vec<ImportedProfile>,
    /// Quantities over time.
    pub signals: Vec<ImportedSignal>,
    /// Everything odd that was met, with what was done about it.
    pub oddities: Vec<Oddity>,
}

/// A profile made of a measured file.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedProfile {
    /// Name for its file, without an ending.
    pub file_stem: String,
    /// The profile.
    pub profile: Profile,
}

/// A quantity over time made of a measured file.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedSignal {
    /// Name for its file, without an ending.
    pub file_stem: String,
    /// Name of the column, which says the unit.
    pub column: &'static str,
    /// What is known of it, each a line.
    pub comments: Vec<String>,
    /// Values at seconds from the first, ascending.
    pub points: Vec<(f64, f64)>,
}

impl ImportedSignal {
    /// The signal as the text of a trace file: comments, a line of column names, values.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for comment in &self.comments {
            let _ = writeln!(text, "# {}", one_line(comment));
        }
        let _ = writeln!(text, "seconds,{}", self.column);
        for (seconds, value) in &self.points {
            let _ = writeln!(text, "{seconds},{}", rounded(*value));
        }
        text
    }

    /// A signal of `samples`, its seconds counted from the first; `start` says whose time that is.
    pub(crate) fn of(
        file_stem: String,
        column: &'static str,
        mut comments: Vec<String>,
        samples: &[Sample],
        blame: Blame<'_>,
    ) -> Result<Self, ImportError> {
        let Some(first) = samples.first() else {
            return Err(blame.file("no value", "at least one", "give a file with values"));
        };
        if let Some(bad) = samples.iter().find(|sample| !(sample.value.is_finite() && sample.value >= 0.0)) {
            let found = bad.value.to_string();
            return Err(blame.at(Some(bad.line), None, found, "a number of at least 0", "correct the line"));
        }
        comments.push(format!("start: {}; seconds count from there", text_of(first.millis)));
        let points = samples
            .iter()
            .map(|sample| ((sample.millis - first.millis) as f64 / 1e3, sample.value))
            .collect();
        Ok(Self { file_stem, column, comments, points })
    }
}

/// Six digits after the point: far finer than any of these measurements.
fn rounded(value: f64) -> f64 {
    let rounded = (value * 1e6).round() / 1e6;
    if rounded.is_finite() { rounded } else { value }
}

/// What a file says of its profile, where the user says nothing.
pub(crate) struct HeadFacts<'a> {
    pub(crate) model: &'a str,
    pub(crate) device: Option<&'a str>,
    pub(crate) runtime: Option<&'a str>,
    pub(crate) idle_power_watts: Option<f64>,
    pub(crate) request_overhead_ms: Option<f64>,
    pub(crate) quality: Option<f64>,
    pub(crate) power_source: &'a str,
    pub(crate) notes: String,
}

impl HeadFacts<'_> {
    /// The head, with what the user said in place of what the file says.
    pub(crate) fn head(self, options: &Options) -> ProfileHead {
        let or_unknown = |said: &Option<String>, known: Option<&str>| {
            one_line(said.as_deref().or(known).unwrap_or("unknown: the file does not say"))
        };
        ProfileHead {
            model: one_line(options.model.as_deref().unwrap_or(self.model)).into(),
            device: or_unknown(&options.device, self.device),
            runtime: or_unknown(&options.runtime, self.runtime),
            idle_power_watts: self.idle_power_watts.and_then(amount).map(wattle_core::units::Watts::new),
            request_overhead_ms: self.request_overhead_ms,
            quality: self.quality,
            power_source: self.power_source.to_owned(),
            created: None,
            notes: Some(one_line(&self.notes)),
            conditions: Conditions::default(),
        }
    }
}

/// Rows of a profile, each operating point once.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) rows: Vec<ProfileRow>,
    seen: std::collections::BTreeSet<PointKey>,
}

type PointKey = (u32, u32, Option<u64>, Option<String>, Option<String>);

impl Rows {
    /// Adds `row`, unless its point is there already: then it is counted and left out.
    pub(crate) fn add(&mut self, row: ProfileRow, file: &str, line: Option<u64>, oddities: &mut Oddities) {
        let point = &row.point;
        let clock = point.core_clock_mhz.map(|clock| clock.get().to_bits());
        let key = (point.batch_size, point.instances, clock, point.partition.clone(), point.variant.clone());
        if self.seen.insert(key) {
            self.rows.push(row);
        } else {
            oddities.add(file, "operating points given again", line, "left out; the first is kept");
        }
    }
}

/// Text of a file, without line ends and the like.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A figure that a profile takes: finite and not negative.
pub(crate) fn amount(value: f64) -> Option<f64> {
    (value.is_finite() && value >= 0.0).then_some(value)
}

/// A name made fit for a file: letters, digits, `.`, `_` and `-`.
pub(crate) fn slug(name: &str) -> String {
    const LONGEST: usize = 100;
    let mut made: String = name
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' })
        .collect();
    while made.contains("--") {
        made = made.replace("--", "-");
    }
    let made = made.trim_matches(['-', '.']);
    if made.is_empty() { "unnamed".to_owned() } else { made.to_owned() }
}

/// The last part of a file's name, without its ending.
pub(crate) fn stem_of(file: &str) -> &str {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    match name.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => name,
    }
}

/// The last part of a file's name.
pub(crate) fn base_name(file: &str) -> &str {
    file.rsplit(['/', '\\']).next().unwrap_or(file)
}
