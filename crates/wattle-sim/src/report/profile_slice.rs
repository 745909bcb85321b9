//! Which rows of a profile are drawn: two knobs turn, all others stand still.

use wattle_core::operating_point::ProfileRow;
use wattle_core::profile::{KnobValue, PointKnob, PowerFigure, Profile};
use wattle_core::units::Watts;

/// What to draw of profiles.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProfileView {
    /// The knob along; by default the one with the most values.
    pub x: Option<PointKnob>,
    /// The knob up; by default the one with the next most.
    pub y: Option<PointKnob>,
    /// Where knobs that are not drawn stand; by default where there are the most rows.
    pub at: Vec<(PointKnob, KnobValue)>,
    /// Caps to draw; by default a few round ones.
    pub caps: Vec<Watts>,
    /// Which power counts.
    pub power: PowerFigure,
}

/// A view that a profile has not got.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProfileViewError {
    /// One knob both along and up.
    #[error("found {0} both along and up, expected two knobs; choose another for --x or --y")]
    Twice(PointKnob),
    /// A knob that turns and stands still at once.
    #[error("found {0} both drawn and held at a value, expected one of them; leave it out of --at")]
    HeldAndDrawn(PointKnob),
    /// A knob that was never turned.
    #[error("{file}: found one value of {knob}, expected several to draw; those with several are: {known}")]
    NotTurned {
        /// The profile.
        file: String,
        /// The knob.
        knob: PointKnob,
        /// Knobs with several values.
        known: String,
    },
    /// A value that no row has.
    #[error("{file}: found no row at {knob}={value}, expected one of: {known}")]
    NoSuchValue {
        /// The profile.
        file: String,
        /// The knob.
        knob: PointKnob,
        /// The value asked for.
        value: String,
        /// The values there are.
        known: String,
    },
}

/// The rows of a profile at which all knobs but some stand still.
pub(super) struct Slice<'a> {
    pub(super) rows: Vec<&'a ProfileRow>,
    /// Where the others stand, in words; empty where no other was ever turned.
    pub(super) words: String,
}

impl ProfileView {
    /// Fails where `profile`, read from `file`, can't be drawn so.
    pub(super) fn check(&self, file: &str, profile: &Profile) -> Result<(), ProfileViewError> {
        if let (Some(x), Some(y)) = (self.x, self.y)
            && x == y
        {
            return Err(ProfileViewError::Twice(x));
        }
        let turned = turned(profile);
        for knob in [self.x, self.y].into_iter().flatten() {
            if self.at.iter().any(|(held, _)| *held == knob) {
                return Err(ProfileViewError::HeldAndDrawn(knob));
            }
            if !turned.contains(&knob) {
                let known: Vec<&str> = turned.iter().map(|knob| knob.name()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(ProfileViewError::NotTurned { file: file.to_owned(), knob, known });
            }
        }
        for (knob, value) in &self.at {
            let values = profile.values_of(*knob);
            if !values.iter().flatten().any(|known| known == value) {
                let known: Vec<String> = values.iter().flatten().map(ToString::to_string).collect();
                return Err(ProfileViewError::NoSuchValue {
                    file: file.to_owned(),
                    knob: *knob,
                    value: value.to_string(),
                    known: if known.is_empty() { "none".to_owned() } else { known.join(", ") },
                });
            }
        }
        Ok(())
    }

    /// The two knobs to draw over; the second is none where only one was turned.
    pub(super) fn axes(&self, profile: &Profile) -> Option<(PointKnob, Option<PointKnob>)> {
        let mut knobs = turned(profile);
        knobs.retain(|knob| !self.at.iter().any(|(held, _)| held == knob));
        knobs.sort_by_key(|knob| std::cmp::Reverse(profile.values_of(*knob).len()));
        let x = self.x.or_else(|| knobs.iter().copied().find(|knob| Some(*knob) != self.y))?;
        let y = self.y.or_else(|| knobs.into_iter().find(|knob| *knob != x));
        Some((x, y))
    }

    /// The rows at which all knobs but `free` stand still: where `at` says, else where there are the most
    /// rows, of equals where throughput is highest.
    pub(super) fn slice<'a>(&self, profile: &'a Profile, free: &[PointKnob]) -> Slice<'a> {
        let held: Vec<PointKnob> = PointKnob::ALL.into_iter().filter(|knob| !free.contains(knob)).collect();
        let place = |row: &ProfileRow| held.iter().map(|knob| knob.of(&row.point)).collect::<Vec<_>>();
        let is_asked = |row: &&ProfileRow| {
            let held = self.at.iter().filter(|(knob, _)| !free.contains(knob));
            held.into_iter().all(|(knob, value)| knob.of(&row.point).as_ref() == Some(value))
        };
        let mut groups: Vec<(Vec<Option<KnobValue>>, Vec<&ProfileRow>)> = Vec::new();
        for row in profile.rows.iter().filter(is_asked) {
            let place = place(row);
            match groups.iter_mut().find(|(known, _)| *known == place) {
                Some((_, rows)) => rows.push(row),
                None => groups.push((place, vec![row])),
            }
        }
        let most =
            |rows: &[&ProfileRow]| rows.iter().filter_map(|row| row.throughput_rps).fold(0.0, f64::max);
        let largest = groups
            .into_iter()
            .max_by(|(_, a), (_, b)| a.len().cmp(&b.len()).then(most(a).total_cmp(&most(b))));
        let Some((place, rows)) = largest else { return Slice { rows: Vec::new(), words: String::new() } };
        let turned = turned(profile);
        let told = held.iter().zip(place).filter(|(knob, _)| turned.contains(knob));
        let words = told.map(|(knob, value)| in_words(*knob, value.as_ref()));
        Slice { rows, words: words.collect::<Vec<_>>().join(", ") }
    }
}

/// Knobs that stand at more than one value.
pub(super) fn turned(profile: &Profile) -> Vec<PointKnob> {
    PointKnob::ALL.into_iter().filter(|knob| profile.values_of(*knob).len() > 1).collect()
}

/// `core clock 1410 MHz`, `partition 7g`, or `core clock at its default`.
pub(super) fn in_words(knob: PointKnob, value: Option<&KnobValue>) -> String {
    let Some(value) = value else { return format!("{} at its default", knob.words()) };
    let unit = if knob.unit().is_empty() || knob == PointKnob::BatchSize {
        String::new()
    } else {
        format!("\u{a0}{}", knob.unit())
    };
    format!("{}\u{a0}{value}{unit}", knob.words())
}

/// At most `most` of `all`, evenly spread, with the first and the last.
pub(super) fn spread<T>(all: Vec<T>, most: usize) -> Vec<T> {
    let count = all.len();
    if count <= most || most < 2 {
        return all;
    }
    let wanted: Vec<usize> =
        (0..most).map(|index| (index * (count - 1) + (most - 1) / 2) / (most - 1)).collect();
    all.into_iter().enumerate().filter(|(index, _)| wanted.contains(index)).map(|(_, one)| one).collect()
}

/// Round levels inside `low` to `high`, about `count` of them.
pub(super) fn round_levels(low: f64, high: f64, count: u32) -> Vec<f64> {
    let wide = (high - low) / f64::from(count.max(1));
    // A width next to nothing has no power of ten.
    if !(wide.is_normal() && wide > 0.0) {
        return Vec::new();
    }
    let power = 10f64.powf(wide.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * power).into_iter().find(|step| *step >= wide * 0.999);
    let step = step.unwrap_or(power);
    let first = (low / step).floor() as i64 + 1;
    let levels = (0..i64::from(count) * 2).map(|index| (first + index) as f64 * step);
    levels.take_while(|level| *level < high).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_round_and_inside() {
        assert_eq!(round_levels(52.0, 297.0, 5), [100.0, 150.0, 200.0, 250.0]);
        assert_eq!(round_levels(0.0, 1.0, 4), [0.5]);
        assert!(round_levels(3.0, 3.0, 4).is_empty());
        assert!(round_levels(3e-323, 9e-323, 4).is_empty());
        assert!(round_levels(f64::INFINITY, f64::NEG_INFINITY, 4).is_empty());
    }

    #[test]
    fn a_spread_keeps_both_ends() {
        assert_eq!(spread((0..10).collect(), 4), [0, 3, 6, 9]);
        assert_eq!(spread(vec![1, 2], 7), [1, 2]);
    }
}
