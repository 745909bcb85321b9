//! Reads tables of figures from TOML, key by key, so that errors can say where, what and what to do.

use toml::{Table, Value};

use super::{Curve, Figure};
use crate::nearest::nearest;
use crate::provenance::Basis;
use crate::units::Megahertz;

/// The keys of a figure.
const FIGURE_KEYS: [&str; 3] = ["value", "basis", "source"];

/// The bases that there are.
const BASES: [(&str, Basis); 3] =
    [("measured", Basis::Measured), ("modelled", Basis::Modelled), ("assumed", Basis::Assumed)];

/// A file of facts that can't be used: where, what was found, what was expected, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}, {place}: found {found}, expected {expected}; {help}")]
pub struct SpecError {
    /// The file.
    pub file: Box<str>,
    /// Where in the file: a line or a key.
    pub place: Box<str>,
    /// What stands there.
    pub found: Box<str>,
    /// What could stand there.
    pub expected: Box<str>,
    /// What to do.
    pub help: Box<str>,
}

/// The whole file as a table, or where it stops to be TOML.
pub(crate) fn parse_toml(text: &str, file: &str) -> Result<Table, SpecError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.parse().map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start).min(text.len());
        let line = 1 + text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count();
        SpecError {
            file: file.into(),
            place: format!("line {line}").into(),
            found: error.message().into(),
            expected: "TOML".into(),
            help: "correct the line".into(),
        }
    })
}

/// The error of a name that is not built in; `what` is what it should name.
pub(crate) fn unknown_name(what: &str, found: &str, names: &[&str]) -> SpecError {
    SpecError {
        file: format!("built-in {what}s").into(),
        place: "name".into(),
        found: format!("{found:?}").into(),
        expected: format!("one of: {}", names.join(", ")).into(),
        help: format!("did you mean {:?}?", nearest(found, names.iter().copied()).unwrap_or_default()).into(),
    }
}

/// One table of a file.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    file: &'a str,
    /// Where the table stands: empty at the top of the file.
    path: &'a str,
    table: &'a Table,
}

impl<'a> Reader<'a> {
    /// Reads `table`, which stands at `path` of `file`; all its keys must be among `keys`.
    pub(crate) fn new(
        file: &'a str,
        path: &'a str,
        table: &'a Table,
        keys: &[&str],
    ) -> Result<Self, SpecError> {
        let reader = Self { file, path, table };
        for key in table.keys() {
            if !keys.contains(&key.as_str()) {
                let meant = nearest(key, keys.iter().copied()).unwrap_or_default();
                return Err(reader.error(
                    key,
                    "an unknown key",
                    &format!("one of: {}", keys.join(", ")),
                    &format!("did you mean {meant:?}?"),
                ));
            }
        }
        Ok(reader)
    }

    /// An error at `key` of this table.
    pub(crate) fn error(&self, key: &str, found: &str, expected: &str, help: &str) -> SpecError {
        SpecError {
            file: self.file.into(),
            place: format!("key \"{}\"", self.path_of(key)).into(),
            found: found.into(),
            expected: expected.into(),
            help: help.into(),
        }
    }

    /// Where `key` of this table stands in the file.
    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value of `key` as `read` takes it; `None` when the key is not there.
    pub(crate) fn optional<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, SpecError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        match read(value) {
            Some(value) => Ok(Some(value)),
            None => Err(self.error(key, &value.to_string(), expected, "correct the value")),
        }
    }

    /// As [`optional`](Self::optional), but the key must be there.
    pub(crate) fn required<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<T, SpecError> {
        self.optional(key, expected, read)?
            .ok_or_else(|| self.error(key, "nothing", expected, &format!("add {key}")))
    }

    /// The text of `key`, which must be there and not be empty.
    pub(crate) fn text(&self, key: &str) -> Result<String, SpecError> {
        self.required(key, "text in quotes", text)
    }

    /// The basis of this table's figures.
    pub(crate) fn basis(&self) -> Result<Basis, SpecError> {
        self.required("basis", "\"measured\", \"modelled\" or \"assumed\"", |value| {
            let found = value.as_str()?;
            BASES.iter().find(|(name, _)| *name == found).map(|(_, basis)| *basis)
        })
    }

    /// The figure at `key`, its value as `read` takes it; `None` when the key is not there.
    pub(crate) fn figure<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<Figure<T>>, SpecError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let Some(table) = value.as_table() else {
            let shape = "a table of value, basis and source";
            return Err(self.error(key, &value.to_string(), shape, "say how the figure is known"));
        };
        let path = self.path_of(key);
        let figure = Reader::new(self.file, &path, table, &FIGURE_KEYS)?;
        Ok(Some(Figure {
            value: figure.required("value", expected, read)?,
            basis: figure.basis()?,
            source: figure.text("source")?,
        }))
    }

    /// The table at `key`, all of whose keys must be among `keys`; `None` when the key is not there.
    pub(crate) fn table(&self, key: &'a str, keys: &[&str]) -> Result<Option<Reader<'a>>, SpecError> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let Some(table) = value.as_table() else {
            return Err(self.error(key, &value.to_string(), "a table", &format!("write it as [{key}]")));
        };
        // Tables stand at the top of a file: their path is their key.
        Reader::new(self.file, key, table, keys).map(Some)
    }

    /// Each table of the list at `key`, as `read` takes it; none when the key is not there.
    pub(crate) fn tables<T>(
        &self,
        key: &str,
        keys: &[&str],
        read: impl Fn(&Reader<'_>) -> Result<T, SpecError>,
    ) -> Result<Vec<T>, SpecError> {
        let Some(value) = self.table.get(key) else { return Ok(Vec::new()) };
        let path = self.path_of(key);
        let wrong = || self.error(key, &value.to_string(), "a list of tables", &format!("write [[{path}]]"));
        let tables = value.as_array().ok_or_else(wrong)?;
        let one = |table: &Value| {
            let table = table.as_table().ok_or_else(wrong)?;
            read(&Reader::new(self.file, &path, table, keys)?)
        };
        tables.iter().map(one).collect()
    }
}

/// Text that is not empty.
pub(crate) fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned)
}

/// A finite number over zero.
pub(crate) fn positive(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Integer(integer) => *integer as f64,
        Value::Float(float) => *float,
        _ => return None,
    };
    (number.is_finite() && number > 0.0).then_some(number)
}

/// A whole number over zero.
pub(crate) fn count<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    value.as_integer().filter(|integer| *integer > 0).and_then(|integer| T::try_from(integer).ok())
}

/// Clocks, ascending.
pub(crate) fn clocks(value: &Value) -> Option<Vec<Megahertz>> {
    let clocks: Vec<f64> = value.as_array()?.iter().map(positive).collect::<Option<_>>()?;
    let ascending = !clocks.is_empty() && clocks.is_sorted_by(|a, b| a < b);
    ascending.then(|| clocks.into_iter().map(Megahertz::new).collect())
}

/// Pairs of clock and value, clocks ascending.
pub(crate) fn curve(value: &Value) -> Option<Curve> {
    let pairs = value.as_array()?.iter().map(|pair| {
        let [clock, value] = pair.as_array()?.as_slice() else { return None };
        Some((Megahertz::new(positive(clock)?), positive(value)?))
    });
    Curve::new(pairs.collect::<Option<_>>()?)
}
