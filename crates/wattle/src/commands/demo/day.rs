//! The day that is replayed: load, power cap and carbon intensity, sped up and placed on the server's
//! clock, so that everything that looks at the clock sees the same time of day.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use wattle_core::profile::{PowerFigure, Profile};
use wattle_core::signal::{AfterEnd, Signal, Trace};
use wattle_core::time::Timestamp;
use wattle_core::units::Watts;

use super::bundle;

/// Length of the day in the traces.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Peak load, as a share of the best throughput that was profiled.
pub(super) const PEAK_SHARE: f64 = 0.6;
/// The cap is never set below the least that serving needs, with this margin for the meter's noise.
const LEAST_MARGIN: f64 = 1.05;

/// A day placed on the server's clock. It repeats, so that a late start only begins at a later hour.
pub(super) struct Day {
    start: Timestamp,
    /// How long it takes.
    pub(super) length: Duration,
    load: Signal,
    cap_share: Signal,
    carbon_intensity: Signal,
}

impl Day {
    /// The bundled day, from `start` on, sped up to take `length`.
    pub(super) fn bundled(start: Timestamp, length: Duration) -> Result<Self> {
        let placed = |text, file, column| place(text, file, column, start, length);
        Ok(Self {
            start,
            length,
            load: placed(bundle::REQUESTS, "requests.csv", "requests_per_second_fraction")?,
            cap_share: placed(bundle::POWER_CAP, "power-cap.csv", "power_cap_fraction")?,
            carbon_intensity: placed(
                bundle::CARBON_INTENSITY,
                "carbon-intensity.csv",
                "carbon_intensity_g_per_kwh",
            )?,
        })
    }

    /// When it begins.
    pub(super) fn start(&self) -> Timestamp {
        self.start
    }

    /// How many times as fast as a real one it goes by.
    pub(super) fn speed(&self) -> f64 {
        DAY.as_secs_f64() / self.length.as_secs_f64()
    }

    /// Load at `now`, relative to the day's peak; nothing before the day.
    pub(super) fn load(&self, now: Timestamp) -> f64 {
        self.load.at(now).unwrap_or(0.0)
    }

    /// Power cap at `now`, as a share of the range from idle to full power.
    pub(super) fn cap_share(&self, now: Timestamp) -> Option<f64> {
        self.cap_share.at(now)
    }

    /// Carbon intensity over time, for the server.
    pub(super) fn carbon_intensity(&self) -> &Signal {
        &self.carbon_intensity
    }

    /// Mean load of the whole day, relative to its peak.
    pub(super) fn mean_load(&self) -> f64 {
        let steps = 1000;
        let at = |step: u32| self.load(self.start + self.length * step / steps);
        (0..steps).map(at).sum::<f64>() / f64::from(steps)
    }

    /// The hour and minute in the trace at `now`.
    pub(super) fn time_of_day(&self, now: Timestamp) -> String {
        let minutes = ((now - self.start).as_secs_f64() * self.speed() / 60.0) as u64;
        format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60)
    }
}

/// Reads a trace of one day and puts it on the server's clock.
fn place(text: &str, file: &str, column: &str, start: Timestamp, length: Duration) -> Result<Signal> {
    let day = Trace::parse(text, file, column, AfterEnd::Repeat).context("a bundled trace")?;
    let factor = DAY.as_secs_f64() / length.as_secs_f64();
    let Signal::Trace(day) =
        Signal::Trace(day).sped_up(factor).ok_or_else(|| anyhow!("a day can't take {length:?}"))?
    else {
        return Err(anyhow!("{file} is no trace"));
    };
    let points = day.points().iter().map(|(offset, value)| (start.since_start() + *offset, *value));
    Ok(Signal::Trace(Trace::new(points.collect(), AfterEnd::Repeat).with_context(|| file.to_owned())?))
}

/// What the profile says a day may ask for here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    /// Power with nothing to do.
    pub(super) idle: Watts,
    /// Highest power of any profiled point.
    pub(super) full: Watts,
    /// The cap is never set below this.
    pub(super) least: Watts,
    /// Requests per second at the day's peak.
    pub(super) peak_rps: f64,
    /// The best throughput that was profiled.
    pub(super) best_rps: f64,
}

impl Scale {
    /// The scale for `profile`; `rate` takes the place of the peak load.
    pub(super) fn of(profile: &Profile, rate: Option<f64>) -> Result<Self> {
        let figure = PowerFigure::Max;
        let powers = || profile.rows.iter().filter_map(|row| figure.of(row));
        let full = powers().reduce(Watts::max);
        let least = powers().reduce(Watts::min);
        let best_rps = profile.rows.iter().filter_map(|row| row.throughput_rps).fold(0.0, f64::max);
        let (Some(full), Some(least)) = (full, least) else {
            return Err(anyhow!(
                "the device gave no power reading while it was profiled, so there is nothing to cap; \
                 `wattle serve` serves without a cap"
            ));
        };
        if best_rps <= 0.0 {
            return Err(anyhow!(
                "no request was answered while the model was profiled; --log info tells more"
            ));
        }
        let idle = profile.head.idle_power_watts.unwrap_or(Watts::ZERO).min(full);
        Ok(Self {
            idle,
            full,
            least: least * LEAST_MARGIN,
            peak_rps: rate.unwrap_or(best_rps * PEAK_SHARE),
            best_rps,
        })
    }

    /// The cap in watts for a `share` of the range from idle to full power.
    pub(super) fn cap(&self, share: f64) -> Watts {
        (self.idle + (self.full - self.idle) * share).max(self.least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::demo::points::tests::profile_of;

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_duration(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn the_bundled_day_is_read_sped_up_and_repeats() {
        let day = Day::bundled(at(10.0), Duration::from_secs(48)).unwrap();
        assert!((day.speed() - 1800.0).abs() < 1e-9);
        assert_eq!(day.load(at(9.9)), 0.0, "nothing is asked for before the day");
        assert_eq!(day.carbon_intensity().at(at(9.9)), None);
        assert_eq!(day.time_of_day(at(10.0 + 25.0)), "12:30");
        assert_eq!(day.cap_share(at(10.5)), day.cap_share(at(58.5)));
        let shares = (0..96).filter_map(|step| day.cap_share(at(10.0 + f64::from(step) * 0.5)));
        assert!(shares.clone().all(|share| (0.45..=1.0).contains(&share)));
        assert_eq!(shares.count(), 96);
        assert!((0.3..0.8).contains(&day.mean_load()), "{}", day.mean_load());
        let peak = (0..96).map(|step| day.load(at(10.0 + f64::from(step) * 0.5))).fold(0.0, f64::max);
        assert!((peak - 1.0).abs() < 1e-9);
    }

    #[test]
    fn load_and_cap_scale_with_what_was_profiled() {
        let profile = profile_of(2.0, &[(1000.0, 7.0), (400.0, 4.0), (100.0, 3.0)]);
        let scale = Scale::of(&profile, None).unwrap();
        assert!((scale.peak_rps - 600.0).abs() < 1e-9);
        assert!((scale.cap(1.0).get() - 7.0).abs() < 1e-9);
        assert!((scale.cap(0.5).get() - 4.5).abs() < 1e-9);
        assert!((scale.cap(0.0).get() - 3.15).abs() < 1e-9, "never below what serving needs");
        assert_eq!(Scale::of(&profile, Some(20.0)).unwrap().peak_rps, 20.0);
    }

    #[test]
    fn a_profile_without_power_or_answers_is_told() {
        let mut profile = profile_of(2.0, &[(0.0, 7.0)]);
        assert!(Scale::of(&profile, None).unwrap_err().to_string().contains("no request was answered"));
        profile.rows.clear();
        assert!(Scale::of(&profile, None).unwrap_err().to_string().contains("no power reading"));
    }
}
