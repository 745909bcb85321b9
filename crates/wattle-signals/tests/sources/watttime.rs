//! WattTime: pounds, tokens that run out, regions outside the plan.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use wattle_core::signal::{EmissionScope, IntensityKind, PointStatus};
use wattle_signals::provider::FetchError;

use crate::cases::{NOW, SINCE, at, carbon, notes, told};
use crate::server::{Reply, Seen, Server};

pub(crate) fn config(base: &str) -> String {
    format!(
        "source = \"watttime\"\nregion = \"CAISO_NORTH\"\nusername = \"ada\"\npassword_file = \"token\"\n\
         base_url = \"{base}\""
    )
}

const FORECAST: &str = r#"{"data":[
    {"point_time":"2026-03-29T00:40:00+00:00","value":1000},
    {"point_time":"2026-03-29T00:45:00+00:00","value":950.5},
    {"point_time":"2026-03-29T00:50:00+00:00","value":null}],
  "meta":{"data_point_period_seconds":300,"region":"CAISO_NORTH","warnings":[],"signal_type":"co2_moer",
    "model":{"date":"2023-03-01","type":"binned_regression"},"units":"lbs_co2_per_mwh",
    "generated_at_period_seconds":300,"generated_at":"2026-03-29T00:40:00+00:00"}}"#;

const HISTORICAL: &str = r#"{"data":[
    {"point_time":"2026-03-29T00:30:00+00:00","value":870.0,"imputed_data_used":false,"last_updated":"2026-03-29T00:36:00+00:00"},
    {"point_time":"2026-03-29T00:35:00+00:00","value":-12.0,"imputed_data_used":false},
    {"point_time":"2026-03-29T00:25:00+00:00","value":880.0,"imputed_data_used":true}],
  "meta":{"data_point_period_seconds":300,"region":"CAISO_NORTH","signal_type":"co2_moer",
    "model":{"date":"2023-03-01"},"units":"lbs_co2_per_mwh"}}"#;

pub(crate) fn answers(seen: &Seen) -> Reply {
    match seen.path.as_str() {
        "/login" => Reply::ok(r#"{"token":"eyJhbGciOi.its.token"}"#),
        "/v3/forecast" => Reply::ok(FORECAST),
        "/v3/historical" => Reply::ok(HISTORICAL),
        _ => Reply::status(404),
    }
}

fn grams(pounds_per_megawatt_hour: f64) -> f64 {
    pounds_per_megawatt_hour * 453.592_37 / 1000.0
}

#[test]
fn pounds_become_grams_and_each_value_keeps_its_status() {
    let server = Server::start(answers);
    let (mut source, _folder) = carbon(&config(&server.url()));
    let fetched = source.fetch(SINCE, NOW).unwrap();
    let expected = [
        (at("2026-03-29T00:25:00Z"), grams(880.0), PointStatus::Estimated),
        (at("2026-03-29T00:30:00Z"), grams(870.0), PointStatus::Actual),
        (at("2026-03-29T00:40:00Z"), 453.592_37, PointStatus::Forecast),
        (at("2026-03-29T00:45:00Z"), grams(950.5), PointStatus::Forecast),
    ];
    let told = told(&fetched);
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (found, expected) in told.iter().zip(expected) {
        assert_eq!((found.0, found.2), (expected.0, expected.2));
        assert!((found.1 - expected.1).abs() < 1e-9, "{found:?}");
    }
    assert!(notes(&fetched, "less than 0") && notes(&fetched, "null"), "{:?}", fetched.left_out);
    assert_eq!(fetched.step.unwrap().as_secs(), 300);
    assert_eq!((source.head().kind, source.head().scope), (IntensityKind::Marginal, EmissionScope::Direct));
    let seen = server.seen();
    // "ada" and the secret, in base 64.
    assert_eq!(seen[0].header("authorization"), Some("Basic YWRhOnN3b3JkZmlzaC00NzEx"));
    for later in &seen[1..] {
        assert_eq!(later.header("authorization"), Some("Bearer eyJhbGciOi.its.token"));
        assert_eq!(later.parameter("region"), Some("CAISO_NORTH"));
        assert_eq!(later.parameter("signal_type"), Some("co2_moer"));
    }
    let past = seen.iter().find(|seen| seen.path == "/v3/historical").unwrap();
    assert_eq!(past.parameter("start"), Some("2026-03-29T00:25:00Z"));
    assert_eq!(past.parameter("end"), Some("2026-03-29T00:40:00Z"));
}

#[test]
fn a_token_serves_for_25_minutes_and_is_then_renewed() {
    let server = Server::start(answers);
    let (mut source, _folder) = carbon(&config(&server.url()));
    let logins = |server: &Server| server.paths().iter().filter(|path| *path == "/login").count();
    for minutes in [0, 5, 10, 15, 20, 24] {
        source.fetch(SINCE, NOW + Duration::from_secs(60 * minutes)).unwrap();
    }
    assert_eq!(logins(&server), 1);
    source.fetch(SINCE, NOW + Duration::from_secs(60 * 25)).unwrap();
    assert_eq!(logins(&server), 2);
}

#[test]
fn a_token_that_ran_out_early_is_renewed_once() {
    let logins = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&logins);
    let server = Server::start(move |seen| match seen.path.as_str() {
        "/login" => Reply::ok(format!("{{\"token\":\"token-{}\"}}", counted.fetch_add(1, Ordering::Relaxed))),
        _ if seen.header("authorization") == Some("Bearer token-0") => Reply::status(401),
        _ => answers(seen),
    });
    let (mut source, _folder) = carbon(&config(&server.url()));
    assert_eq!(told(&source.fetch(SINCE, NOW).unwrap()).len(), 4);
    assert_eq!(logins.load(Ordering::Relaxed), 2);
}

#[test]
fn a_password_that_is_refused_is_told_and_nothing_else_is_asked() {
    let server = Server::start(|_| Reply::status(401));
    let (mut source, _folder) = carbon(&config(&server.url()));
    let error = source.fetch(SINCE, NOW).unwrap_err();
    assert!(matches!(error, FetchError::Refused { .. }) && error.to_string().contains("401"), "{error}");
    assert_eq!(server.paths(), ["/login"]);
    // The next fetch fails as well, rather than to tell nothing.
    assert!(source.fetch(SINCE, NOW + source.interval()).is_err());
}

#[test]
fn a_region_outside_the_plan_names_the_free_one() {
    let server = Server::start(|seen| if seen.path == "/login" { answers(seen) } else { Reply::status(403) });
    let (mut source, _folder) = carbon(&config(&server.url()));
    for time in [NOW, NOW + source.interval()] {
        let error = source.fetch(SINCE, time).unwrap_err();
        assert!(error.to_string().contains("CAISO_NORTH"), "{error}");
    }
}

#[test]
fn another_unit_another_region_or_no_unit_is_refused_and_never_guessed() {
    for (from, to, named) in [
        ("\"lbs_co2_per_mwh\"", "\"kg_co2_per_mwh\"", "kg_co2_per_mwh"),
        ("\"region\":\"CAISO_NORTH\"", "\"region\":\"PJM_DC\"", "PJM_DC"),
        ("co2_moer", "health_damage", "health_damage"),
        (",\"units\":\"lbs_co2_per_mwh\"", "", "without meta.units"),
    ] {
        let change = move |text: &str| text.replace(from, to);
        let server = Server::start(move |seen| match seen.path.as_str() {
            "/v3/forecast" => Reply::ok(change(FORECAST)),
            "/v3/historical" => Reply::ok(change(HISTORICAL)),
            _ => answers(seen),
        });
        let (mut source, _folder) = carbon(&config(&server.url()));
        let error = source.fetch(SINCE, NOW).unwrap_err();
        assert!(matches!(error, FetchError::Refused { .. }), "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn without_a_forecast_the_past_alone_is_told_at_every_fetch() {
    let server =
        Server::start(|seen| if seen.path == "/v3/forecast" { Reply::status(403) } else { answers(seen) });
    let (mut source, _folder) = carbon(&config(&server.url()));
    for step in 0..3 {
        let fetched = source.fetch(SINCE, NOW + source.interval() * step).unwrap();
        assert_eq!(told(&fetched).len(), 2);
    }
    assert_eq!(server.paths().iter().filter(|path| path.ends_with("forecast")).count(), 1);
}

#[test]
fn average_emissions_have_no_forecast() {
    let average = |text: &str| text.replace("co2_moer", "co2_aoer");
    let server = Server::start(move |seen| match seen.path.as_str() {
        "/v3/historical" => Reply::ok(average(HISTORICAL)),
        _ => answers(seen),
    });
    let (mut source, _folder) = carbon(&format!("{}\nsignal_type = \"co2_aoer\"", config(&server.url())));
    assert_eq!(told(&source.fetch(SINCE, NOW).unwrap()).len(), 2);
    assert_eq!(source.head().kind, IntensityKind::Average);
    assert_eq!(server.paths(), ["/login", "/v3/historical"]);
}

#[test]
fn more_than_32_days_back_is_never_asked_for() {
    let server = Server::start(answers);
    let (mut source, _folder) = carbon(&config(&server.url()));
    source.fetch(at("2020-01-01T00:00:00Z"), NOW).unwrap();
    let seen = server.seen();
    let past = seen.iter().find(|seen| seen.path == "/v3/historical").unwrap();
    assert_eq!(past.parameter("start"), Some("2026-02-26T00:40:00Z"));
}
