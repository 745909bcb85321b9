//! What the paper prints: Table 1 and the numbers of section 4, and its arithmetic on them.

/// One network of Table 1 that is served.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Network {
    /// Its name as a bundled network.
    pub(crate) name: &'static str,
    /// Energy of an inference in millijoules, measured by the paper on a V100.
    pub(crate) millijoules: f64,
    /// Error rate in percent.
    pub(crate) error_percent: f64,
}

/// The ResNets of Table 1, by ascending energy. The paper serves these only.
pub(crate) const RESNETS: [Network; 4] = [
    Network { name: "resnet34", millijoules: 359.932_183_3, error_percent: 8.58 },
    Network { name: "resnet50", millijoules: 420.621_329_8, error_percent: 7.138 },
    Network { name: "resnet101", millijoules: 803.094_884_6, error_percent: 6.454 },
    Network { name: "resnet152", millijoules: 1_238.147_188, error_percent: 5.954 },
];

/// Where the networks stand in [`RESNETS`].
pub(crate) const RESNET34: usize = 0;
pub(crate) const RESNET50: usize = 1;
pub(crate) const RESNET101: usize = 2;
pub(crate) const RESNET152: usize = 3;

/// Error rate of the heuristic, in percent.
pub(crate) const HEURISTIC_ERROR_PERCENT: f64 = 6.57;
/// Improvement of the heuristic over ResNet50 as printed, in percent.
pub(crate) const HEURISTIC_GAIN_PERCENT: f64 = 8.0;
/// Grams more than ResNet50: ResNet101, the heuristic, ResNet152.
pub(crate) const GRAMS_RESNET101: f64 = 2_676.0;
pub(crate) const GRAMS_HEURISTIC: f64 = 1_532.0;
pub(crate) const GRAMS_RESNET152: f64 = 5_720.0;
/// Carbon emission efficiencies as printed, in percent per gram.
pub(crate) const EFFICIENCY_RESNET152: f64 = 0.0029;
pub(crate) const EFFICIENCY_HEURISTIC: f64 = 0.00522;

/// By how much `error_percent` is less than ResNet50's, in percent of it: the paper's quality gain.
pub(crate) fn gain_percent(error_percent: f64) -> f64 {
    let base = RESNETS[RESNET50].error_percent;
    (base - error_percent) / base * 100.0
}

/// Grams more than ResNet50 for each millijoule more of an inference: the sum over time of requests times
/// carbon intensity, but for its unit. The same for every network alone.
pub(crate) fn grams_per_millijoule(network: usize, grams: f64) -> f64 {
    grams / (RESNETS[network].millijoules - RESNETS[RESNET50].millijoules)
}
