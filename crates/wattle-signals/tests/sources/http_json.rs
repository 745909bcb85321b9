//! Any JSON: paths, units, times in three forms, lists with holes.

use wattle_core::signal::{PointStatus, Quantity};
use wattle_signals::provider::FetchError;

use crate::cases::{NOW, SECRET, SINCE, at, notes, of, told};
use crate::server::{Reply, Seen, Server};

pub(crate) fn config(base: &str) -> String {
    format!(
        "source = \"http-json\"\nurl = \"{base}/site/1?key=opensesame99\"\nlist_path = \"data\"\n\
         value_path = \"/intensity/value\"\ntime_path = \"from\"\nunit = \"lbs/MWh\"\nunit_path = \"meta.unit\"\n\
         zone = \"home\"\nheaders = {{ \"X-Api-Key\" = {{ file = \"token\" }}, Prefer = \"minutes\" }}"
    )
}

const LIST: &str = r#"{"meta":{"unit":"lbs/MWh"},"data":[
    {"from":"2026-03-29T00:30:00Z","intensity":{"value":1000}},
    {"from":"2026-03-29T01:35:00+01:00","intensity":{"value":null}},
    {"from":"2026-03-29T00:40:00Z","intensity":{"value":"500"}},
    {"from":"2026-03-29T00:45:00","intensity":{"value":1}},
    {"from":"2026-03-29T00:50:00Z","intensity":{"value":true}},
    {"from":1774745100000,"intensity":{"value":250}}]}"#;

pub(crate) fn answers(_: &Seen) -> Reply {
    Reply::ok(LIST)
}

fn one(keys: &str, body: &'static str) -> Result<wattle_signals::provider::Fetched, FetchError> {
    let server = Server::start(move |_| Reply::ok(body));
    let (mut source, _folder) =
        of(Quantity::Power, &format!("source = \"http-json\"\nurl = \"{}/\"\n{keys}", server.url()));
    source.fetch(SINCE, NOW)
}

#[test]
fn a_list_becomes_points_and_what_is_after_now_a_forecast() {
    let server = Server::start(answers);
    let (mut source, _folder) = of(Quantity::CarbonIntensity, &config(&server.url()));
    let fetched = source.fetch(SINCE, NOW).unwrap();
    let told = told(&fetched);
    let expected = [
        (at("2026-03-29T00:30:00Z"), 453.592_37, PointStatus::Unknown),
        (at("2026-03-29T00:40:00Z"), 226.796_185, PointStatus::Unknown),
        (at("2026-03-29T00:45:00Z"), 113.398_092_5, PointStatus::Forecast),
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (found, expected) in told.iter().zip(expected) {
        assert_eq!((found.0, found.2), (expected.0, expected.2));
        assert!((found.1 - expected.1).abs() < 1e-9, "{found:?}");
    }
    for words in ["null", "without its offset", "true or false"] {
        assert!(notes(&fetched, words), "{words}: {:?}", fetched.left_out);
    }
    let seen = &server.seen()[0];
    assert_eq!((seen.path.as_str(), seen.parameter("key")), ("/site/1", Some("opensesame99")));
    assert_eq!((seen.header("x-api-key"), seen.header("prefer")), (Some(SECRET), Some("minutes")));
    assert_eq!(source.head().zone.as_deref(), Some("home"));
}

#[test]
fn one_value_without_a_time_is_of_now_and_one_with_a_time_of_then() {
    let fetched = one("value_path = \"0.power\"\nunit = \"MW\"", "[{\"power\": 0.5}]").unwrap();
    assert_eq!(told(&fetched), [(NOW, 500_000.0, PointStatus::Unknown)]);
    for time in ["1774744500", "1774744500000", "1774744500.25", "\"2026-03-29T00:35:00Z\""] {
        let body = format!("{{\"w\": 5, \"t\": {time}}}").leak();
        let fetched = one("value_path = \"w\"\ntime_path = \"t\"\nunit = \"W\"", body).unwrap();
        assert_eq!(told(&fetched), [(at("2026-03-29T00:35:00Z"), 5.0, PointStatus::Unknown)], "{time}");
    }
}

#[test]
fn a_value_of_null_is_a_gap_and_no_zero() {
    let fetched = one("value_path = \"w\"\nunit = \"W\"", "{\"w\": null}").unwrap();
    assert_eq!(fetched.points, []);
    assert!(notes(&fetched, "null"));
}

#[test]
fn what_is_not_where_it_should_be_is_told_with_what_is_there() {
    for (keys, body, words) in [
        ("value_path = \"watts\"\nunit = \"W\"", "{\"w\": 1}", "\"w\""),
        ("value_path = \"w\"\nunit = \"W\"", "{\"w\": {}}", "an object"),
        ("value_path = \"w\"\nunit = \"W\"", "{\"w\": \"many\"}", "no number"),
        ("value_path = \"w\"\ntime_path = \"t\"\nunit = \"W\"", "{\"w\": 1, \"t\": 1e300}", "no time"),
        (
            "value_path = \"w\"\ntime_path = \"t\"\nunit = \"W\"",
            "{\"w\": 1, \"t\": \"2026-10-25T01:30:00\"}",
            "offset",
        ),
        ("value_path = \"w\"\nunit = \"W\"\nunit_path = \"u\"", "{\"w\": 1, \"u\": \"kW\"}", "\"kW\""),
        ("value_path = \"w\"\nunit = \"W\"\nunit_path = \"u\"", "{\"w\": 1}", "\"u\""),
        (
            "value_path = \"w\"\ntime_path = \"t\"\nlist_path = \"l\"\nunit = \"W\"",
            "{\"l\": {}}",
            "an object",
        ),
        (
            "value_path = \"w\"\ntime_path = \"t\"\nlist_path = \"l\"\nunit = \"W\"",
            "{\"l\": [{\"x\": 1}]}",
            "\"x\"",
        ),
    ] {
        let error = one(keys, body).unwrap_err();
        assert!(matches!(error, FetchError::Refused { .. }) && error.to_string().contains(words), "{error}");
    }
}

#[test]
fn the_address_is_asked_exactly_as_it_is_written() {
    let server = Server::start(|_| Reply::ok("1"));
    let url = format!("{}/a/b/?to=c/", server.url());
    let text = format!("source = \"http-json\"\nurl = \"{url}\"\nvalue_path = \"x\"\nunit = \"W\"");
    let (mut source, _folder) = of(Quantity::Power, &text);
    source.fetch(SINCE, NOW).unwrap_err();
    let seen = &server.seen()[0];
    assert_eq!((seen.path.as_str(), seen.parameter("to")), ("/a/b/", Some("c/")));
}
