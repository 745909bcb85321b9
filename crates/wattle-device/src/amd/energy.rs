//! Energy of an AMD GPU: its counter, as long as that is possible, and the integral of power where not.
//!
//! Counters of AMD GPUs are known to stand still, to run at a wrong rate (MI100), to run backwards and to
//! read 0 on the second die of an MI250 (ROCm/amdsmi#22, #38 and #115; ml-energy/zeus#113). So a counter
//! is on trial first and watched from then on: over a window it must tell between a tenth and ten times
//! the integral of power, the bounds that Zeus uses. Pure: readings in, joules out.

use wattle_core::time::Timestamp;
use wattle_core::units::Joules;

/// Least and most that a counter may tell, as a share of the integral of power.
const POSSIBLE: std::ops::RangeInclusive<f64> = 0.1..=10.0;
/// Length of the trial of a counter, in seconds.
const TRIAL_SECS: f64 = 2.0;
/// Length of a later window, in seconds. Also that of the trial where there is no power to compare with.
const WINDOW_SECS: f64 = 10.0;
/// Fewest readings that make a window: an integral of fewer says little.
const WINDOW_READINGS: u32 = 5;
/// Least energy of a window, in joules: counters have steps.
const WINDOW_JOULES: f64 = 1.0;

/// The energy of one GPU since the first reading.
#[derive(Debug, Default)]
pub(super) struct EnergyMeter {
    joules: f64,
    /// The last power that was known, and when.
    power: Option<(Timestamp, f64)>,
    /// The last count that was known, in joules.
    count: Option<f64>,
    /// What power has filled in since the counter last moved, in joules: part of its next step.
    filled_in: f64,
    standing: Standing,
    window: Option<Window>,
}

/// What is thought of the counter.
#[derive(Debug, Default, Clone, PartialEq)]
enum Standing {
    /// Not yet known to be possible: the integral of power counts.
    #[default]
    OnTrial,
    /// Possible so far.
    Trusted,
    /// Not possible, and why. Stays so.
    Refused(String),
}

#[derive(Debug)]
struct Window {
    since: Timestamp,
    readings: u32,
    counted: f64,
    integral: f64,
    /// Energy when the window began.
    joules_before: f64,
}

impl EnergyMeter {
    /// Takes one reading: power in watts and the counter in joules, each where known. Returns the energy
    /// since the first reading, which never falls; `None` where neither is known now.
    pub(super) fn advance(
        &mut self,
        at: Timestamp,
        power: Option<f64>,
        count: Option<f64>,
    ) -> Option<Joules> {
        let integral = self.integral_step(at, power);
        let counted = match (self.count, count) {
            (Some(before), Some(now)) if now < before => {
                self.refuse(format!("it ran backwards, from {before:.1} J to {now:.1} J"));
                0.0
            }
            (Some(before), Some(now)) => now - before,
            _ => 0.0,
        };
        self.count = count.or(self.count);

        let window = self.window.get_or_insert(Window {
            since: at,
            readings: 0,
            counted: 0.0,
            integral: 0.0,
            joules_before: self.joules,
        });
        window.readings += 1;
        window.counted += counted;
        window.integral += integral;
        self.joules += if self.counts() { self.step(counted, integral) } else { integral };
        self.judge(at);
        let is_known = power.is_some() || (self.counts() && count.is_some());
        is_known.then(|| Joules::new(self.joules))
    }

    /// A step of the counter, which is the one that counts. While it stands still power fills in, so that a
    /// counter that freezes is not taken for a GPU that draws nothing.
    fn step(&mut self, counted: f64, integral: f64) -> f64 {
        if counted > 0.0 {
            let ahead = std::mem::take(&mut self.filled_in);
            self.filled_in = (ahead - counted).max(0.0);
            (counted - ahead).max(0.0)
        } else {
            self.filled_in += integral;
            integral
        }
    }

    /// How the energy is known, for people.
    pub(super) fn source(&self) -> String {
        match &self.standing {
            _ if self.counts() => "the energy counter".into(),
            Standing::OnTrial if self.count.is_none() => "the integral of power: there is no counter".into(),
            Standing::OnTrial | Standing::Trusted => {
                "the integral of power, while the counter is on trial against it".into()
            }
            Standing::Refused(why) => format!("the integral of power: the counter is not possible, {why}"),
        }
    }

    /// Whether it is the counter that counts: where it is trusted, and where there is nothing else.
    fn counts(&self) -> bool {
        match self.standing {
            Standing::Trusted => true,
            Standing::OnTrial => self.power.is_none() && self.count.is_some(),
            Standing::Refused(_) => false,
        }
    }

    /// Energy since the last known power, by the mean of both ends.
    fn integral_step(&mut self, at: Timestamp, power: Option<f64>) -> f64 {
        let Some(now) = power else { return 0.0 };
        let (before, then) = self.power.unwrap_or((at, now));
        let step = (then + now) / 2.0 * (at - before).as_secs_f64();
        // Time that runs backwards must not be counted twice.
        self.power = Some((at.max(before), now));
        step
    }

    /// Judges the counter where the window is long enough, and begins the next one.
    fn judge(&mut self, at: Timestamp) {
        let Some(window) = &self.window else { return };
        let has_power = self.power.is_some();
        let on_trial = self.standing == Standing::OnTrial && has_power;
        let length = if on_trial { TRIAL_SECS } else { WINDOW_SECS };
        let secs = (at - window.since).as_secs_f64();
        if secs < length || window.readings < WINDOW_READINGS {
            return;
        }
        let (counted, integral) = (window.counted, window.integral);
        if matches!(self.standing, Standing::Refused(_)) || self.count.is_none() {
            self.window = None;
        } else if !has_power {
            // Nothing to compare with, but a GPU always draws: one that counts nothing is not counting.
            match counted > 0.0 {
                true => self.window = None,
                false => self.refuse(format!("it stood still for {secs:.0} s")),
            }
        } else if integral >= WINDOW_JOULES {
            if POSSIBLE.contains(&(counted / integral)) {
                self.standing = Standing::Trusted;
                self.window = None;
            } else {
                self.refuse(format!(
                    "it told {counted:.1} J in {secs:.0} s where power adds up to {integral:.1} J"
                ));
            }
        }
    }

    /// Counts no more by the counter. The window that gave it away is counted by power instead, as far as
    /// that adds energy: what was told before is never taken back.
    fn refuse(&mut self, why: String) {
        if let Some(window) = self.window.take() {
            self.joules = self.joules.max(window.joules_before + window.integral);
        }
        if !matches!(self.standing, Standing::Refused(_)) {
            tracing::warn!(why, "the energy counter of a GPU is not possible; power is added up instead");
            self.standing = Standing::Refused(why);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// Readings every 0.1 s for `secs`: 200 W, and a counter that `count` gives for each second passed.
    fn run(secs: u32, power: Option<f64>, count: impl Fn(f64) -> Option<f64>) -> (Option<f64>, String) {
        let mut meter = EnergyMeter::default();
        let mut last = None;
        for tick in 0..=secs * 10 {
            let at = f64::from(tick) / 10.0;
            last = meter.advance(Timestamp::from_duration(Duration::from_secs_f64(at)), power, count(at));
        }
        (last.map(|joules| joules.get().round()), meter.source())
    }

    #[test]
    fn a_counter_that_agrees_with_power_is_trusted_after_its_trial() {
        let (joules, source) = run(20, Some(200.0), |at| Some(1e6 + 210.0 * at));
        // Two seconds by power, the rest by the counter.
        assert_eq!((joules, source.as_str()), (Some(2.0 * 200.0 + 18.0 * 210.0), "the energy counter"));
    }

    #[test]
    fn a_counter_that_never_moves_is_refused_and_power_is_added_up() {
        let (joules, source) = run(20, Some(200.0), |_| Some(5.0));
        assert_eq!(joules, Some(4000.0));
        assert!(source.contains("it told 0.0 J in 2 s where power adds up to 4"), "{source}");
    }

    #[test]
    fn a_counter_that_freezes_later_is_never_taken_for_a_gpu_that_draws_nothing() {
        let mut meter = EnergyMeter::default();
        let mut before = 0.0;
        for tick in 1..=600 {
            let at = f64::from(tick) / 10.0;
            let now = Timestamp::from_duration(Duration::from_secs_f64(at));
            let count = 1e6 + 200.0 * at.min(30.0);
            let joules = meter.advance(now, Some(200.0), Some(count)).unwrap().get();
            assert!(tick == 1 || (joules - before - 20.0).abs() < 1e-6, "{before} to {joules} at {at}");
            before = joules;
        }
        assert!(meter.source().contains("not possible"), "{}", meter.source());
    }

    #[test]
    fn a_counter_that_moves_once_a_second_counts_what_it_tells_and_no_more() {
        let (joules, source) = run(20, Some(200.0), |at| Some(1e6 + 210.0 * at.floor()));
        assert_eq!((joules, source.as_str()), (Some(2.0 * 200.0 + 18.0 * 210.0), "the energy counter"));
    }

    #[test]
    fn what_is_not_told_now_is_unknown_now_and_made_up_for_later() {
        let mut meter = EnergyMeter::default();
        let at = |secs| Timestamp::from_duration(Duration::from_secs(secs));
        assert_eq!(meter.advance(at(0), Some(200.0), None), Some(Joules::ZERO));
        assert_eq!(meter.advance(at(1), None, None), None);
        assert_eq!(meter.advance(at(2), Some(200.0), None), Some(Joules::new(400.0)));
    }

    #[test]
    fn a_counter_at_a_wrong_rate_is_refused() {
        let (joules, source) = run(20, Some(200.0), |at| Some(1e6 + 15.3 * 200.0 * at));
        assert_eq!(joules, Some(4000.0));
        assert!(source.contains("not possible"), "{source}");
    }

    #[test]
    fn a_counter_that_runs_backwards_is_refused() {
        let (joules, source) =
            run(30, Some(200.0), |at| Some(if at < 15.0 { 1e6 + 200.0 * at } else { 1e5 }));
        assert_eq!(joules, Some(6000.0));
        assert!(source.contains("it ran backwards, from 1002980.0 J to 100000.0 J"), "{source}");
    }

    #[test]
    fn without_a_counter_power_is_added_up_and_without_either_energy_is_unknown() {
        assert_eq!(run(10, Some(200.0), |_| None).0, Some(2000.0));
        assert_eq!(run(10, None, |_| None).0, None);
    }

    #[test]
    fn without_power_a_counter_counts_until_it_stands_still() {
        assert_eq!(run(9, None, |at| Some(1.0 + 100.0 * at)).0, Some(900.0));
        assert_eq!(run(30, None, |_| Some(1.0)), (None, run(30, None, |_| Some(1.0)).1));
    }

    proptest! {
        #[test]
        fn energy_never_falls_and_is_never_forgotten_where_power_is_known(
            readings in prop::collection::vec((0..5000u64, 1.0..1000.0f64, prop::option::of(1.0..1e9f64)), 1..200),
        ) {
            let mut meter = EnergyMeter::default();
            let (mut at, mut before) = (Timestamp::ZERO, 0.0);
            for (millis, power, count) in readings {
                at = at + Duration::from_millis(millis);
                let energy = meter.advance(at, Some(power), count).unwrap().get();
                prop_assert!(energy >= before, "{before} to {energy}");
                before = energy;
            }
        }
    }
}
