//! How things stand, as the admin API, the dashboard and the demo show it.

use std::time::Duration;

use serde::Serialize;
use wattle_core::id::ModelName;
use wattle_core::knob::{ServingLimits, ServingSetting};
use wattle_core::ledger::Totals;
use wattle_core::policy::Decision;
use wattle_core::provenance::Provenance;
use wattle_core::units::{CarbonIntensity, Joules, Watts};

use super::cap::CapOrigin;

/// How things stood at the last tick.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Seconds since the server started.
    pub uptime_seconds: f64,
    /// Name of the policy in force.
    pub policy: String,
    /// Mean power over the last tick; `None` when the device gave no reading.
    pub power_watts: Option<Watts>,
    /// How power is known.
    pub power_provenance: Option<Provenance>,
    /// The power cap in force.
    pub power_cap_watts: Option<Watts>,
    /// Where the cap comes from.
    pub power_cap_origin: CapOrigin,
    /// Carbon intensity now.
    pub carbon_intensity_g_per_kwh: Option<CarbonIntensity>,
    /// Where the carbon intensity comes from.
    pub carbon_source: Option<String>,
    /// The ledger's totals since the server started.
    pub ledger: Totals,
    /// Power against the cap since the server started.
    pub power: PowerWindow,
    /// Share of the device that was busy.
    pub utilization: Option<f64>,
    /// Each model.
    pub models: Vec<ModelStatus>,
    /// Device readings that failed.
    pub device_read_errors: u64,
    /// Decisions that could not be carried out.
    pub apply_errors: u64,
    /// How long the policy took to decide, last time, in microseconds.
    pub decide_us: Option<f64>,
}

impl Status {
    /// Nothing is known yet.
    pub(super) fn before_first_tick(policy: &str) -> Self {
        Self {
            uptime_seconds: 0.0,
            policy: policy.to_owned(),
            power_watts: None,
            power_provenance: None,
            power_cap_watts: None,
            power_cap_origin: CapOrigin::None,
            carbon_intensity_g_per_kwh: None,
            carbon_source: None,
            ledger: Totals::default(),
            power: PowerWindow::default(),
            utilization: None,
            models: Vec::new(),
            device_read_errors: 0,
            apply_errors: 0,
            decide_us: None,
        }
    }
}

/// One model, as it stands.
#[derive(Debug, Clone, Serialize)]
pub struct ModelStatus {
    /// Which model.
    pub name: ModelName,
    /// Versions served, ascending.
    pub versions: Vec<u64>,
    /// Where its knobs stand.
    pub setting: ServingSetting,
    /// How far its knobs turn.
    pub limits: ServingLimits,
    /// Requests that wait.
    pub queued_requests: u64,
    /// Requests answered since it was loaded.
    pub completed_requests: u64,
    /// Rows answered since it was loaded.
    pub completed_rows: u64,
    /// Batches run since it was loaded.
    pub executed_batches: u64,
    /// Requests not answered since it was loaded: refused, expired or failed.
    pub failed_requests: u64,
    /// Median latency since it was loaded, from arrival to answer, without the network.
    pub latency_ms_p50: Option<f64>,
    /// 95th percentile.
    pub latency_ms_p95: Option<f64>,
    /// 99th percentile.
    pub latency_ms_p99: Option<f64>,
}

/// Power against the cap over some time. Sums over samples: a violation shorter than a tick is seen
/// only as far as it raises that tick's mean.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PowerWindow {
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

impl PowerWindow {
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
pub(super) fn is_over(power: Watts, cap: Watts) -> bool {
    power > cap * (1.0 + 1e-9)
}

/// Power of one tick with the cap of its time.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PowerPoint {
    /// Seconds since the server started.
    pub seconds: f64,
    /// Mean power of the tick.
    pub power_watts: Watts,
    /// The cap then.
    pub power_cap_watts: Option<Watts>,
}

/// A decision, when it was made and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct DecisionRecord {
    /// Seconds since the server started.
    pub seconds: f64,
    /// Who decided.
    pub policy: &'static str,
    /// Highest power the policy was shown.
    pub power_watts_max: Option<Watts>,
    /// The cap the policy was shown.
    pub power_cap_watts: Option<Watts>,
    /// What was decided, with reasons.
    pub decision: Decision,
    /// The reasons as sentences.
    pub because: Vec<String>,
    /// How long deciding took, in microseconds.
    pub decide_us: f64,
    /// What of it could not be carried out, and why.
    pub errors: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_power_over_the_cap_counts_as_a_violation() {
        let tick = Duration::from_millis(100);
        let mut window = PowerWindow::default();
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
