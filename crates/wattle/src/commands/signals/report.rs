//! What is shown of one signal, as text and as JSON.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wattle_core::forecast::{NOMINAL_COVERAGE, Score};
use wattle_core::signal::series::StalenessRule;
use wattle_core::signal::{Freshness, Quantity, SignalHead, SignalReading};
use wattle_core::time::UnixTime;
use wattle_signals::outlook::{Ahead, AheadPoint, Forecaster, Outlook, ahead};
use wattle_signals::poller::Snapshot;
use wattle_signals::site::cap;
use wattle_signals::supply::SupplyRule;

use crate::table::Table;

/// Levels of the line that draws a forecast.
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Rows of the table of a forecast, at most.
const MOST_ROWS: usize = 8;

/// What is shown of one signal.
pub(crate) struct Report {
    name: String,
    head: SignalHead,
    reading: Option<SignalReading>,
    ahead: Ahead,
    scores: Vec<Score>,
    values: usize,
    since: Option<UnixTime>,
    last_error: Option<String>,
}

impl Report {
    /// What is known of a signal at `now`.
    pub(crate) fn of(
        name: &str,
        known: &Snapshot,
        rule: &StalenessRule,
        now: UnixTime,
        horizon: Duration,
    ) -> Self {
        let series = &known.series;
        // Where the source forecasts none of ours was made, but how good it would be is asked for here.
        let scores = match &known.outlook {
            Some(outlook) => outlook.scores.clone(),
            None => Outlook::of(series, now).map_or_else(Vec::new, |outlook| outlook.scores),
        };
        Self {
            name: name.to_owned(),
            head: (**series.head()).clone(),
            reading: series.reading(now, rule),
            ahead: ahead(known, now, horizon, rule.give_up_after),
            scores,
            values: series.settled(now).count(),
            since: series.settled(now).next().map(|(at, _)| at),
            last_error: known.last_error.clone(),
        }
    }

    /// The power cap that is made of `parts`: generators, and maybe the charge of a battery.
    pub(crate) fn of_supply(parts: &[Self], rule: &SupplyRule) -> Self {
        let readings = |is_charge: bool| {
            let of = move |part: &&Self| (part.head.quantity == Quantity::StateOfCharge) == is_charge;
            parts.iter().filter(of).filter(|part| part.name != "carbon_intensity")
        };
        let generated: Option<Vec<SignalReading>> =
            readings(false).map(|part| part.reading.clone()).collect();
        let charge = readings(true).find_map(|part| part.reading.as_ref());
        let head = Arc::new(SignalHead::configured(Quantity::Power, "the site's supply, as above"));
        let reading = generated.map(|generated| cap(&generated, charge, rule, &head));
        Self {
            name: "power_cap".into(),
            head: (*head).clone(),
            reading,
            ahead: Ahead::default(),
            scores: Vec::new(),
            values: 0,
            since: None,
            last_error: None,
        }
    }

    /// As one JSON object.
    pub(crate) fn json(&self) -> Value {
        let reading = self.reading.as_ref();
        let point = |point: &AheadPoint| {
            json!({
                "at": iso(point.at), "value": point.value, "low": point.low, "high": point.high,
            })
        };
        json!({
            "signal": self.name,
            "unit": self.head.quantity.unit(),
            "zone": self.head.zone,
            "kind": self.head.kind,
            "scope": self.head.scope,
            "source": self.head.source,
            "value": reading.map(|reading| reading.value),
            "state": reading.map_or(json!("unknown"), |reading| json!(reading.freshness)),
            "status": reading.map(|reading| reading.status),
            "at": reading.and_then(|reading| reading.at).map(iso),
            "age_seconds": reading.and_then(age_seconds),
            "last_error": self.last_error,
            "forecast": {
                "by": self.ahead.by.as_ref().map(by),
                "basis": self.ahead.by.as_ref().map(|_| "modelled"),
                "interval_coverage": NOMINAL_COVERAGE,
                "points": self.ahead.points.iter().map(point).collect::<Vec<_>>(),
            },
            "back_test": self.scores,
            "values": self.values,
        })
    }

    fn now(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = self.head.quantity.unit();
        let Some(reading) = &self.reading else { return writeln!(f, "  now       unknown") };
        let mut known: Vec<String> = Vec::new();
        if self.head.quantity == Quantity::CarbonIntensity {
            known.push(format!("kind {}", word(json!(self.head.kind))));
            known.push(format!("scope {}", word(json!(self.head.scope))));
        }
        known.push(format!("status {}", word(json!(reading.status))));
        known.push(match reading.freshness {
            Freshness::Fresh => "fresh".into(),
            Freshness::Stale => "stale".into(),
            Freshness::Held => "too old: the last value is held".into(),
            Freshness::LastWeek => "too old: that of the week before stands in".into(),
            Freshness::Constant => "too old: a constant stands in".into(),
        });
        if let (Some(at), Some(age)) = (reading.at, age_seconds(reading)) {
            known.push(format!("of {}, {age} s old", iso(at)));
        }
        writeln!(f, "  now       {} {unit}  ({})", number(reading.value), known.join(", "))
    }

    fn forecast(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(by_whom) = &self.ahead.by else {
            return writeln!(f, "  next 24 h nobody forecasts it");
        };
        let points = &self.ahead.points;
        let (low, high) = range(points.iter().map(|point| point.value));
        let line: String = points.iter().map(|point| level(point.value, low, high)).collect();
        writeln!(
            f,
            "  next 24 h {line}  {} to {} {} (modelled: {})",
            number(low),
            number(high),
            self.head.quantity.unit(),
            by(by_whom)
        )?;
        let mut table = Table::new(&["  from", "value", "80 % from", "to"]);
        let each = points.len().div_ceil(MOST_ROWS).max(1);
        for point in points.iter().step_by(each) {
            let end = |end: Option<f64>| end.map_or("-".into(), number);
            table.row([format!("  {}", iso(point.at)), number(point.value), end(point.low), end(point.high)]);
        }
        writeln!(f, "{table}")
    }

    fn back_test(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.scores.first() else {
            return writeln!(f, "  back-test none: {} values are known, three weeks are needed", self.values);
        };
        let mut table = Table::new(&["  model", "MAPE %", "MAE"]);
        for score in &self.scores {
            let percent = score.mean_absolute_percentage_error;
            table.row([
                format!("  {}", score.model),
                percent.map_or("-".into(), |percent| format!("{percent:.2}")),
                number(score.mean_absolute_error),
            ]);
        }
        let since = self.since.map_or_else(String::new, |since| format!(" since {}", iso(since)));
        writeln!(
            f,
            "  back-test two days ahead, {} forecasts, one a day, from {} values{since} (measured)",
            first.forecasts, self.values
        )?;
        writeln!(f, "{table}")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = self.head.zone.as_ref().map_or_else(String::new, |zone| format!(", {zone}"));
        writeln!(f, "{}  {}{zone}", self.name, self.head.source)?;
        self.now(f)?;
        if let Some(error) = &self.last_error {
            writeln!(f, "  error     {error}")?;
        }
        if self.values > 0 {
            self.forecast(f)?;
            self.back_test(f)?;
        }
        Ok(())
    }
}

fn by(by: &Forecaster) -> String {
    match by {
        Forecaster::Source(source) => format!("the source's own forecast, {source}"),
        Forecaster::Model(model) => format!("our model {model}, the best of late"),
    }
}

/// How old a reading is; a constant that stands in is of no time.
fn age_seconds(reading: &SignalReading) -> Option<u64> {
    (reading.freshness != Freshness::Constant).then_some(reading.age.as_secs())
}

fn iso(at: UnixTime) -> String {
    let time = jiff::Timestamp::from_second(at.as_secs());
    time.map_or_else(|_| format!("{} s", at.as_secs()), |time| time.strftime("%Y-%m-%dT%H:%MZ").to_string())
}

fn number(value: f64) -> String {
    if value.abs() < 10.0 { format!("{value:.2}") } else { format!("{value:.1}") }
}

/// A word of a file, as it is there.
fn word(value: Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

fn level(value: f64, low: f64, high: f64) -> char {
    let share = if high > low { (value - low) / (high - low) } else { 0.0 };
    let index = (share * (LEVELS.len() - 1) as f64).round() as usize;
    LEVELS[index.min(LEVELS.len() - 1)]
}

#[cfg(test)]
mod tests {
    use wattle_core::signal::series::{Fallback, Series};
    use wattle_core::signal::{PointStatus, SignalPoint};

    use super::*;

    #[test]
    fn a_forecast_that_a_server_would_no_longer_use_is_not_shown() {
        let hour = |hour: i64| UnixTime::from_secs(hour * 3600);
        let head = Arc::new(SignalHead::configured(Quantity::CarbonIntensity, "a test"));
        let mut series = Series::new(head, Duration::from_secs(3600));
        let points: Vec<_> = (0..40)
            .map(|at| SignalPoint { at: hour(at), value: 5.0, status: PointStatus::Forecast })
            .collect();
        series.merge(&points, None, hour(0));
        let known = Snapshot {
            series,
            outlook: None,
            failures_total: 0,
            last_error: None,
            answered_at: None,
            next_ask: hour(0),
            clock_ahead_seconds: None,
        };
        let six_hours = Duration::from_secs(6 * 3600);
        let rule =
            StalenessRule { stale_after: six_hours, give_up_after: six_hours, fallback: Fallback::Unknown };
        let shown = |now: i64| {
            let report = Report::of("s", &known, &rule, hour(now), Duration::from_secs(24 * 3600)).json();
            report["forecast"]["points"].as_array().unwrap().len()
        };
        assert_eq!((shown(6), shown(7)), (24, 0));
    }
}
