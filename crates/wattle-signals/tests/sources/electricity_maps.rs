//! Electricity Maps: nulls, estimates, plans without a forecast, zones that are not the one asked for.

use wattle_core::signal::{EmissionScope, IntensityKind, PointStatus};
use wattle_signals::provider::FetchError;

use crate::cases::{NOW, SECRET, SINCE, at, carbon, notes, told};
use crate::server::{Reply, Seen, Server};

pub(crate) fn config(base: &str) -> String {
    format!("source = \"electricity-maps\"\nzone = \"GB\"\ntoken_file = \"token\"\nbase_url = \"{base}/v3\"")
}

const LATEST: &str = r#"{"zone":"GB","carbonIntensity":182,"datetime":"2026-03-29T00:00:00.000Z",
    "updatedAt":"2026-03-29T00:31:12.104Z","createdAt":"2026-03-26T00:49:27.540Z",
    "emissionFactorType":"lifecycle","isEstimated":true,"estimationMethod":"TIME_SLICER_AVERAGE",
    "temporalGranularity":"hourly"}"#;

const HISTORY: &str = r#"{"zone":"GB","history":[
    {"zone":"GB","carbonIntensity":201,"datetime":"2026-03-28T21:00:00.000Z","updatedAt":"2026-03-28T23:47:44.000Z",
     "createdAt":"2026-03-25T21:54:17.103Z","emissionFactorType":"lifecycle","isEstimated":false,"estimationMethod":null},
    {"zone":"GB","carbonIntensity":null,"datetime":"2026-03-28T22:00:00.000Z","updatedAt":"2026-03-28T23:47:44.000Z",
     "createdAt":"2026-03-25T22:54:17.103Z","emissionFactorType":"lifecycle","isEstimated":false,"estimationMethod":null},
    {"zone":"GB","carbonIntensity":190,"datetime":"2026-03-28T23:00:00.000Z","updatedAt":"2026-03-28T23:47:44.000Z",
     "createdAt":"2026-03-25T23:54:17.103Z","emissionFactorType":"lifecycle","isEstimated":true,"estimationMethod":"FORECASTS"}]}"#;

const FORECAST: &str = r#"{"zone":"GB","forecast":[
    {"carbonIntensity":185,"datetime":"2026-03-29T00:00:00.000Z"},
    {"carbonIntensity":176,"datetime":"2026-03-29T01:00:00.000Z"},
    {"carbonIntensity":171,"datetime":"2026-03-29T02:00:00.000Z"}],"updatedAt":"2026-03-29T00:20:00.000Z"}"#;

pub(crate) fn answers(seen: &Seen) -> Reply {
    match seen.path.as_str() {
        "/v3/carbon-intensity/latest" => Reply::ok(LATEST),
        "/v3/carbon-intensity/history" => Reply::ok(HISTORY),
        "/v3/carbon-intensity/forecast" => Reply::ok(FORECAST),
        _ => Reply::status(404),
    }
}

#[test]
fn past_present_and_forecast_become_points_with_their_statuses() {
    let server = Server::start(answers);
    let (mut source, _folder) = carbon(&config(&server.url()));
    let fetched = source.fetch(SINCE, NOW).unwrap();
    assert_eq!(
        told(&fetched),
        [
            (at("2026-03-28T21:00:00Z"), 201.0, PointStatus::Actual),
            (at("2026-03-28T23:00:00Z"), 190.0, PointStatus::Estimated),
            (at("2026-03-29T00:00:00Z"), 182.0, PointStatus::Estimated),
            (at("2026-03-29T01:00:00Z"), 176.0, PointStatus::Forecast),
            (at("2026-03-29T02:00:00Z"), 171.0, PointStatus::Forecast),
        ]
    );
    assert_eq!(fetched.left_out, ["the value of 2026-03-28T22:00:00Z: no value (null)"]);
    assert_eq!(fetched.step.unwrap().as_secs(), 3600);
    let head = source.head();
    assert_eq!((head.kind, head.scope), (IntensityKind::Average, EmissionScope::LifeCycle));
    assert_eq!(head.zone.as_deref(), Some("GB"));
    for seen in server.seen() {
        assert_eq!(seen.header("auth-token"), Some(SECRET));
        assert_eq!(seen.parameter("zone"), Some("GB"));
        assert_eq!(seen.parameter("shouldUseFallbackCallerLookup"), Some("false"));
        assert_eq!(seen.parameter("emissionFactorType"), Some("lifecycle"));
        assert!(seen.header("user-agent").unwrap().starts_with("wattle/"));
    }
}

#[test]
fn history_and_forecast_are_asked_once_an_hour() {
    let server = Server::start(answers);
    let (mut source, _folder) = carbon(&config(&server.url()));
    for quarter in 0..4 {
        source.fetch(SINCE, NOW + source.interval() * quarter).unwrap();
    }
    let asked = |what: &str| server.paths().iter().filter(|path| path.ends_with(what)).count();
    assert_eq!((asked("latest"), asked("history"), asked("forecast")), (4, 1, 1));
    source.fetch(SINCE, NOW + source.interval() * 4).unwrap();
    assert_eq!((asked("latest"), asked("history"), asked("forecast")), (5, 2, 2));
    assert!(server.seen().len() <= 5 * source.most_requests() as usize);
}

#[test]
fn a_plan_without_forecasts_costs_the_present_nothing_and_is_not_asked_again() {
    for status in [401, 403] {
        let server = Server::start(move |seen| match seen.path.as_str() {
            "/v3/carbon-intensity/forecast" => Reply::status(status),
            _ => answers(seen),
        });
        let (mut source, _folder) = carbon(&config(&server.url()));
        let fetched = source.fetch(SINCE, NOW).unwrap();
        assert_eq!(told(&fetched).last().unwrap().1, 182.0);
        assert!(notes(&fetched, &format!("HTTP {status}")), "{:?}", fetched.left_out);
        source.fetch(SINCE, NOW + source.interval() * 8).unwrap();
        assert_eq!(server.paths().iter().filter(|path| path.ends_with("forecast")).count(), 1);
    }
}

#[test]
fn a_spent_quota_of_the_history_leaves_the_present() {
    let server = Server::start(|seen| match seen.path.as_str() {
        "/v3/carbon-intensity/history" => Reply::status(429).with("Retry-After", "7200"),
        _ => answers(seen),
    });
    let (mut source, _folder) = carbon(&config(&server.url()));
    let fetched = source.fetch(SINCE, NOW).unwrap();
    assert!(notes(&fetched, "429") && notes(&fetched, "120 min"), "{:?}", fetched.left_out);
    assert_eq!(told(&fetched).first().unwrap().1, 182.0);
}

#[test]
fn an_answer_of_another_zone_or_other_emissions_is_refused_naming_both() {
    for (from, to, named) in [
        ("\"zone\":\"GB\"", "\"zone\":\"FR\"", ["\"FR\"", "\"GB\""]),
        ("lifecycle", "direct", ["\"direct\"", "\"lifecycle\""]),
    ] {
        let server = Server::start(move |_| Reply::ok(LATEST.replace(from, to)));
        let (mut source, _folder) = carbon(&config(&server.url()));
        let error = source.fetch(SINCE, NOW).unwrap_err();
        assert!(matches!(error, FetchError::Refused { .. }), "{error}");
        assert!(named.iter().all(|name| error.to_string().contains(name)), "{error}");
    }
}

#[test]
fn a_present_value_of_null_is_a_gap_and_no_zero() {
    let server = Server::start(|seen| match seen.path.as_str() {
        "/v3/carbon-intensity/latest" => Reply::ok(LATEST.replace("182", "null")),
        "/v3/carbon-intensity/history" => Reply::ok(r#"{"zone":"GB","history":[]}"#),
        _ => Reply::ok(r#"{"zone":"GB","forecast":[]}"#),
    });
    let (mut source, _folder) = carbon(&config(&server.url()));
    let fetched = source.fetch(SINCE, NOW).unwrap();
    assert_eq!(fetched.points, []);
    assert!(notes(&fetched, "null"), "{:?}", fetched.left_out);
}

#[test]
fn direct_emissions_are_asked_for_and_told() {
    let server = Server::start(|seen| match seen.path.as_str() {
        "/v3/carbon-intensity/latest" => Reply::ok(LATEST.replace("lifecycle", "direct")),
        _ => Reply::status(403),
    });
    let (mut source, _folder) =
        carbon(&format!("{}\nscope = \"direct\"\nforecast = false", config(&server.url())));
    let fetched = source.fetch(SINCE, NOW).unwrap();
    assert_eq!(told(&fetched).len(), 1);
    assert_eq!(source.head().scope, EmissionScope::Direct);
    assert_eq!(server.seen()[0].parameter("emissionFactorType"), Some("direct"));
    assert!(!server.paths().iter().any(|path| path.ends_with("forecast")));
}
