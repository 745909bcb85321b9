//! Prometheus: vectors, ranges and scalars; series that are none or too many.

use std::time::Duration;

use wattle_core::signal::{PointStatus, Quantity};
use wattle_signals::provider::FetchError;

use crate::cases::{NOW, SECRET, SINCE, at, notes, of, refused, told};
use crate::server::{Reply, Seen, Server};

pub(crate) fn config(base: &str) -> String {
    format!(
        "source = \"prometheus\"\nquery = \"grid_carbon{{zone=\\\"GB\\\"}}\"\nunit = \"g/kWh\"\n\
         token_file = \"token\"\nbase_url = \"{base}/prometheus\""
    )
}

fn power(base: &str) -> String {
    format!("source = \"prometheus\"\nquery = \"sum(pv_kw)\"\nunit = \"kW\"\nbase_url = \"{base}\"")
}

fn result(kind: &str, result: &str) -> String {
    format!("{{\"status\":\"success\",\"data\":{{\"resultType\":\"{kind}\",\"result\":{result}}}}}")
}

pub(crate) fn answers(seen: &Seen) -> Reply {
    match seen.path.as_str() {
        "/prometheus/api/v1/query" => Reply::ok(result(
            "vector",
            r#"[{"metric":{"__name__":"grid_carbon","zone":"GB"},"value":[1774744790.781,"212.5"]}]"#,
        )),
        "/prometheus/api/v1/query_range" => Reply::ok(result(
            "matrix",
            r#"[{"metric":{"zone":"GB"},"values":[[1774744680,"210"],[1774744740,"NaN"],[1774744800,"+Inf"]]}]"#,
        )),
        _ => Reply::status(404),
    }
}

fn replying(body: String) -> Server {
    Server::start(move |_| Reply::ok(body.clone()))
}

#[test]
fn the_present_is_an_instant_query_without_a_time_of_ours() {
    let server = Server::start(answers);
    let (mut source, _folder) = of(Quantity::CarbonIntensity, &config(&server.url()));
    let fetched = source.fetch(NOW - Duration::from_secs(60), NOW).unwrap();
    assert_eq!(told(&fetched), [(at("2026-03-29T00:39:50Z"), 212.5, PointStatus::Unknown)]);
    let seen = &server.seen()[0];
    assert_eq!(seen.query, [("query".to_owned(), "grid_carbon{zone=\"GB\"}".to_owned())]);
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {SECRET}").as_str()));
    assert!(source.head().source.contains("grid_carbon"));
}

#[test]
fn the_past_is_a_range_in_whole_steps_without_what_is_no_number() {
    let server = Server::start(answers);
    let (mut source, _folder) = of(Quantity::CarbonIntensity, &config(&server.url()));
    let fetched = source.fetch(SINCE + Duration::from_secs(7), NOW).unwrap();
    assert_eq!(told(&fetched), [(at("2026-03-29T00:38:00Z"), 210.0, PointStatus::Unknown)]);
    assert!(notes(&fetched, "2 values"), "{:?}", fetched.left_out);
    let seen = &server.seen()[0];
    assert_eq!(seen.path, "/prometheus/api/v1/query_range");
    let parameters = ["start", "end", "step"].map(|name| seen.parameter(name).unwrap().to_owned());
    assert_eq!(parameters, ["1774743900", "1774744800", "60"]);
}

#[test]
fn a_range_is_never_of_more_points_than_it_may_have_and_is_asked_for_once() {
    let server = Server::start(answers);
    let (mut source, _folder) = of(Quantity::CarbonIntensity, &config(&server.url()));
    let long_ago = at("2020-01-01T00:00:00Z");
    source.fetch(long_ago, NOW).unwrap();
    let start: i64 = server.seen()[0].parameter("start").unwrap().parse().unwrap();
    assert!((NOW.as_secs() - start) / 60 <= 11_000);
    // Whoever asks for the past again was told it already; after a while without asking the gap is told.
    source.fetch(long_ago, NOW + source.interval()).unwrap();
    source.fetch(long_ago, NOW + Duration::from_secs(3600)).unwrap();
    let seen = server.seen();
    assert!(seen[1].path.ends_with("/query"));
    assert_eq!(seen[2].parameter("start"), Some((NOW.as_secs() + 60).to_string().as_str()));
}

#[test]
fn kilowatts_of_a_scalar_become_watts() {
    let server = replying(result("scalar", "[1774744800.5,\"3.25\"]"));
    let (mut source, _folder) = of(Quantity::Power, &power(&server.url()));
    let fetched = source.fetch(NOW, NOW).unwrap();
    assert_eq!(told(&fetched), [(NOW, 3250.0, PointStatus::Unknown)]);
}

#[test]
fn several_series_are_refused_naming_their_labels() {
    let server = replying(result(
        "vector",
        r#"[{"metric":{"instance":"roof-1"},"value":[1774744800,"1"]},{"metric":{"instance":"roof-2"},"value":[1774744800,"2"]}]"#,
    ));
    let (mut source, _folder) = of(Quantity::Power, &power(&server.url()));
    let error = source.fetch(NOW, NOW).unwrap_err();
    assert!(matches!(error, FetchError::Refused { .. }));
    let error = error.to_string();
    assert!(
        error.contains("2 series") && error.contains("instance=\"roof-1\"") && error.contains("roof-2"),
        "{error}"
    );
}

#[test]
fn no_series_is_trouble_that_may_pass() {
    let server = replying(result("vector", "[]"));
    let (mut source, _folder) = of(Quantity::Power, &power(&server.url()));
    let error = source.fetch(NOW, NOW).unwrap_err();
    assert!(
        matches!(error, FetchError::Trouble { .. }) && error.to_string().contains("no series"),
        "{error}"
    );
}

#[test]
fn what_is_no_number_or_no_success_is_refused() {
    for (body, words) in [
        (result("string", "[1774744800,\"text\"]"), "\"string\""),
        ("{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"no\"}".to_owned(), "bad_data"),
        (result("vector", "[{\"metric\":{},\"value\":[1774744800]}]"), "sample"),
        (result("vector", "[{\"metric\":{},\"value\":[\"soon\",\"1\"]}]"), "no number"),
        (result("vector", "{}"), "an object as data.result"),
        ("[]".to_owned(), "success"),
    ] {
        let server = replying(body);
        let (mut source, _folder) = of(Quantity::Power, &power(&server.url()));
        let error = source.fetch(NOW, NOW).unwrap_err();
        assert!(matches!(error, FetchError::Refused { .. }) && error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_user_and_password_are_sent_as_basic_authentication() {
    let server = replying(result("scalar", "[1774744800,\"1\"]"));
    let keys = "username = \"ada\"\npassword_file = \"token\"";
    let (mut source, _folder) = of(Quantity::Power, &format!("{}\n{keys}", power(&server.url())));
    source.fetch(NOW, NOW).unwrap();
    assert_eq!(server.seen()[0].header("authorization"), Some("Basic YWRhOnN3b3JkZmlzaC00NzEx"));
}

#[test]
fn half_a_login_or_two_of_them_are_told_when_configured() {
    for (keys, told) in [
        ("username = \"ada\"", "without a password"),
        ("password_file = \"token\"", "without a user"),
        ("username = \"ada\"\npassword_file = \"token\"\ntoken_file = \"token\"", "one of the two"),
        ("username = \"a:b\"\npassword_file = \"token\"", "colon"),
        ("interval_seconds = 0", "interval_seconds"),
        ("kind = \"average\"", "only for carbon"),
    ] {
        let error = refused(Quantity::Power, &format!("{}\n{keys}", power("http://localhost:1"))).to_string();
        assert!(error.contains(told), "{error}");
    }
}
