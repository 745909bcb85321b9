//! What a live signal says at one time, and how it knows: of where, of which kind, how old.
//!
//! A source of signals makes points; a reading is one of them as of a certain time. The number of a
//! reading never travels without its head.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::UnixTime;

/// What is told, and so in which unit: one each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantity {
    /// Carbon intensity of electricity in gCO2e/kWh.
    CarbonIntensity,
    /// Power in watts: a cap, or what a site makes of its own.
    Power,
    /// How full a battery is, 0 to 1.
    StateOfCharge,
}

impl Quantity {
    /// Its unit, in words.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::CarbonIntensity => "gCO2e/kWh",
            Self::Power => "W",
            Self::StateOfCharge => "share",
        }
    }
}

/// Which electricity a carbon intensity is of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IntensityKind {
    /// Of all that is generated for the zone.
    Average,
    /// Of what one more kilowatt-hour would cause.
    Marginal,
    /// Not told.
    #[default]
    Unknown,
}

/// Which emissions a carbon intensity counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmissionScope {
    /// What comes out of the power plants.
    Direct,
    /// That, and what building, fuelling and ending them emits.
    LifeCycle,
    /// Not told.
    #[default]
    Unknown,
}

/// How the source came by a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PointStatus {
    /// Measured or settled.
    Actual,
    /// Filled in by the source, where measurements lack.
    Estimated,
    /// Forecast by the source.
    Forecast,
    /// Not told.
    #[default]
    Unknown,
}

/// What a signal is of, and from whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SignalHead {
    /// What is told.
    pub quantity: Quantity,
    /// Of where, in the source's own words: `US-CAL-CISO`, `CAISO_NORTH`, `11`. `None`: not told.
    pub zone: Option<String>,
    /// Average or marginal; unknown for what is no carbon intensity.
    pub kind: IntensityKind,
    /// Direct or life-cycle; unknown for what is no carbon intensity.
    pub scope: EmissionScope,
    /// From whom, as a person would name it: `Electricity Maps v3`, `the trace solar.csv`.
    pub source: String,
}

impl SignalHead {
    /// The head of a constant or a trace that is configured, of which nothing more is told than `source`.
    pub fn configured(quantity: Quantity, source: impl Into<String>) -> Self {
        Self {
            quantity,
            zone: None,
            kind: IntensityKind::Unknown,
            scope: EmissionScope::Unknown,
            source: source.into(),
        }
    }

    /// In words, with how the source came by a value and how that stands to what it last said: `Electricity
    /// Maps v3, zone DE, average, life-cycle, estimated, stale`. What is not told is left out.
    pub fn in_words(&self, status: PointStatus, freshness: Freshness) -> String {
        let mut words = vec![self.source.clone()];
        words.extend(self.zone.as_ref().map(|zone| format!("zone {zone}")));
        let told = [
            match self.kind {
                IntensityKind::Average => Some("average"),
                IntensityKind::Marginal => Some("marginal"),
                IntensityKind::Unknown => None,
            },
            match self.scope {
                EmissionScope::Direct => Some("direct"),
                EmissionScope::LifeCycle => Some("life-cycle"),
                EmissionScope::Unknown => None,
            },
            match status {
                PointStatus::Actual => Some("actual"),
                PointStatus::Estimated => Some("estimated"),
                PointStatus::Forecast => Some("forecast"),
                PointStatus::Unknown => None,
            },
            match freshness {
                Freshness::Fresh => None,
                Freshness::Stale => Some("stale"),
                Freshness::Held => Some("too old, the last value is held"),
                Freshness::LastWeek => Some("too old, the value of the week before stands in"),
                Freshness::Constant => Some("too old, a constant stands in"),
            },
        ];
        words.extend(told.into_iter().flatten().map(str::to_owned));
        words.join(", ")
    }
}

/// One value of a signal, from its time until the next.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SignalPoint {
    /// From when on it holds.
    pub at: UnixTime,
    /// The value, in the unit of its quantity.
    pub value: f64,
    /// How the source came by it.
    pub status: PointStatus,
}

/// How a reading stands to what the source last said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Freshness {
    /// The source's own value of this time, or not much older, as configured.
    Fresh,
    /// Older than it should be, but not yet too old to use.
    Stale,
    /// Too old: the last value is held, as configured.
    Held,
    /// Too old: the value of the same time of the week before, as configured.
    LastWeek,
    /// Too old: a constant, as configured.
    Constant,
}

/// What a signal says at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalReading {
    /// The value, in the unit of its quantity.
    pub value: f64,
    /// From when on the source said so. `None` for a constant.
    pub at: Option<UnixTime>,
    /// How long ago what it says was so: zero within the interval it is of; for a forecast since it was
    /// told; for a constant that stands in, since the source's last word, zero where there never was one.
    pub age: Duration,
    /// How the source came by it.
    pub status: PointStatus,
    /// How it stands to what the source last said.
    pub freshness: Freshness,
    /// What it is of, and from whom.
    pub head: Arc<SignalHead>,
}

impl SignalReading {
    /// The value of this very time, as a configured constant or trace says it.
    pub fn configured(value: f64, head: &Arc<SignalHead>) -> Self {
        Self {
            value,
            at: None,
            age: Duration::ZERO,
            status: PointStatus::Unknown,
            freshness: Freshness::Fresh,
            head: Arc::clone(head),
        }
    }
}
