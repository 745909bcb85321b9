//! What an answer is told its cost by before its interval is booked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use wattle_core::carbon::CarbonAccounting;
use wattle_core::id::ModelName;
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::signal::SignalReading;
use wattle_core::units::{GramsCo2e, Joules};

/// Energy of a core-second of computing, as last metered, what it emits, and where both are from. Written by
/// the control loop, read by instances and front ends, without a lock.
#[derive(Debug)]
pub struct EnergyRate {
    rates: ArcSwap<Rates>,
    carbon: ArcSwapOption<CarbonRate>,
}

/// What energy costs, and how that is known.
#[derive(Debug, Clone)]
pub struct Rates {
    /// Energy of a core-second of any model; `None`: no power is known.
    pub(super) joules_per_core_second: Option<f64>,
    /// Energy of a core-second of each model of which it is known how hungry it is; empty where they are
    /// taken to be alike.
    pub(super) by_model: BTreeMap<ModelName, f64>,
    /// How the power of the device is known.
    pub(super) power: Provenance,
    /// How far off what is told may be, as a share. See [`Meter`](super::Meter).
    pub(super) uncertainty: Option<f64>,
}

impl Rates {
    /// How what a request is told is known: its share is modelled at best.
    pub fn basis(&self) -> Basis {
        self.power.basis.max(Basis::Modelled)
    }

    /// How the power of the device is known.
    pub fn power(&self) -> &Provenance {
        &self.power
    }

    /// How the power is known and split, in words.
    pub fn source(&self) -> String {
        let weighted =
            if self.by_model.is_empty() { "" } else { ", weighted by the power of its model's profile" };
        let Self { power, .. } = self;
        format!("{power}; a request's share of it is modelled from the core time of its batch{weighted}")
    }

    /// How far off the energy of a request may be, as a share of it: 0.1 for ± 10 %. `None`: not seen yet.
    ///
    /// It is the relative difference between the energy that requests were told and what the ledger then
    /// booked for the same core time, averaged over the models by energy and, with exponentially falling
    /// weights, over the last intervals. Where the power source states its own error, that is added in
    /// squares.
    pub fn uncertainty(&self) -> Option<f64> {
        self.uncertainty
    }
}

/// What energy emits now, and how that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct CarbonRate {
    /// Emissions of a joule of the device, with what the site adds, by the grid's carbon intensity.
    grams_per_joule: GramsCo2e,
    /// Whose carbon intensity, of where and of which kind.
    pub source: String,
}

impl CarbonRate {
    /// Operational emissions of so much energy of the device, with what the site adds to it.
    pub fn of(&self, energy: Joules) -> GramsCo2e {
        self.grams_per_joule * energy.get()
    }
}

impl EnergyRate {
    /// Not known yet.
    pub fn unknown() -> Self {
        let power = Provenance::new(Basis::Assumed, "unknown");
        let rates =
            Rates { joules_per_core_second: None, by_model: BTreeMap::new(), power, uncertainty: None };
        Self { rates: ArcSwap::from_pointee(rates), carbon: ArcSwapOption::empty() }
    }

    /// Energy of so much core time of `model`, or `None` where no power is known.
    pub fn of_core_time(&self, model: &ModelName, core_time: Duration) -> Option<Joules> {
        let rates = self.rates.load();
        let rate = rates.by_model.get(model).copied().or(rates.joules_per_core_second)?;
        Some(Joules::new(rate * core_time.as_secs_f64()))
    }

    /// What energy costs, and how that is known.
    pub fn rates(&self) -> Arc<Rates> {
        self.rates.load_full()
    }

    /// What energy emits; `None` where no carbon intensity is known.
    pub fn carbon(&self) -> Option<Arc<CarbonRate>> {
        self.carbon.load_full()
    }

    /// Takes in the carbon intensity in force.
    pub fn set_carbon(&self, reading: Option<&SignalReading>, accounting: &CarbonAccounting) {
        let emissions = accounting.emissions(Joules::new(1.0), reading);
        let next = reading.zip(emissions).map(|(reading, of_joule)| CarbonRate {
            grams_per_joule: of_joule.location,
            source: format!(
                "{}, PUE {}",
                reading.head.in_words(reading.status, reading.freshness),
                accounting.pue
            ),
        });
        if self.carbon.load().as_deref() != next.as_ref() {
            self.carbon.store(next.map(Arc::new));
        }
    }

    /// Has one writer, the meter.
    pub(super) fn change(&self, change: impl FnOnce(&mut Rates)) {
        let mut rates = Rates::clone(&self.rates.load());
        change(&mut rates);
        self.rates.store(Arc::new(rates));
    }
}
