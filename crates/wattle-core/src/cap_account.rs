//! Power against the cap, counted the same way by the control loop and by a replay.

use std::time::Duration;

use serde::Serialize;

use crate::units::{Joules, Watts};

/// Power against the cap over some time. Sums over samples: a violation shorter than a tick is seen
/// only as far as it raises that tick's mean.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CapAccount {
    /// Time covered by samples.
    pub seconds: f64,
    /// Energy drawn in that time.
    pub energy_joules: Joules,
    /// Highest mean power of a tick; `None` before the first.
    pub power_watts_max: Option<Watts>,
    /// Time for which a cap was in force.
    pub capped_seconds: f64,
    /// Sum of the cap over that time, for its mean.
    pub cap_joules: Joules,
    /// Time in which power was over the cap.
    pub violation_seconds: f64,
    /// Energy above the cap.
    pub violation_joules: Joules,
    /// Longest time in one piece over the cap.
    pub longest_violation_seconds: f64,
    #[serde(skip)]
    current_violation_seconds: f64,
}

impl CapAccount {
    /// Counts `power` over `interval`, with `cap` in force.
    pub fn add(&mut self, power: Watts, interval: Duration, cap: Option<Watts>) {
        let seconds = interval.as_secs_f64();
        self.seconds += seconds;
        self.energy_joules += power * interval;
        self.power_watts_max = Some(self.power_watts_max.map_or(power, |max| max.max(power)));
        let Some(cap) = cap.filter(|cap| cap.get().is_finite()) else {
            self.current_violation_seconds = 0.0;
            return;
        };
        self.capped_seconds += seconds;
        self.cap_joules += cap * interval;
        if is_over(power, cap) {
            self.violation_seconds += seconds;
            self.violation_joules += (power - cap) * interval;
            self.current_violation_seconds += seconds;
            self.longest_violation_seconds =
                self.longest_violation_seconds.max(self.current_violation_seconds);
        } else {
            self.current_violation_seconds = 0.0;
        }
    }

    /// Mean power; `None` before the first sample.
    pub fn power_watts_mean(&self) -> Option<Watts> {
        (self.seconds > 0.0).then(|| Watts::new(self.energy_joules.get() / self.seconds))
    }

    /// Mean cap while one was in force.
    pub fn cap_watts_mean(&self) -> Option<Watts> {
        (self.capped_seconds > 0.0).then(|| Watts::new(self.cap_joules.get() / self.capped_seconds))
    }
}

/// Whether `power` is over `cap` by more than the rounding of sums of energy.
pub fn is_over(power: Watts, cap: Watts) -> bool {
    power > cap * (1.0 + 1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_power_over_the_cap_counts_as_a_violation() {
        let tick = Duration::from_millis(100);
        let mut window = CapAccount::default();
        for (power, cap) in
            [(5.0, None), (5.0, Some(4.0)), (6.0, Some(4.0)), (4.0, Some(4.0)), (7.0, Some(6.0))]
        {
            window.add(Watts::new(power), tick, cap.map(Watts::new));
        }
        let near =
            |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-9, "{found}, wanted {wanted}");
        near(window.violation_seconds, 0.3);
        near(window.violation_joules.get(), 0.4);
        near(window.longest_violation_seconds, 0.2);
        near(window.capped_seconds, 0.4);
        near(window.power_watts_mean().unwrap().get(), 5.4);
        near(window.cap_watts_mean().unwrap().get(), 4.5);
        assert_eq!(window.power_watts_max, Some(Watts::new(7.0)));
    }
}
