//! Where requests come from: a rate, clients that wait for their answers, or a file.

mod file;

use std::path::PathBuf;
use std::time::Duration;

pub use file::{OpenTimestamps, TimestampFile, TraceFormat, read_rates};

/// Where the requests of one stream come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// Always more than is served. At request level: enough clients that wait for their answers.
    Saturated,
    /// Independent requests at a mean rate.
    Poisson {
        /// Requests per second.
        rate_rps: f64,
    },
    /// Requests at even distances.
    Constant {
        /// Requests per second.
        rate_rps: f64,
    },
    /// Clients of which each sends its next request when it has the answer to the last.
    ClosedLoop {
        /// How many clients.
        clients: u32,
        /// How long each waits after an answer.
        think: Duration,
    },
    /// A rate that changes.
    Rates {
        /// The rates.
        trace: RateTrace,
        /// Whether requests are independent within a stretch, or at even distances.
        poisson: bool,
    },
    /// A file of arrival times, read as it is needed.
    Timestamps(TimestampFile),
}

/// A rate over time, as stretches of a constant rate.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RateTrace {
    /// The stretches, in their order.
    pub segments: Vec<Segment>,
    /// Whether it begins again after its end.
    pub repeat: bool,
}

/// A stretch of a constant rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Segment {
    /// How long it is.
    pub seconds: f64,
    /// Requests per second.
    pub rate_rps: f64,
}

impl RateTrace {
    /// Whether any request ever arrives.
    pub fn has_arrivals(&self) -> bool {
        self.segments.iter().any(|segment| segment.rate_rps > 0.0 && segment.seconds > 0.0)
    }

    /// Length of the trace, once.
    pub fn seconds(&self) -> f64 {
        self.segments.iter().map(|segment| segment.seconds).sum()
    }

    /// The highest rate.
    pub fn peak_rps(&self) -> f64 {
        self.segments.iter().map(|segment| segment.rate_rps).fold(0.0, f64::max)
    }

    /// The mean rate over its length.
    pub fn mean_rps(&self) -> f64 {
        let requests: f64 = self.segments.iter().map(|segment| segment.seconds * segment.rate_rps).sum();
        requests / self.seconds()
    }

    /// The trace with every rate times `factor`.
    pub fn times(mut self, factor: f64) -> Self {
        self.segments.iter_mut().for_each(|segment| segment.rate_rps *= factor);
        self
    }

    /// The trace with every stretch `factor` times as long, and its rates as they are.
    pub fn stretched(mut self, factor: f64) -> Self {
        self.segments.iter_mut().for_each(|segment| segment.seconds *= factor);
        self
    }

    /// The trace from `seconds` on. If it repeats, what is before comes after its end.
    pub fn starting_at(mut self, seconds: f64) -> Self {
        let mut into = seconds;
        let mut whole = 0;
        for segment in &self.segments {
            if into < segment.seconds {
                break;
            }
            into -= segment.seconds;
            whole += 1;
        }
        self.segments.rotate_left(whole);
        let kept = self.segments.len() - whole;
        if let Some(split) = self.segments.first_mut().filter(|_| kept > 0 && into > 0.0) {
            let before = Segment { seconds: into, ..*split };
            split.seconds -= into;
            self.segments.push(before);
        }
        if !self.repeat {
            self.segments.truncate(kept);
        }
        self
    }
}

/// A file of requests that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    /// It can't be read.
    #[error("failed to read {path}: {cause}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// It holds something else.
    #[error("{path}, line {line}: found {found}, expected {expected}")]
    Content {
        /// Which file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What stands there.
        found: String,
        /// What could stand there.
        expected: String,
    },
}
