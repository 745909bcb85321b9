//! Variants of one model that answer the same question at different cost and quality.

use serde::{Deserialize, Serialize};

use crate::id::ModelName;
use crate::units::Joules;

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

#[cfg(test)]
mod tests {
    use super::*;

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
