//! One profile out of several of the same model under the same conditions. No point of them is lost.
//!
//! A point that stands in several of them is pooled: means are weighted by the windows (or batches, or
//! power samples) they rest on, and the pooled confidence interval reaches at least to each mean that went
//! into it, so that measurements that disagree are told as unsure. Of what is known less well only what
//! nothing better tells of is kept, see [`Merged::outranked_points`]. Rows that are the same to the last
//! digit are one measurement that was seen twice and count once.

mod pool;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::format::point_key;
use super::{Conditions, Profile, ProfileHead, idle_power_of};
use crate::operating_point::ProfileRow;

/// What to do with a point that stands in several profiles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Prefer {
    /// Pool what was seen.
    #[default]
    Pooled,
    /// Keep the row of the profile that was named first.
    First,
    /// Keep the row of the profile that was made last, by `created`.
    Newest,
}

/// How to merge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MergeOptions {
    /// What to do with a point that stands in several profiles.
    pub prefer: Prefer,
    /// Whether to merge profiles of other models, devices or conditions too. The notes then say so.
    pub anyway: bool,
}

/// The profile and what became of the rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// All points of all profiles, in the order in which they were first seen.
    pub profile: Profile,
    /// Points that stood in several profiles with different figures.
    pub shared_points: usize,
    /// Points where figures gave way to better known ones: measured before modelled before assumed.
    pub outranked_points: usize,
    /// What differs between the profiles and was merged anyway, as the notes say it.
    pub differences: Vec<String>,
}

/// Profiles that are not merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// There is none.
    #[error("found no profile, expected at least one")]
    Nothing,
    /// What has to be the same is not.
    #[error(
        "{file}, key {key:?}: found {found}, expected {expected} as in {first_file}; their figures may not be \
         comparable: measure again under the same conditions, or merge them anyway (--anyway)"
    )]
    Differs {
        /// The key of the head.
        key: &'static str,
        /// The file that was named first.
        first_file: Box<str>,
        /// Its value.
        expected: Box<str>,
        /// The other file.
        file: Box<str>,
        /// Its value.
        found: Box<str>,
    },
    /// Nothing tells which one is newer.
    #[error(
        "{file}, key \"created\": found {found}, expected a time such as \"2026-05-31T12:00:00Z\" that tells \
         which profile is newer; correct it, or keep the rows of the first (--prefer first) or pool them"
    )]
    NoTime {
        /// The file.
        file: Box<str>,
        /// What stands there.
        found: Box<str>,
    },
}

/// Merges `parts`, each with the name of its file.
///
/// The model, `device`, `runtime`, `power_source`, `driver`, `model_sha256` and, where both tell it,
/// `quality` have to be the same, unless `options.anyway`; one that is unknown on one side only is a difference too, as nobody
/// can tell. `created` is the latest, idle power the lowest (see [`idle_power_of`]), the overhead of a
/// request the mean; other texts are joined.
///
/// # Errors
/// [`MergeError`] names the file, the key and both values.
pub fn merge(parts: &[(&str, &Profile)], options: MergeOptions) -> Result<Merged, MergeError> {
    let (first, others) = parts.split_first().ok_or(MergeError::Nothing)?;
    // Of quality any two that tell it have to agree, whichever they are.
    let telling = parts.iter().find(|(_, part)| part.head.quality.is_some()).unwrap_or(first);
    let mut differences = Vec::new();
    for (file, other) in others {
        let keys = comparable(&first.1.head, &other.head).into_iter().map(|key| (first.0, key));
        let quality = quality_apart(&telling.1.head, &other.head).map(|key| (telling.0, key));
        for (first_file, (key, a, b)) in keys.chain(quality) {
            let (expected, found) = (told(a.as_deref()), told(b.as_deref()));
            if !options.anyway {
                let (first_file, file) = (first_file.into(), (*file).into());
                return Err(MergeError::Differs { key, first_file, expected, file, found });
            }
            differences.push(format!("{key} is {expected} in {first_file} and {found} in {file}."));
        }
    }
    if options.prefer == Prefer::Newest {
        check_times(parts)?;
    }

    // Each point with the rows of it, in the order in which points were first seen.
    let mut index_of = BTreeMap::new();
    let mut points: Vec<Vec<(usize, &ProfileRow)>> = Vec::new();
    for (part, (_, profile)) in parts.iter().enumerate() {
        for row in &profile.rows {
            let index = *index_of.entry(point_key(&row.point)).or_insert(points.len());
            if index == points.len() {
                points.push(Vec::new());
            }
            let Some(rows) = points.get_mut(index) else { continue };
            let is_seen = rows
                .iter()
                .any(|(_, seen)| ProfileRow { point: row.point.clone(), ..(*seen).clone() } == *row);
            if !is_seen {
                rows.push((part, row));
            }
        }
    }
    let mut merged = Merged {
        profile: Profile { head: head(parts, &differences, options.anyway), rows: Vec::new() },
        shared_points: points.iter().filter(|rows| rows.len() > 1).count(),
        outranked_points: 0,
        differences,
    };
    for rows in points {
        let row = match options.prefer {
            Prefer::First => rows.first().map(|(_, row)| (*row).clone()),
            Prefer::Newest => {
                let created = |part: usize| {
                    parts.get(part).and_then(|(_, part)| utc_time(part.head.created.as_deref()?))
                };
                // Of equally new ones the first, as `max_by_key` takes the last.
                rows.iter().rev().max_by_key(|(part, _)| created(*part)).map(|(_, row)| (*row).clone())
            }
            Prefer::Pooled => {
                let rows: Vec<&ProfileRow> = rows.iter().map(|(_, row)| *row).collect();
                pool::pooled(&rows).map(|(row, is_outranked)| {
                    merged.outranked_points += usize::from(is_outranked);
                    row
                })
            }
        };
        merged.profile.rows.extend(row);
    }
    Ok(merged)
}

/// A key of the head with both values.
type Apart = (&'static str, Option<String>, Option<String>);

/// The keys that have to be the same and are not.
fn comparable(a: &ProfileHead, b: &ProfileHead) -> Vec<Apart> {
    let known = |text: &str| Some(text.to_owned());
    let keys = [
        ("model", known(a.model.as_str()), known(b.model.as_str())),
        ("device", known(&a.device), known(&b.device)),
        ("runtime", known(&a.runtime), known(&b.runtime)),
        ("power_source", known(&a.power_source), known(&b.power_source)),
        ("driver", a.conditions.driver.clone(), b.conditions.driver.clone()),
        ("model_sha256", a.conditions.model_sha256.clone(), b.conditions.model_sha256.clone()),
    ];
    keys.into_iter().filter(|(_, a, b)| a != b).collect()
}

/// The quality, where both tell it and it is not the same.
fn quality_apart(a: &ProfileHead, b: &ProfileHead) -> Option<Apart> {
    let (a, b) = a.quality.zip(b.quality).filter(|(a, b)| a != b)?;
    Some(("quality", Some(a.to_string()), Some(b.to_string())))
}

fn told(value: Option<&str>) -> Box<str> {
    value.map_or_else(|| "nothing (unknown)".into(), |value| format!("{value:?}").into())
}

/// Fails unless every part tells when it was made, in a form that sorts as text.
fn check_times(parts: &[(&str, &Profile)]) -> Result<(), MergeError> {
    for (file, part) in parts {
        let created = part.head.created.as_deref();
        if created.and_then(utc_time).is_none() {
            return Err(MergeError::NoTime { file: (*file).into(), found: told(created) });
        }
    }
    Ok(())
}

/// A time as RFC 3339 writes it in UTC, without its `Z`: of two of them the later is the greater text.
fn utc_time(text: &str) -> Option<&str> {
    let time = text.strip_suffix('Z')?;
    let (seconds, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let is_digit = |byte: u8| byte.is_ascii_digit();
    let form = "0000-00-00T00:00:00";
    let is_formed = seconds.len() == form.len()
        && form
            .bytes()
            .zip(seconds.bytes())
            .all(|(form, byte)| form == byte || form == b'0' && is_digit(byte));
    (is_formed && fraction.bytes().all(is_digit)).then_some(time)
}

/// The head of the merged profile.
fn head(parts: &[(&str, &Profile)], differences: &[String], is_anyway: bool) -> ProfileHead {
    let heads: Vec<&ProfileHead> = parts.iter().map(|(_, part)| &part.head).collect();
    let joined = |of: fn(&ProfileHead) -> Option<&str>| {
        let mut texts: Vec<&str> = heads.iter().filter_map(|head| of(head)).collect();
        texts.sort_unstable();
        texts.dedup();
        (!texts.is_empty()).then(|| texts.join("; "))
    };
    // A hash or a driver that is not that of all rows would be a lie.
    let same = |of: fn(&ProfileHead) -> Option<&str>| {
        let first = heads.first().and_then(|head| of(head));
        first.filter(|_| heads.iter().all(|head| of(head) == first)).map(str::to_owned)
    };
    let mut qualities: Vec<f64> = heads.iter().filter_map(|head| head.quality).collect();
    qualities.dedup();
    ProfileHead {
        model: heads.first().map_or_else(|| "".into(), |head| head.model.clone()),
        device: joined(|head| Some(&head.device)).unwrap_or_default(),
        runtime: joined(|head| Some(&head.runtime)).unwrap_or_default(),
        idle_power_watts: idle_power_of(parts.iter().map(|(_, part)| *part)),
        request_overhead_ms: mean(heads.iter().filter_map(|head| head.request_overhead_ms)),
        quality: qualities.first().copied().filter(|_| qualities.len() == 1),
        power_source: joined(|head| Some(&head.power_source)).unwrap_or_default(),
        created: latest(&heads),
        notes: notes(parts, differences, is_anyway),
        conditions: Conditions {
            driver: same(|head| head.conditions.driver.as_deref()),
            model_sha256: same(|head| head.conditions.model_sha256.as_deref()),
            sensors: joined(|head| head.conditions.sensors.as_deref()),
            ambient: joined(|head| head.conditions.ambient.as_deref()),
        },
    }
}

/// The notes of all parts, each once, then what they were merged from and in what they differ.
fn notes(parts: &[(&str, &Profile)], differences: &[String], is_anyway: bool) -> Option<String> {
    let mut notes: Vec<String> = Vec::new();
    for note in parts.iter().filter_map(|(_, part)| part.head.notes.clone()) {
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    let (_, first) = parts.first()?;
    if parts.iter().any(|(_, part)| part != first) {
        let from = parts.iter().map(|(file, part)| match &part.head.created {
            Some(created) => format!("{file} (created {created})"),
            None => (*file).to_owned(),
        });
        notes.push(format!("Merged from {}.", from.collect::<Vec<_>>().join(", ")));
    }
    if is_anyway && !differences.is_empty() {
        notes.push(format!("Merged although they differ: {}", differences.join(" ")));
    }
    (!notes.is_empty()).then(|| notes.join("\n"))
}

/// The latest of the times there are; of texts that are no times the last by letters.
fn latest(heads: &[&ProfileHead]) -> Option<String> {
    let all = heads.iter().filter_map(|head| head.created.as_deref());
    all.max_by_key(|created| (utc_time(created), *created)).map(str::to_owned)
}

/// The mean, the same whatever the order; exact where all values are one.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (least, most) = (*values.first()?, *values.last()?);
    Some((values.iter().sum::<f64>() / values.len() as f64).clamp(least, most))
}
