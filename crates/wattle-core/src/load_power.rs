//! Power at a load between nothing and saturation.
//!
//! A profile row was seen with the model saturated. At a smaller load the model is busy for a share
//! of the time only, its utilization, and the device idles for the rest; mean power is the mean of the
//! two (Fan, Weber and Barroso, "Power provisioning for a warehouse-sized computer", 2007).

use crate::operating_point::ProfileRow;
use crate::profile::PowerFigure;
use crate::units::Watts;

/// Mean power of the device at the point of `row` while `load_rps` rows arrive per second.
///
/// `P(λ) = P_idle + u·(P_row − P_idle)` with utilization `u = λ / throughput`. This is **modelled**,
/// however the row is known: it takes batches to be as full as in the row, and `idle_power` to be the
/// device's power at the same clock with the model loaded. `P_row` is the mean, or what stands in for
/// it ([`PowerFigure::Mean`]); a highest power doesn't fall with the load.
///
/// `None` above saturation, for a load that is no number or below 0, and where the row does not tell
/// its throughput (or tells 0) or its power.
pub fn power_at_load(row: &ProfileRow, idle_power: Watts, load_rps: f64) -> Option<Watts> {
    let throughput = row.throughput_rps.filter(|throughput| *throughput > 0.0)?;
    let power = PowerFigure::Mean.of(row)?;
    let utilization = load_rps / throughput;
    (0.0..=1.0).contains(&utilization).then(|| power_at_utilization(idle_power, power, utilization))
}

/// Mean power of a device that draws `busy_power` for a share `utilization` of the time, and
/// `idle_power` for the rest.
pub fn power_at_utilization(idle_power: Watts, busy_power: Watts, utilization: f64) -> Watts {
    idle_power + (busy_power - idle_power) * utilization
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    fn row(cells: &str) -> ProfileRow {
        let text = format!(
            "# wattle_profile = 1\n# model = \"m\"\n# device = \"d\"\n# runtime = \"r\"\n# power_source = \"none\"\n\
             batch_size,instances,throughput_rps,power_watts_mean,power_watts_max,basis,power_basis,samples\n\
             1,1,{cells},measured,measured,1\n"
        );
        Profile::parse(&text, "p.csv").unwrap().rows.remove(0)
    }

    #[test]
    fn power_goes_from_idle_to_the_row_in_proportion_to_the_load() {
        let row = row("200,150,180");
        let at = |load| power_at_load(&row, Watts::new(50.0), load);
        assert_eq!(
            (at(0.0), at(50.0), at(200.0)),
            (Some(Watts::new(50.0)), Some(Watts::new(75.0)), Some(Watts::new(150.0)))
        );
    }

    #[test]
    fn beyond_saturation_and_without_figures_it_is_unknown() {
        let idle = Watts::new(50.0);
        for load in [200.1, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(power_at_load(&row("200,150,180"), idle, load), None, "{load}");
        }
        for cells in [",150,180", "0,150,180", "200,,"] {
            assert_eq!(power_at_load(&row(cells), idle, 0.0), None, "{cells}");
        }
    }
}
