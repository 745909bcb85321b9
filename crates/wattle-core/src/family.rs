//! Variants of one model that answer the same question at different cost and quality.

use serde::{Deserialize, Serialize};

use crate::id::ModelName;
use crate::profile::Profile;
use crate::units::{Joules, Megahertz};

/// One variant of a family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// The model that answers.
    pub model: ModelName,
    /// Energy of one answer, `E` in the papers.
    pub energy_joules_per_row: Joules,
    /// How good its answers are, as a share in 0 to 1: accuracy, say. 1 - quality is the error rate.
    pub quality: f64,
}

/// The variants that no other beats in both energy and quality, by ascending energy. Of equals the
/// first stays. Variants whose figures are not numbers are left out.
pub fn pareto_front<'a>(variants: impl IntoIterator<Item = &'a Variant>) -> Vec<&'a Variant> {
    let energy = |variant: &Variant| variant.energy_joules_per_row.get();
    let is_known = |variant: &&Variant| energy(variant).is_finite() && variant.quality.is_finite();
    let mut front: Vec<&Variant> = variants.into_iter().filter(is_known).collect();
    front.sort_by(|a, b| energy(a).total_cmp(&energy(b)).then(b.quality.total_cmp(&a.quality)));
    let mut best = f64::NEG_INFINITY;
    front.retain(|variant| {
        let better = variant.quality > best;
        best = best.max(variant.quality);
        better
    });
    front
}

/// The variants on the lower convex hull of energy over quality, by ascending energy: mixed by time, they
/// reach any mean quality at least energy. Of equals the first stays.
pub fn lower_hull<'a>(variants: impl IntoIterator<Item = &'a Variant>) -> Vec<Variant> {
    let mut hull: Vec<Variant> = Vec::new();
    for variant in pareto_front(variants) {
        while let [.., before, last] = &hull[..]
            && joules_per_quality(before, last) >= joules_per_quality(last, variant)
        {
            hull.pop();
        }
        hull.push(variant.clone());
    }
    hull
}

/// Energy of a row for each unit of quality gained from one variant to another. Qualities on a front differ.
pub fn joules_per_quality(from: &Variant, to: &Variant) -> f64 {
    (to.energy_joules_per_row - from.energy_joules_per_row).get() / (to.quality - from.quality)
}

/// Energy of a row by `profile`: of one saturated instance at the largest profiled batch, with the
/// device's knobs fully open. `None` where no row tells it.
pub fn energy_per_row(profile: &Profile) -> Option<Joules> {
    let of_one = profile.rows.iter().filter(|row| {
        row.point.instances == 1 && row.point.duty_cycle.is_none_or(|duty_cycle| duty_cycle == 1.0)
    });
    let row = of_one.max_by(|a, b| {
        // A knob that is not told was left fully open.
        let clock = |clock: Option<Megahertz>| clock.map_or(f64::INFINITY, Megahertz::get);
        let units = |units: Option<u32>| units.unwrap_or(u32::MAX);
        let (a, b) = (&a.point, &b.point);
        (a.batch_size.cmp(&b.batch_size))
            .then(clock(a.core_clock_mhz).total_cmp(&clock(b.core_clock_mhz)))
            .then(units(a.compute_units).cmp(&units(b.compute_units)))
    })?;
    let by_power = || Some(Joules::new(row.power_watts_mean?.get() / row.throughput_rps?));
    row.energy_joules_per_row.or_else(by_power).filter(|energy| energy.get().is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_energy_of_a_row_is_that_of_one_instance_at_the_largest_batch_with_knobs_open() {
        let head = "# wattle_profile = 1\n# model = \"m\"\n# device = \"d\"\n# runtime = \"r\"\n\
                    # power_source = \"p\"\nbatch_size,instances,core_clock_mhz,latency_ms_mean,\
                    throughput_rps,power_watts_mean,basis,power_basis,samples\n";
        let rows = "1,1,2000,10,100,200,measured,measured,9\n8,1,1000,10,800,80,measured,measured,9\n\
                    8,1,2000,5,1600,240,measured,measured,9\n8,2,2000,9,1700,340,measured,measured,9\n";
        let energy = |text: &str| energy_per_row(&Profile::parse(text, "profile.csv").unwrap());
        assert_eq!(energy(&format!("{head}{rows}")), Some(Joules::new(240.0 / 1600.0)));
        assert_eq!(energy(&format!("{head}8,2,2000,9,1700,340,measured,measured,9\n")), None);
    }

    #[test]
    fn of_the_published_vision_models_the_vggs_are_beaten_in_energy_and_quality() {
        // Jung, Table 1: millijoules of one inference, error in percent.
        let variants = [
            ("ResNet34", 359.9321833, 8.58),
            ("ResNet50", 420.6213298, 7.138),
            ("ResNet101", 803.0948846, 6.454),
            ("ResNet152", 1238.147188, 5.954),
            ("VGG16", 668.9749319, 9.618),
            ("VGG19", 803.852304, 9.124),
            ("AlexNet", 124.9984724, 20.934),
            ("unknown", f64::NAN, 1.0),
        ]
        .map(|(model, millijoules, error)| Variant {
            model: model.into(),
            energy_joules_per_row: Joules::new(millijoules / 1e3),
            quality: 1.0 - error / 100.0,
        });
        let front: Vec<&str> = pareto_front(&variants).iter().map(|variant| variant.model.as_str()).collect();
        assert_eq!(front, ["AlexNet", "ResNet34", "ResNet50", "ResNet101", "ResNet152"]);
    }
}
