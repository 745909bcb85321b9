//! When requests arrive: one stream, drawn from its seed, never held in memory as a whole.

use rand::SeedableRng;
use rand_distr::{Distribution, Exp1};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::workload::{OpenTimestamps, RateTrace, Source, WorkloadError};

/// Random numbers of one purpose, such as one stream's arrivals: streams don't disturb each other.
pub(crate) fn rng(seed: u64, purpose: u64) -> Xoshiro256PlusPlus {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    // Each purpose has a stretch of 2^128 numbers of its own.
    for _ in 0..purpose {
        rng.jump();
    }
    rng
}

/// The arrival times of one open stream, ascending.
#[derive(Debug)]
pub struct Arrivals {
    kind: Kind,
    rng: Xoshiro256PlusPlus,
}

#[derive(Debug)]
enum Kind {
    Poisson {
        rate_rps: f64,
        seconds: f64,
    },
    Constant {
        period_nanos: f64,
        next: u64,
    },
    Rates {
        walk: RateWalk,
        poisson: bool,
    },
    Timestamps(Box<OpenTimestamps>),
    /// A closed stream makes its own arrivals.
    None,
}

/// A walk along a trace of rates: where it stands, in seconds and in expected arrivals.
#[derive(Debug)]
struct RateWalk {
    trace: RateTrace,
    /// Arrivals that are expected over the trace, once.
    requests: f64,
    segment: usize,
    /// Start of the segment, and the time reached, in seconds.
    starts: f64,
    at: f64,
}

impl RateWalk {
    /// Walks on until `expected` more arrivals are expected; `None` at the end of the trace.
    fn walk(&mut self, mut expected: f64) -> Option<f64> {
        loop {
            let segment = self.trace.segments.get(self.segment)?;
            let ends = self.starts + segment.seconds;
            let left = (ends - self.at) * segment.rate_rps;
            if expected < left {
                self.at += expected / segment.rate_rps;
                return Some(self.at);
            }
            expected -= left;
            self.at = ends;
            self.starts = ends;
            self.segment += 1;
            if self.segment == self.trace.segments.len() && self.trace.repeat {
                self.segment = 0;
                // Rounds in which nothing arrives are passed over at once.
                let rounds = (expected / self.requests).floor();
                if rounds >= 1.0 {
                    expected -= rounds * self.requests;
                    self.at += rounds * self.trace.seconds();
                    self.starts = self.at;
                }
            }
        }
    }
}

impl Arrivals {
    /// The arrivals of `source`, drawn from `seed` as stream number `stream`.
    ///
    /// # Errors
    /// When a file of timestamps can't be opened.
    pub fn new(source: &Source, seed: u64, stream: u64) -> Result<Self, WorkloadError> {
        let kind = match source {
            Source::Poisson { rate_rps } if *rate_rps > 0.0 => {
                Kind::Poisson { rate_rps: *rate_rps, seconds: 0.0 }
            }
            Source::Constant { rate_rps } if *rate_rps > 0.0 => {
                Kind::Constant { period_nanos: 1e9 / rate_rps, next: 1 }
            }
            Source::Rates { trace, poisson } if trace.has_arrivals() => {
                let requests = trace.mean_rps() * trace.seconds();
                let walk = RateWalk { trace: trace.clone(), requests, segment: 0, starts: 0.0, at: 0.0 };
                Kind::Rates { walk, poisson: *poisson }
            }
            Source::Timestamps(file) => Kind::Timestamps(Box::new(file.open()?)),
            _ => Kind::None,
        };
        Ok(Self { kind, rng: rng(seed, stream) })
    }

    /// The next arrival in nanoseconds since the start of the run; `None` when there is none.
    ///
    /// # Errors
    /// When a file of timestamps can't be read on.
    pub fn next_arrival(&mut self) -> Result<Option<u64>, WorkloadError> {
        Ok(match &mut self.kind {
            Kind::Poisson { rate_rps, seconds } => {
                let step: f64 = Exp1.sample(&mut self.rng);
                *seconds += step / *rate_rps;
                Some(nanos(*seconds))
            }
            Kind::Constant { period_nanos, next } => {
                let at = (*next as f64 * *period_nanos) as u64;
                *next += 1;
                Some(at)
            }
            Kind::Rates { walk, poisson } => {
                let step: f64 = if *poisson { Exp1.sample(&mut self.rng) } else { 1.0 };
                walk.walk(step).map(nanos)
            }
            Kind::Timestamps(file) => file.next_arrival()?,
            Kind::None => None,
        })
    }
}

/// To the nearest nanosecond; beyond some 580 years the last one there is.
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9 + 0.5) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Segment;

    fn take(source: &Source, n: usize) -> Vec<f64> {
        let mut arrivals = Arrivals::new(source, 7, 0).unwrap();
        (0..n).map_while(|_| arrivals.next_arrival().unwrap()).map(|at| at as f64 / 1e9).collect()
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_the_spread_of_an_exponential() {
        let times = take(&Source::Poisson { rate_rps: 50.0 }, 200_000);
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean * 50.0 - 1.0).abs() < 0.01, "{mean}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.01, "{variance}");
    }

    #[test]
    fn a_constant_rate_never_drifts() {
        let times = take(&Source::Constant { rate_rps: 3.0 }, 3_000_000);
        assert!((times.last().unwrap() - 1e6).abs() < 1e-6);
    }

    #[test]
    fn a_trace_of_rates_gives_each_stretch_its_arrivals() {
        let segments = vec![
            Segment { seconds: 100.0, rate_rps: 10.0 },
            Segment { seconds: 100.0, rate_rps: 0.0 },
            Segment { seconds: 100.0, rate_rps: 200.0 },
        ];
        let trace = RateTrace { segments, repeat: false };
        for poisson in [true, false] {
            let times = take(&Source::Rates { trace: trace.clone(), poisson }, 1_000_000);
            let within =
                |from: f64, to: f64| times.iter().filter(|at| (from..to).contains(*at)).count() as f64;
            assert!((within(0.0, 100.0) - 1000.0).abs() < 120.0);
            assert_eq!(within(100.001, 200.0), 0.0);
            assert!((within(200.0, 300.0) - 20_000.0).abs() < 500.0);
            assert!(times.len() < 22_000, "it ends");
        }
        let again = Source::Rates { trace: RateTrace { repeat: true, ..trace }, poisson: false };
        assert!(*take(&again, 50_000).last().unwrap() > 600.0, "it begins again");
    }

    #[test]
    fn a_repeated_trace_of_few_requests_comes_to_its_mean_rate_without_a_walk_through_every_round() {
        let segments =
            vec![Segment { seconds: 0.75, rate_rps: 0.0 }, Segment { seconds: 0.25, rate_rps: 4e-9 }];
        let trace = RateTrace { segments, repeat: true };
        let times = take(&Source::Rates { trace, poisson: false }, 9);
        for (index, at) in (1..).zip(&times) {
            assert!((at / (f64::from(index) * 1e9) - 1.0).abs() < 1e-6, "{at}");
        }
        assert_eq!(times.len(), 9);
    }

    #[test]
    fn streams_of_one_seed_differ_and_the_same_stream_repeats() {
        let draw = |stream| {
            let source = Source::Poisson { rate_rps: 1.0 };
            let mut arrivals = Arrivals::new(&source, 1, stream).unwrap();
            (0..5).map(|_| arrivals.next_arrival().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draw(0), draw(0));
        assert_ne!(draw(0), draw(1));
    }
}
