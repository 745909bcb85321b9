//! The learned model: for each lead time a ridge regression on what was seen before the origin.
//!
//! What is forecast is how far a value will be off the mean of the same time on the last seven days, from
//! how far each of these days, the last hours and whatever was seen beside it were off their own such
//! means. Held towards zero, it forecasts that mean. Linear regressions of this kind on the same hour of
//! the last days and the last day's hours are a strong plain standard for prices of electricity a day
//! ahead (Lago, Marcjasz, De Schutter and Weron, "Forecasting day-ahead electricity prices: A review of
//! state-of-the-art algorithms, best practices and an open-access benchmark", Applied Energy 293, 2021).

#[cfg(test)]
mod tests;

use super::history::History;
use super::ridge::Ridge;
use super::scale::Scale;

/// Days before the first that is learned from.
pub(super) const LOOK_BACK_DAYS: usize = 28;
/// Days that have to be learned from before anything is forecast.
const LEAST_DAYS: usize = 14;
/// After how many days a day weighs half: the seasons change, and more days are better than late ones.
const HALF_LIFE_DAYS: f64 = 240.0;
/// How strongly coefficients are held towards zero, in days on which nothing came of their feature.
const DAYS_OF_ZERO: f64 = 20.0;
/// Days whose mean at the same time is what forecasts are counted from.
const DAYS_OF_MEAN: usize = 7;
/// Of the last day, how far each stretch of so many hours was off.
const STRETCH_HOURS: usize = 3;
const STRETCHES: usize = 24 / STRETCH_HOURS;
/// How far forecasts may lie outside of what was seen in the days looked back at, as a share of its span.
const BEYOND_SEEN: f64 = 0.5;

/// Forecasts of the next `leads` steps at the origins `first`, one day later, and so on, before `until`.
/// An origin is the number of steps that were seen. `None` where the history before one is too short.
///
/// A forecast rests on steps before its origin alone, and on what is known ahead. All before is learned
/// anew each day, at the same time of the day.
pub(super) fn forecasts(
    history: &History,
    first: usize,
    until: usize,
    leads: usize,
) -> Option<Vec<Vec<f64>>> {
    let day = history.steps_a_day();
    let scale = Scale::of(history.filled().get(..LOOK_BACK_DAYS * day)?);
    let learner = Learner::new(history, scale);
    let mut ridges = vec![Ridge::new(learner.unknowns(), HALF_LIFE_DAYS); leads];
    let mut made = Vec::new();
    let mut origin = LOOK_BACK_DAYS * day + first % day;
    while origin < until && origin <= history.filled().len() {
        learner.learn(&mut ridges, origin);
        if origin >= first {
            made.push(learner.forecast(&ridges, origin)?);
        }
        origin += day;
    }
    (first >= LOOK_BACK_DAYS * day && !made.is_empty()).then_some(made)
}

/// A series with what its features are made of. An entry rests on values before it alone.
struct Series {
    values: Vec<f64>,
    /// Sums of all values before.
    sums: Vec<f64>,
    /// Sums of how far all values before were off the mean of the same time on the seven days before.
    sums_off: Vec<f64>,
}

impl Series {
    fn new(values: Vec<f64>, day: usize) -> Self {
        let (mut sums, mut sums_off) = (vec![0.0], vec![0.0]);
        let (mut sum, mut sum_off) = (0.0, 0.0);
        for index in 0..values.len() {
            sum += values[index];
            if index >= DAYS_OF_MEAN * day {
                let before: f64 = (1..=DAYS_OF_MEAN).map(|days| values[index - days * day]).sum();
                sum_off += values[index] - before / DAYS_OF_MEAN as f64;
            }
            sums.push(sum);
            sums_off.push(sum_off);
        }
        Self { values, sums, sums_off }
    }

    /// How far the `steps` values were off their week's means, on average, that end `before` steps before
    /// `origin`.
    fn off(&self, origin: usize, before: usize, steps: usize) -> f64 {
        let end = origin - before;
        (self.sums_off[end] - self.sums_off[end - steps]) / steps as f64
    }

    /// The mean of the values from `begin` to `end`.
    fn mean(&self, begin: usize, end: usize) -> f64 {
        (self.sums[end] - self.sums[begin]) / (end - begin).max(1) as f64
    }
}

struct Learner<'h> {
    history: &'h History,
    scale: Scale,
    day: usize,
    hour: usize,
    own: Series,
    seen: Vec<Series>,
    known_ahead: Vec<Series>,
}

impl<'h> Learner<'h> {
    fn new(history: &'h History, scale: Scale) -> Self {
        let day = history.steps_a_day();
        let beside = |all: &[Vec<f64>]| all.iter().map(|one| Series::new(one.clone(), day)).collect();
        Self {
            history,
            scale,
            day,
            hour: day / 24,
            own: Series::new(history.filled().iter().map(|value| scale.apply(*value)).collect(), day),
            seen: beside(history.seen()),
            known_ahead: beside(history.known_ahead()),
        }
    }

    /// Features of a row.
    fn unknowns(&self) -> usize {
        1 + 5 + STRETCHES + DAYS_OF_MEAN + 2 + 7 + 4 * self.seen.len() + 2 * self.known_ahead.len()
    }

    /// The features that are the same for all lead times, into `row`.
    fn at_origin(&self, origin: usize, row: &mut Vec<f64>) {
        let (day, hour, own) = (self.day, self.hour, &self.own);
        row.clear();
        row.push(1.0);
        row.push(own.off(origin, 0, 1));
        row.push(own.off(origin, 0, 1) - own.off(origin, hour, 1));
        row.extend([6, 12, 24].map(|hours| own.off(origin, 0, hours * hour)));
        let stretch = STRETCH_HOURS * hour;
        row.extend((0..STRETCHES).map(|stretches| own.off(origin, stretches * stretch, stretch)));
        for series in &self.seen {
            row.extend([1, 6 * hour, day].map(|steps| series.off(origin, 0, steps)));
        }
    }

    /// Adds the features of the step `lead` steps after `origin` to `row`; says the mean of the same time
    /// on the last seven days, from which all is counted.
    fn at_target(&self, origin: usize, lead: usize, row: &mut Vec<f64>) -> f64 {
        let day = self.day;
        let target = origin + lead;
        // The last day of which this time was seen before the origin.
        let last = lead / day + 1;
        let mean_of = |series: &Series, days: usize| {
            (last..last + days).map(|before| series.values[target - before * day]).sum::<f64>() / days as f64
        };
        let own = &self.own;
        let mean = mean_of(own, DAYS_OF_MEAN);
        let off = |days: usize| own.values[target - days * day] - mean;
        row.extend((last..last + DAYS_OF_MEAN).map(off));
        // The same day of the week, once more back than the above reach.
        row.push(off(last.next_multiple_of(7) + 7));
        row.push(mean_of(own, LOOK_BACK_DAYS - 4) - mean);
        let weekday = self.history.weekday(target);
        row.extend((0..7).map(|day| if day == weekday { 1.0 } else { 0.0 }));
        for series in &self.seen {
            row.push(series.values[target - last * day] - mean_of(series, DAYS_OF_MEAN));
        }
        for series in &self.known_ahead {
            row.push(series.values[target] - mean_of(series, DAYS_OF_MEAN));
            let around = |days: usize| {
                let begin = target - days * day - 3 * self.hour;
                series.mean(begin, (target - days * day + 3 * self.hour + 1).min(series.values.len()))
            };
            let usual = (last..last + DAYS_OF_MEAN).map(around).sum::<f64>() / DAYS_OF_MEAN as f64;
            row.push(around(0) - usual);
        }
        mean
    }

    /// Learns what became known in the day before `origin`.
    fn learn(&self, ridges: &mut [Ridge], origin: usize) {
        let mut row = Vec::with_capacity(self.unknowns());
        for (days, of_day) in ridges.chunks_mut(self.day).enumerate() {
            // The last origin before, at this time of the day, whose forecasts of this day came due.
            let Some(earlier) = origin.checked_sub((days + 1) * self.day) else { return };
            if earlier < LOOK_BACK_DAYS * self.day {
                return;
            }
            self.at_origin(earlier, &mut row);
            let common = row.len();
            for (lead, ridge) in of_day.iter_mut().enumerate() {
                let lead = days * self.day + lead;
                if self.history.values()[earlier + lead].is_some() {
                    row.truncate(common);
                    let mean = self.at_target(earlier, lead, &mut row);
                    ridge.add(&row, self.own.values[earlier + lead] - mean);
                }
            }
        }
    }

    /// What is expected after `origin`. `None` while too little was learned.
    fn forecast(&self, ridges: &[Ridge], origin: usize) -> Option<Vec<f64>> {
        let seen = &self.own.values[origin - LOOK_BACK_DAYS * self.day..origin];
        let least = seen.iter().copied().fold(f64::INFINITY, f64::min);
        let most = seen.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let beyond = BEYOND_SEEN * (most - least);
        let mut row = Vec::with_capacity(self.unknowns());
        self.at_origin(origin, &mut row);
        let common = row.len();
        let mut made = Vec::with_capacity(ridges.len());
        for (lead, ridge) in ridges.iter().enumerate() {
            if ridge.rows() < LEAST_DAYS {
                return None;
            }
            row.truncate(common);
            let mean = self.at_target(origin, lead, &mut row);
            let coefficients = ridge.coefficients(DAYS_OF_ZERO);
            let off: f64 = coefficients.iter().zip(&row).map(|(left, right)| left * right).sum();
            made.push(self.scale.undo((mean + off).clamp(least - beyond, most + beyond)));
        }
        Some(made)
    }
}
