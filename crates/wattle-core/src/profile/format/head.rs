//! The head of a profile file: TOML, checked key by key so that errors can name the line.

use std::fmt::Write as _;

use super::{Blame, FORMAT_VERSION, ProfileError};
use crate::profile::{Conditions, ProfileHead};
use crate::units::Watts;

/// Every key, in the order in which they are written.
const KEYS: [&str; 14] = [
    "wattle_profile",
    "model",
    "device",
    "runtime",
    "idle_power_watts",
    "request_overhead_ms",
    "quality",
    "power_source",
    "created",
    "notes",
    "driver",
    "model_sha256",
    "sensors",
    "ambient",
];

/// Reads the head from `toml`, whose lines are the first lines of the file.
pub(super) fn parse(toml: &str, lines: u64, blame: Blame<'_>) -> Result<ProfileHead, ProfileError> {
    let table: toml::Table = toml.parse().map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start).min(toml.len());
        let line = 1 + toml.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() as u64;
        let found = error.message().to_owned();
        blame.error(line.min(lines.max(1)), "head", found, "TOML after the \"#\"", "correct the line")
    })?;
    let head = Head { table: &table, toml, lines, blame };
    for key in table.keys() {
        if !KEYS.contains(&key.as_str()) {
            return Err(blame.unknown(head.line_of(key), "key", key, &KEYS));
        }
    }
    head.check_version()?;
    Ok(ProfileHead {
        model: head.text("model")?.into(),
        device: head.text("device")?,
        runtime: head.text("runtime")?,
        idle_power_watts: head.amount("idle_power_watts", f64::MAX)?.map(Watts::new),
        request_overhead_ms: head.amount("request_overhead_ms", f64::MAX)?,
        quality: head.amount("quality", 1.0)?,
        power_source: head.text("power_source")?,
        created: head.optional_text("created")?,
        notes: head.optional_text("notes")?,
        conditions: Conditions {
            driver: head.optional_text("driver")?,
            model_sha256: head.optional_text("model_sha256")?,
            sensors: head.optional_text("sensors")?,
            ambient: head.optional_text("ambient")?,
        },
    })
}

/// The head as lines that start with `#`.
pub(super) fn to_text(head: &ProfileHead) -> String {
    let text = |value: &str| Some(toml::Value::from(value));
    let values = [
        Some(toml::Value::from(FORMAT_VERSION)),
        text(head.model.as_str()),
        text(&head.device),
        text(&head.runtime),
        head.idle_power_watts.map(|power| toml::Value::from(power.get())),
        head.request_overhead_ms.map(toml::Value::from),
        head.quality.map(toml::Value::from),
        text(&head.power_source),
        head.created.as_deref().and_then(text),
        head.notes.as_deref().and_then(text),
        head.conditions.driver.as_deref().and_then(text),
        head.conditions.model_sha256.as_deref().and_then(text),
        head.conditions.sensors.as_deref().and_then(text),
        head.conditions.ambient.as_deref().and_then(text),
    ];
    let mut lines = String::new();
    for (key, value) in KEYS.iter().zip(values) {
        let Some(value) = value else { continue };
        for line in format!("{key} = {value}").split('\n') {
            let _ = writeln!(lines, "# {line}");
        }
    }
    lines
}

struct Head<'a> {
    table: &'a toml::Table,
    toml: &'a str,
    lines: u64,
    blame: Blame<'a>,
}

impl Head<'_> {
    /// The line on which `key` stands, or the last of the head when it is nowhere.
    fn line_of(&self, key: &str) -> u64 {
        let starts_with_key = |line: &str| {
            let line = line.trim_start().trim_start_matches(['[', '"', '\'']);
            line.strip_prefix(key)
                .is_some_and(|rest| rest.trim_start().starts_with(['=', '.', ']', '"', '\'']))
        };
        match self.toml.lines().position(starts_with_key) {
            Some(index) => index as u64 + 1,
            None => self.lines.max(1),
        }
    }

    fn wrong(&self, key: &str, expected: &str) -> ProfileError {
        let (found, help) = match self.table.get(key) {
            Some(value) => (value.to_string(), "correct the value".to_owned()),
            None => ("no such key".to_owned(), format!("add a line such as: # {key} = ...")),
        };
        self.blame.error(self.line_of(key), format!("key {key:?}"), found, expected, help)
    }

    fn check_version(&self) -> Result<(), ProfileError> {
        match self.table.get("wattle_profile").and_then(toml::Value::as_integer) {
            Some(version) if version == i64::from(FORMAT_VERSION) => Ok(()),
            _ => Err(self.wrong("wattle_profile", &format!("{FORMAT_VERSION}, the version of the format"))),
        }
    }

    fn text(&self, key: &str) -> Result<String, ProfileError> {
        self.optional_text(key)?.ok_or_else(|| self.wrong(key, "text"))
    }

    fn optional_text(&self, key: &str) -> Result<Option<String>, ProfileError> {
        match self.table.get(key) {
            None => Ok(None),
            Some(toml::Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.wrong(key, "text in quotes")),
        }
    }

    /// A number from 0 to `most`.
    fn amount(&self, key: &str, most: f64) -> Result<Option<f64>, ProfileError> {
        let number = match self.table.get(key) {
            None => return Ok(None),
            Some(toml::Value::Float(number)) => *number,
            Some(toml::Value::Integer(number)) => *number as f64,
            Some(_) => f64::NAN,
        };
        match number {
            number if (0.0..=most).contains(&number) && number.is_finite() => Ok(Some(number)),
            _ if most == f64::MAX => Err(self.wrong(key, "a number of at least 0")),
            _ => Err(self.wrong(key, &format!("a number from 0 to {most}"))),
        }
    }
}
