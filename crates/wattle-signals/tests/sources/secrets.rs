//! No text that a person sees holds a token: not of a source that repeats all it was sent, not of `Debug`.

use serde_json::Value;
use wattle_core::signal::Quantity;
use wattle_signals::config::{SourceConfig, build_with};
use wattle_signals::http::HttpLimits;
use wattle_signals::providers::electricity_maps::ElectricityMaps;
use wattle_signals::providers::http_json::HttpJson;
use wattle_signals::providers::prometheus::Prometheus;
use wattle_signals::providers::watttime::WattTime;

use crate::anything::places;
use crate::cases::{NOW, SECRET, SINCE, cases, config, folder, refused};
use crate::server::{Reply, Server};

/// The secret in base 64 behind `ada:`, a token that WattTime gives, the key in an address.
const OTHERS: [&str; 3] = ["YWRhOnN3b3JkZmlzaC00NzEx", "eyJhbGciOi.its.token", "opensesame99"];

fn assert_silent(text: &str, of: &str) {
    for secret in [SECRET].iter().chain(&OTHERS) {
        assert!(!text.contains(secret), "{of}: {text}");
    }
}

#[test]
fn a_source_that_repeats_a_secret_in_any_place_does_not_make_us_tell_it() {
    for case in cases().into_iter().filter(|case| case.has_secret) {
        let sent: &[&str] = match case.name {
            "watttime" => &[SECRET, OTHERS[0], OTHERS[1]],
            "http-json" => &[SECRET, OTHERS[2]],
            _ => &[SECRET],
        };
        for secret in sent {
            let answers = case.answers;
            // One place of its answers after the other; the longest has fewer than these.
            for index in 0..50 {
                let server = Server::start(move |seen| {
                    let mut reply = answers(seen);
                    let mut body: Value = serde_json::from_slice(&reply.body).unwrap();
                    let place = places(&body).get(index).cloned();
                    if let Some(place) = place.filter(|_| seen.path != "/login") {
                        *body.pointer_mut(&place).unwrap() = Value::from(*secret);
                        reply.body = body.to_string().into_bytes();
                    }
                    reply
                });
                let (mut source, _folder) = case.provider(&server);
                match source.fetch(SINCE, NOW) {
                    Ok(fetched) => assert_silent(&format!("{:?}", fetched.left_out), case.name),
                    Err(error) => assert_silent(&format!("{error} {error:?}"), case.name),
                }
                assert_silent(&format!("{:?}", source.head()), case.name);
            }
        }
    }
}

#[test]
fn a_key_of_an_answer_that_is_a_secret_is_not_told() {
    for case in cases().into_iter().filter(|case| case.has_secret) {
        for status in [200, 400, 401, 403, 429, 500] {
            let body = format!("{{\"{SECRET}\":1,\"message\":\"{SECRET}\",\"error\":\"{}\"}}", OTHERS[0]);
            let server = Server::start(move |seen| Reply {
                status,
                headers: seen.headers.iter().filter(|(name, _)| name.starts_with("auth")).cloned().collect(),
                ..Reply::ok(body.clone())
            });
            let (mut source, _folder) = case.provider(&server);
            let error = source.fetch(SINCE, NOW).unwrap_err();
            assert_silent(&format!("{error} {error:?}"), case.name);
        }
    }
}

#[test]
fn no_provider_and_no_configuration_shows_a_secret_in_its_debug_text() {
    let folder = folder();
    let (base, limits) = (folder.path(), HttpLimits::default());
    for case in cases() {
        let config = config(&(case.config)("http://localhost:1"));
        assert_silent(&format!("{config:?}"), case.name);
        let text = match &config {
            SourceConfig::ElectricityMaps(config) => {
                format!("{:?}", ElectricityMaps::new(config, base, limits).unwrap())
            }
            SourceConfig::WattTime(config) => format!("{:?}", WattTime::new(config, base, limits).unwrap()),
            SourceConfig::Prometheus(config) => {
                format!("{:?}", Prometheus::new(config, Quantity::CarbonIntensity, base, limits).unwrap())
            }
            SourceConfig::HttpJson(config) => {
                format!("{:?}", HttpJson::new(config, Quantity::CarbonIntensity, base, limits).unwrap())
            }
            _ => continue,
        };
        assert!(text.contains("not shown"), "{text}");
        assert_silent(&text, case.name);
    }
}

#[test]
fn an_address_or_a_header_that_is_wrong_is_told_without_its_secret() {
    for keys in [
        format!("url = \"https://ada:{SECRET}@localhost/\""),
        format!("url = \"{SECRET}://localhost/?key=opensesame99\""),
        format!("url = \"/?{SECRET}\""),
        format!("url = \"http://localhost/\"\nheaders = {{ \"X-Key\" = \"{SECRET}\\n\" }}"),
        format!("url = \"http://localhost/\"\nheaders = {{ \"X Key\" = \"{SECRET}\" }}"),
        "url = \"http://localhost/\"\nheaders = { \"X-Key\" = {} }".to_owned(),
    ] {
        let text = format!("source = \"http-json\"\nvalue_path = \"w\"\nunit = \"W\"\n{keys}");
        let error = refused(Quantity::Power, &text);
        assert_silent(&format!("{error} {error:?}"), "http-json");
    }
}

#[test]
fn a_token_file_that_changed_is_read_again_when_the_old_token_is_refused() {
    for case in cases().into_iter().filter(|case| case.has_secret) {
        let answers = case.answers;
        let server = Server::start(move |seen| {
            let is_old =
                seen.headers.iter().any(|(_, value)| value.contains(SECRET) || value.contains(OTHERS[0]));
            if is_old { Reply::status(401) } else { answers(seen) }
        });
        let folder = folder();
        let config = config(&(case.config)(&server.url()));
        let mut source =
            build_with(&config, Quantity::CarbonIntensity, folder.path(), crate::cases::limits()).unwrap();
        assert!(source.fetch(SINCE, NOW).is_err(), "{}", case.name);
        let before = server.seen().len();
        std::fs::write(folder.path().join("token"), "another-one").unwrap();
        assert!(!source.fetch(SINCE, NOW).unwrap().points.is_empty(), "{}", case.name);
        assert_eq!(
            server.seen()[before].path,
            server.seen()[before + 1].path,
            "{}: sent once more",
            case.name
        );
    }
}
