//! What the books amount to: energy, emissions and SCI scores by model, family, class or device.
//!
//! Pure: from what [`query`](crate::query) found and how each run counted, to rows. Nothing is lost on the
//! way: in both views the rows of a period add up to all that its devices drew and all that making them
//! emitted in that time.

mod assemble;
mod baseline;
mod line;
mod row;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use wattle_core::carbon::{CarbonAccounting, Embodied, crossover_power};
use wattle_core::time::UnixTime;
use wattle_core::units::{CarbonIntensity, Watts};

use crate::query::{Group, GroupBy, Period, Query, Span};
pub use assemble::assemble;
pub use baseline::{BaselineFigures, BaselineTold};
pub use line::{Line, utc, write_csv};
pub use row::{KNOWN_ENOUGH, Of, Row, View};

/// By what the rows of a report are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The model that answered.
    Model,
    /// The family that was asked.
    Family,
    /// The class that the request named.
    Class,
    /// The device.
    Device,
}

impl By {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Family => "family",
            Self::Class => "class",
            Self::Device => "device",
        }
    }

    /// The same for a query.
    pub const fn group(self) -> GroupBy {
        match self {
            Self::Model => GroupBy::Model,
            Self::Family => GroupBy::Family,
            Self::Class => GroupBy::Class,
            Self::Device => GroupBy::Device,
        }
    }

    /// What a row of accounts is of.
    pub fn of(self, group: &Group) -> Of {
        let name = match self {
            Self::Model => &group.model,
            Self::Family => &group.family,
            Self::Class => &group.class,
            Self::Device => &group.device,
        };
        name.clone().map_or(Of::Unnamed, Of::Named)
    }

    /// What to ask a ledger for a report by this.
    pub fn query(self, range: Range, period: Option<Period>) -> Query {
        // By run as well: each run has its own accounting and its own device.
        let group_by = BTreeSet::from([GroupBy::Run, self.group()]);
        Query { from: range.0, to: range.1, group_by, period }
    }
}

/// From when until when; `None` is without an end.
pub type Range = (Option<UnixTime>, Option<UnixTime>);

/// A report.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// By what its rows are told apart.
    pub by: By,
    /// The time that was counted; `None`: there is nothing in the range.
    pub counted: Option<Span>,
    /// The rows, in order of time and of names, idle last.
    pub rows: Vec<Row>,
    /// All rows together.
    pub total: Row,
    /// Mean carbon intensity of the grid, weighted by energy; `None`: unknown throughout.
    pub intensity: Option<CarbonIntensity>,
    /// Each device and how its runs counted.
    pub devices: Vec<DeviceTold>,
    /// Rows of the ledger that reach over an end of the range.
    pub edges: Vec<Span>,
    /// What the baseline is, or why there is none; `None`: none was asked for.
    pub baseline: Option<Result<BaselineTold, String>>,
}

/// A device of a report, and how emissions of it were counted.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceTold {
    /// The device.
    pub device: String,
    /// How emissions were counted; `None`: the ledger does not tell.
    pub accounting: Option<CarbonAccounting>,
    /// Cores given to inference; `None`: not recorded, and busy-time shares of the device are unknown.
    pub cores: Option<u32>,
    /// Mean power of the metered time.
    pub power: Option<Watts>,
}

/// Powers below which making a device emits more than running it, at one carbon intensity.
#[derive(Debug, Clone, PartialEq)]
pub struct Crossover {
    /// What makes the electricity, and at which intensity.
    pub electricity: String,
    /// With the low end of what making the device emitted.
    pub low: Option<Watts>,
    /// With the high end.
    pub high: Option<Watts>,
}

/// The crossover powers of a device. They are powers at the site: the device's own times the PUE.
pub fn crossovers(embodied: &Embodied, intensities: &[(String, CarbonIntensity)]) -> Vec<Crossover> {
    let power = |kilograms: f64, intensity| {
        crossover_power(kilograms * embodied.device_share, embodied.lifetime_years, intensity)
    };
    let one = |(name, intensity): &(String, CarbonIntensity)| Crossover {
        electricity: format!("{name} ({:.0} g/kWh)", intensity.get()),
        low: power(embodied.low.kilograms, *intensity),
        high: embodied.high.as_ref().and_then(|high| power(high.kilograms, *intensity)),
    };
    intensities.iter().map(one).collect()
}
