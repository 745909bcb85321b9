//! Profiles a model that is being served, in seconds: turns its knobs point by point while somebody
//! else keeps it saturated, and writes down what the executor and the meter saw.
//!
//! Rough on purpose: a fraction of a second a point, no percentiles. Power is that of the whole
//! device, so it includes whoever saturates the model, where that is the same machine. It sends no
//! request itself, and leaves the knobs where the last point put them.

use std::time::Duration;

use wattle_core::knob::SettingError;
use wattle_core::operating_point::{Confidence, OperatingPoint, ProfileRow};
use wattle_core::profile::{Conditions, Profile, ProfileHead};
use wattle_core::provenance::Basis;
use wattle_core::time::Timestamp;
use wattle_core::units::{Joules, Watts};
use wattle_runtime::choice::RuntimeChoice;

use crate::clock::Clock;
use crate::control_loop::{Control, PowerPoint};
use crate::executor::StatsSnapshot;
use crate::model_repository::{ModelEntry, ModelRepository};

/// How long each point is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuickProfileTimes {
    /// Between turning the knobs and looking: what ran at the point before has to end.
    pub settle: Duration,
    /// How long is looked. Several ticks of the control loop, or power stays unknown.
    pub window: Duration,
}

impl Default for QuickProfileTimes {
    fn default() -> Self {
        Self { settle: Duration::from_millis(100), window: Duration::from_millis(400) }
    }
}

impl QuickProfileTimes {
    /// How many points fit in `budget`.
    pub fn points_within(&self, budget: Duration) -> usize {
        (budget.as_secs_f64() / (self.settle + self.window).as_secs_f64()) as usize
    }
}

/// A model could not be profiled.
#[derive(Debug, thiserror::Error)]
pub enum QuickProfileError {
    /// The model is not served, or no longer.
    #[error("model '{model}' is not served, so it can't be profiled; load it first")]
    NotServed {
        /// Which model.
        model: String,
    },
    /// This server can't set a point.
    #[error("an operating point of model '{model}' can't be set here: {source}")]
    Setting {
        /// Which model.
        model: String,
        /// Which knob, and how far it turns.
        source: SettingError,
    },
}

/// Profiles one model of a running server.
pub struct QuickProfiler<'a> {
    /// The server's clock.
    pub clock: Clock,
    /// The server's models.
    pub repository: &'a ModelRepository,
    /// The server's control loop, whose policy must not turn the same knobs meanwhile.
    pub control: &'a Control,
    /// Which model.
    pub model: &'a str,
    /// How long each point is given.
    pub times: QuickProfileTimes,
}

impl QuickProfiler<'_> {
    /// What the device draws with nothing to do: as the device states it, else its mean power over the
    /// next window, in which nobody may ask for anything. `None` when neither is known.
    pub async fn idle_power(&self) -> Option<Watts> {
        if let Some((stated, _)) = &self.control.device().idle_power {
            return Some(*stated);
        }
        let start = self.clock.now();
        tokio::time::sleep(self.times.window).await;
        power_within(&self.control.power_points(), start, self.clock.now()).map(|power| power.mean)
    }

    /// Measures `points` one after another while somebody else keeps the model saturated. `on_row` is
    /// told of each row as it is known.
    pub async fn profile(
        &self,
        points: &[OperatingPoint],
        idle_power: Option<Watts>,
        notes: &str,
        mut on_row: impl FnMut(&ProfileRow),
    ) -> Result<Profile, QuickProfileError> {
        let mut rows = Vec::with_capacity(points.len());
        for point in points {
            let row = self.row(point).await?;
            on_row(&row);
            rows.push(row);
        }
        let device = self.control.device();
        let head = ProfileHead {
            model: self.model.into(),
            device: device.description.clone(),
            runtime: self.repository.runtime().describe(),
            idle_power_watts: idle_power,
            request_overhead_ms: None,
            quality: None,
            power_source: device.power_provenance.to_string(),
            created: None,
            notes: Some(notes.to_owned()),
            conditions: Conditions::default(),
        };
        Ok(Profile { head, rows })
    }

    async fn row(&self, point: &OperatingPoint) -> Result<ProfileRow, QuickProfileError> {
        let model = || self.model.to_owned();
        self.with_entry(|entry| entry.turn(&point.serving_change()))?
            .map_err(|source| QuickProfileError::Setting { model: model(), source })?;
        tokio::time::sleep(self.times.settle).await;
        let (start, before) = (self.clock.now(), self.with_entry(stats_of)?);
        tokio::time::sleep(self.times.window).await;
        let (end, after) = (self.clock.now(), self.with_entry(stats_of)?);
        let power = power_within(&self.control.power_points(), start, end);
        let power_basis = self.control.device().power_provenance.basis;
        let row = row_of(point, &before, &after, end - start, power, power_basis);
        // What a simulated runtime takes is its own profile's word, however it is timed.
        let is_simulated = self.repository.runtime().name() == RuntimeChoice::Simulated.name();
        Ok(if is_simulated { ProfileRow { basis: Basis::Modelled, ..row } } else { row })
    }

    fn with_entry<T>(&self, look: impl FnOnce(&ModelEntry) -> T) -> Result<T, QuickProfileError> {
        let table = self.repository.table();
        let entry = table.get(self.model);
        Ok(look(entry.ok_or_else(|| QuickProfileError::NotServed { model: self.model.to_owned() })?))
    }
}

fn stats_of(entry: &ModelEntry) -> StatsSnapshot {
    entry.latest().executor.stats()
}

/// Power of the device over a window.
#[derive(Debug, Clone, Copy, PartialEq)]
struct PowerSeen {
    mean: Watts,
    max: Watts,
}

/// Power over the ticks that lie wholly between `start` and `end`; `None` when there is none.
fn power_within(points: &[PowerPoint], start: Timestamp, end: Timestamp) -> Option<PowerSeen> {
    let (start, end) = (start.as_secs_f64(), end.as_secs_f64());
    let inside = points.windows(2).filter(|pair| pair[0].seconds >= start && pair[1].seconds <= end);
    let (mut joules, mut seconds, mut max) = (0.0, 0.0, None);
    for pair in inside {
        let length = pair[1].seconds - pair[0].seconds;
        joules += pair[1].power_watts.get() * length;
        seconds += length;
        max = Some(max.map_or(pair[1].power_watts, |max: Watts| max.max(pair[1].power_watts)));
    }
    max.filter(|_| seconds > 0.0).map(|max| PowerSeen { mean: Watts::new(joules / seconds), max })
}

fn row_of(
    point: &OperatingPoint,
    before: &StatsSnapshot,
    after: &StatsSnapshot,
    elapsed: Duration,
    power: Option<PowerSeen>,
    power_basis: Basis,
) -> ProfileRow {
    let rows = after.completed_rows.saturating_sub(before.completed_rows) as f64;
    let throughput = Some(rows / elapsed.as_secs_f64()).filter(|rps| rps.is_finite());
    let ((count_before, nanos_before), (count_after, nanos_after)) = (before.batches(), after.batches());
    let batches = count_after.saturating_sub(count_before);
    let nanos = nanos_after.saturating_sub(nanos_before) as f64;
    ProfileRow {
        point: point.clone(),
        throughput_rps: throughput,
        latency_ms_mean: (batches > 0).then(|| nanos / batches as f64 / 1e6),
        latency_ms_p50: None,
        latency_ms_p95: None,
        latency_ms_p99: None,
        power_watts_mean: power.map(|power| power.mean),
        power_watts_p95: None,
        power_watts_max: power.map(|power| power.max),
        energy_joules_per_row: power
            .filter(|_| rows > 0.0)
            .map(|power| Joules::new((power.mean * elapsed).get() / rows)),
        memory_bytes: None,
        basis: Basis::Measured,
        power_basis,
        samples: u32::try_from(batches).unwrap_or(u32::MAX),
        confidence: Confidence::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::BatchStats;
    use std::collections::BTreeMap;

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_duration(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn only_ticks_wholly_in_the_window_tell_its_power() {
        let point =
            |(seconds, watts)| PowerPoint { seconds, power_watts: Watts::new(watts), power_cap_watts: None };
        // The tick that ends at 1.0 began before the window, the one that ends at 1.5 ends after it.
        let points = [(0.9, 9.0), (1.0, 9.0), (1.1, 2.0), (1.3, 5.0), (1.5, 9.0)].map(point);
        let seen = power_within(&points, at(0.95), at(1.4)).unwrap();
        assert!((seen.mean.get() - 4.0).abs() < 1e-9, "{}", seen.mean);
        assert_eq!(seen.max, Watts::new(5.0));
        assert_eq!(power_within(&points, at(1.31), at(1.4)), None, "no tick, no power");
    }

    #[test]
    fn a_row_tells_what_came_in_between_and_unknown_where_nothing_did() {
        let stats = |rows, count, infer_nanos| StatsSnapshot {
            completed_rows: rows,
            by_batch_size: BTreeMap::from([(8, BatchStats { count, infer_nanos, output_nanos: 1_000_000 })]),
            ..StatsSnapshot::default()
        };
        let point = OperatingPoint::of_batch_and_instances(8, 1);
        let power = Some(PowerSeen { mean: Watts::new(4.0), max: Watts::new(5.0) });
        let half = Duration::from_millis(500);
        let (before, after) = (stats(80, 10, 10_000_000), stats(480, 60, 110_000_000));
        let row = row_of(&point, &before, &after, half, power, Basis::Assumed);
        assert_eq!((row.throughput_rps, row.samples), (Some(800.0), 50));
        assert_eq!(row.latency_ms_mean, Some(2.0));
        assert_eq!(row.energy_joules_per_row, Some(Joules::new(0.005)));
        assert_eq!((row.basis, row.power_basis), (Basis::Measured, Basis::Assumed));
        let still = row_of(&point, &after, &after, half, None, Basis::Assumed);
        assert_eq!((still.throughput_rps, still.latency_ms_mean), (Some(0.0), None));
        assert_eq!((still.power_watts_max, still.energy_joules_per_row), (None, None));
    }
}
