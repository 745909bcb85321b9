//! What is kept clear below a cap, so that the noise and drift of power do not violate it.

use std::time::Duration;

use crate::forecast::Holt;
use crate::observation::Observation;
use crate::time::Timestamp;
use crate::units::Watts;

/// Samples at one setting before anything is said of them.
const ENOUGH_SAMPLES: u32 = 20;
/// In so many seconds half of the margin is given up: it is learned again where it is needed.
const HALF_SECONDS: f64 = 60.0;
/// A margin of less than this share of the cap is none.
const SMALLEST_SHARE: f64 = 0.001;
/// A cap that falls by more than this share makes what was drawn before it no guide.
const OTHER_CAP: f64 = 0.02;

/// The margin. Raised at once when the power forecast for the lead, with some standard deviations of
/// noise, is over the cap; given up slowly.
#[derive(Debug, Clone)]
pub(super) struct Margin {
    deviations: f64,
    max_share: f64,
    kept: Watts,
    power: Holt,
    /// Since when the setting stands.
    since: Timestamp,
    last_sample: Timestamp,
    last_cap: Option<Watts>,
    last_asked: Timestamp,
}

impl Margin {
    pub(super) fn new(deviations: f64, max_share: f64) -> Self {
        Self {
            deviations,
            max_share,
            kept: Watts::ZERO,
            power: new_holt(),
            since: Timestamp::ZERO,
            last_sample: Timestamp::ZERO,
            last_cap: None,
            last_asked: Timestamp::ZERO,
        }
    }

    /// A knob is turned now.
    pub(super) fn turned(&mut self, now: Timestamp) {
        self.since = now;
        self.power = new_holt();
    }

    /// The margin below `cap`, which is to be kept for `lead`. Batches take `batch_time`.
    pub(super) fn take_in(
        &mut self,
        seen: &Observation,
        cap: Watts,
        lead: Duration,
        batch_time: Duration,
    ) -> Watts {
        let made = seen.models.iter().map(|model| model.setting_since).max();
        if let Some(made) = made.filter(|made| *made > self.since) {
            self.turned(made);
        }
        if self.last_cap.replace(cap).is_some_and(|last| cap < last * (1.0 - OTHER_CAP)) {
            self.power = new_holt();
        }
        self.add_samples(seen, batch_time);

        let passed = (seen.now - std::mem::replace(&mut self.last_asked, seen.now)).as_secs_f64();
        self.kept = self.kept * 0.5f64.powf(passed / HALF_SECONDS);
        if self.power.count() >= ENOUGH_SAMPLES
            && let Some(forecast) = self.power.forecast(lead)
        {
            let highest = forecast.max(self.power.level()) + self.deviations * self.power.spread();
            self.kept = self.kept.max(Watts::new(highest) - cap);
        }
        // A cap of infinity needs none, and one of zero leaves none.
        let most = if cap.get().is_finite() { cap * self.max_share } else { Watts::ZERO };
        self.kept = self.kept.min(most).max(Watts::ZERO);
        if self.kept < cap * SMALLEST_SHARE { Watts::ZERO } else { self.kept }
    }

    /// Takes in the samples that lie wholly within the setting, of all devices together.
    fn add_samples(&mut self, seen: &Observation, batch_time: Duration) {
        let settled = self.since + batch_time;
        let count = seen.devices.iter().map(|device| device.power_samples.len()).min().unwrap_or(0);
        for index in 0..count {
            let mut samples = seen.devices.iter().filter_map(|device| device.power_samples.get(index));
            let Some(at) = samples.clone().map(|sample| sample.at).max() else { continue };
            let total: Watts = samples.by_ref().map(|sample| sample.power).sum();
            if self.last_sample >= settled {
                self.power.add(at, total.get());
            }
            self.last_sample = self.last_sample.max(at);
        }
    }
}

fn new_holt() -> Holt {
    Holt::new(0.2, 0.05)
}
