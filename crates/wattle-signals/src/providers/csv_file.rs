//! A CSV file of absolute times and values, read anew at each fetch. Seconds from the server's start are a
//! trace of another kind, which `serve` reads itself.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use wattle_core::nearest::nearest;
use wattle_core::signal::{EmissionScope, IntensityKind, PointStatus, Quantity, SignalHead};
use wattle_core::time::UnixTime;

use crate::config::{ConfigError, factor_of, interval_of, told_head};
use crate::points::Points;
use crate::provider::{FetchError, Fetched, Provider};
use crate::times;
use crate::unit::Unit;

const NAME: &str = "csv";
/// Years of five minutes are a few MiB.
const MOST_BYTES: u64 = 64 << 20;
/// What lies further ahead is read later.
const AHEAD: Duration = Duration::from_secs(7 * 24 * 3600);
/// Names that a column of times has, unless configured.
const TIME_COLUMNS: [&str; 2] = ["time", "datetime"];

/// `source = "csv"`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsvConfig {
    /// The file.
    pub file: PathBuf,
    /// The column of times; `time` or `datetime` unless told.
    pub time_column: Option<String>,
    /// The column of values.
    pub value_column: String,
    /// Their unit.
    pub unit: Unit,
    /// Whether times without an offset are UTC. Without this they are an error.
    #[serde(default)]
    pub times_are_utc: bool,
    /// How long one value holds; as far apart as most are, unless told.
    pub step_seconds: Option<u64>,
    /// How often the file is read.
    #[serde(default = "five_minutes")]
    pub interval_seconds: u64,
    /// Of where.
    pub zone: Option<String>,
    /// Average or marginal.
    pub kind: Option<IntensityKind>,
    /// Direct or life-cycle.
    pub scope: Option<EmissionScope>,
}

fn five_minutes() -> u64 {
    300
}

/// Reads a CSV file.
#[derive(Debug)]
pub struct CsvFile {
    head: SignalHead,
    path: PathBuf,
    /// The file as it was configured, for errors.
    file: String,
    time_column: Option<String>,
    value_column: String,
    times_are_utc: bool,
    factor: f64,
    step: Option<Duration>,
    interval: Duration,
}

/// What is wrong, and where.
#[derive(Debug)]
enum Problem {
    /// The file can't be read just now.
    Io(io::Error),
    /// What stands in it makes no sense.
    Content { line: u64, found: String, expected: String },
}

impl CsvFile {
    /// The source of `config`. The whole file is read once, so that what is wrong in it is told at once.
    pub fn new(config: &CsvConfig, quantity: Quantity, base: &Path) -> Result<Self, ConfigError> {
        let file = config.file.display().to_string();
        let source = Self {
            head: told_head(
                NAME,
                quantity,
                (config.zone.as_ref(), config.kind, config.scope),
                format!("the file {file}, column {}", config.value_column),
            )?,
            path: base.join(&config.file),
            file,
            time_column: config.time_column.clone(),
            value_column: config.value_column.clone(),
            times_are_utc: config.times_are_utc,
            factor: factor_of(NAME, config.unit, quantity)?,
            step: config
                .step_seconds
                .map(|seconds| interval_of(NAME, "step_seconds", seconds))
                .transpose()?,
            interval: interval_of(NAME, "interval_seconds", config.interval_seconds)?,
        };
        source.numbers().map(|_| source)
    }

    /// The numbers of the column as they stand in the file, whatever their unit. Empty cells are left out.
    ///
    /// # Errors
    /// The first line that makes no sense.
    pub fn numbers(&self) -> Result<Vec<(UnixTime, f64)>, ConfigError> {
        let rows = self.rows().map_err(|problem| {
            let (found, expected) = self.told(problem);
            ConfigError::new(NAME, "file", found, expected)
        })?;
        Ok(rows.into_iter().filter_map(|(at, value)| Some((at, value?))).collect())
    }

    fn told(&self, problem: Problem) -> (String, String) {
        match problem {
            Problem::Io(error) => (format!("{}: {error}", self.file), "a CSV file that can be read".into()),
            Problem::Content { line, found, expected } => {
                (format!("{found} in {}, line {line}", self.file), expected)
            }
        }
    }

    /// Every row: its time, and its value unless its cell is empty.
    fn rows(&self) -> Result<Vec<(UnixTime, Option<f64>)>, Problem> {
        let mut text = String::new();
        let read = File::open(&self.path)
            .and_then(|file| file.take(MOST_BYTES + 1).read_to_string(&mut text))
            .map_err(Problem::Io)?;
        let wrong = |line: u64, found: String, expected: &str| Problem::Content {
            line,
            found,
            expected: expected.to_owned(),
        };
        if read as u64 > MOST_BYTES {
            return Err(wrong(1, format!("more than {MOST_BYTES} bytes"), "a smaller file"));
        }
        let mut reader = csv::ReaderBuilder::new()
            .comment(Some(b'#'))
            .trim(csv::Trim::All)
            .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
        let mut line = 1;
        let broken = |error: &csv::Error, line: u64| {
            let line = error.position().map_or(line, csv::Position::line);
            wrong(line, error.to_string(), "CSV text")
        };
        let header = reader.headers().map_err(|error| broken(&error, line))?.clone();
        let (time_index, value_index) = self.columns(&header)?;
        let mut rows: Vec<(UnixTime, Option<f64>)> = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| broken(&error, line))?;
            line = record.position().map_or(line, csv::Position::line);
            let (time, value) = (record.get(time_index).unwrap_or(""), record.get(value_index).unwrap_or(""));
            let read_time = if self.times_are_utc { times::parse_iso_or_utc } else { times::parse_iso };
            let at = read_time(time).map_err(|found| {
                wrong(
                    line,
                    found,
                    "an ISO 8601 time such as 2026-11-21T21:30:00Z (times_are_utc = true takes times without \
                     an offset as UTC)",
                )
            })?;
            if let Some((previous, _)) = rows.last().filter(|(previous, _)| *previous >= at) {
                let found = format!("{} after {}", times::iso(at), times::iso(*previous));
                return Err(wrong(line, found, "ascending times, none twice"));
            }
            let value = match value {
                "" => None,
                text => Some(text.parse().map_err(|_| {
                    wrong(line, times::shortened(text), "a number, or nothing where there is none")
                })?),
            };
            rows.push((at, value));
        }
        if rows.is_empty() {
            return Err(wrong(line, "no value".into(), "at least one"));
        }
        Ok(rows)
    }

    /// Where the times and the values stand.
    fn columns(&self, header: &csv::StringRecord) -> Result<(usize, usize), Problem> {
        let names: Vec<&str> = header.iter().collect();
        let missing = |column: &str| {
            let meant = nearest(column, names.iter().copied()).unwrap_or_default();
            Problem::Content {
                line: 1,
                found: format!("the columns {}", names.join(", ")),
                expected: format!("a column {column:?} (did you mean {meant:?}?)"),
            }
        };
        let find =
            |column: &str| names.iter().position(|name| *name == column).ok_or_else(|| missing(column));
        let time_index = match &self.time_column {
            Some(column) => find(column)?,
            None => {
                let found = names
                    .iter()
                    .position(|name| TIME_COLUMNS.iter().any(|column| name.eq_ignore_ascii_case(column)));
                match found {
                    Some(index) => index,
                    None if names.contains(&"seconds") => {
                        return Err(Problem::Content {
                            line: 1,
                            found: "the column seconds, which counts from the start of the server".into(),
                            expected: "a column time or datetime of absolute times; a trace of seconds is \
                                       given to serve as a trace, not as a source"
                                .into(),
                        });
                    }
                    None => return Err(missing("time")),
                }
            }
        };
        Ok((time_index, find(&self.value_column)?))
    }
}

impl Provider for CsvFile {
    fn head(&self) -> &SignalHead {
        &self.head
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn most_requests(&self) -> u32 {
        0
    }

    fn fetch(&mut self, since: UnixTime, now: UnixTime) -> Result<Fetched, FetchError> {
        let source_name = || self.head.source.clone();
        let rows = self.rows().map_err(|problem| match problem {
            Problem::Io(error) => FetchError::Trouble {
                source_name: source_name(),
                detail: format!("found {}: {error}, expected a file that can be read", self.file),
                retry_after: None,
            },
            problem => {
                let (found, expected) = self.told(problem);
                FetchError::Refused { source_name: source_name(), found, expected }
            }
        })?;
        // From the value that holds at `since` on.
        let first = rows.partition_point(|(at, _)| *at <= since).saturating_sub(1);
        let mut points = Points::new(self.head.quantity, self.factor, now);
        for (at, value) in rows.into_iter().skip(first).take_while(|(at, _)| *at <= now + AHEAD) {
            let status = if at > now { PointStatus::Forecast } else { PointStatus::Unknown };
            points.take(at, value, status);
        }
        let step = self.step.or_else(|| points.usual_step());
        Ok(points.finish(step, None))
    }
}
