//! What goes wrong between us and any source, the same for all of them.

use std::time::Duration;

use wattle_core::signal::Quantity;
use wattle_signals::config::build_with;
use wattle_signals::http::HttpLimits;
use wattle_signals::provider::FetchError;

use crate::cases::{Case, NOW, SECRET, SINCE, cases, config, folder, limits, retry_after};
use crate::server::{Manner, Reply, Server};

/// What `case` makes of this reply to everything.
fn error_of(case: &Case, reply: Reply) -> FetchError {
    let server = Server::start(move |_| reply.clone());
    let (mut source, _folder) = case.provider(&server);
    let error = source.fetch(SINCE, NOW).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(SECRET), "{}: {error}", case.name);
    assert_eq!(server.seen().len(), 1, "{}: asked on after {error}", case.name);
    error
}

fn http_date(after: Duration) -> String {
    let time = NOW + after;
    jiff::Timestamp::from_second(time.as_secs()).unwrap().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[test]
fn a_429_is_asked_too_often_and_its_retry_after_is_kept_in_both_forms() {
    for case in cases() {
        let plain = error_of(&case, Reply::status(429));
        assert!(matches!(plain, FetchError::TooOften { retry_after: None, .. }), "{}: {plain}", case.name);
        let seconds = error_of(&case, Reply::status(429).with("Retry-After", "90"));
        assert_eq!(retry_after(&seconds), Some(90), "{}", case.name);
        // The date is by its clock, which is an hour ahead of ours.
        let hour = Duration::from_secs(3600);
        let reply = Reply::status(429)
            .with("Date", &http_date(hour))
            .with("Retry-After", &http_date(hour + Duration::from_secs(120)));
        assert_eq!(retry_after(&error_of(&case, reply)), Some(120), "{}", case.name);
    }
}

#[test]
fn a_5xx_is_trouble_that_may_pass() {
    for case in cases() {
        for status in [500, 502, 503, 504] {
            let error = error_of(&case, Reply::status(status).with("Retry-After", "30"));
            assert!(matches!(error, FetchError::Trouble { .. }), "{}: {error}", case.name);
            assert!(error.to_string().contains(&status.to_string()), "{}: {error}", case.name);
            assert_eq!(retry_after(&error), Some(30));
        }
    }
}

#[test]
fn a_4xx_is_a_refusal_that_says_what_to_do() {
    for case in cases() {
        for status in [400, 401, 402, 403, 404, 410] {
            let error = error_of(&case, Reply::status(status));
            assert!(matches!(error, FetchError::Refused { .. }), "{}: {error}", case.name);
            assert!(error.to_string().contains(&format!("HTTP {status}")), "{}: {error}", case.name);
        }
    }
}

#[test]
fn a_redirect_is_not_followed_and_its_target_never_sees_the_token() {
    for case in cases() {
        let elsewhere = Server::start(|_| Reply::ok("{}"));
        let target = format!("{}/there?token={SECRET}", elsewhere.url());
        let error = error_of(&case, Reply::status(302).with("Location", &target));
        assert!(error.to_string().contains("/there"), "{}: {error}", case.name);
        assert!(elsewhere.seen().is_empty(), "{}", case.name);
    }
}

#[test]
fn a_slow_body_is_given_up_after_the_time_that_is_set() {
    for case in cases() {
        let server = Server::start(|_| Reply::ok([b' '; 4000]).sent(Manner::Slow));
        let limits = HttpLimits { whole: Duration::from_millis(200), ..limits() };
        let folder = folder();
        let mut source = build_with(
            &config(&(case.config)(&server.url())),
            Quantity::CarbonIntensity,
            folder.path(),
            limits,
        )
        .unwrap();
        let error = source.fetch(SINCE, NOW).unwrap_err();
        assert!(matches!(error, FetchError::Trouble { .. }), "{}: {error}", case.name);
        assert!(error.to_string().contains("0.2 s"), "{}: {error}", case.name);
    }
}

#[test]
fn a_connection_that_breaks_off_is_trouble() {
    for case in cases() {
        for manner in [Manner::Dropped, Manner::Shut] {
            let reply = Reply::ok([b' '; 400]).sent(manner);
            let server = Server::start(move |_| reply.clone());
            let (mut source, _folder) = case.provider(&server);
            let error = source.fetch(SINCE, NOW).unwrap_err();
            assert!(matches!(error, FetchError::Trouble { .. }), "{}: {error}", case.name);
        }
    }
}

#[test]
fn nobody_at_the_address_is_trouble() {
    for case in cases() {
        let (mut source, _folder) = case.provider(&Server::start(|_| Reply::ok("{}")));
        let error = source.fetch(SINCE, NOW).unwrap_err();
        assert!(matches!(error, FetchError::Trouble { .. }), "{}: {error}", case.name);
    }
}

#[test]
fn a_source_that_does_not_speak_tls_where_it_should_is_trouble() {
    for case in cases() {
        let server = Server::start(|_| Reply::ok("{}"));
        let text = (case.config)(&server.url().replace("http://", "https://"));
        let (mut source, _folder) = crate::cases::carbon(&text);
        let error = source.fetch(SINCE, NOW).unwrap_err();
        assert!(matches!(error, FetchError::Trouble { .. }), "{}: {error}", case.name);
    }
}

#[test]
fn an_answer_without_end_is_refused() {
    for case in cases() {
        let server = Server::start(|_| Reply::ok([b' '; 70_000]).sent(Manner::Chunked));
        let limits = HttpLimits { most_bytes: 60_000, ..limits() };
        let folder = folder();
        let mut source = build_with(
            &config(&(case.config)(&server.url())),
            Quantity::CarbonIntensity,
            folder.path(),
            limits,
        )
        .unwrap();
        let error = source.fetch(SINCE, NOW).unwrap_err();
        assert!(error.to_string().contains("60000 bytes"), "{}: {error}", case.name);
    }
}

#[test]
fn garbage_is_refused_and_not_repeated() {
    for case in cases() {
        for body in ["<html>Please log in</html>", "{\"zone\":\"GB\"", "\u{0}\u{1}", "NaN", "1e999"] {
            let error = error_of(&case, Reply::ok(body));
            assert!(matches!(error, FetchError::Refused { .. }), "{}: {error}", case.name);
            assert!(
                error.to_string().contains("no JSON") && !error.to_string().contains("log in"),
                "{error}"
            );
        }
    }
}

#[test]
fn json_of_another_shape_gives_no_points() {
    for case in cases() {
        for body in ["null", "{}", "[]", "7", "\"text\"", "{\"data\":null}", "[null]", "{\"data\":[{}]}", ""]
        {
            let server = Server::start(move |seen| match seen.path.as_str() {
                "/login" => Reply::ok("{\"token\":\"its.token\"}"),
                _ => Reply::ok(body),
            });
            let (mut source, _folder) = case.provider(&server);
            if let Ok(fetched) = source.fetch(SINCE, NOW) {
                assert_eq!(fetched.points, [], "{}: {body}", case.name);
            }
        }
    }
}

#[test]
fn a_body_in_chunks_is_read_as_one_in_one_piece() {
    for case in cases() {
        let answers = case.answers;
        let (whole, chunked) =
            (Server::start(answers), Server::start(move |seen| answers(seen).sent(Manner::Chunked)));
        let (mut one, _folder) = case.provider(&whole);
        let (mut other, _other_folder) = case.provider(&chunked);
        let fetched = one.fetch(SINCE, NOW).unwrap();
        assert!(!fetched.points.is_empty(), "{}", case.name);
        assert_eq!(fetched, other.fetch(SINCE, NOW).unwrap(), "{}", case.name);
        assert_eq!(fetched.clock_ahead_seconds, None, "{}: no Date, no skew", case.name);
    }
}

#[test]
fn a_clock_that_is_ahead_or_behind_is_told() {
    for case in cases() {
        for ahead in [-600_i64, 0, 7200] {
            let date = if ahead < 0 {
                let time = NOW - Duration::from_secs(ahead.unsigned_abs());
                jiff::Timestamp::from_second(time.as_secs())
                    .unwrap()
                    .strftime("%a, %d %b %Y %H:%M:%S GMT")
                    .to_string()
            } else {
                http_date(Duration::from_secs(ahead.unsigned_abs()))
            };
            let answers = case.answers;
            let server = Server::start(move |seen| answers(seen).with("Date", &date));
            let (mut source, _folder) = case.provider(&server);
            let told = source.fetch(SINCE, NOW).unwrap().clock_ahead_seconds.unwrap();
            // Less what the answer took, which on a busy machine is seconds.
            assert!((ahead - 5..=ahead).contains(&told), "{}: {told}", case.name);
        }
    }
}

#[test]
fn a_date_that_is_none_is_no_skew() {
    for case in cases() {
        let answers = case.answers;
        let server = Server::start(move |seen| answers(seen).with("Date", "yesterday"));
        let (mut source, _folder) = case.provider(&server);
        assert_eq!(source.fetch(SINCE, NOW).unwrap().clock_ahead_seconds, None, "{}", case.name);
    }
}
