//! One cell of a profile: text to figure, with an error that says where it stands.

use std::fmt::Display;
use std::str::FromStr;

use super::{Blame, ProfileError};
use crate::provenance::Basis;
use crate::units::{Joules, Megahertz, Watts};

/// What to do about a cell that can't be read.
const HELP: &str = "correct the cell, or leave it empty if the figure is unknown";

/// The text of one cell and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Cell<'a> {
    pub(super) text: &'a str,
    pub(super) column: &'static str,
    pub(super) line: u64,
    pub(super) blame: Blame<'a>,
}

impl Cell<'_> {
    /// What `read` makes of this cell, which may not be empty.
    pub(super) fn required<T>(
        self,
        read: impl Fn(Self) -> Result<Option<T>, ProfileError>,
    ) -> Result<T, ProfileError> {
        read(self)?.ok_or_else(|| {
            self.blame.error(
                self.line,
                format!("column {:?}", self.column),
                "an empty cell",
                "a value",
                "fill in the cell, or delete the row",
            )
        })
    }

    fn read<T: FromStr>(
        self,
        expected: &str,
        lawful: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, ProfileError> {
        let text = self.text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        match text.parse() {
            Ok(value) if lawful(&value) => Ok(Some(value)),
            _ => Err(self.blame.error(
                self.line,
                format!("column {:?}", self.column),
                format!("{text:?}"),
                expected,
                HELP,
            )),
        }
    }

    /// A count of things, at least 1.
    pub(super) fn count(self) -> Result<Option<u32>, ProfileError> {
        self.read("a whole number of at least 1", |count| *count >= 1)
    }

    /// A whole number, zero allowed.
    pub(super) fn whole<T: FromStr>(self) -> Result<Option<T>, ProfileError> {
        self.read("a whole number of at least 0", |_| true)
    }

    /// A share in (0, 1].
    pub(super) fn share(self) -> Result<Option<f64>, ProfileError> {
        self.read("a number over 0 and at most 1", |share| *share > 0.0 && *share <= 1.0)
    }

    /// A figure that is never negative, NaN or infinite.
    pub(super) fn amount(self) -> Result<Option<f64>, ProfileError> {
        self.read("a number of at least 0", |amount: &f64| amount.is_finite() && *amount >= 0.0)
    }

    pub(super) fn watts(self) -> Result<Option<Watts>, ProfileError> {
        Ok(self.amount()?.map(Watts::new))
    }

    pub(super) fn joules(self) -> Result<Option<Joules>, ProfileError> {
        Ok(self.amount()?.map(Joules::new))
    }

    pub(super) fn clock(self) -> Result<Option<Megahertz>, ProfileError> {
        let clock = self.read("a number over 0", |clock: &f64| clock.is_finite() && *clock > 0.0)?;
        Ok(clock.map(Megahertz::new))
    }

    /// A name, kept to the letter; `None` when the cell is empty.
    pub(super) fn name(self) -> Option<String> {
        (!self.text.is_empty()).then(|| self.text.to_owned())
    }

    pub(super) fn basis(self) -> Result<Option<Basis>, ProfileError> {
        match self.text.trim() {
            "" => Ok(None),
            "measured" => Ok(Some(Basis::Measured)),
            "modelled" => Ok(Some(Basis::Modelled)),
            "assumed" => Ok(Some(Basis::Assumed)),
            other => Err(self.blame.error(
                self.line,
                format!("column {:?}", self.column),
                format!("{other:?}"),
                "\"measured\", \"modelled\" or \"assumed\"",
                "say how the figures of this row are known",
            )),
        }
    }
}

/// The text of a value that may be unknown.
pub(super) fn text_of(value: Option<impl Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// The shortest text that reads back as the same number.
pub(super) fn number_text(value: Option<f64>) -> String {
    text_of(value)
}
