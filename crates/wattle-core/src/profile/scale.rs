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
    // Energy tells the power where nothing else does.
    let of_energy = || Some(Watts::new(row.energy_joules_per_row?.get() * row.throughput_rps?));
    let before = PowerFigure::Mean.of(row).or_else(of_energy);
    if power != 1.0 && row.power_known().is_some() {
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
        let share = |before: Watts| if before > Watts::ZERO { scaled(before) / before } else { 1.0 };
        // Without any power it is not known how much more is drawn.
        let drawn = if power == 1.0 { Some(1.0) } else { before.map(share) };
        if row.energy_joules_per_row.is_some() {
            row.power_basis = row.power_basis.max(Basis::Modelled);
        }
        row.energy_joules_per_row = row
            .energy_joules_per_row
            .zip(drawn)
            .map(|(energy, drawn)| Joules::new(energy.get() * drawn * time));
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

    #[test]
    fn energy_that_was_computed_is_not_told_to_be_measured_and_follows_a_power_that_it_alone_tells() {
        let mut profile = Profile::parse(TEXT, "test.csv").unwrap();
        let slower = profile.scaled(1.25, 1.0, Watts::new(20.0)).rows.remove(0);
        assert_eq!((slower.power_watts_mean, slower.power_basis), (Some(Watts::new(80.0)), Basis::Modelled));

        let row = &mut profile.rows[0];
        row.power_watts_mean = None; // 0.2 J at 400 rows/s are 80 W
        let hotter = profile.scaled(1.0, 1.5, Watts::new(20.0)).rows.remove(0);
        let energy = hotter.energy_joules_per_row.unwrap().get();
        assert!((energy - 0.2 * 110.0 / 80.0).abs() < 1e-12, "{energy}");
        assert_eq!((hotter.power_watts_mean, hotter.power_basis), (None, Basis::Modelled));
        profile.rows[0].throughput_rps = None;
        assert_eq!(profile.scaled(1.0, 1.5, Watts::new(20.0)).rows[0].energy_joules_per_row, None);
    }
}
