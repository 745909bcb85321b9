//! Reads files of requests: SWIM's tsv, counts per hour or second, timestamps, and our own CSV.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::{RateTrace, Segment, WorkloadError};

/// What a file of requests looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TraceFormat {
    /// SWIM's tab-separated jobs; the second column is the submit time in seconds. Read as a rate, in
    /// bins.
    Swim,
    /// CSV with a header and rows of `datetime,count`: requests in each hour.
    HourlyCounts,
    /// Numbers, each the requests of one second, separated by commas or lines, in brackets or not.
    CountsPerSecond,
    /// One arrival a line, in seconds since the start, ascending. Read as it is needed.
    Timestamps,
    /// Our own CSV, `seconds,rate_rps`: each rate holds until the next line.
    RateCsv,
}

/// The most bins that jobs are counted in.
const MOST_BINS: usize = 10_000_000;

/// Arrival times in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct TimestampFile {
    /// The file.
    pub path: PathBuf,
    /// Each time is multiplied by this.
    pub time_factor: f64,
}

impl TimestampFile {
    /// Reads it from its start.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn open(&self) -> Result<OpenTimestamps, WorkloadError> {
        let file = File::open(&self.path).map_err(|error| read_error(&self.path, &error))?;
        let lines = BufReader::with_capacity(1 << 16, file);
        Ok(OpenTimestamps { of: self.clone(), lines, text: String::new(), line: 0, last: 0.0 })
    }
}

/// A file of arrival times that is being read.
#[derive(Debug)]
pub struct OpenTimestamps {
    of: TimestampFile,
    lines: BufReader<File>,
    text: String,
    line: u64,
    last: f64,
}

impl OpenTimestamps {
    /// The next arrival in nanoseconds; `None` at the end.
    ///
    /// # Errors
    /// When the file can't be read, or its next line is no time of at least the one before.
    pub fn next_arrival(&mut self) -> Result<Option<u64>, WorkloadError> {
        loop {
            self.text.clear();
            self.line += 1;
            let read = self.lines.read_line(&mut self.text);
            if read.map_err(|error| read_error(&self.of.path, &error))? == 0 {
                return Ok(None);
            }
            let text = self.text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds >= self.last);
            let at =
                seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds * self.of.time_factor).ok());
            let (Some(seconds), Some(at)) = (seconds, at) else {
                return Err(WorkloadError::Content {
                    path: self.of.path.clone(),
                    line: self.line,
                    found: format!("{text:?}"),
                    expected: format!("seconds as a number of at least {}, the line before", self.last),
                });
            };
            self.last = seconds;
            return Ok(Some(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)));
        }
    }
}

/// Reads a file of rates or counts. `bin_seconds` is the length of the bins that SWIM's jobs are counted in.
///
/// # Errors
/// When it can't be read, or is not of the format.
pub fn read_rates(path: &Path, format: TraceFormat, bin_seconds: f64) -> Result<RateTrace, WorkloadError> {
    let file = File::open(path).map_err(|error| read_error(path, &error))?;
    let lines = BufReader::new(file).lines().enumerate().map(|(index, line)| {
        let line = line.map_err(|error| read_error(path, &error))?;
        Ok((index as u64 + 1, line))
    });
    let lines = lines.filter(|line: &Result<(u64, String), _>| {
        line.as_ref().map_or(true, |(_, line)| !(line.trim().is_empty() || line.starts_with('#')))
    });
    let segments = match format {
        TraceFormat::Swim => swim(path, lines, bin_seconds)?,
        TraceFormat::HourlyCounts => hourly_counts(path, lines)?,
        TraceFormat::CountsPerSecond => counts_per_second(path, lines)?,
        TraceFormat::RateCsv => rate_csv(path, lines)?,
        TraceFormat::Timestamps => Vec::new(),
    };
    if segments.is_empty() {
        return Err(wrong(path, 1, "no request".into(), "at least one line of data"));
    }
    Ok(RateTrace { segments, repeat: false })
}

type Line = Result<(u64, String), WorkloadError>;

fn swim(
    path: &Path,
    lines: impl Iterator<Item = Line>,
    bin_seconds: f64,
) -> Result<Vec<Segment>, WorkloadError> {
    let mut counts: Vec<u64> = Vec::new();
    for line in lines {
        let (number, line) = line?;
        let submit = line.split('\t').nth(1).and_then(|text| text.trim().parse::<f64>().ok());
        let Some(submit) = submit.filter(|submit| (0.0..1e9).contains(submit)) else {
            return Err(wrong(
                path,
                number,
                format!("{line:?}"),
                "tab-separated columns, the second one the submit time in seconds",
            ));
        };
        let bin = (submit / bin_seconds) as usize;
        if bin >= MOST_BINS {
            let expected =
                format!("at most {MOST_BINS} bins of {bin_seconds} seconds; make bin_seconds longer");
            return Err(wrong(path, number, format!("a submit time of {submit} seconds"), &expected));
        }
        if counts.len() <= bin {
            counts.resize(bin + 1, 0);
        }
        counts[bin] += 1;
    }
    Ok(counts
        .iter()
        .map(|count| Segment { seconds: bin_seconds, rate_rps: *count as f64 / bin_seconds })
        .collect())
}

fn hourly_counts(path: &Path, lines: impl Iterator<Item = Line>) -> Result<Vec<Segment>, WorkloadError> {
    let mut segments = Vec::new();
    for line in lines {
        let (number, line) = line?;
        let count = line.rsplit(',').next().map(str::trim).unwrap_or_default();
        match count.parse::<f64>() {
            Ok(count) if count >= 0.0 && count.is_finite() => {
                segments.push(Segment { seconds: 3600.0, rate_rps: count / 3600.0 });
            }
            _ if segments.is_empty() && number == 1 => {} // the header
            _ => {
                return Err(wrong(
                    path,
                    number,
                    format!("{line:?}"),
                    "\"datetime,count\", the count a number of at least 0",
                ));
            }
        }
    }
    Ok(segments)
}

fn counts_per_second(path: &Path, lines: impl Iterator<Item = Line>) -> Result<Vec<Segment>, WorkloadError> {
    let mut segments = Vec::new();
    for line in lines {
        let (number, line) = line?;
        for count in
            line.split(',').map(|text| text.trim_matches(|c: char| c.is_whitespace() || "[]".contains(c)))
        {
            if count.is_empty() {
                continue;
            }
            let parsed = count.parse::<f64>().ok().filter(|count| *count >= 0.0 && count.is_finite());
            let Some(rate_rps) = parsed else {
                return Err(wrong(
                    path,
                    number,
                    format!("{count:?}"),
                    "requests of one second, a number of at least 0",
                ));
            };
            segments.push(Segment { seconds: 1.0, rate_rps });
        }
    }
    Ok(segments)
}

fn rate_csv(path: &Path, lines: impl Iterator<Item = Line>) -> Result<Vec<Segment>, WorkloadError> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut header_seen = false;
    for line in lines {
        let (number, line) = line?;
        if !header_seen {
            if line.replace(' ', "").trim() != "seconds,rate_rps" {
                return Err(wrong(path, number, format!("{line:?}"), "the header \"seconds,rate_rps\""));
            }
            header_seen = true;
            continue;
        }
        let point = line.split_once(',').and_then(|(seconds, rate)| {
            Some((seconds.trim().parse::<f64>().ok()?, rate.trim().parse::<f64>().ok()?))
        });
        let after = points.last().map_or(0.0, |(seconds, _)| *seconds);
        match point.filter(|(seconds, rate)| {
            seconds.is_finite()
                && rate.is_finite()
                && *rate >= 0.0
                && (*seconds > after || (points.is_empty() && *seconds == 0.0))
        }) {
            Some(point) => points.push(point),
            None => {
                return Err(wrong(
                    path,
                    number,
                    format!("{line:?}"),
                    "ascending seconds from 0 and a rate of at least 0",
                ));
            }
        }
    }
    if points.first().is_some_and(|(seconds, _)| *seconds > 0.0) {
        points.insert(0, (0.0, 0.0)); // nothing is known to arrive before the first line
    }
    let last = match points[..] {
        [.., (before, _), (last, _)] => last - before,
        _ => 1.0, // a single rate; it holds on if the trace repeats
    };
    let ends = points.iter().skip(1).map(|(seconds, _)| *seconds);
    let end = points.last().map_or(0.0, |(seconds, _)| seconds + last);
    let ends: Vec<f64> = ends.chain([end]).collect();
    Ok(points
        .iter()
        .zip(ends)
        .map(|((start, rate), end)| Segment { seconds: end - start, rate_rps: *rate })
        .collect())
}

fn read_error(path: &Path, error: &std::io::Error) -> WorkloadError {
    WorkloadError::Read { path: path.to_owned(), cause: error.to_string() }
}

fn wrong(path: &Path, line: u64, found: String, expected: &str) -> WorkloadError {
    WorkloadError::Content { path: path.to_owned(), line, found, expected: expected.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(text: &str, format: TraceFormat) -> Result<RateTrace, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        read_rates(file.path(), format, 10.0)
            .map_err(|error| error.to_string().replace(&file.path().display().to_string(), "FILE"))
    }

    fn rates(text: &str, format: TraceFormat) -> Vec<(f64, f64)> {
        read(text, format)
            .unwrap()
            .segments
            .iter()
            .map(|segment| (segment.seconds, segment.rate_rps))
            .collect()
    }

    #[test]
    fn each_format_is_read_as_rates() {
        assert_eq!(
            rates("j0\t1\t1\nj1\t9\t8\nj2\t25\t16\n", TraceFormat::Swim),
            [(10.0, 0.2), (10.0, 0.0), (10.0, 0.1)]
        );
        assert_eq!(
            rates("datetime,count\n1970-01-01 00:00:00,7200\n", TraceFormat::HourlyCounts),
            [(3600.0, 2.0)]
        );
        assert_eq!(rates("[0, 3,\n 5]", TraceFormat::CountsPerSecond), [(1.0, 0.0), (1.0, 3.0), (1.0, 5.0)]);
        assert_eq!(rates("seconds,rate_rps\n0,5\n10,2\n", TraceFormat::RateCsv), [(10.0, 5.0), (10.0, 2.0)]);
    }

    #[test]
    fn what_is_no_trace_is_told_with_its_line() {
        assert_eq!(
            read("j0\t1\nj1\tsoon\n", TraceFormat::Swim).unwrap_err(),
            "FILE, line 2: found \"j1\\tsoon\", expected tab-separated columns, the second one the submit time in seconds"
        );
        assert!(read("seconds,rate_rps\n5,1\n5,2\n", TraceFormat::RateCsv).unwrap_err().contains("line 3"));
        assert!(read("", TraceFormat::HourlyCounts).unwrap_err().contains("no request"));
        assert!(read("1,-2", TraceFormat::CountsPerSecond).unwrap_err().contains("\"-2\""));
    }

    #[test]
    fn timestamps_are_read_one_by_one_and_must_ascend() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"# seconds\n0.5\n\n2\n1\n").unwrap();
        let mut open = TimestampFile { path: file.path().to_owned(), time_factor: 2.0 }.open().unwrap();
        assert_eq!(
            [open.next_arrival().unwrap(), open.next_arrival().unwrap()],
            [Some(1_000_000_000), Some(4_000_000_000)]
        );
        assert!(
            open.next_arrival().unwrap_err().to_string().ends_with(
                "line 5: found \"1\", expected seconds as a number of at least 2, the line before"
            )
        );
    }

    #[test]
    fn a_trace_that_starts_later_loses_its_start_or_has_it_at_its_end() {
        let trace = read("[1, 2, 3]", TraceFormat::CountsPerSecond).unwrap();
        let of = |trace: RateTrace| -> Vec<(f64, f64)> {
            trace.segments.iter().map(|segment| (segment.seconds, segment.rate_rps)).collect()
        };
        assert_eq!(of(trace.clone().starting_at(1.25)), [(0.75, 2.0), (1.0, 3.0)]);
        assert_eq!(of(trace.clone().starting_at(2.0)), [(1.0, 3.0)]);
        assert_eq!(of(trace.clone().starting_at(9.0)), []);
        let repeated = RateTrace { repeat: true, ..trace };
        assert_eq!(
            of(repeated.clone().starting_at(1.25)),
            [(0.75, 2.0), (1.0, 3.0), (1.0, 1.0), (0.25, 2.0)]
        );
        assert_eq!(of(repeated.starting_at(2.0)), [(1.0, 3.0), (1.0, 1.0), (1.0, 2.0)]);
    }

    #[test]
    fn jobs_that_need_more_bins_than_fit_are_refused() {
        let found = read("j0\t1\nj1\t900000000\n", TraceFormat::Swim).unwrap_err();
        assert!(found.starts_with("FILE, line 2: found a submit time of 900000000 seconds"), "{found}");
    }

    #[test]
    fn a_trace_is_scaled_in_rate_and_in_time() {
        let trace = read("[1, 3]", TraceFormat::CountsPerSecond).unwrap();
        assert_eq!((trace.peak_rps(), trace.mean_rps()), (3.0, 2.0));
        let trace = trace.times(2.0).stretched(450.0);
        assert_eq!((trace.peak_rps(), trace.seconds()), (6.0, 900.0));
    }
}
