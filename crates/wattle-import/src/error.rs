//! A file that can't be imported: where, what was found, what was expected, what to do.

/// A file that can't be imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: found {found}, expected {expected}; {help}", place_of(*line, place.as_deref()))]
pub struct ImportError {
    /// The file, as it was named.
    pub file: Box<str>,
    /// The line, counted from 1, where one line is to blame.
    pub line: Option<u64>,
    /// Where in the line or file, such as `column "latency"`.
    pub place: Option<Box<str>>,
    /// What stands there.
    pub found: Box<str>,
    /// What could stand there.
    pub expected: Box<str>,
    /// What to do.
    pub help: Box<str>,
}

fn place_of(line: Option<u64>, place: Option<&str>) -> String {
    let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
    let place = place.map(|place| format!(", {place}")).unwrap_or_default();
    line + &place
}

/// Makes errors of one file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blame<'a>(pub(crate) &'a str);

impl Blame<'_> {
    /// An error of the whole file.
    pub(crate) fn file(
        self,
        found: impl Into<String>,
        expected: impl Into<String>,
        help: impl Into<String>,
    ) -> ImportError {
        self.at(None, None, found, expected, help)
    }

    /// An error at a column of a line.
    pub(crate) fn cell(
        self,
        line: u64,
        column: &str,
        found: &str,
        expected: &str,
        help: impl Into<String>,
    ) -> ImportError {
        self.at(Some(line), Some(format!("column {column:?}")), quoted(found), expected, help)
    }

    /// An error at `line` and `place`, where they are known.
    pub(crate) fn at(
        self,
        line: Option<u64>,
        place: Option<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
        help: impl Into<String>,
    ) -> ImportError {
        ImportError {
            file: self.0.into(),
            line,
            place: place.map(Into::into),
            found: found.into().into(),
            expected: expected.into().into(),
            help: help.into().into(),
        }
    }
}

/// Text of a file in an error: in quotes, and no longer than a line.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    let shown: String = text.chars().take(LONGEST).collect();
    if shown.len() < text.len() { format!("{shown:?} and more") } else { format!("{shown:?}") }
}
