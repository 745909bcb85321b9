//! What a run gave: the same figures as a table for people and as JSON for programs, each with how it
//! is known.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use wattle_core::cap_account::CapAccount;
use wattle_core::ledger::Totals;
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::units::Watts;

use super::tally::{Tally, failures_in_words};

/// Everything the summary is made from.
pub(super) struct Run<'a> {
    pub(super) tally: &'a Tally,
    /// How long requests were sent and answered.
    pub(super) seconds: f64,
    /// Power and cap over that time.
    pub(super) power: &'a CapAccount,
    /// How the device's power is known.
    pub(super) power_provenance: Provenance,
    pub(super) carbon_grams: Option<f64>,
    /// The ledger before and after.
    pub(super) ledger: (Totals, Totals),
    /// What the device draws with nothing to do.
    pub(super) idle_power: Option<Watts>,
}

/// One figure.
struct Figure {
    /// In JSON.
    key: &'static str,
    /// In the table.
    label: &'static str,
    /// In base units: the milliseconds, joules, grams of its key.
    value: Option<f64>,
    /// In the table.
    unit: &'static str,
    decimals: usize,
    /// Which of the sources.
    source: usize,
}

/// A run's figures with their sources.
pub(super) struct Summary {
    figures: Vec<Figure>,
    sources: Vec<Provenance>,
    failures: Value,
    failures_in_words: String,
}

// Places in the list of sources.
const COUNTED: usize = 0;
const LABELS: usize = 1;
const TIMED: usize = 2;
const POWER: usize = 3;
const CAP: usize = 4;
const VIOLATION: usize = 5;
const LEDGER: usize = 6;
const CARBON: usize = 7;

fn sources(power: &Provenance) -> Vec<Provenance> {
    let source = &power.source;
    let and_modelled = power.basis.max(Basis::Modelled);
    vec![
        Provenance::new(Basis::Measured, "counted by the demo's client"),
        Provenance::new(Basis::Measured, "answers compared with the labels of the bundled test images"),
        Provenance::new(Basis::Measured, "the client's clock, from sending to the answer"),
        Provenance::new(power.basis, format!("power of the whole machine: {source}")),
        Provenance::new(
            Basis::Assumed,
            "the bundled power-cap trace, over the range from idle to the highest profiled power",
        ),
        Provenance::new(
            power.basis,
            "that power against that cap, tick by tick (0.1 s); a tick in which the cap falls counts against \
             the new cap",
        ),
        Provenance::new(
            and_modelled,
            "that energy, split by the ledger: idle power and other programs' share are idle, the rest is the \
             models' by core time, the demo's own client included; whole ledger entries (1 s) only",
        ),
        Provenance::new(
            Basis::Assumed,
            "that energy times the bundled carbon-intensity trace, tick by tick; nothing embodied",
        ),
    ]
}

impl Summary {
    pub(super) fn of(run: &Run<'_>) -> Self {
        let tally = run.tally;
        let answered = tally.answered();
        let per_answer = |sum: Option<f64>| sum.filter(|_| answered > 0).map(|sum| sum / answered as f64);
        let throughput = (run.seconds > 0.0).then(|| answered as f64 / run.seconds);
        let [p50, p95, p99] = tally.latency_ms_since(0, [0.50, 0.95, 0.99]);
        let power = run.power;
        let energy = (power.seconds > 0.0).then(|| power.energy_joules.get());
        let capped = |value: f64| (power.capped_seconds > 0.0).then_some(value);
        let watts = |watts: Option<Watts>| watts.map(Watts::get);
        let (before, after) = &run.ledger;
        let metered = after.metered.get() - before.metered.get();
        let booked = |value: f64| (metered > 0.0).then_some(value);
        let idle = after.idle.get() - before.idle.get();
        let carbon = run.carbon_grams;
        let count = |key, label, count: u64| (key, label, Some(count as f64), "", 0, COUNTED);
        let figures = [
            count("requests_sent", "requests sent", tally.sent),
            count("requests_answered", "requests answered", answered),
            count("requests_failed", "requests failed", tally.failures()),
            ("accuracy", "accuracy", tally.accuracy(), "", 4, LABELS),
            ("throughput_rps", "throughput", throughput, "/s", 1, TIMED),
            ("latency_ms_p50", "latency p50", p50, "ms", 1, TIMED),
            ("latency_ms_p95", "latency p95", p95, "ms", 1, TIMED),
            ("latency_ms_p99", "latency p99", p99, "ms", 1, TIMED),
            ("power_watts_mean", "power, mean", watts(power.power_watts_mean()), "W", 2, POWER),
            ("power_watts_max", "power, highest tick", watts(power.power_watts_max), "W", 2, POWER),
            ("cap_watts_mean", "power cap, mean", watts(power.cap_watts_mean()), "W", 2, CAP),
            (
                "cap_violation_seconds",
                "time above the cap",
                capped(power.violation_seconds),
                "s",
                1,
                VIOLATION,
            ),
            (
                "cap_violation_seconds_longest",
                "  longest in one piece",
                capped(power.longest_violation_seconds),
                "s",
                1,
                VIOLATION,
            ),
            (
                "cap_violation_joules",
                "energy above the cap",
                capped(power.violation_joules.get()),
                "J",
                2,
                VIOLATION,
            ),
            ("energy_joules", "energy", energy, "J", 1, POWER),
            ("energy_joules_per_request", "energy per answer", per_answer(energy), "mJ", 3, POWER),
            ("energy_joules_attributed", "  the models' part", booked(metered - idle), "J", 1, LEDGER),
            ("energy_joules_idle", "  idle and others' part", booked(idle), "J", 1, LEDGER),
            ("carbon_grams", "carbon", carbon, "gCO2e", 4, CARBON),
            ("carbon_grams_per_request", "carbon per answer", per_answer(carbon), "µgCO2e", 3, CARBON),
        ];
        Self {
            figures: figures
                .into_iter()
                .map(|(key, label, value, unit, decimals, source)| Figure {
                    key,
                    label,
                    value: value.filter(|value| value.is_finite()),
                    unit,
                    decimals,
                    source,
                })
                .collect(),
            sources: sources(&run.power_provenance),
            failures: json!(tally.failed),
            failures_in_words: failures_in_words(&tally.failed),
        }
    }

    /// The table, with the sources below it.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        for figure in &self.figures {
            let shown = |value: f64| format!("{:.*}", figure.decimals, value * per_unit(figure.unit));
            let value = figure.value.map_or("unknown".into(), shown);
            let basis = self.sources[figure.source].basis;
            let _ = write!(
                text,
                "  {:<24}{value:>12} {:<6}  {basis} [{}]",
                figure.label,
                figure.unit,
                figure.source + 1
            );
            if figure.key == "requests_failed" && !self.failures_in_words.is_empty() {
                let _ = write!(text, "  {}", self.failures_in_words);
            }
            text.push('\n');
        }
        for (index, source) in self.sources.iter().enumerate() {
            let _ = writeln!(text, "  [{}] {}", index + 1, source.source);
        }
        text
    }

    /// One object: each figure by its name, null where it is unknown, and `provenance` by the same
    /// names.
    pub(super) fn json(&self) -> Map<String, Value> {
        let mut object = Map::new();
        let mut provenance = Map::new();
        for figure in &self.figures {
            let value = match figure.value {
                Some(value) if figure.decimals == 0 => json!(value as u64),
                value => json!(value),
            };
            object.insert(figure.key.into(), value);
            provenance.insert(figure.key.into(), json!(self.sources[figure.source]));
        }
        object.insert("requests_failed_by_kind".into(), self.failures.clone());
        object.insert("provenance".into(), Value::Object(provenance));
        object
    }
}

/// How many of the table's small units make up one of the base units of the JSON.
fn per_unit(unit: &str) -> f64 {
    match unit {
        "mJ" => 1e3,
        "µgCO2e" => 1e6,
        _ => 1.0,
    }
}

/// Mean power that was neither idle power nor this program's: other programs', which counts against
/// the cap all the same. `None` where idle power is unknown or nothing was booked.
pub(super) fn others_watts(run: &Run<'_>) -> Option<f64> {
    let (before, after) = &run.ledger;
    let start = before.end.or(after.start)?;
    let seconds = (after.end? - start).as_secs_f64();
    let idle = after.idle.get() - before.idle.get();
    (seconds > 0.0).then_some(())?;
    Some((idle / seconds - run.idle_power?.get()).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::demo::client::Outcome;
    use std::time::Duration;

    fn summary(answers: u64) -> Summary {
        let mut tally = Tally::default();
        for _ in 0..answers {
            tally.sent();
            tally.ended(Outcome::Answered { is_correct: true, latency: Duration::from_millis(5) });
        }
        tally.sent();
        tally.close();
        let mut power = CapAccount::default();
        if answers > 0 {
            power.add(Watts::new(6.0), Duration::from_secs(10), Some(Watts::new(5.0)));
        }
        Summary::of(&Run {
            tally: &tally,
            seconds: 10.0,
            power: &power,
            power_provenance: Provenance::new(Basis::Assumed, "a table"),
            carbon_grams: (answers > 0).then_some(0.02),
            ledger: Default::default(),
            idle_power: None,
        })
    }

    #[test]
    fn the_json_has_every_figure_and_says_how_each_is_known() {
        let json = summary(40).json();
        for key in [
            "requests_sent",
            "requests_answered",
            "requests_failed",
            "accuracy",
            "throughput_rps",
            "latency_ms_p50",
            "latency_ms_p95",
            "latency_ms_p99",
            "power_watts_mean",
            "power_watts_max",
            "cap_violation_seconds",
            "cap_violation_joules",
            "energy_joules",
            "carbon_grams",
        ] {
            assert!(json[key].is_number(), "{key}: {}", json[key]);
            let basis = json["provenance"][key]["basis"].as_str().unwrap();
            assert!(["measured", "modelled", "assumed"].contains(&basis), "{key}: {basis}");
            assert!(!json["provenance"][key]["source"].as_str().unwrap().is_empty());
        }
        assert_eq!(json["requests_sent"], 41);
        assert_eq!(json["requests_failed_by_kind"]["unanswered_at_the_end"], 1);
        assert_eq!(json["energy_joules_per_request"], 1.5);
        assert!(summary(40).table().contains("1500.000 mJ"), "{}", summary(40).table());
        assert_eq!(json["cap_violation_joules"], 10.0);
        assert_eq!(json["energy_joules_attributed"], Value::Null, "nothing was booked");
    }

    #[test]
    fn what_is_unknown_is_never_zero() {
        let summary = summary(0);
        assert_eq!(summary.json()["accuracy"], Value::Null);
        assert_eq!(summary.json()["power_watts_max"], Value::Null);
        let table = summary.table();
        assert!(table.contains("accuracy") && table.contains("unknown"), "{table}");
        assert!(table.contains("measured [1]  1 unanswered at the end"), "{table}");
        assert!(table.lines().take(20).all(|line| line.len() <= 110), "{table}");
    }
}
