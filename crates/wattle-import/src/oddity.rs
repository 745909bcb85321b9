//! Everything odd that an import met, counted, with what was done about it.

use serde::Serialize;

use crate::error::{Blame, ImportError};

/// Something odd in a file, and what was done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Oddity {
    /// The file.
    pub file: String,
    /// What is odd.
    pub what: String,
    /// How often it was met.
    pub count: u64,
    /// The first line on which it was met, counted from 1, where lines are known.
    pub first_line: Option<u64>,
    /// What was done about it.
    pub done: String,
}

/// Collects oddities; each kind of a file once, with its count.
#[derive(Debug, Default)]
pub(crate) struct Oddities(Vec<Oddity>);

impl Oddities {
    /// Counts one more of `what` in `file`.
    pub(crate) fn add(&mut self, file: &str, what: impl Into<String>, line: Option<u64>, done: &str) {
        self.add_many(file, what, 1, line, done);
    }

    /// Counts `count` more of `what` in `file`. None at all is no oddity.
    pub(crate) fn add_many(
        &mut self,
        file: &str,
        what: impl Into<String>,
        count: u64,
        line: Option<u64>,
        done: &str,
    ) {
        if count == 0 {
            return;
        }
        let what = what.into();
        match self.0.iter_mut().find(|known| known.file == file && known.what == what) {
            Some(known) => {
                known.count += count;
                known.first_line = known.first_line.or(line);
            }
            None => self.0.push(Oddity {
                file: file.to_owned(),
                what,
                count,
                first_line: line,
                done: done.to_owned(),
            }),
        }
    }

    /// Counts one more of `what`, under the first file that has it: for imports of many small files.
    pub(crate) fn add_once(&mut self, file: &str, what: &str, done: &str) {
        let first = self.0.iter().find(|known| known.what == what).map(|known| known.file.clone());
        self.add(first.as_deref().unwrap_or(file), what, None, done);
    }

    /// All of them, in the order in which they were first met.
    pub(crate) fn into_vec(self) -> Vec<Oddity> {
        self.0
    }
}

/// Rows that can't be read: a few are skipped and counted, more make the file an error.
pub(crate) struct BadRows<'a> {
    blame: Blame<'a>,
    count: u64,
    first: Option<(u64, &'a str, String, &'static str)>,
}

impl<'a> BadRows<'a> {
    /// None so far.
    pub(crate) fn new(blame: Blame<'a>) -> Self {
        Self { blame, count: 0, first: None }
    }

    /// Counts a row whose `column` holds `found`.
    pub(crate) fn add(&mut self, line: u64, column: &'a str, found: &str, expected: &'static str) {
        self.count += 1;
        if self.first.is_none() {
            self.first = Some((line, column, found.to_owned(), expected));
        }
    }

    /// Counts them as an oddity, or fails at the first when more than 5 % of `total` rows are bad.
    pub(crate) fn finish(self, total: usize, oddities: &mut Oddities) -> Result<(), ImportError> {
        let Some((line, column, found, expected)) = self.first else { return Ok(()) };
        if self.count.saturating_mul(20) > total as u64 {
            let help =
                format!("{} of {total} rows can't be read: correct them (1 in 20 is skipped)", self.count);
            return Err(self.blame.cell(line, column, &found, expected, help));
        }
        oddities.add_many(
            self.blame.0,
            format!("rows that can't be read, such as {} in column {column:?}", crate::error::quoted(&found)),
            self.count,
            Some(line),
            "skipped",
        );
        Ok(())
    }

    /// Fails at the first of them, if there is any.
    pub(crate) fn finish_none(self) -> Result<(), ImportError> {
        match self.first {
            None => Ok(()),
            Some((line, column, found, expected)) => {
                Err(self.blame.cell(line, column, &found, expected, "correct the line"))
            }
        }
    }
}
