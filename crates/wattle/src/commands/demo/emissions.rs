//! Emissions of a run: the energy of each tick times the carbon intensity at its time.

use wattle_core::signal::Signal;
use wattle_core::time::Timestamp;
use wattle_core::units::{CarbonIntensity, GramsCo2e, Joules};
use wattle_server::control_loop::PowerPoint;

/// Adds up emissions as power samples come.
pub(super) struct Emissions {
    until_seconds: f64,
    grams: GramsCo2e,
    /// The energy whose carbon is known.
    energy: Joules,
}

impl Emissions {
    /// Emissions from `start` on.
    pub(super) fn since(start: Timestamp) -> Self {
        Self { until_seconds: start.as_secs_f64(), grams: GramsCo2e::ZERO, energy: Joules::ZERO }
    }

    /// Takes in the samples that are new since the last call.
    pub(super) fn take_in(&mut self, points: &[PowerPoint], intensity: &Signal) {
        for pair in points.windows(2) {
            let (before, point) = (pair[0].seconds, pair[1]);
            if point.seconds <= self.until_seconds {
                continue;
            }
            self.until_seconds = point.seconds;
            let energy = Joules::new(point.power_watts.get() * (point.seconds - before));
            let at = Timestamp::from_nanos((point.seconds * 1e9) as u64);
            if let Some(intensity) = intensity.at(at) {
                self.energy += energy;
                self.grams += energy * CarbonIntensity::new(intensity);
            }
        }
    }

    /// Emissions so far; `None` while no energy with a known intensity was drawn.
    pub(super) fn grams(&self) -> Option<f64> {
        (self.energy > Joules::ZERO).then(|| self.grams.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use wattle_core::signal::{AfterEnd, Trace};
    use wattle_core::units::Watts;

    #[test]
    fn each_tick_counts_once_at_the_intensity_of_its_time() {
        let points = [(0.9, 9.0), (1.1, 10.0), (1.6, 20.0), (2.1, 40.0)].map(|(seconds, watts)| PowerPoint {
            seconds,
            power_watts: Watts::new(watts),
            power_cap_watts: None,
        });
        let trace = vec![(Duration::ZERO, 360.0), (Duration::from_secs(2), 3600.0)];
        let intensity = Signal::Trace(Trace::new(trace, AfterEnd::Hold).unwrap());
        let mut emissions = Emissions::since(Timestamp::from_duration(Duration::from_secs(1)));
        assert_eq!(emissions.grams(), None);
        emissions.take_in(&points[..3], &intensity);
        emissions.take_in(&points, &intensity);
        // 2 J and 10 J at 0.1 mg/J, 20 J at 1 mg/J.
        assert!((emissions.grams().unwrap() - 0.0212).abs() < 1e-9, "{:?}", emissions.grams());
    }
}
