//! The Carbon Aware SDK: -1 for what it does not know, upstreams without a forecast, answers of nothing.

use wattle_core::signal::{EmissionScope, IntensityKind, PointStatus};

use crate::cases::{NOW, SINCE, at, carbon, notes, told};
use crate::server::{Reply, Seen, Server};

pub(crate) fn config(base: &str) -> String {
    format!(
        "source = \"carbon-aware-sdk\"\nlocation = \"westus\"\nkind = \"marginal\"\nbase_url = \"{base}/\""
    )
}

const EMISSIONS: &str = r#"[
    {"location":"CAISO_NORTH","time":"2026-03-29T00:30:00+00:00","rating":412.51,"duration":"00:05:00"},
    {"location":"CAISO_NORTH","time":"2026-03-29T00:35:00.5092741+00:00","rating":-1,"duration":"00:05:00"},
    {"location":"CAISO_NORTH","time":"2026-03-29T02:40:00+02:00","rating":407.07,"duration":"00:05:00"}]"#;

const FORECAST: &str = r#"[{"requestedAt":"2026-03-29T00:40:01.2+00:00","generatedAt":"2026-03-29T00:40:00+00:00",
    "location":"westus","dataStartAt":"2026-03-29T00:45:00+00:00","dataEndAt":"2026-03-29T00:55:00+00:00","windowSize":5,
    "optimalDataPoints":[{"location":"CAISO_NORTH","timestamp":"2026-03-29T00:50:00+00:00","duration":5,"value":390.2}],
    "forecastData":[
      {"location":"CAISO_NORTH","timestamp":"2026-03-29T00:45:00+00:00","duration":5,"value":401.5},
      {"location":"CAISO_NORTH","timestamp":"2026-03-29T00:50:00+00:00","duration":5,"value":390.2}]}]"#;

pub(crate) fn answers(seen: &Seen) -> Reply {
    match seen.path.as_str() {
        "/emissions/bylocation" => Reply::ok(EMISSIONS),
        "/emissions/forecasts/current" => Reply::ok(FORECAST),
        _ => Reply::status(404),
    }
}

#[test]
fn ratings_and_forecasts_become_points_and_minus_one_is_left_out() {
    let server = Server::start(answers);
    let (mut source, _folder) = carbon(&config(&server.url()));
    let fetched = source.fetch(SINCE, NOW).unwrap();
    assert_eq!(
        told(&fetched),
        [
            (at("2026-03-29T00:30:00Z"), 412.51, PointStatus::Unknown),
            (at("2026-03-29T00:40:00Z"), 407.07, PointStatus::Unknown),
            (at("2026-03-29T00:45:00Z"), 401.5, PointStatus::Forecast),
            (at("2026-03-29T00:50:00Z"), 390.2, PointStatus::Forecast),
        ]
    );
    assert!(notes(&fetched, "less than 0"), "{:?}", fetched.left_out);
    assert_eq!(fetched.step.unwrap().as_secs(), 300);
    assert_eq!((source.head().kind, source.head().scope), (IntensityKind::Marginal, EmissionScope::Unknown));
    let seen = server.seen();
    assert_eq!(seen[0].parameter("location"), Some("westus"));
    assert_eq!(seen[0].parameter("time"), Some("2026-03-28T23:25:00Z"));
    assert_eq!(seen[0].parameter("toTime"), Some("2026-03-29T00:40:00Z"));
}

#[test]
fn an_upstream_without_forecasts_costs_the_present_nothing() {
    for status in [400, 500, 501] {
        let server = Server::start(move |seen| match seen.path.as_str() {
            "/emissions/forecasts/current" => Reply::status(status),
            _ => answers(seen),
        });
        let (mut source, _folder) = carbon(&config(&server.url()));
        let fetched = source.fetch(SINCE, NOW).unwrap();
        assert_eq!(told(&fetched).len(), 2);
        assert!(notes(&fetched, &format!("HTTP {status}")), "{:?}", fetched.left_out);
    }
}

#[test]
fn no_content_is_no_value_and_no_error() {
    let server = Server::start(|_| Reply { status: 204, ..Reply::ok("") });
    let (mut source, _folder) = carbon(&format!("{}\nforecast = false", config(&server.url())));
    let fetched = source.fetch(SINCE, NOW).unwrap();
    assert_eq!(fetched.points, []);
    assert!(notes(&fetched, "without a value"), "{:?}", fetched.left_out);
}
