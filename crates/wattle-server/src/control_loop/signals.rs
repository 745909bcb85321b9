//! The signals of the control loop: the power cap and the carbon intensity, now and ahead.

use std::time::Duration;

use wattle_core::signal::SignalReading;
use wattle_core::time::Timestamp;
use wattle_core::units::{CarbonIntensity, Watts};

use super::source::{SignalSource, SignalStatus, Teller};

/// How far ahead the policy is shown the caps that a trace or a source tells.
const CAP_HORIZON: Duration = Duration::from_secs(60);
/// How far ahead the policy is shown carbon intensities.
const CARBON_HORIZON: Duration = Duration::from_secs(86_400);

/// Where the signals come from, and what was told of their states.
pub(super) struct Signals {
    power_cap: Option<SignalSource>,
    carbon_intensity: Option<SignalSource>,
    of_power_cap: Teller,
    of_carbon_intensity: Teller,
}

/// What the signals say at one time.
pub(super) struct Readings {
    /// `None`: no cap is configured; `Some(None)`: it is unknown.
    pub(super) power_cap: Option<Option<SignalReading>>,
    pub(super) carbon_intensity: Option<SignalReading>,
}

impl Signals {
    pub(super) fn new(power_cap: Option<SignalSource>, carbon_intensity: Option<SignalSource>) -> Self {
        Self {
            power_cap,
            carbon_intensity,
            of_power_cap: Teller::new("power_cap"),
            of_carbon_intensity: Teller::new("carbon_intensity"),
        }
    }

    /// What they say at `now`; a change of how they are known is told.
    pub(super) fn read(&mut self, now: Timestamp) -> Readings {
        let read = |source: &SignalSource, teller: &mut Teller| {
            let reading = source.reading(now);
            teller.tell(source, reading.as_ref());
            reading
        };
        Readings {
            power_cap: self.power_cap.as_ref().map(|source| read(source, &mut self.of_power_cap)),
            carbon_intensity: self
                .carbon_intensity
                .as_ref()
                .and_then(|source| read(source, &mut self.of_carbon_intensity)),
        }
    }

    /// What the configured trace or source says of the caps to come.
    pub(super) fn power_cap_ahead(&self, now: Timestamp) -> Vec<(Timestamp, Watts)> {
        let source = self.power_cap.as_ref();
        let ahead = source.map(|source| source.told_ahead(now, CAP_HORIZON)).unwrap_or_default();
        ahead.into_iter().map(|(at, watts)| (at, Watts::new(watts))).collect()
    }

    /// The carbon intensities to come: as the trace or the source says, else as we forecast.
    pub(super) fn carbon_intensity_ahead(&self, now: Timestamp) -> Vec<(Timestamp, CarbonIntensity)> {
        let source = self.carbon_intensity.as_ref();
        let ahead = source.map(|source| source.ahead(now, CARBON_HORIZON)).unwrap_or_default();
        ahead.into_iter().map(|(at, intensity)| (at, CarbonIntensity::new(intensity))).collect()
    }

    /// Where the carbon intensity comes from.
    pub(super) fn carbon_source(&self) -> Option<String> {
        self.carbon_intensity.as_ref().map(SignalSource::provenance)
    }

    /// How each of them stands.
    pub(super) fn statuses(&self, readings: &Readings) -> Vec<SignalStatus> {
        let carbon = self.carbon_intensity.iter().flat_map(|source| {
            source.status(self.of_carbon_intensity.name(), readings.carbon_intensity.as_ref())
        });
        let cap = readings.power_cap.as_ref().and_then(Option::as_ref);
        let caps = self.power_cap.iter().flat_map(|source| source.status(self.of_power_cap.name(), cap));
        carbon.chain(caps).collect()
    }
}
