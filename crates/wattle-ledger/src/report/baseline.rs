//! What the same requests would have drawn under another policy, beside what they drew.

use wattle_core::provenance::Provenance;
use wattle_core::time::UnixTime;
use wattle_core::units::Joules;

use super::row::{Of, add_known};
use super::{Report, Row};
use crate::query::KnownGrams;

/// Which policy the baseline is of, and how it was come by.
#[derive(Debug, Clone, PartialEq)]
pub struct BaselineTold {
    /// The policy.
    pub policy: String,
    /// Which profiles were replayed, and how. Modelled at best.
    pub provenance: Provenance,
}

/// What the requests of a row would have drawn. Modelled at best.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BaselineFigures {
    /// Energy at the device.
    pub energy: Joules,
    /// Location-based emissions at the same intensities, and the energy that they are of.
    pub location: Option<KnownGrams>,
    /// Rows that could not have been answered at the baseline's knobs.
    pub refused_rows: f64,
}

impl BaselineFigures {
    /// Adds another part.
    pub(super) fn add(&mut self, more: &Self) {
        self.energy += more.energy;
        add_known(&mut self.location, more.location);
        self.refused_rows += more.refused_rows;
    }
}

impl Report {
    /// Adds what the requests of `of` would have drawn in a stretch of time that starts at `start`. Whether
    /// there is such a row.
    pub fn add_baseline(&mut self, start: UnixTime, of: &Of, figures: &BaselineFigures) -> bool {
        let is_within =
            |row: &&mut Row| row.period.is_none_or(|period| period.from <= start && start < period.to);
        let Some(row) = self.rows.iter_mut().filter(is_within).find(|row| row.of == *of) else {
            return false;
        };
        row.baseline.get_or_insert_default().add(figures);
        self.total.baseline.get_or_insert_default().add(figures);
        true
    }
}
