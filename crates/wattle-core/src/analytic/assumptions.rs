//! The constants of the analytic model. None is fitted to a result that the model is compared with.

use crate::provenance::Basis;

/// How every constant here is known: none was measured on the device that it is used for.
pub const BASIS: Basis = Basis::Assumed;

/// A constant and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Assumption {
    /// What it is, with its unit.
    pub name: &'static str,
    /// The constant.
    pub value: f64,
    /// A publication, or why this value.
    pub source: &'static str,
}

/// Share of the peak rate that layers reach when they fill the device.
pub const COMPUTE_EFFICIENCY: Assumption = Assumption {
    name: "share of peak FLOPS reached",
    value: 0.45,
    source: "round figure: whole networks reach a third to a half of peak once they fill the device",
};

/// Share of the memory's peak bandwidth that kernels reach.
pub const BANDWIDTH_EFFICIENCY: Assumption = Assumption {
    name: "share of peak bandwidth reached",
    value: 0.8,
    source: "round figure; stream benchmarks of GPUs reach 0.75 to 0.95",
};

/// Outputs that one compute unit works on at a time.
pub const OUTPUTS_PER_UNIT: Assumption = Assumption {
    name: "outputs that fill a compute unit",
    value: 4096.0,
    source: "a tile of 64 x 64 outputs, a usual size in matrix multiplication libraries",
};

/// Share of the compute units that must be at work to use the whole memory bandwidth.
pub const UNITS_TO_SATURATE_MEMORY: Assumption = Assumption {
    name: "share of units that saturates memory",
    value: 0.5,
    source: "round figure: half of the units",
};

/// Time of the host for each operator of a pass, in seconds.
pub const HOST_SECONDS_PER_OPERATOR: Assumption = Assumption {
    name: "host time per operator, s",
    value: 11e-6,
    source: "5 to 25 us of dispatch for an operator of an eager framework; geometric mean",
};

/// Share of the link's peak bandwidth that copies reach.
pub const LINK_EFFICIENCY: Assumption = Assumption {
    name: "share of link bandwidth reached",
    value: 0.8,
    source: "round figure for copies from pinned memory over PCI Express",
};

/// Memory that a process takes before it loads a model, in bytes, where the device's file has none.
pub const CONTEXT_BYTES: Assumption = Assumption {
    name: "memory of a process without its model, bytes",
    value: 1.06e9,
    source: "1008 MiB of PyTorch 1.3 on a Titan V (pytorch issue 28394)",
};

/// Voltage up to [`VOLTAGE_KNEE`], as a share of that at the boost clock, where unknown.
pub const LOW_VOLTAGE: Assumption = Assumption {
    name: "voltage at low clocks, share",
    value: 0.7,
    source: "flat, then linear: voltage scales non-linearly (Guerreiro et al., HPCA 2018); a Vega 20 has 0.69",
};

/// Clock up to which the voltage stays low, as a share of the boost clock, where unknown.
pub const VOLTAGE_KNEE: Assumption = Assumption {
    name: "clock at which voltage begins to rise, share",
    value: 0.5,
    source: "a Vega 20 has 0.69 of its voltage at 0.46 of its clock (gpu-utils issue 8)",
};

/// All of them, for the notes of a profile.
pub const ALL: [Assumption; 9] = [
    COMPUTE_EFFICIENCY,
    BANDWIDTH_EFFICIENCY,
    OUTPUTS_PER_UNIT,
    UNITS_TO_SATURATE_MEMORY,
    HOST_SECONDS_PER_OPERATOR,
    LINK_EFFICIENCY,
    CONTEXT_BYTES,
    LOW_VOLTAGE,
    VOLTAGE_KNEE,
];
