//! A profile of a device that is slower or draws more than the one that was profiled.

use super::{PowerFigure, Profile};
use crate::operating_point::{Confidence, ProfileRow};
use crate::provenance::Basis;
use crate::units::{Joules, Watts};

impl Profile {
    /// The same points where batches take `time` times as long and the device draws `power` times as much
    /// above `idle`. Figures that change are modelled at best, and their confidence intervals are dropped.
    /// What is unknown stays unknown.
    pub fn scaled(&self, time: f64, power: f64, idle: Watts) -> Self {
        let mut profile = self.clone();
        profile.rows.iter_mut().for_each(|row| scale(row, time, (power, idle, Watts::new(f64::INFINITY))));
        profile
    }
}

/// Scales the figures of `row`, as [`Profile::scaled`] says; no power is raised beyond `most`.
pub(crate) fn scale(row: &mut ProfileRow, time: f64, (power, idle, most): (f64, Watts, Watts)) {
    let scaled = |watts: Watts| {
        let wanted = if watts > idle { idle + (watts - idle) * power } else { watts };
        wanted.min(watts.max(most))
    };
    let before = PowerFigure::Mean.of(row);
    if power != 1.0 && before.is_some() {
        for figure in [&mut row.power_watts_mean, &mut row.power_watts_p95, &mut row.power_watts_max] {
            *figure = figure.map(scaled);
        }
        row.power_basis = row.power_basis.max(Basis::Modelled);
    }
    if time != 1.0 {
        row.throughput_rps = row.throughput_rps.map(|rps| rps / time);
        for figure in [
            &mut row.latency_ms_mean,
            &mut row.latency_ms_p50,
            &mut row.latency_ms_p95,
            &mut row.latency_ms_p99,
        ] {
            *figure = figure.map(|ms| ms * time);
        }
        row.basis = row.basis.max(Basis::Modelled);
    }
    if time != 1.0 || power != 1.0 {
        let drawn = PowerFigure::Mean.of(row).zip(before).filter(|(_, before)| *before > Watts::ZERO);
        let drawn = drawn.map_or(1.0, |(now, before)| now / before);
        row.energy_joules_per_row =
            row.energy_joules_per_row.map(|energy| Joules::new(energy.get() * drawn * time));
        row.confidence = Confidence::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# wattle_profile = 1\n# model = \"m\"\n# device = \"d\"\n# runtime = \"r\"\n\
        # power_source = \"test\"\nbatch_size,instances,throughput_rps,latency_ms_mean,power_watts_mean,\
        power_watts_max,energy_joules_per_row,basis,power_basis,samples,throughput_rps_ci95\n\
        8,1,400,20,80,,0.2,measured,measured,9,3\n1,1,100,10,15,,,measured,measured,9,1\n";

    #[test]
    fn times_and_power_above_idle_are_scaled_and_energy_is_their_product() {
        let profile = Profile::parse(TEXT, "test.csv").unwrap();
        let scaled = profile.scaled(1.25, 1.5, Watts::new(20.0));
        let [row, below_idle] = &scaled.rows[..] else { panic!("{scaled:?}") };
        assert_eq!((row.throughput_rps, row.latency_ms_mean), (Some(320.0), Some(25.0)));
        assert_eq!((row.power_watts_mean, row.power_watts_max), (Some(Watts::new(110.0)), None));
        let energy = row.energy_joules_per_row.unwrap().get();
        assert!((energy - 0.2 * 110.0 / 80.0 * 1.25).abs() < 1e-12);
        assert_eq!((row.basis, row.power_basis), (Basis::Modelled, Basis::Modelled));
        assert_eq!(row.confidence, Confidence::default());
        assert_eq!(below_idle.power_watts_mean, Some(Watts::new(15.0)), "noise, nothing to scale");
        assert_eq!(profile.scaled(1.0, 1.0, Watts::ZERO), profile);
    }
}
