//! Whatever a source answers, nothing panics and what comes back can be.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use wattle_signals::provider::{FetchError, Fetched};

use crate::cases::{Case, NOW, SINCE, cases};
use crate::server::{Seen, Server};

/// The places of every value in `json`, as JSON pointers.
pub(crate) fn places(json: &Value) -> Vec<String> {
    fn walk(json: &Value, place: &str, places: &mut Vec<String>) {
        places.push(place.to_owned());
        match json {
            Value::Object(map) => {
                map.iter().for_each(|(key, value)| walk(value, &format!("{place}/{key}"), places));
            }
            Value::Array(items) => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(index, item)| walk(item, &format!("{place}/{index}"), places));
            }
            _ => {}
        }
    }
    let mut places = Vec::new();
    walk(json, "", &mut places);
    places
}

fn can_be(fetched: &Result<Fetched, FetchError>) -> bool {
    let Ok(fetched) = fetched else { return true };
    fetched.points.windows(2).all(|pair| pair[0].at < pair[1].at)
        && fetched.points.iter().all(|point| (0.0..=5000.0).contains(&point.value))
        && fetched.left_out.len() < 40
}

/// Makes another body of a right one; `None` leaves it.
type Change<T> = fn(&T, &Seen, &[u8]) -> Option<Vec<u8>>;

/// Runs `case` on bodies that `change` makes of the right ones, `count` times.
fn run<S: Strategy>(case: &Case, count: u32, strategy: S, change: Change<S::Value>)
where
    S::Value: Clone + Send + Sync + 'static,
{
    let now: Arc<Mutex<Option<S::Value>>> = Arc::new(Mutex::new(None));
    let (answers, shared) = (case.answers, Arc::clone(&now));
    let server = Server::start(move |seen| {
        let mut reply = answers(seen);
        if let Some(input) = &*shared.lock().unwrap()
            && let Some(body) = change(input, seen, &reply.body)
        {
            reply.body = body;
        }
        reply
    });
    let mut runner = TestRunner::new(Config { cases: count, failure_persistence: None, ..Config::default() });
    runner
        .run(&strategy, |input| {
            *now.lock().unwrap() = Some(input);
            let (mut source, _folder) = case.provider(&server);
            let fetched = source.fetch(SINCE, NOW);
            prop_assert!(can_be(&fetched), "{}: {fetched:?}", case.name);
            Ok(())
        })
        .unwrap();
}

#[test]
fn any_bytes_are_survived() {
    for case in cases() {
        run(&case, 40, prop::collection::vec(any::<u8>(), 0..200), |bytes, _, _| Some(bytes.clone()));
    }
}

#[test]
fn a_right_answer_with_one_thing_changed_is_survived() {
    let other = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        Just(json!("2026-03-29T00:40:00Z")),
        Just(json!("-262143-01-01T00:00:00Z")),
        Just(json!("9999-12-31T23:59:59Z")),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[]])),
        Just(json!({"data": [{"value": -0.0}]})),
    ];
    for case in cases() {
        run(&case, 120, (any::<prop::sample::Index>(), other.clone()), |(place, other), seen, body| {
            // A login that fails is told of elsewhere.
            if seen.path == "/login" {
                return None;
            }
            let mut answer: Value = serde_json::from_slice(body).ok()?;
            let places = places(&answer);
            *answer.pointer_mut(place.get::<String>(&places))? = other.clone();
            Some(answer.to_string().into_bytes())
        });
    }
}
