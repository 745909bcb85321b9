//! ACT: what making a chip emits, from its area, its process and its memory.
//!
//! `logic = area x (CI_fab x EPA + GPA + MPA) / yield`, `memory = CPS x GB / yield`, and so much for each
//! package (Gupta et al., "ACT: Designing Sustainable Computer Systems with an Architectural Carbon Modeling
//! Tool", ISCA 2022, equations 3 to 6 and Table 1). It counts no board, no power stages, no heat sink and no
//! transport: the low end of a range.

mod tables;
#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::nearest::nearest;
use crate::units::GramsCo2e;

pub use tables::{
    ABATEMENT, DEFAULT_ABATEMENT, FAB_GRIDS, FabGrid, INTENSITIES, MEMORIES, Memory, NODES, Node,
    PACKAGE_GRAMS, TABLES_SOURCE, YIELD,
};

/// A parameter that ACT has no figure for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{parameter} is {found}, expected {expected}")]
pub struct ActError {
    /// Which parameter.
    pub parameter: &'static str,
    /// What was asked for.
    pub found: String,
    /// What ACT has.
    pub expected: String,
}

impl Node {
    /// The process node of so many nanometres.
    ///
    /// # Errors
    /// Where ACT has none: it has figures for its own nodes and none between them.
    pub fn of(nanometres: u32) -> Result<&'static Self, ActError> {
        NODES.iter().find(|node| node.nanometres == nanometres).ok_or_else(|| {
            let near = NODES.iter().min_by_key(|node| node.nanometres.abs_diff(nanometres));
            let all: Vec<String> = NODES.iter().map(|node| node.nanometres.to_string()).collect();
            ActError {
                parameter: "node_nm",
                found: nanometres.to_string(),
                expected: format!(
                    "one that ACT has: {} (the nearest is {}; say in its source that it stands for another)",
                    all.join(", "),
                    near.map_or(0, |node| node.nanometres)
                ),
            }
        })
    }

    /// Grams of the gases of a square centimetre at `abatement`, the share of them that the fab destroys:
    /// between ACT's figures for 95 % and 99 %, as ACT itself takes 97 %.
    fn gases(&self, abatement: f64) -> Result<f64, ActError> {
        let (low, high) = ABATEMENT;
        // Written so that what is no number fails too.
        if !(low..=high).contains(&abatement) {
            return Err(ActError {
                parameter: "abatement",
                found: abatement.to_string(),
                expected: format!("{low} to {high}: ACT has no figure beyond"),
            });
        }
        let toward_high = (abatement - low) / (high - low);
        Ok(self.gpa_95 + (self.gpa_99 - self.gpa_95) * toward_high)
    }
}

impl Memory {
    /// The memory technology of that name.
    ///
    /// # Errors
    /// Where ACT has none of it; names the nearest.
    pub fn named(name: &str) -> Result<&'static Self, ActError> {
        let names = MEMORIES.iter().map(|memory| memory.name);
        MEMORIES
            .iter()
            .find(|memory| memory.name == name)
            .ok_or_else(|| unknown_name("memory_technology", name, names))
    }
}

impl FabGrid {
    /// The electricity of that name.
    ///
    /// # Errors
    /// Where ACT has none of it; names the nearest.
    pub fn named(name: &str) -> Result<&'static Self, ActError> {
        let names = FAB_GRIDS.iter().map(|grid| grid.name);
        FAB_GRIDS.iter().find(|grid| grid.name == name).ok_or_else(|| unknown_name("fab_grid", name, names))
    }
}

fn unknown_name(
    parameter: &'static str,
    found: &str,
    names: impl Iterator<Item = &'static str> + Clone,
) -> ActError {
    let near = nearest(found, names.clone()).unwrap_or_default();
    let all: Vec<&str> = names.collect();
    ActError {
        parameter,
        found: format!("{found:?}"),
        expected: format!("one of: {}; did you mean {near:?}?", all.join(", ")),
    }
}

/// What ACT is told of a device.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ActInputs {
    /// Area of the die in square millimetres.
    pub die_area_mm2: f64,
    /// Its process.
    pub node: &'static Node,
    /// The electricity of the fab.
    pub fab_grid: &'static FabGrid,
    /// Share of the fab's gases that is destroyed, 0.95 to 0.99.
    pub abatement: f64,
    /// Share of what is made that works, of die and of memory.
    pub yield_share: f64,
    /// Its memory, and how many gigabytes of it.
    pub memory: Option<(&'static Memory, f64)>,
    /// Packages of integrated circuits.
    pub packages: u32,
}

/// What making a device emits, part by part.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ActBreakdown {
    /// Electricity of making the die.
    pub logic_energy: GramsCo2e,
    /// Gases of making the die.
    pub logic_gases: GramsCo2e,
    /// Materials of the die.
    pub logic_materials: GramsCo2e,
    /// Memory.
    pub memory: GramsCo2e,
    /// Packages.
    pub packages: GramsCo2e,
}

impl ActBreakdown {
    /// Everything, in kilograms.
    pub fn kilograms(&self) -> f64 {
        let parts = [self.logic_energy, self.logic_gases, self.logic_materials, self.memory, self.packages];
        parts.into_iter().sum::<GramsCo2e>().get() / 1e3
    }
}

impl ActInputs {
    /// What making the device emits.
    ///
    /// # Errors
    /// Where an area, a yield, a size or the abatement is none that can be.
    pub fn emissions(&self) -> Result<ActBreakdown, ActError> {
        let positive = |parameter, value: f64, most: f64, expected: &str| {
            // Written so that what is no number fails too.
            if value > 0.0 && value <= most {
                return Ok(value);
            }
            Err(ActError { parameter, found: value.to_string(), expected: expected.into() })
        };
        let area = positive("die_area_mm2", self.die_area_mm2, 1e6, "square millimetres over 0")?;
        let works = positive("yield_share", self.yield_share, 1.0, "a share over 0 and up to 1")?;
        let square_centimetres = area / 100.0 / works;
        let grams = |per_area: f64| GramsCo2e::new(square_centimetres * per_area);
        let memory = match self.memory {
            None => 0.0,
            Some((memory, gigabytes)) => {
                positive("memory_gigabytes", gigabytes, 1e9, "gigabytes over 0")? * memory.grams_per_gigabyte
            }
        };
        Ok(ActBreakdown {
            logic_energy: grams(self.fab_grid.grams_per_kwh * self.node.epa),
            logic_gases: grams(self.node.gases(self.abatement)?),
            logic_materials: grams(self.node.mpa),
            memory: GramsCo2e::new(memory / works),
            packages: GramsCo2e::new(PACKAGE_GRAMS * f64::from(self.packages)),
        })
    }

    /// The parameters in words, for the source of the figure.
    pub fn told(&self) -> String {
        let memory = self.memory.map_or_else(String::new, |(memory, gigabytes)| {
            format!(", {gigabytes} GB as {} ({} g/GB)", memory.name, memory.grams_per_gigabyte)
        });
        format!(
            "ACT: {} mm2 at {} nm, {} electricity ({} g/kWh), {} % abatement, yield {}{memory}, {} package(s)",
            self.die_area_mm2,
            self.node.nanometres,
            self.fab_grid.name,
            self.fab_grid.grams_per_kwh,
            self.abatement * 100.0,
            self.yield_share,
            self.packages
        )
    }
}
