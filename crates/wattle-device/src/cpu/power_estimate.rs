//! What a CPU without energy counters draws, estimated from how busy it is.
//!
//! Power = idle + (full - idle) x utilisation, a straight line between two figures that are assumed.

use wattle_core::provenance::{Basis, Provenance};
use wattle_core::time::Timestamp;
use wattle_core::units::{Joules, Watts};

/// Watts of one idle logical core: see [`CpuPowerEstimate::of_logical_cores`].
const IDLE_WATTS_PER_LOGICAL_CORE: f64 = 0.74;
/// Watts of one fully busy logical core: see [`CpuPowerEstimate::of_logical_cores`].
const FULL_WATTS_PER_LOGICAL_CORE: f64 = 3.5;

/// The two ends of the line that power is estimated by.
#[derive(Debug, Clone, PartialEq)]
pub struct CpuPowerEstimate {
    idle_watts: Watts,
    full_watts: Watts,
    source: String,
}

/// The two ends of a power estimate don't make a line that a CPU could follow.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("CPU power is {idle_watts} idle and {full_watts} full, expected 0 W <= idle <= full")]
pub struct CpuPowerEstimateError {
    /// The idle power given.
    pub idle_watts: Watts,
    /// The full power given.
    pub full_watts: Watts,
}

impl CpuPowerEstimate {
    /// The line from `idle_watts` to `full_watts`, for the whole machine; `source` says whose figures
    /// these are.
    pub fn new(
        idle_watts: Watts,
        full_watts: Watts,
        source: impl Into<String>,
    ) -> Result<Self, CpuPowerEstimateError> {
        let ordered = Watts::ZERO <= idle_watts && idle_watts <= full_watts && full_watts.get().is_finite();
        if !ordered {
            return Err(CpuPowerEstimateError { idle_watts, full_watts });
        }
        Ok(Self { idle_watts, full_watts, source: source.into() })
    }

    /// The line of an average server: 0.74 W idle and 3.5 W full per logical core, which Cloud Carbon
    /// Footprint derives for the machines of AWS from SPECpower_ssj2008. Whole servers were metered,
    /// at the wall.
    pub fn of_logical_cores(count: u32) -> Self {
        Self {
            idle_watts: Watts::new(IDLE_WATTS_PER_LOGICAL_CORE) * f64::from(count),
            full_watts: Watts::new(FULL_WATTS_PER_LOGICAL_CORE) * f64::from(count),
            source: format!(
                "{IDLE_WATTS_PER_LOGICAL_CORE} W idle and {FULL_WATTS_PER_LOGICAL_CORE} W full for each of \
                 {count} logical cores, Cloud Carbon Footprint's AWS average from SPECpower_ssj2008"
            ),
        }
    }

    /// Power with nothing to do.
    pub fn idle_watts(&self) -> Watts {
        self.idle_watts
    }

    /// Power with every core busy.
    pub fn full_watts(&self) -> Watts {
        self.full_watts
    }

    /// That this is assumed, with both ends and whose figures they are.
    pub fn provenance(&self) -> Provenance {
        let Self { idle_watts, full_watts, source } = self;
        let line = format!("from {idle_watts} idle to {full_watts} full, by CPU utilisation ({source})");
        Provenance::new(Basis::Assumed, line)
    }

    fn power(&self, utilization: f64) -> Watts {
        self.idle_watts + (self.full_watts - self.idle_watts) * utilization
    }
}

/// Adds up estimated power over time.
#[derive(Debug)]
pub(super) struct EstimatedEnergy {
    estimate: CpuPowerEstimate,
    /// Energy up to the start of the present window.
    settled: Joules,
    window_start: Option<Timestamp>,
    /// Power over the last window that ended.
    power: Option<Watts>,
    /// The highest energy told so far.
    told: Joules,
}

impl EstimatedEnergy {
    pub(super) fn new(estimate: CpuPowerEstimate) -> Self {
        Self { estimate, settled: Joules::ZERO, window_start: None, power: None, told: Joules::ZERO }
    }

    /// Goes on from `energy`, which was known otherwise before.
    pub(super) fn starting_at(mut self, energy: Joules) -> Self {
        (self.settled, self.told) = (energy, energy);
        self
    }

    /// Estimated power over the last window that ended; `None` before the first one.
    pub(super) fn power(&self) -> Option<Watts> {
        self.power
    }

    /// Energy from the first call to `now`. `utilization` is that of the window that ends at `now`, or
    /// `None` while it goes on: energy is then told by the last known power, and settled when the
    /// window ends. Should that have been too much, energy stands still until it is made up for.
    pub(super) fn advance(&mut self, now: Timestamp, utilization: Option<f64>) -> Joules {
        let elapsed = now - *self.window_start.get_or_insert(now);
        let unsettled = if let Some(utilization) = utilization {
            let power = self.estimate.power(utilization);
            self.settled += power * elapsed;
            self.window_start = Some(now);
            self.power = Some(power);
            Joules::ZERO
        } else {
            self.power.unwrap_or(self.estimate.idle_watts) * elapsed
        };
        self.told = self.told.max(self.settled + unsettled);
        self.told
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at_ms(milliseconds: u64) -> Timestamp {
        Timestamp::from_duration(Duration::from_millis(milliseconds))
    }

    fn estimate(idle: f64, full: f64) -> Result<CpuPowerEstimate, CpuPowerEstimateError> {
        CpuPowerEstimate::new(Watts::new(idle), Watts::new(full), "the test")
    }

    #[test]
    fn names_both_ends_and_whose_table() {
        assert_eq!(
            CpuPowerEstimate::of_logical_cores(10).provenance().to_string(),
            "assumed: from 7.4 W idle to 35.0 W full, by CPU utilisation (0.74 W idle and 3.5 W full for each \
             of 10 logical cores, Cloud Carbon Footprint's AWS average from SPECpower_ssj2008)"
        );
    }

    #[test]
    fn refuses_a_line_no_cpu_follows() {
        assert_eq!(
            estimate(20.0, 10.0).unwrap_err().to_string(),
            "CPU power is 20.0 W idle and 10.0 W full, expected 0 W <= idle <= full"
        );
        for (idle, full) in [(-1.0, 10.0), (f64::NAN, 10.0), (1.0, f64::NAN), (1.0, f64::INFINITY)] {
            assert!(estimate(idle, full).is_err(), "{idle} to {full}");
        }
    }

    #[test]
    fn energy_is_the_integral_of_power_at_every_window_end() {
        let mut energy = EstimatedEnergy::new(estimate(10.0, 50.0).unwrap());
        assert_eq!(energy.advance(at_ms(5_000), None), Joules::ZERO);
        assert_eq!(energy.power(), None);
        assert_eq!(energy.advance(at_ms(5_500), None).get(), 5.0);
        assert_eq!(energy.advance(at_ms(6_000), Some(1.0)).get(), 50.0);
        assert_eq!(energy.power(), Some(Watts::new(50.0)));
        assert_eq!(energy.advance(at_ms(7_000), Some(0.5)).get(), 80.0);
    }

    #[test]
    fn energy_stands_still_rather_than_run_backwards() {
        let mut energy = EstimatedEnergy::new(estimate(10.0, 50.0).unwrap());
        energy.advance(at_ms(0), None);
        energy.advance(at_ms(1_000), Some(1.0));
        assert_eq!(energy.advance(at_ms(1_900), None).get(), 95.0, "by the last known power");
        assert_eq!(energy.advance(at_ms(2_000), Some(0.0)).get(), 95.0, "60 J would run backwards");
        assert_eq!(energy.advance(at_ms(1_000), None).get(), 95.0, "time ran backwards");
        assert_eq!(energy.advance(at_ms(10_000), Some(0.0)).get(), 140.0, "made up for");
    }
}
