//! The figures of ACT, as its authors publish them.

use serde::Serialize;

/// Where every figure of this file is from.
pub const TABLES_SOURCE: &str =
    "ACT (Gupta et al., ISCA 2022, Table 1, and the model files of its published program)";

/// A process node. Figures are for each square centimetre of die.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Node {
    /// Its name, in nanometres.
    pub nanometres: u32,
    /// `EPA`: kilowatt-hours.
    pub epa: f64,
    /// `GPA` with 95 % of the gases destroyed: grams.
    pub gpa_95: f64,
    /// `GPA` with 99 % of the gases destroyed: grams.
    pub gpa_99: f64,
    /// `MPA`: grams.
    pub mpa: f64,
}

/// A memory technology.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Memory {
    /// Its name.
    pub name: &'static str,
    /// `CPS`: grams for each gigabyte.
    pub grams_per_gigabyte: f64,
}

/// The electricity that a fab runs on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FabGrid {
    /// A place, or what the electricity is made from.
    pub name: &'static str,
    /// Its carbon intensity.
    pub grams_per_kwh: f64,
}

const fn node(nanometres: u32, epa: f64, gpa_95: f64, gpa_99: f64) -> Node {
    Node { nanometres, epa, gpa_95, gpa_99, mpa: 500.0 }
}

const fn memory(name: &'static str, grams_per_gigabyte: f64) -> Memory {
    Memory { name, grams_per_gigabyte }
}

const fn grid(name: &'static str, grams_per_kwh: f64) -> FabGrid {
    FabGrid { name, grams_per_kwh }
}

/// The nodes that ACT has: its files `epa`, `gpa_95`, `gpa_99` and `materials` of logic.
pub const NODES: [Node; 8] = [
    node(28, 0.90, 175.0, 100.0),
    node(20, 1.20, 190.0, 110.0),
    node(14, 1.20, 200.0, 125.0),
    node(10, 1.475, 240.0, 150.0),
    node(8, 1.52, 240.0, 150.0),
    node(7, 2.15, 350.0, 200.0),
    node(5, 2.75, 430.0, 225.0),
    node(3, 3.25, 470.0, 275.0),
];

/// The memories that ACT has: its file `dram_hynix`. None of them is stacked or made for graphics: HBM and
/// GDDR are taken as `ddr4-10nm`, which leaves out the stacking.
pub const MEMORIES: [Memory; 8] = [
    memory("ddr3-50nm", 600.0),
    memory("ddr3-40nm", 315.0),
    memory("ddr3-30nm", 230.0),
    memory("lpddr3-30nm", 201.0),
    memory("lpddr3-20nm", 184.0),
    memory("lpddr2-20nm", 159.0),
    memory("lpddr4", 48.0),
    memory("ddr4-10nm", 65.0),
];

/// The electricity that ACT has: its file `location_2022`.
pub const FAB_GRIDS: [FabGrid; 11] = [
    grid("world", 301.0),
    grid("india", 725.0),
    grid("australia", 597.0),
    grid("taiwan", 583.0),
    grid("singapore", 495.0),
    grid("usa", 380.0),
    grid("europe", 295.0),
    grid("brazil", 82.0),
    grid("iceland", 28.0),
    grid("japan", 485.0),
    grid("korea", 430.0),
];

/// Electricity by what it is made from, life-cycle: ACT's file `source`. Other tables differ; name this one.
pub const INTENSITIES: [FabGrid; 8] = [
    grid("wind", 11.0),
    grid("nuclear", 12.0),
    grid("hydropower", 24.0),
    grid("geothermal", 38.0),
    grid("solar", 41.0),
    grid("biomass", 230.0),
    grid("gas", 490.0),
    grid("coal", 820.0),
];

/// The shares of destroyed gases that ACT has figures for.
pub const ABATEMENT: (f64, f64) = (0.95, 0.99);
/// What ACT takes where nothing is told: the mean of both.
pub const DEFAULT_ABATEMENT: f64 = 0.97;
/// What ACT takes for the share of dies that work, and of memory.
pub const YIELD: f64 = 0.875;
/// What ACT counts for packaging an integrated circuit, in grams.
pub const PACKAGE_GRAMS: f64 = 150.0;
