//! The variant by a price of quality, `carbon-budget`: least carbon for a floor on mean quality, or the
//! best mean quality for a budget of carbon.
//!
//! Ours. At carbon intensity `c` the variant of least `c * E - price * Q` serves. One price for a whole
//! accounting period is what the best plan with foresight has ([`oracle_carbon`](super::oracle_carbon)):
//! the dual of its floor or budget. Here the price is found anew at every ask, as the dual over the rest
//! of the period of what is expected there: what the driver forecasts, and from then on each half hour of
//! the day as it was on the last days. Debt and credit of quality, or the grams spent, enter with what
//! they are, so that errors of the past are spread over the rest of the period. No forecast is needed.
//! Re-solving a certainty equivalent in this way is known from network revenue management (Jasin and
//! Kumar, "A Re-Solving Heuristic with Bounded Revenue Loss", 2012) and from online allocation by dual
//! prices (Balseiro, Lu, Mirrokni, "The Best of Many Worlds", 2023).
//!
//! Until a day was seen, the hours not yet seen are taken as those that were. Grams are those of the
//! variants' energy per row (modelled): idle power is the same whatever is chosen.

mod history;
mod options;
mod period;
mod price;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use super::{PolicyError, PolicyOptions};
use crate::family::{Variant, lower_hull};
use crate::id::{FamilyName, ModelName};
use crate::observation::{FamilyObservation, Observation};
use crate::policy::{CarbonLimit, Decision, Policy, Reason};
use crate::time::Timestamp;
use crate::units::CarbonIntensity;
use history::{History, SLOT};
pub use options::CarbonBudgetOptions;
use period::{Period, Periods};
use price::{Expected, Limit, Piece, Price};

/// What is to be kept.
#[derive(Debug, Clone, Copy)]
enum Goal {
    /// Least mean quality.
    Floor(f64),
    /// Most grams of a day.
    GramsPerDay(f64),
}

/// What one family did, and what was decided for it.
#[derive(Debug, Clone)]
struct FamilyState {
    history: History,
    /// Rows whose quality is known, in this period.
    rows: f64,
    /// Their quality, as a sum.
    quality: f64,
    /// Quality that the periods before missed.
    debt: f64,
    /// Seconds that the better of two variants at the same price is owed.
    owed_seconds: f64,
    switched_at: Option<Timestamp>,
}

impl FamilyState {
    fn new(history_days: u32) -> Self {
        Self {
            history: History::new(history_days),
            rows: 0.0,
            quality: 0.0,
            debt: 0.0,
            owed_seconds: 0.0,
            switched_at: None,
        }
    }

    /// A period with this floor, if any, is over.
    fn begin_anew(&mut self, floor: Option<f64>) {
        let missing = floor.map_or(0.0, |floor| floor * self.rows - self.quality);
        self.debt = (self.debt + missing).max(0.0);
        (self.rows, self.quality) = (0.0, 0.0);
    }

    fn quality_mean(&self) -> Option<f64> {
        (self.rows > 0.0).then(|| self.quality / self.rows)
    }
}

/// Chooses variants by a price of quality that keeps a floor or a budget.
#[derive(Debug, Clone)]
pub struct CarbonBudget {
    goal: Goal,
    periods: Periods,
    period: Period,
    history_days: u32,
    interval: Duration,
    dwell: Duration,
    switch_cost_grams: f64,
    stale_after: Duration,
    variants: BTreeMap<FamilyName, Vec<Variant>>,
    families: BTreeMap<FamilyName, FamilyState>,
    /// Grams spent in this period, over all families.
    grams: f64,
    /// When the policy was asked last, and the carbon intensity then.
    asked: Option<(Timestamp, Option<f64>)>,
}

/// What is expected of one family at this ask.
struct Outlook<'a> {
    family: &'a FamilyObservation,
    hull: Vec<Variant>,
    pieces: Vec<Piece>,
}

impl Outlook<'_> {
    fn expected(&self) -> Expected<'_> {
        Expected { hull: &self.hull, pieces: &self.pieces }
    }
}

/// The circumstances of one ask.
#[derive(Debug, Clone, Copy)]
struct Ask {
    now: Timestamp,
    /// Until the policy is expected to be asked again.
    step: Duration,
    /// Nothing can be made good any more in this period after this ask.
    is_last: bool,
    limit: CarbonLimit,
    /// Of the driver, where the intensity is not known.
    age: Option<Duration>,
}

impl CarbonBudget {
    /// Runs over `options.families`.
    ///
    /// # Errors
    /// When neither a floor nor a budget is set, and when a floor is above the best variant of a family.
    pub fn new(options: &PolicyOptions) -> Result<Self, PolicyError> {
        let settings = &options.carbon_budget;
        settings.check()?;
        let option = |option, found: String, expected| PolicyError::Option { option, found, expected };
        let goal = match (settings.quality_floor, settings.carbon_budget_grams_per_day) {
            (Some(floor), _) => Goal::Floor(floor),
            (None, Some(grams)) => Goal::GramsPerDay(grams),
            (None, None) => {
                let expected = "a mean quality, or carbon_budget_grams_per_day in its place";
                return Err(option("carbon_budget.quality_floor", "not set".into(), expected));
            }
        };
        if let Goal::Floor(floor) = goal {
            let best = |variants: &Vec<Variant>| {
                let known = variants.iter().map(|of| of.quality).filter(|quality| quality.is_finite());
                known.reduce(f64::max)
            };
            if options.families.values().filter_map(best).any(|best| floor > best) {
                let expected = "at most the quality of the best variant of every family";
                return Err(option("carbon_budget.quality_floor", floor.to_string(), expected));
            }
        }
        let seconds = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        let default_days = if matches!(goal, Goal::Floor(_)) { 30 } else { 1 };
        let day_start = settings.day_starts_at_seconds.unwrap_or(0.0);
        let periods = Periods::new(settings.period_days.unwrap_or(default_days), seconds(day_start));
        Ok(Self {
            goal,
            periods,
            period: periods.at(Timestamp::ZERO),
            history_days: settings.history_days,
            interval: seconds(settings.interval_seconds),
            dwell: seconds(settings.dwell_seconds),
            switch_cost_grams: settings.switch_cost_grams,
            stale_after: seconds(settings.stale_after_seconds),
            variants: options.families.clone(),
            families: BTreeMap::new(),
            grams: 0.0,
            asked: None,
        })
    }

    fn floor(&self) -> Option<f64> {
        match self.goal {
            Goal::Floor(floor) => Some(floor),
            Goal::GramsPerDay(_) => None,
        }
    }

    fn limit(&self) -> CarbonLimit {
        match self.goal {
            Goal::Floor(quality_floor) => CarbonLimit::QualityFloor { quality_floor },
            Goal::GramsPerDay(grams) => CarbonLimit::CarbonBudget {
                budget_grams: grams * self.period.days(),
                spent_grams: self.grams,
            },
        }
    }

    fn grams_left(&self) -> f64 {
        match self.goal {
            Goal::Floor(_) => f64::INFINITY,
            Goal::GramsPerDay(grams) => grams * self.period.days() - self.grams,
        }
    }

    /// Books what was served since the last ask, by the variants that were active, and begins a new period
    /// where it is time. A stretch belongs to the period in which it began.
    fn book(&mut self, seen: &Observation) {
        for family in &seen.families {
            let state = self.families.entry(family.name.clone());
            let state = state.or_insert_with(|| FamilyState::new(self.history_days));
            let Some((since, intensity)) = self.asked.filter(|(since, _)| *since < seen.now) else {
                continue;
            };
            let rows = family.arrived_rows as f64;
            let known = self.variants.get(&family.name).map(Vec::as_slice).unwrap_or_default();
            if let Some(active) = known.iter().find(|variant| variant.model == family.active) {
                state.rows += rows;
                state.quality += rows * active.quality;
                // Where nothing is known, the worst that was seen: a budget must not be overspent unseen.
                if let Some(assumed) = intensity.or_else(|| state.history.highest()) {
                    let joules = active.energy_joules_per_row * rows;
                    self.grams += (joules * CarbonIntensity::new(assumed)).get();
                }
            }
            state.history.see(since, seen.now, intensity, rows);
        }
        if seen.now >= self.period.end {
            self.period = self.periods.at(seen.now);
            self.grams = 0.0;
            let floor = self.floor();
            self.families.values_mut().for_each(|state| state.begin_anew(floor));
        }
    }

    /// What each family is expected to serve until the period ends.
    fn outlooks<'a>(
        &self,
        seen: &'a Observation,
        step: Duration,
        intensity: CarbonIntensity,
    ) -> Vec<Outlook<'a>> {
        let lawful = |(at, value): &&(Timestamp, CarbonIntensity)| {
            *at > seen.now && *at < self.period.end && is_lawful(*value)
        };
        let forecast: Vec<_> = seen.carbon_intensity_ahead.iter().filter(lawful).copied().collect();
        let outlook = |family: &'a FamilyObservation| {
            let known = self.variants.get(&family.name).map(Vec::as_slice).unwrap_or_default();
            let hull = lower_hull(known.iter().filter(|variant| family.variants.contains(&variant.model)));
            let state = self.families.get(&family.name)?;
            let pieces = state.history.expect((seen.now, step, self.period.end), intensity, &forecast);
            Some(Outlook { family, hull, pieces })
        };
        seen.families.iter().filter_map(outlook).collect()
    }

    /// The quality that `of` has to serve until the period ends, as a sum over rows.
    fn quality_needed(&self, floor: f64, of: &Outlook<'_>) -> f64 {
        let Some(state) = self.families.get(&of.family.name) else { return 0.0 };
        let to_come: f64 = of.pieces.iter().map(|piece| piece.rows).sum();
        state.debt + floor * (state.rows + to_come) - state.quality
    }

    /// The price for each of `outlooks`: each its own for a floor, one for all for a budget.
    fn prices(&self, outlooks: &[Outlook<'_>]) -> Vec<Price> {
        match self.goal {
            Goal::Floor(floor) => {
                let price = |of: &Outlook<'_>| {
                    Price::of(&[of.expected()], Limit::Quality(self.quality_needed(floor, of)))
                };
                outlooks.iter().map(price).collect()
            }
            Goal::GramsPerDay(_) => {
                let all: Vec<_> = outlooks.iter().map(Outlook::expected).collect();
                vec![Price::of(&all, Limit::Grams(self.grams_left())); outlooks.len()]
            }
        }
    }

    /// The variant of `of` by `price`, as its place on the hull.
    fn by_price(&mut self, of: &Outlook<'_>, price: Price, intensity: CarbonIntensity, ask: &Ask) -> usize {
        let reach = price.reach(&of.hull, intensity);
        let mut place = reach.sure;
        let Some(state) = self.families.get_mut(&of.family.name) else { return place };
        if reach.is_next_at_price {
            let is_floor = matches!(self.goal, Goal::Floor(_));
            let is_better = if ask.is_last { is_floor } else { state.take_turns(of, place, price, ask.step) };
            place += usize::from(is_better);
        }
        // What is left of a budget must last until the next ask.
        let left = self.grams_left();
        let rows = of.pieces.first().map_or(0.0, |piece| piece.rows);
        let grams = |variant: &Variant| (variant.energy_joules_per_row * rows * intensity).get();
        while place > 0 && of.hull.get(place).is_some_and(|variant| grams(variant) > left) {
            place -= 1;
        }
        place
    }

    /// The variant of least energy whose quality alone is enough until the period ends.
    fn without_intensity(&self, of: &Outlook<'_>) -> usize {
        let Goal::Floor(floor) = self.goal else { return 0 };
        let rows: f64 = of.pieces.iter().map(|piece| piece.rows).sum();
        let needed = self.quality_needed(floor, of) / rows;
        // A hair less is rounding.
        let enough = of.hull.iter().position(|variant| variant.quality >= needed - 1e-9);
        enough.unwrap_or(of.hull.len().saturating_sub(1))
    }

    /// Why `of` stays with the variant it has although `better` is wanted; `None` where it does not.
    fn hold(
        &self,
        of: &Outlook<'_>,
        better: &Variant,
        price: Price,
        intensity: CarbonIntensity,
        ask: &Ask,
    ) -> Option<Reason> {
        let state = self.families.get(&of.family.name)?;
        let known = self.variants.get(&of.family.name)?;
        let active = known.iter().find(|variant| variant.model == of.family.active)?;
        let is_there = of.family.variants.contains(&active.model);
        if !is_there || ask.is_last || price.grams.is_infinite() || self.grams_left() <= 0.0 {
            return None;
        }
        let left = state.switched_at.map_or(Duration::ZERO, |at| self.dwell.saturating_sub(ask.now - at));
        let rows = state.history.rate() * self.dwell.max(SLOT).as_secs_f64();
        let cost = |variant: &Variant| {
            (variant.energy_joules_per_row * rows * intensity).get() - price.grams * variant.quality * rows
        };
        let gain_grams = cost(active) - cost(better);
        let is_too_dear = self.switch_cost_grams > 0.0 && gain_grams <= self.switch_cost_grams;
        (is_too_dear || !left.is_zero()).then(|| Reason::SwitchNotWorth {
            family: of.family.name.clone(),
            better: better.model.clone(),
            gain_grams,
            switch_cost_grams: self.switch_cost_grams,
            dwell_seconds_left: left.as_secs_f64(),
        })
    }

    /// The variant of `of`, and why.
    fn choose(
        &mut self,
        of: &Outlook<'_>,
        price: Price,
        intensity: Option<CarbonIntensity>,
        ask: &Ask,
    ) -> Option<(ModelName, Reason)> {
        let family = of.family.name.clone();
        let Some(intensity) = intensity else {
            let variant = of.hull.get(self.without_intensity(of))?;
            let reason = Reason::VariantWithoutIntensity {
                family,
                carbon_intensity_age_seconds: ask.age.map(|age| age.as_secs_f64()),
                limit: ask.limit,
            };
            return Some((variant.model.clone(), reason));
        };
        let variant = of.hull.get(self.by_price(of, price, intensity, ask))?;
        if variant.model != of.family.active
            && let Some(reason) = self.hold(of, variant, price, intensity, ask)
        {
            return Some((of.family.active.clone(), reason));
        }
        let period_ends_seconds = self.period.end.as_secs_f64();
        let reason = if self.grams_left() <= 0.0 {
            Reason::CarbonBudgetSpent { family, limit: ask.limit, period_ends_seconds }
        } else {
            Reason::VariantByPrice {
                carbon_intensity: intensity,
                price_grams: Some(price.grams).filter(|grams| grams.is_finite()),
                quality_mean: self.families.get(&family).and_then(FamilyState::quality_mean),
                limit: ask.limit,
                period_ends_seconds,
                family,
            }
        };
        Some((variant.model.clone(), reason))
    }
}

impl FamilyState {
    /// Whether the better of two variants at the same price has its turn, for the next `step`. They take
    /// turns of half an hour, so that each serves its share of the time.
    fn take_turns(&mut self, of: &Outlook<'_>, place: usize, price: Price, step: Duration) -> bool {
        let turn = SLOT.as_secs_f64() / 2.0;
        let step = step.as_secs_f64();
        self.owed_seconds += price.share * step;
        let is_at_turn = of.hull.get(place + 1).is_some_and(|better| better.model == of.family.active);
        let is_better = if is_at_turn { self.owed_seconds > -turn } else { self.owed_seconds >= turn };
        if is_better {
            self.owed_seconds -= step;
        }
        // What was owed under another share is soon forgotten.
        self.owed_seconds = self.owed_seconds.clamp(-2.0 * turn - step, 2.0 * turn + step);
        is_better
    }
}

fn is_lawful(intensity: CarbonIntensity) -> bool {
    intensity.get().is_finite() && intensity.get() >= 0.0
}

impl Policy for CarbonBudget {
    fn name(&self) -> &'static str {
        "carbon-budget"
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        self.book(seen);
        let age = seen.carbon_intensity_age;
        let is_stale = age.is_some_and(|age| age > self.stale_after);
        let intensity = seen.carbon_intensity.filter(|value| is_lawful(*value) && !is_stale);
        let since_last = self.asked.map_or(Duration::ZERO, |(at, _)| seen.now - at);
        self.asked = Some((seen.now, intensity.map(CarbonIntensity::get)));
        let left = self.period.end - seen.now;
        let until_next = self.interval.min(left);
        if seen.families.is_empty() {
            return Decision::keep(Reason::NoFamily, until_next);
        }
        // A driver may ask less often than it is told to: in whole epochs.
        let step = self.interval.max(since_last).min(left);
        let ask = Ask { now: seen.now, step, is_last: step >= left, limit: self.limit(), age };
        let mut decision = Decision::nothing(until_next);
        let outlooks = self.outlooks(seen, step, intensity.unwrap_or(CarbonIntensity::ZERO));
        let prices = self.prices(&outlooks);
        for (of, price) in outlooks.iter().zip(prices) {
            let Some((variant, reason)) = self.choose(of, price, intensity, &ask) else {
                decision.reasons.push((None, Reason::NoVariant { family: of.family.name.clone() }));
                continue;
            };
            if variant != of.family.active {
                if let Some(state) = self.families.get_mut(&of.family.name) {
                    state.switched_at = Some(seen.now);
                }
                decision.variants.insert(of.family.name.clone(), variant.clone());
            }
            decision.reasons.push((Some(variant), reason));
        }
        decision
    }
}
