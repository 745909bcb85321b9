//! Whether a better plan pays for the change.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::fleet::{Change, Objective};
use crate::plan::Plan;

/// Whether to change, with the figures that decide.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Decision {
    /// Whether the gain over the horizon is more than the cost of changing.
    pub change: bool,
    /// Devices that get other tenants or other slices.
    pub devices_changed: u32,
    /// What the proposed plan saves over the horizon: grams, watt-hours or device-hours, by the objective. `None`: the
    /// current plan can't keep all objectives, so there is nothing to compare with.
    pub gain: Option<f64>,
    /// What changing costs, in the same.
    pub cost: f64,
}

/// Whether changing from `current` to `proposed` pays within `horizon_hours`. Both must be valued
/// at the same loads and the same carbon intensity: `current_value` is what the current plan
/// costs now ([`crate::explain::kept_value`]); `None`: it can't keep all objectives, and has to change.
///
/// While a device changes it is in use and serves nobody: it costs what it costs in the proposed plan
/// for [`Change::seconds`], and [`Change::joules`] come on top.
pub fn worth_changing(
    current: &Plan,
    current_value: Option<f64>,
    proposed: &Plan,
    change: Change,
    horizon_hours: f64,
) -> Decision {
    let devices_changed = changed(current, proposed);
    let gain = current_value.map(|value| (value - proposed.value) * horizon_hours);
    let hours = change.seconds / 3600.0;
    let of_one =
        if proposed.devices.is_empty() { 0.0 } else { proposed.value / proposed.devices.len() as f64 };
    let watt_hours = change.joules / 3600.0 * proposed.pue;
    let extra = match proposed.objective {
        Objective::Carbon => watt_hours / 1e3 * proposed.carbon_intensity_g_per_kwh,
        Objective::Energy => watt_hours,
        Objective::Devices => 0.0,
    };
    let cost = f64::from(devices_changed) * (of_one * hours + extra);
    Decision { change: gain.is_none_or(|gain| gain > cost), devices_changed, gain, cost }
}

/// Devices of `proposed` that no device of `current` of the same kind is like, tenant by tenant and slot by slot. Clocks
/// and batch sizes change at no cost.
fn changed(current: &Plan, proposed: &Plan) -> u32 {
    let mut there: BTreeMap<_, u32> = BTreeMap::new();
    for device in current.assignment() {
        *there.entry(device).or_default() += 1;
    }
    let mut changed = 0;
    for device in proposed.assignment() {
        match there.get_mut(&device).filter(|left| **left > 0) {
            Some(left) => *left -= 1,
            None => changed += 1,
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan_of;

    #[test]
    fn a_gain_that_is_less_than_the_change_is_not_taken() {
        let current = plan_of(&[("a", "3g"), ("b", "4g")], 100.0);
        let proposed = plan_of(&[("a", "4g"), ("b", "3g")], 99.0);
        let change = Change { seconds: 3600.0, joules: 0.0 };
        // One device for an hour costs 99; a gram an hour for a day does not pay for it.
        let decision = worth_changing(&current, Some(100.0), &proposed, change, 24.0);
        assert_eq!((decision.devices_changed, decision.gain, decision.cost), (1, Some(24.0), 99.0));
        assert!(!decision.change);
        assert!(worth_changing(&current, Some(100.0), &proposed, change, 100.0).change);
    }

    #[test]
    fn the_same_tenants_at_another_clock_change_at_no_cost() {
        let current = plan_of(&[("a", "3g")], 100.0);
        let mut proposed = plan_of(&[("a", "3g")], 99.0);
        proposed.devices[0].core_clock_mhz = Some(600.0);
        let decision = worth_changing(&current, Some(100.0), &proposed, Change::default(), 1.0);
        assert_eq!((decision.devices_changed, decision.cost), (0, 0.0));
        assert!(decision.change);
    }

    #[test]
    fn the_energy_of_a_change_counts_by_the_carbon_intensity() {
        let current = plan_of(&[("a", "3g")], 100.0);
        let proposed = plan_of(&[("a", "4g")], 50.0);
        let change = Change { seconds: 0.0, joules: 3.6e6 };
        let decision = worth_changing(&current, Some(100.0), &proposed, change, 1.0);
        assert!((decision.cost - proposed.carbon_intensity_g_per_kwh).abs() < 1e-9);
    }
}
