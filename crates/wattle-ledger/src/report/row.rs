//! One row of a report, seen in two ways: by busy time and by reserved time.

use std::collections::BTreeSet;

use wattle_core::carbon::{EmbodiedGrams, Sci, SciTerms};
use wattle_core::provenance::Basis;
use wattle_core::units::{GramsCo2e, Joules};

use super::baseline::BaselineFigures;
use crate::query::{KnownGrams, Span};

/// The share of a row's energy whose carbon must be known for a score. Its mean intensity then stands for
/// the rest too, which the row tells.
pub const KNOWN_ENOUGH: f64 = 0.9;

/// What a row is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// Requests of that model, family, class or device.
    Named(String),
    /// Requests that named no family or no class.
    Unnamed,
    /// What no request asked for. By reserved time: only where nothing was asked in the whole period.
    Idle,
}

/// What falls to a row in one view.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// Energy at the device.
    pub energy: Joules,
    /// The same with what the site adds.
    pub site_energy: Joules,
    /// Location-based emissions, and the energy at the device that they are of.
    pub location: Option<KnownGrams>,
    /// Market-based emissions, likewise.
    pub market: Option<KnownGrams>,
    /// Of making the device. `None`: not known for all of it.
    pub embodied: Option<EmbodiedGrams>,
}

impl Default for View {
    /// Nothing, of which everything is known.
    fn default() -> Self {
        let nothing = EmbodiedGrams { low: GramsCo2e::ZERO, high: Some(GramsCo2e::ZERO) };
        Self {
            energy: Joules::ZERO,
            site_energy: Joules::ZERO,
            location: None,
            market: None,
            embodied: Some(nothing),
        }
    }
}

/// Emissions of both; what is known of either counts.
pub(super) fn add_known(total: &mut Option<KnownGrams>, more: Option<KnownGrams>) {
    let Some(more) = more else { return };
    let before = total.unwrap_or_default();
    *total = Some(KnownGrams { grams: before.grams + more.grams, energy: before.energy + more.energy });
}

/// A part of emissions that are known.
pub(super) fn part(known: Option<KnownGrams>, share: f64) -> Option<KnownGrams> {
    known.map(|known| KnownGrams { grams: known.grams * share, energy: known.energy * share })
}

impl View {
    /// Adds another part.
    pub(super) fn add(&mut self, more: &Self) {
        self.energy += more.energy;
        self.site_energy += more.site_energy;
        add_known(&mut self.location, more.location);
        add_known(&mut self.market, more.market);
        self.embodied = self.embodied.zip(more.embodied).map(|(one, other)| one.plus(other));
    }

    /// The share of the energy whose location-based emissions are known; `None` where there is no energy.
    pub fn known_share(&self) -> Option<f64> {
        self.share_of(self.location)
    }

    /// The same of market-based emissions: less than 1 where some runs had no contract.
    pub fn market_share(&self) -> Option<f64> {
        self.share_of(self.market)
    }

    fn share_of(&self, known: Option<KnownGrams>) -> Option<f64> {
        let share = known.map_or(Joules::ZERO, |known| known.energy) / self.energy;
        // Sums in another order differ in the last digits, which is no energy whose carbon is unknown.
        let all = |share: f64| if share > 1.0 - 1e-9 { 1.0 } else { share.max(0.0) };
        share.is_finite().then(|| all(share))
    }

    /// The score for each of `units`; `None` where making the device is unknown, where nothing was done, or
    /// where carbon is known for less than [`KNOWN_ENOUGH`] of the energy.
    pub fn score(&self, units: u64) -> Option<Sci> {
        let share = self.known_share().filter(|share| *share >= KNOWN_ENOUGH)?;
        let operational = self.location?.grams / share;
        SciTerms { energy: self.site_energy, operational, embodied: self.embodied }.per(units as f64)
    }
}

/// One row of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The period; `None` where the report has none.
    pub period: Option<Span>,
    /// What it is of.
    pub of: Of,
    /// Requests answered.
    pub requests: u64,
    /// Rows answered.
    pub rows: u64,
    /// What its work drew, and its part of making the device by the time that it kept it busy.
    pub busy: View,
    /// That, and its part of idle energy and idle time.
    pub reserved: View,
    /// How the energy is known, the worst of all. `None`: nothing is in the row.
    pub basis: Option<Basis>,
    /// From where everything is known.
    pub sources: Sources,
    /// The same requests under the baseline.
    pub baseline: Option<BaselineFigures>,
}

/// From where the figures of a row are known, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// Of the power.
    pub power: BTreeSet<String>,
    /// Of the carbon intensity: the table or provider, the zone, the kind, the scope and the status.
    pub intensity: BTreeSet<String>,
    /// Of the market-based intensity.
    pub market: BTreeSet<String>,
    /// Of the power usage effectiveness.
    pub pue: BTreeSet<String>,
    /// Of what making the device emitted, and of its lifetime.
    pub embodied: BTreeSet<String>,
}

impl Sources {
    fn add(&mut self, more: &Self) {
        let both = [
            (&mut self.power, &more.power),
            (&mut self.intensity, &more.intensity),
            (&mut self.market, &more.market),
            (&mut self.pue, &more.pue),
            (&mut self.embodied, &more.embodied),
        ];
        for (all, more) in both {
            all.extend(more.iter().cloned());
        }
    }
}

impl Row {
    /// A row of nothing yet.
    pub(super) fn new(period: Option<Span>, of: Of) -> Self {
        Self {
            period,
            of,
            requests: 0,
            rows: 0,
            busy: View::default(),
            reserved: View::default(),
            basis: None,
            sources: Sources::default(),
            baseline: None,
        }
    }

    /// Adds what another row has, which may be of another period or name.
    pub(super) fn add(&mut self, more: &Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.rows = self.rows.saturating_add(more.rows);
        self.busy.add(&more.busy);
        self.reserved.add(&more.reserved);
        self.basis = self.basis.max(more.basis);
        self.sources.add(&more.sources);
        if let Some(baseline) = &more.baseline {
            self.baseline.get_or_insert_default().add(baseline);
        }
    }

    /// The score of reserved time: grams for each request.
    pub fn sci_per_request(&self) -> Option<Sci> {
        self.reserved.score(self.requests)
    }

    /// The score of reserved time: grams for each 1,000 rows.
    pub fn sci_per_1000_rows(&self) -> Option<Sci> {
        let of_one = self.reserved.score(self.rows)?;
        Some(Sci { low: of_one.low * 1e3, high: of_one.high.map(|high| high * 1e3) })
    }

    /// Grams for each request by busy time alone: what nobody asked for is nobody's.
    pub fn busy_per_request(&self) -> Option<Sci> {
        self.busy.score(self.requests)
    }
}
