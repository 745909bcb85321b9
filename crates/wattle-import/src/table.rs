//! CSV text as a table: columns found by name, cells read with care.

use crate::error::{Blame, ImportError, quoted};

/// A table with a line of column names.
pub(crate) struct Table<'a> {
    pub(crate) blame: Blame<'a>,
    header: Vec<String>,
    header_line: u64,
    pub(crate) rows: Vec<Row>,
}

/// A line of a table.
pub(crate) struct Row {
    /// Counted from 1.
    pub(crate) line: u64,
    cells: csv::StringRecord,
}

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Column<'t> {
    index: usize,
    /// Its name, as the file spells it.
    pub(crate) name: &'t str,
}

/// Counts lines up to a place. The CSV reader's own count is one short after CRLF and blank lines.
struct Lines<'a> {
    text: &'a str,
    offset: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the record that the reader began at byte `start`; places only go forward.
    fn line_at(&mut self, start: u64) -> u64 {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        for byte in self.text.as_bytes().get(self.offset..).unwrap_or_default() {
            if self.offset >= start && !matches!(byte, b'\r' | b'\n') {
                break;
            }
            self.line += u64::from(*byte == b'\n');
            self.offset += 1;
        }
        self.line
    }
}

/// What stands in a cell that should hold a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Figure {
    /// A finite number.
    Value(f64),
    /// Nothing, or a word for it.
    Missing,
    /// Anything else.
    Bad,
}

impl Figure {
    /// Reads the text of a cell.
    pub(crate) fn of(text: &str) -> Self {
        const WORDS_FOR_NOTHING: [&str; 7] = ["", "-", "na", "n/a", "nan", "null", "none"];
        let text = text.trim();
        if WORDS_FOR_NOTHING.iter().any(|word| text.eq_ignore_ascii_case(word)) {
            return Self::Missing;
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Self::Value(value),
            _ => Self::Bad,
        }
    }

    /// The number, if there is one.
    pub(crate) fn value(self) -> Option<f64> {
        if let Self::Value(value) = self { Some(value) } else { None }
    }
}

/// The text of a cell as a whole number of at least 1; `8.0` is one too.
pub(crate) fn count_of(text: &str) -> Option<u32> {
    let value = Figure::of(text).value()?;
    (value >= 1.0 && value <= f64::from(u32::MAX) && value.fract() == 0.0).then_some(value as u32)
}

impl<'a> Table<'a> {
    /// Reads `text`. `what` says which file is expected, for errors.
    pub(crate) fn parse(text: &str, blame: Blame<'a>, what: &str) -> Result<Self, ImportError> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let mut header: Option<(Vec<String>, u64)> = None;
        let mut rows = Vec::new();
        let mut lines = Lines { text, offset: 0, line: 1 };
        for record in reader.records() {
            let record = record.map_err(|error| {
                let line = error.position().map(csv::Position::line);
                blame.at(line, None, error.to_string(), "CSV text", "correct the line")
            })?;
            let line = lines.line_at(record.position().map_or(0, csv::Position::byte));
            if header.is_none() {
                header = Some((record.iter().map(str::to_owned).collect(), line));
            } else if record.iter().any(|cell| !cell.is_empty()) {
                rows.push(Row { line, cells: record });
            }
        }
        let Some((header, header_line)) = header else {
            return Err(blame.file("an empty file", what, "give the file as it was published"));
        };
        if rows.is_empty() {
            return Err(blame.at(
                Some(header_line + 1),
                None,
                "no row below the line of column names",
                what,
                "give the file as it was published",
            ));
        }
        Ok(Self { blame, header, header_line, rows })
    }

    /// The names of the columns.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.header.iter().map(String::as_str)
    }

    /// The first column whose name `wanted` accepts.
    pub(crate) fn find(&self, wanted: impl Fn(&str) -> bool) -> Option<Column<'_>> {
        let index = self.header.iter().position(|name| wanted(name))?;
        self.header.get(index).map(|name| Column { index, name })
    }

    /// The column called `name`, letter case aside. `what` says which file is expected, for the error.
    pub(crate) fn column(&self, name: &str, what: &str) -> Result<Column<'_>, ImportError> {
        self.find(|found| found.eq_ignore_ascii_case(name)).ok_or_else(|| self.no_column(name, what))
    }

    /// The error that a column is not there.
    pub(crate) fn no_column(&self, name: &str, what: &str) -> ImportError {
        self.blame.at(
            Some(self.header_line),
            Some(format!("column {name:?}")),
            format!("no such column among {}", quoted(&self.header.join(","))),
            what,
            "give a file of this format, or name its own format",
        )
    }
}

impl Row {
    /// The text of a cell; empty where the line ends before it.
    pub(crate) fn cell(&self, column: Column<'_>) -> &str {
        self.at(column.index)
    }

    /// The number in a cell.
    pub(crate) fn figure(&self, column: Column<'_>) -> Figure {
        Figure::of(self.cell(column))
    }

    /// The text of the cell at `index`, counted from 0.
    pub(crate) fn at(&self, index: usize) -> &str {
        self.cells.get(index).unwrap_or("")
    }

    /// The text of the cell `by` places right of a column.
    pub(crate) fn right_of(&self, column: Column<'_>, by: usize) -> &str {
        self.at(column.index + by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_know_their_lines_after_crlf_blank_lines_and_quoted_breaks() {
        let text = "a,b\r\n1,2\r\n\r\n3,\"x\r\ny\"\r\n5,6\r\n";
        let table = Table::parse(text, Blame("f"), "a table").unwrap();
        assert_eq!(table.rows.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 4, 6]);
    }

    #[test]
    fn words_for_nothing_are_missing_and_other_words_are_bad() {
        for text in ["", " ", "-", "N/A", "nan", "NULL"] {
            assert_eq!(Figure::of(text), Figure::Missing, "{text}");
        }
        for text in ["inf", "1e999", "1,5", "12 W"] {
            assert_eq!(Figure::of(text), Figure::Bad, "{text}");
        }
        assert_eq!(Figure::of(" -1.5e3 "), Figure::Value(-1500.0));
    }

    #[test]
    fn counts_are_whole_and_at_least_one() {
        assert_eq!(
            (count_of("8"), count_of("8.0"), count_of("4294967295")),
            (Some(8), Some(8), Some(u32::MAX))
        );
        for text in ["0", "-1", "1.5", "4294967296", "x"] {
            assert_eq!(count_of(text), None, "{text}");
        }
    }
}
