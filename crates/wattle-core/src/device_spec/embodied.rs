//! `[embodied]` of a device file: what ACT needs to know of a device, and what was published of its board.

use serde::Serialize;
use toml::Value;

use super::reader::{Reader, positive, text};
use super::{DeviceSpec, Figure, SpecError};
use crate::carbon::act::{ActInputs, DEFAULT_ABATEMENT, FabGrid, Memory, Node, YIELD};
use crate::carbon::{Embodied, EmbodiedFigure};
use crate::provenance::{Basis, Provenance};

/// The keys of the table.
const KEYS: [&str; 7] = [
    "die_area_mm2",
    "node_nm",
    "fab_grid",
    "abatement",
    "memory_gigabytes",
    "memory_technology",
    "published",
];

/// The keys of a published figure.
const PUBLISHED_KEYS: [&str; 4] = ["kilograms_co2e", "boundary", "basis", "source"];

/// What is known of how a device was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EmbodiedSpec {
    /// Area of its die.
    pub die_area_mm2: Option<Figure<f64>>,
    /// Its process, as a node that ACT has.
    pub node_nm: Option<Figure<&'static Node>>,
    /// The electricity of the fab, as ACT has it.
    pub fab_grid: Option<Figure<&'static FabGrid>>,
    /// Share of the fab's gases that is destroyed; ACT's own where it is not told.
    pub abatement: Option<Figure<f64>>,
    /// Its memory in gigabytes.
    pub memory_gigabytes: Option<Figure<f64>>,
    /// The kind of memory, as ACT has it.
    pub memory_technology: Option<Figure<&'static Memory>>,
    /// What others published of the device.
    pub published: Vec<Published>,
}

/// What others published of making a device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Published {
    /// Kilograms of CO2 equivalent.
    pub kilograms_co2e: f64,
    /// What is counted.
    pub boundary: PublishedBoundary,
    /// How it is known.
    pub basis: Basis,
    /// Who published it.
    pub source: String,
}

/// What a published figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PublishedBoundary {
    /// The whole board of this device.
    Board,
    /// The board of another make of the same chip, told for comparison.
    RelatedBoard,
    /// The board and its share of the server around it.
    ServerShare,
}

/// The names of the boundaries.
const BOUNDARIES: [(&str, PublishedBoundary); 3] = [
    ("board", PublishedBoundary::Board),
    ("related-board", PublishedBoundary::RelatedBoard),
    ("server-share", PublishedBoundary::ServerShare),
];

impl EmbodiedSpec {
    /// Reads the table at `embodied`, where there is one.
    pub(super) fn read(file: &Reader<'_>) -> Result<Option<Self>, SpecError> {
        let Some(table) = file.table("embodied", &KEYS)? else { return Ok(None) };
        let number = |key| table.figure(key, "a number over 0", positive);
        let share = |value: &Value| positive(value).filter(|share| *share <= 1.0);
        let spec = Self {
            die_area_mm2: number("die_area_mm2")?,
            node_nm: table.figure(
                "node_nm",
                "a node that ACT has: 28, 20, 14, 10, 8, 7, 5 or 3",
                |value| Node::of(u32::try_from(value.as_integer()?).ok()?).ok(),
            )?,
            fab_grid: table.figure("fab_grid", "a grid that ACT has, such as \"taiwan\"", |value| {
                FabGrid::named(value.as_str()?).ok()
            })?,
            abatement: table.figure("abatement", "a share in 0.95 to 0.99", share)?,
            memory_gigabytes: number("memory_gigabytes")?,
            memory_technology: table.figure(
                "memory_technology",
                "a memory that ACT has, such as \"ddr4-10nm\"",
                |value| Memory::named(value.as_str()?).ok(),
            )?,
            published: table.tables("published", &PUBLISHED_KEYS, |of| {
                Ok(Published {
                    kilograms_co2e: of.required("kilograms_co2e", "a number over 0", positive)?,
                    boundary: of.required(
                        "boundary",
                        "\"board\", \"related-board\" or \"server-share\"",
                        |value| {
                            let found = text(value)?;
                            BOUNDARIES.iter().find(|(name, _)| *name == found).map(|(_, boundary)| *boundary)
                        },
                    )?,
                    basis: of.basis()?,
                    source: of.text("source")?,
                })
            })?,
        };
        match spec.act() {
            Some(Err(error)) => {
                Err(table.error(error.parameter, &error.found, &error.expected, "correct the value"))
            }
            _ => Ok(Some(spec)),
        }
    }

    /// What ACT is told of the device; `None` where it is not told enough.
    pub fn act_inputs(&self) -> Option<ActInputs> {
        let memory = self.memory_technology.as_ref().zip(self.memory_gigabytes.as_ref());
        Some(ActInputs {
            die_area_mm2: self.die_area_mm2.as_ref()?.value,
            node: self.node_nm.as_ref()?.value,
            fab_grid: self.fab_grid.as_ref()?.value,
            abatement: self.abatement.as_ref().map_or(DEFAULT_ABATEMENT, |figure| figure.value),
            yield_share: YIELD,
            memory: Some(memory.map(|(kind, size)| (kind.value, size.value))?),
            packages: 1,
        })
    }

    /// The low end of the range, by ACT; `None` where it is not told enough.
    fn act(&self) -> Option<Result<EmbodiedFigure, crate::carbon::act::ActError>> {
        let inputs = self.act_inputs()?;
        Some(inputs.emissions().map(|parts| EmbodiedFigure {
            kilograms: parts.kilograms(),
            provenance: Provenance::new(Basis::Modelled, inputs.told()),
        }))
    }

    /// The high end: the most that was published of this very board.
    fn board(&self) -> Option<EmbodiedFigure> {
        let boards = self.published.iter().filter(|of| of.boundary == PublishedBoundary::Board);
        let most = boards.max_by(|one, other| one.kilograms_co2e.total_cmp(&other.kilograms_co2e))?;
        let provenance = Provenance::new(most.basis, most.source.clone());
        Some(EmbodiedFigure { kilograms: most.kilograms_co2e, provenance })
    }
}

impl DeviceSpec {
    /// What making the device emitted, all of it for one server; `None` where nothing or no lifetime is known.
    ///
    /// The low end is by ACT, or else the figure of the file; the high end is what was published of the board.
    pub fn embodied_range(&self) -> Option<Embodied> {
        let lifetime = self.lifetime_years.as_ref()?;
        let of_file = self.embodied_kilograms_co2e.as_ref().map(|figure| EmbodiedFigure {
            kilograms: figure.value,
            provenance: Provenance::new(figure.basis, figure.source.clone()),
        });
        let by_act = self.embodied.as_ref().and_then(EmbodiedSpec::act).and_then(Result::ok);
        let board = self.embodied.as_ref().and_then(EmbodiedSpec::board);
        let low = by_act.or(of_file);
        let (low, high) = match (low, board) {
            (Some(low), board) => (low, board),
            (None, board) => (board?, None),
        };
        Some(Embodied {
            low,
            high,
            lifetime_years: lifetime.value,
            lifetime_source: lifetime.source.clone(),
            device_share: 1.0,
        })
    }
}
