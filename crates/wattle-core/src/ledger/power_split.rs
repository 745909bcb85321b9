//! What splits a device's energy: what the parts that all share draw, and how hungry each model is.

use std::collections::BTreeMap;

use crate::id::ModelName;
use crate::profile::{Profile, idle_power_of};
use crate::provenance::Provenance;
use crate::units::Watts;

/// What is known of how a device's power is made up. The default knows nothing: no energy is shared, and a
/// core-second of one model counts as that of any other.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PowerSplit {
    /// What the device draws with nothing to do, and how that is known, where that is known better than by
    /// the device itself. `None`: as the device says, if it does.
    pub idle_power: Option<(Watts, Provenance)>,
    /// `P_OI`, drawn as soon as anybody works by parts that all share (caches, memory controllers); see
    /// [`SharedPower::shared_idle_power`]. `None`: not known, and none of the energy is called shared.
    ///
    /// [`SharedPower::shared_idle_power`]: crate::shared_power::SharedPower::shared_idle_power
    pub shared_idle_power: Option<Watts>,
    /// What a busy core of each model draws above the parts that all share, where its profile tells.
    pub watts_per_core: BTreeMap<ModelName, Watts>,
}

impl PowerSplit {
    /// What `profiles`, all taken on the one device of `cores` cores, tell (modelled).
    ///
    /// Of each model: the median over its rows of `(P_mean − P_idle − P_OI) / busy cores`. Rows are taken
    /// with the model saturated, so that the busy cores are `instances · cores · duty cycle`, at most all of
    /// them. A model none of whose rows tells power and cores, or that draws nothing above idle, is left out.
    pub fn of_profiles(
        profiles: &BTreeMap<ModelName, Profile>,
        shared_idle_power: Option<Watts>,
        cores: u32,
    ) -> Self {
        let idle = idle_power_of(profiles.values());
        let watts_per_core = profiles.iter().filter_map(|(name, profile)| {
            let floor = idle? + shared_idle_power.unwrap_or(Watts::ZERO);
            Some((name.clone(), per_core(profile, floor, cores)?))
        });
        Self { idle_power: None, shared_idle_power, watts_per_core: watts_per_core.collect() }
    }

    /// Watts of a busy core of `model`; `None` where that is not known.
    pub fn per_core(&self, model: &ModelName) -> Option<Watts> {
        let known = self.watts_per_core.get(model).copied();
        known.filter(|power| power.get().is_finite() && *power > Watts::ZERO)
    }

    /// Whether it is known how hungry each of `models` is, so that core time can be weighted.
    pub fn knows_all<'a>(&self, mut models: impl Iterator<Item = &'a ModelName>) -> bool {
        models.all(|model| self.per_core(model).is_some())
    }
}

fn per_core(profile: &Profile, floor: Watts, cores: u32) -> Option<Watts> {
    let of_row = |row: &crate::operating_point::ProfileRow| {
        let point = &row.point;
        let all = f64::from(point.instances) * f64::from(point.cores_per_instance?);
        let busy = all.min(f64::from(cores)) * point.duty_cycle.unwrap_or(1.0);
        let above = (row.power_watts_mean? - floor).get() / busy;
        (above.is_finite() && above > 0.0).then_some(above)
    };
    let mut each: Vec<f64> = profile.rows.iter().filter_map(of_row).collect();
    each.sort_by(f64::total_cmp);
    each.get(each.len() / 2).map(|median| Watts::new(*median))
}
