//! The Carbon Intensity API: half hours that are not settled, regions without actuals, days of clock changes.

use std::time::Duration;

use wattle_core::signal::{EmissionScope, IntensityKind, PointStatus, Quantity};
use wattle_signals::provider::FetchError;

use crate::cases::{NOW, SINCE, at, carbon, notes, refused, told};
use crate::server::{Reply, Seen, Server};

pub(crate) fn national(base: &str) -> String {
    format!("source = \"uk-carbon-intensity\"\nbase_url = \"{base}\"")
}

pub(crate) fn regional(base: &str) -> String {
    format!("source = \"uk-carbon-intensity\"\nregion = 11\nbase_url = \"{base}\"")
}

const NATIONAL: &str = r#"{"data":[
    {"from":"2026-03-28T23:30Z","to":"2026-03-29T00:00Z","intensity":{"forecast":101,"actual":97,"index":"low"}},
    {"from":"2026-03-29T00:00Z","to":"2026-03-29T00:30Z","intensity":{"forecast":104,"actual":null,"index":"low"}},
    {"from":"2026-03-29T00:30Z","to":"2026-03-29T01:00Z","intensity":{"forecast":110,"actual":null,"index":"low"}},
    {"from":"2026-03-29T01:00Z","to":"2026-03-29T01:30Z","intensity":{"forecast":null,"actual":null,"index":"low"}},
    {"from":"2026-03-29T01:30Z","to":"2026-03-29T02:00Z","intensity":{"forecast":118,"index":"low"}}]}"#;

const HALF_HOURS: &str = r#"{"regionid":11,"dnoregion":"WPD South West","shortname":"South West England","data":[
    {"from":"2026-03-29T00:30Z","to":"2026-03-29T01:00Z","intensity":{"forecast":64,"index":"low"},
     "generationmix":[{"fuel":"gas","perc":12.1},{"fuel":"wind","perc":70.4}]},
    {"from":"2026-03-29T01:00Z","to":"2026-03-29T01:30Z","intensity":{"forecast":61,"index":"low"},"generationmix":[]}]}"#;

pub(crate) fn answers(seen: &Seen) -> Reply {
    if seen.path.starts_with("/intensity/") {
        Reply::ok(NATIONAL)
    } else if seen.path.starts_with("/regional/") {
        Reply::ok(format!("{{\"data\":{HALF_HOURS}}}"))
    } else {
        Reply::status(404)
    }
}

#[test]
fn what_is_settled_is_actual_and_the_rest_a_forecast() {
    let server = Server::start(answers);
    let (mut source, _folder) = carbon(&national(&server.url()));
    let fetched = source.fetch(SINCE, NOW).unwrap();
    assert_eq!(
        told(&fetched),
        [
            (at("2026-03-28T23:30:00Z"), 97.0, PointStatus::Actual),
            (at("2026-03-29T00:00:00Z"), 104.0, PointStatus::Forecast),
            (at("2026-03-29T00:30:00Z"), 110.0, PointStatus::Forecast),
            (at("2026-03-29T01:30:00Z"), 118.0, PointStatus::Forecast),
        ]
    );
    assert!(notes(&fetched, "2026-03-29T01:00:00Z: no value (null)"), "{:?}", fetched.left_out);
    assert_eq!(server.paths(), ["/intensity/2026-03-28T22:40Z/fw48h"]);
    let head = source.head();
    assert_eq!(
        (head.zone.as_deref(), head.kind, head.scope),
        (Some("GB"), IntensityKind::Average, EmissionScope::Direct)
    );
}

#[test]
fn a_region_is_read_from_a_list_and_from_an_object_and_has_forecasts_only() {
    for is_list in [false, true] {
        let server = Server::start(move |_| {
            Reply::ok(if is_list {
                format!("{{\"data\":[{HALF_HOURS}]}}")
            } else {
                format!("{{\"data\":{HALF_HOURS}}}")
            })
        });
        let (mut source, _folder) = carbon(&regional(&server.url()));
        let fetched = source.fetch(SINCE, NOW).unwrap();
        assert_eq!(
            told(&fetched),
            [
                (at("2026-03-29T00:30:00Z"), 64.0, PointStatus::Forecast),
                (at("2026-03-29T01:00:00Z"), 61.0, PointStatus::Forecast),
            ]
        );
        assert_eq!(source.head().zone.as_deref(), Some("11"));
        assert_eq!(server.paths(), ["/regional/intensity/2026-03-28T22:40Z/fw48h/regionid/11"]);
    }
}

#[test]
fn a_postcode_is_part_of_the_path() {
    let server = Server::start(answers);
    let (mut source, _folder) = carbon(&format!("{}\npostcode = \"RG10\"", national(&server.url())));
    assert_eq!(told(&source.fetch(SINCE, NOW).unwrap()).len(), 2);
    assert_eq!(server.paths(), ["/regional/intensity/2026-03-28T22:40Z/fw48h/postcode/RG10"]);
}

#[test]
fn another_region_than_asked_for_is_refused() {
    let server = Server::start(|_| Reply::ok(format!("{{\"data\":{}}}", HALF_HOURS.replace(":11,", ":12,"))));
    let (mut source, _folder) = carbon(&regional(&server.url()));
    let error = source.fetch(SINCE, NOW).unwrap_err();
    assert!(
        matches!(error, FetchError::Refused { .. }) && error.to_string().contains("region 12"),
        "{error}"
    );
}

#[test]
fn an_older_past_is_a_second_request_of_14_days_at_most_and_sent_once() {
    let server = Server::start(answers);
    let (mut source, _folder) = carbon(&national(&server.url()));
    source.fetch(NOW - Duration::from_secs(6 * 3600), NOW).unwrap();
    source.fetch(NOW - Duration::from_secs(6 * 3600), NOW + source.interval()).unwrap();
    let paths = server.paths();
    assert_eq!(paths[1], "/intensity/2026-03-28T18:40Z/2026-03-28T22:40Z");
    assert_eq!(paths[2..], ["/intensity/2026-03-28T22:55Z/fw48h"]);
    let (mut another, _folder) = carbon(&national(&server.url()));
    another.fetch(at("2020-01-01T00:00:00Z"), NOW).unwrap();
    assert_eq!(server.paths()[4], "/intensity/2026-03-16T00:40Z/2026-03-28T22:40Z");
}

#[test]
fn a_gap_of_some_hours_is_filled_and_a_past_that_fails_costs_the_present_nothing() {
    let server = Server::start(|seen| match seen.path.ends_with("fw48h") {
        true => answers(seen),
        false => Reply::status(400),
    });
    let (mut source, _folder) = carbon(&national(&server.url()));
    source.fetch(NOW, NOW).unwrap();
    let later = NOW + Duration::from_secs(5 * 3600);
    let fetched = source.fetch(NOW, later).unwrap();
    assert!(notes(&fetched, "the past: found HTTP 400"), "{:?}", fetched.left_out);
    assert_eq!(fetched.points.len(), 4);
    assert_eq!(server.paths()[2], "/intensity/2026-03-29T00:40Z/2026-03-29T03:40Z");
}

#[test]
fn the_day_that_clocks_are_put_back_has_fifty_half_hours_and_none_twice() {
    let first = at("2026-10-24T23:00:00Z");
    let iso = |half_hours: u64| {
        let time = first + Duration::from_secs(1800 * half_hours);
        jiff::Timestamp::from_second(time.as_secs()).unwrap().to_string()
    };
    let half_hours: Vec<String> = (0..50)
        .map(|index| {
            format!(
                "{{\"from\":\"{}\",\"to\":\"{}\",\"intensity\":{{\"forecast\":{index}}}}}",
                iso(index),
                iso(index + 1)
            )
        })
        .collect();
    let body = format!("{{\"data\":[{}]}}", half_hours.join(","));
    let server = Server::start(move |_| Reply::ok(body.clone()));
    let (mut source, _folder) = carbon(&national(&server.url()));
    let fetched = source.fetch(first, first + Duration::from_secs(600)).unwrap();
    assert_eq!(fetched.points.len(), 50);
    assert!(fetched.points.windows(2).all(|pair| pair[1].at.saturating_since(pair[0].at).as_secs() == 1800));
    assert_eq!(fetched.left_out, Vec::<String>::new());
}

#[test]
fn half_hours_that_are_none_or_without_offset_are_left_out_and_told() {
    let body = r#"{"data":[
        {"from":"2026-03-29T00:00","to":"2026-03-29T00:30","intensity":{"forecast":104}},
        {"from":"2026-03-29T00:00Z","to":"2026-03-29T02:00Z","intensity":{"forecast":104}},
        {"from":"2026-03-29T00:30Z","to":"2026-03-29T01:00Z","intensity":{"forecast":"many"}},
        {"from":"2026-03-29T01:00Z","to":"2026-03-29T01:30Z"},
        {"from":"2026-03-29T01:30Z","to":"2026-03-29T02:00Z","intensity":{"forecast":104}}]}"#;
    let server = Server::start(move |_| Reply::ok(body));
    let (mut source, _folder) = carbon(&national(&server.url()));
    let fetched = source.fetch(SINCE, NOW).unwrap();
    assert_eq!(fetched.points.len(), 1);
    for words in ["without its offset", "7200 s", "\"many\"", "none with an intensity"] {
        assert!(notes(&fetched, words), "{words}: {:?}", fetched.left_out);
    }
}

#[test]
fn a_region_or_postcode_that_is_none_is_told_when_configured() {
    for (keys, told) in [
        ("region = 18", "1 to 17"),
        ("region = 0", "1 to 17"),
        ("postcode = \"RG10 9NF\"", "first half"),
        ("postcode = \"../..\"", "first half"),
        ("region = 3\npostcode = \"RG10\"", "one of the two"),
    ] {
        let error = refused(Quantity::CarbonIntensity, &format!("source = \"uk-carbon-intensity\"\n{keys}"))
            .to_string();
        assert!(error.contains(told), "{error}");
    }
}
