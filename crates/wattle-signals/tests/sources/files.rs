//! What needs no network: CSV files of absolute times, and constants.

use std::time::Duration;

use wattle_core::signal::{EmissionScope, PointStatus, Quantity};
use wattle_signals::config::build;
use wattle_signals::provider::{FetchError, Provider};

use crate::cases::{NOW, SINCE, at, config, notes, refused, told};

const CSV: &str = "# of the site\ndatetime,pv,load\n2026-03-29T00:30:00Z,1.5,9\n2026-03-29T00:35:00Z,,9\n\
                   2026-03-29T02:40:00+02:00,2,9\n2026-03-29T00:45:00Z,2.5,9\n2026-04-29T00:45:00Z,9,9\n";

fn csv(text: &str, keys: &str) -> Result<(Box<dyn Provider>, tempfile::TempDir), String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("site.csv"), text).unwrap();
    let text = format!("source = \"csv\"\nfile = \"site.csv\"\nunit = \"kW\"\n{keys}");
    build(&config(&text), Quantity::Power, folder.path())
        .map(|provider| (provider, folder))
        .map_err(|error| error.to_string())
}

#[test]
fn a_csv_file_tells_what_holds_now_and_what_comes_within_a_week() {
    let (mut source, _folder) = csv(CSV, "value_column = \"pv\"").unwrap();
    let fetched = source.fetch(SINCE + Duration::from_secs(600), NOW).unwrap();
    assert_eq!(
        told(&fetched),
        [
            (at("2026-03-29T00:40:00Z"), 2000.0, PointStatus::Unknown),
            (at("2026-03-29T00:45:00Z"), 2500.0, PointStatus::Forecast),
        ]
    );
    assert!(notes(&fetched, "2026-03-29T00:35:00Z: no value"), "{:?}", fetched.left_out);
    assert_eq!(fetched.step.unwrap().as_secs(), 300);
    assert_eq!(source.most_requests(), 0);
    assert!(source.head().source.contains("site.csv"));
}

#[test]
fn a_csv_file_is_read_anew_and_may_be_gone_for_a_while() {
    let (mut source, folder) = csv(CSV, "value_column = \"pv\"").unwrap();
    let path = folder.path().join("site.csv");
    std::fs::write(&path, "time,pv\n2026-03-29T00:40:00Z,7\n").unwrap();
    assert_eq!(told(&source.fetch(SINCE, NOW).unwrap())[0].1, 7000.0);
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(source.fetch(SINCE, NOW), Err(FetchError::Trouble { .. })));
    std::fs::write(&path, "time,pv\n2026-03-29T00:40:00Z,much\n").unwrap();
    let error = source.fetch(SINCE, NOW).unwrap_err().to_string();
    assert!(error.contains("site.csv, line 2") && error.contains("\"much\""), "{error}");
}

#[test]
fn what_is_wrong_in_a_csv_file_is_told_with_its_line() {
    let keys = "value_column = \"pv\"";
    for (text, words) in [
        ("seconds,pv\n0,1\n", "counts from the start of the server"),
        ("time,pvv\n2026-03-29T00:30:00Z,1\n", "did you mean \"pvv\""),
        ("when,pv\n2026-03-29T00:30:00Z,1\n", "a column \"time\""),
        ("time,pv\n2026-10-25T01:30:00,1\n", "without its offset from UTC in site.csv, line 2"),
        ("time,pv\n2026-03-29T00:30:00Z,1\n2026-03-29T00:30:00Z,2\n", "line 3"),
        ("time,pv\n2026-03-29T00:30:00Z,1\n2026-03-29T01:00:00+01:00,2\n", "ascending"),
        ("time,pv\n2026-03-29T00:30:00Z\n", "line 2"),
        ("time,pv\n", "at least one"),
        ("", "columns"),
    ] {
        let error = csv(text, keys).err().unwrap();
        assert!(error.contains(words) && error.contains("site.csv"), "{error}");
    }
    let error =
        refused(Quantity::Power, "source = \"csv\"\nfile = \"no.csv\"\nunit = \"W\"\nvalue_column = \"w\"");
    assert!(error.to_string().contains("no.csv"), "{error}");
}

#[test]
fn times_without_an_offset_are_utc_where_it_is_said() {
    let text = "Datetime,pv\n2026-10-25T01:30:00,1\n2026-10-25 02:30,2\n";
    let (mut source, _folder) = csv(text, "value_column = \"pv\"\ntimes_are_utc = true").unwrap();
    let fetched = source.fetch(at("2026-10-25T00:00:00Z"), at("2026-10-25T03:00:00Z")).unwrap();
    let times: Vec<_> = fetched.points.iter().map(|point| point.at).collect();
    assert_eq!(times, [at("2026-10-25T01:30:00Z"), at("2026-10-25T02:30:00Z")]);
}

#[test]
fn a_constant_says_the_same_at_all_times() {
    let text = "source = \"constant\"\nvalue = 400\nunit = \"kg/MWh\"\nscope = \"direct\"";
    let folder = tempfile::tempdir().unwrap();
    let mut source = build(&config(text), Quantity::CarbonIntensity, folder.path()).unwrap();
    for time in [SINCE, NOW] {
        let fetched = source.fetch(SINCE, time).unwrap();
        assert_eq!(told(&fetched), [(time, 400.0, PointStatus::Unknown)]);
        assert!(fetched.step.unwrap() > source.interval());
    }
    assert_eq!(source.head().scope, EmissionScope::Direct);
}

#[test]
fn a_constant_that_cannot_be_is_told() {
    for (value, unit) in [("-1", "g/kWh"), ("nan", "g/kWh"), ("6000", "kg/MWh"), ("inf", "lbs/MWh")] {
        let text = format!("source = \"constant\"\nvalue = {value}\nunit = \"{unit}\"");
        let parsed: Result<wattle_signals::config::SourceConfig, _> = toml::from_str(&text);
        if let Ok(parsed) = parsed {
            let error = build(&parsed, Quantity::CarbonIntensity, ".".as_ref()).err().unwrap();
            assert_eq!(error.field, "value");
        }
    }
}
