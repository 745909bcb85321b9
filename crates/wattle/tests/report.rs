//! Runs `wattle report` as a user would, on a ledger made here, and checks its figures by hand.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

#[path = "../../wattle-sim/src/report/well_formed.rs"]
mod well_formed;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use wattle_core::carbon::{CarbonAccounting, Embodied, EmbodiedFigure};
use wattle_core::ledger::{Account, Activity, MeteredInterval, attribute};
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::signal::{EmissionScope, IntensityKind, PointStatus, Quantity, SignalHead, SignalReading};
use wattle_core::time::Timestamp;
use wattle_core::units::{CarbonIntensity, Joules, Watts};
use wattle_ledger::store::{LedgerStore, RunInfo};

/// 2026-11-01 00:00 UTC.
const START: u64 = 1_793_491_200;

fn figure(kilograms: f64) -> EmbodiedFigure {
    EmbodiedFigure { kilograms, provenance: Provenance::new(Basis::Modelled, "a table") }
}

fn accounting() -> CarbonAccounting {
    CarbonAccounting {
        pue: 1.2,
        pue_source: Some("the operator".into()),
        market: Some((CarbonIntensity::new(20.0), "a contract".into())),
        embodied: Some(Embodied {
            low: figure(21.56),
            high: Some(figure(181.0)),
            lifetime_years: 5.0,
            lifetime_source: "a paper".into(),
            device_share: 1.0,
        }),
    }
}

/// A ledger of two stretches of 100 seconds, at 00:00 at 300 g/kWh and at 01:00 at 100 g/kWh, on two cores.
/// Each second draws 30 J, 10 J of them idle. `a` is busy 0.9 s of its 2 core seconds and answers 300 rows
/// in 100 requests of class `gold`; `b` is busy 0.3 s and answers 10 rows in 10 requests of no class.
fn ledger(folder: &Path, accounting: CarbonAccounting, is_carbon_known: bool) -> PathBuf {
    let path = folder.join("ledger.sqlite");
    let info = RunInfo {
        started_unix: Duration::from_secs(START),
        host: None,
        device: "a100".into(),
        cores: Some(2),
        accounting: accounting.clone(),
    };
    let store = LedgerStore::open(&path.clone().into(), &info).unwrap();
    let head = Arc::new(SignalHead {
        quantity: Quantity::CarbonIntensity,
        zone: Some("DE".into()),
        kind: IntensityKind::Average,
        scope: EmissionScope::LifeCycle,
        source: "a provider".into(),
    });
    let account = |model: &str, class: Option<&str>| Account {
        model: model.into(),
        family: None,
        class: class.map(Into::into),
    };
    let activity = BTreeMap::from([
        (account("a", Some("gold")), Activity { core_seconds: 0.9, rows: 300, requests: 100 }),
        (account("b", None), Activity { core_seconds: 0.3, rows: 10, requests: 10 }),
    ]);
    for (hour, intensity) in [(0u64, 300.0), (3600, 100.0)] {
        for second in 0..100 {
            let at = |second: u64| Timestamp::from_duration(Duration::from_secs(hour + second));
            let interval = MeteredInterval {
                start: at(second),
                end: at(second + 1),
                energy: Joules::new(30.0),
                idle_power: Watts::new(10.0),
                own_share: None,
                provenance: Provenance::new(Basis::Measured, "a meter"),
            };
            let mut reading = SignalReading::configured(intensity, &head);
            reading.status = PointStatus::Actual;
            let reading = Some(reading).filter(|_| is_carbon_known);
            store.append(attribute(&interval, &activity, reading, &accounting));
        }
    }
    drop(store);
    path
}

fn report(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wattle"))
        .args(["report", "--ledger", "ledger.sqlite"])
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn json(folder: &Path, args: &[&str]) -> Value {
    let output = report(folder, &[args, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn near(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{found}, not {expected}");
}

/// The profile of a model: 10 W idle, and 25 W at 1,000 rows/s.
fn write_profile(models: &Path, model: &str) {
    let folder = models.join(model);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("model.toml"), "[instances]\ncount = 1\n").unwrap();
    let text = format!(
        "# wattle_profile = 1\n# model = \"{model}\"\n# device = \"a100\"\n# runtime = \"none\"\n\
         # power_source = \"a meter\"\n# idle_power_watts = 10.0\n\
         batch_size,instances,latency_ms_mean,throughput_rps,power_watts_mean,basis,power_basis,samples\n\
         8,1,8,1000,25,measured,measured,10\n"
    );
    std::fs::write(folder.join("profile.csv"), text).unwrap();
}

#[test]
fn energy_carbon_and_sci_are_those_computed_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    ledger(folder.path(), accounting(), true);
    let found = json(folder.path(), &[]);
    let rows = found["rows"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "b", ""]);
    assert_eq!((&rows[0]["requests"], &rows[0]["rows"]), (&20_000.into(), &60_000.into()));
    assert_eq!(rows[2]["row_kind"], "idle");
    // 200 s x 20 W x 3/4.
    near(&rows[0]["energy_joules"], 3000.0);
    near(&rows[0]["site_energy_joules"], 3600.0);
    // And three quarters of 200 s x 10 W.
    near(&rows[0]["energy_reserved_joules"], 4500.0);
    // Half of it at 300 and half at 100 g/kWh.
    near(&rows[0]["location_grams"], 3600.0 / 3.6e6 * 200.0);
    near(&rows[0]["market_grams"], 3600.0 / 3.6e6 * 20.0);
    near(&found["carbon_intensity_mean_g_per_kwh"], 200.0);
    // 200 s of five years; `a` kept the device busy for 180 of 400 core seconds, of 240 that were busy.
    let made = 21_560.0 * 200.0 / (5.0 * 31_557_600.0);
    near(&rows[0]["embodied_busy_low_grams"], made * 0.45);
    near(&rows[0]["embodied_reserved_low_grams"], made * 0.75);
    near(&rows[0]["sci_low_grams_per_request"], (0.3 + made * 0.75) / 20_000.0);
    let high = made * 181.0 / 21.56;
    near(&rows[0]["sci_high_grams_per_1000_rows"], (0.3 + high * 0.75) / 60.0);
    near(&found["total"]["energy_joules"], 6000.0);
    near(&found["total"]["embodied_busy_low_grams"], made);
    near(&found["total"]["location_reserved_grams"], 0.4);
    for row in rows {
        assert_eq!(row["power_source"], "measured: a meter");
        assert_eq!(row["intensity_source"], "a provider, zone DE, average, life-cycle, actual");
        assert_eq!(row["pue_source"], "PUE 1.2 (the operator)");
        assert!(row["embodied_source"].as_str().unwrap().contains("a table"), "{row}");
    }
}

#[test]
fn ranges_periods_and_classes_tell_rows_apart() {
    let folder = tempfile::tempdir().unwrap();
    ledger(folder.path(), accounting(), true);
    let found = json(folder.path(), &["--by", "class", "--period", "hour"]);
    let rows = found["rows"].as_array().unwrap();
    let told: Vec<(&str, &str, f64)> = rows
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap();
            (text("period_start"), text("name"), row["energy_joules"].as_f64().unwrap())
        })
        .collect();
    let (first, second) = ("2026-11-01T00:00:00Z", "2026-11-01T01:00:00Z");
    let hour = |start| [(start, "gold", 1500.0), (start, "", 500.0), (start, "", 1000.0)];
    assert_eq!(told, [hour(first), hour(second)].concat());
    let range = ["--since", "2026-11-01T01:00", "--until", "2026-11-02", "--by", "device"];
    let found = json(folder.path(), &range);
    near(&found["total"]["energy_joules"], 3000.0);
    near(&found["total"]["location_grams"], 3000.0 * 1.2 / 3.6e6 * 100.0);
    assert_eq!(found["rows"][0]["name"], "a100");
    let nothing = text(&report(folder.path(), &["--since", "2030-01-01"]));
    assert_eq!(nothing.trim(), "nothing was counted in this range");
}

#[test]
fn the_table_names_every_source_and_the_crossover_power() {
    let folder = tempfile::tempdir().unwrap();
    ledger(folder.path(), accounting(), true);
    let said = text(&report(folder.path(), &[]));
    for expected in [
        "energy measured: a meter",
        "carbon intensity by a provider, zone DE, average, life-cycle, actual",
        "carbon is known for all of the energy",
        "PUE 1.2 (the operator)",
        "market-based by a contract (20 gCO2e/kWh)",
        "low end modelled: a table; high end modelled: a table",
        "44.72 W to 375.4 W on wind (11 g/kWh)",
        "it drew 36.00 W on average with the site",
        "SCI mg/request",
    ] {
        assert!(said.contains(expected), "{expected:?} is not in:\n{said}");
    }
}

#[test]
fn what_is_unknown_stays_empty_and_the_report_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    ledger(folder.path(), CarbonAccounting::default(), false);
    let found = json(folder.path(), &[]);
    for key in ["location_grams", "market_grams", "embodied_busy_low_grams", "sci_low_grams_per_request"] {
        assert!(found["total"][key].is_null(), "{key}: {}", found["total"][key]);
    }
    let said = text(&report(folder.path(), &[]));
    assert!(said.contains("carbon is unknown") && said.contains("[accounting]"), "{said}");
    assert!(said.contains("PUE 1 (none is configured"), "{said}");
    assert!(!said.contains("SCI mg/request"), "{said}");
    // How the device was made may be told later.
    std::fs::write(folder.path().join("wattle.toml"), "[accounting]\ndevice = \"nvidia-a100-40gb\"\n")
        .unwrap();
    let found = json(folder.path(), &["--config", "wattle.toml"]);
    let made = 21_562.0 * 200.0 / (5.0 * 31_557_600.0);
    let low = found["total"]["embodied_reserved_low_grams"].as_f64().unwrap();
    assert!((low / made - 1.0).abs() < 1e-4, "{low}, not {made}");
}

#[test]
fn the_baseline_is_what_the_profiles_say_and_absent_with_a_reason_without_them() {
    let folder = tempfile::tempdir().unwrap();
    ledger(folder.path(), accounting(), true);
    let models = folder.path().join("models");
    std::fs::create_dir(&models).unwrap();
    let args = ["--baseline", "fixed", "--models", "models"];
    let said = text(&report(folder.path(), &args));
    assert!(said.contains("no baseline: a, b have no profile") && said.contains("--models DIR"), "{said}");
    assert!(json(folder.path(), &args)["total"]["baseline_energy_joules"].is_null());
    write_profile(&models, "a");
    write_profile(&models, "b");
    let found = json(folder.path(), &args);
    // 60,000 rows at 1,000 a second are 60 s at 15 W above idle; idle are 200 s at 10 W.
    near(&found["rows"][0]["baseline_energy_joules"], 900.0);
    near(&found["rows"][1]["baseline_energy_joules"], 30.0);
    near(&found["rows"][2]["baseline_energy_joules"], 2000.0);
    near(&found["total"]["baseline_energy_joules"], 2930.0);
    near(&found["rows"][0]["baseline_location_grams"], 900.0 * 1.2 / 3.6e6 * 200.0);
    assert_eq!(found["total"]["baseline_refused_rows"], 0.0);
    let source = found["rows"][0]["baseline_source"].as_str().unwrap();
    assert!(source.starts_with("modelled: ") && source.contains("a on a100 (a meter)"), "{source}");
    let said = text(&report(folder.path(), &args));
    // 930 J of the rows; idle is not compared.
    let drawn = [0, 1].map(|row| found["rows"][row]["energy_joules"].as_f64().unwrap());
    let change = ((drawn[0] + drawn[1]) / 930.0 - 1.0) * 100.0;
    let expected = format!("under fixed they would have drawn 0.2583 Wh ({change:+.1} %)");
    assert!(said.contains(&expected), "{expected}: {said}");
    // A profile whose power is assumed gives a baseline that is.
    let of_a = models.join("a/profile.csv");
    let profile = std::fs::read_to_string(&of_a).unwrap();
    std::fs::write(&of_a, profile.replace(",measured,measured,", ",measured,assumed,")).unwrap();
    let source = json(folder.path(), &args)["rows"][0]["baseline_source"].as_str().unwrap().to_owned();
    assert!(source.starts_with("assumed: "), "{source}");
    assert!(text(&report(folder.path(), &args)).contains("measured against assumed"));
    // A model that starts where its profile has no figure has no baseline.
    std::fs::write(models.join("a/model.toml"), "[instances]\ncount = 4\n").unwrap();
    let said = text(&report(folder.path(), &args));
    assert!(said.contains("no baseline: a starts with instances 4"), "{said}");
}

#[test]
fn csv_and_the_page_are_written_once_and_the_page_opens_offline() {
    let folder = tempfile::tempdir().unwrap();
    ledger(folder.path(), accounting(), true);
    let files = ["--csv", "out.csv", "--html", "out.html", "--period", "hour"];
    let said = text(&report(folder.path(), &files));
    assert!(said.contains("wrote out.csv") && said.contains("wrote out.html"), "{said}");
    let csv = std::fs::read_to_string(folder.path().join("out.csv")).unwrap();
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let headers = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
    assert_eq!(rows.len(), 6);
    let of = json(folder.path(), &["--period", "hour"]);
    for (row, told) in rows.iter().zip(of["rows"].as_array().unwrap()) {
        assert_eq!(headers.len(), told.as_object().unwrap().len());
        for (header, cell) in headers.iter().zip(row) {
            match &told[header] {
                Value::Null => assert_eq!(cell, "", "{header}"),
                Value::Number(_) => {
                    let found = cell.parse::<f64>().unwrap();
                    assert!(
                        (found - told[header].as_f64().unwrap()).abs() <= 1e-12 * found.abs(),
                        "{header}"
                    );
                }
                Value::String(text) => assert_eq!(cell, text, "{header}"),
                other => panic!("{header}: {other}"),
            }
        }
    }
    let html = std::fs::read_to_string(folder.path().join("out.html")).unwrap();
    well_formed::check(&html).unwrap();
    assert!(html.matches("<svg").count() >= 5);
    for outside in ["http://", "https://", "src=", "href=", "url(", "@import", "<script"] {
        assert!(!html.contains(outside), "{outside}");
    }
    let again = report(folder.path(), &files);
    assert_eq!(again.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&again.stderr).contains("--force"));
    assert!(report(folder.path(), &[files.as_slice(), &["--force"]].concat()).status.success());
}

#[test]
fn wrong_arguments_end_with_the_code_of_the_configuration_and_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let missing = report(folder.path(), &[]);
    assert_eq!(missing.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("ledger.sqlite"));
    ledger(folder.path(), accounting(), true);
    let reversed = report(folder.path(), &["--since", "2026-11-02", "--until", "2026-11-01"]);
    assert_eq!(reversed.status.code(), Some(3));
    assert_eq!(report(folder.path(), &["--since", "soon"]).status.code(), Some(2));
    std::fs::write(folder.path().join("wattle.toml"), "[accounting]\npue = 0.5\npue_source = \"s\"\n")
        .unwrap();
    let wrong = report(folder.path(), &["--config", "wattle.toml"]);
    assert_eq!(wrong.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("accounting.pue is 0.5"));
    let models = report(folder.path(), &["--baseline", "fixed", "--models", "nowhere"]);
    assert_eq!(models.status.code(), Some(3));
}
