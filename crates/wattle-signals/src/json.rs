//! Finds its way in the JSON of a source. Errors name kinds, not what stands there, as it may be secret.

use serde_json::Value;
use wattle_core::time::UnixTime;

use crate::times;

/// What kind of JSON it is, for errors.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null or nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The list under `key`, or what is wrong: what was found and what was expected.
pub(crate) fn list<'a>(value: &'a Value, key: &str) -> Result<&'a [Value], (String, String)> {
    match value.get(key) {
        Some(Value::Array(items)) => Ok(items),
        Some(other) => Err((format!("{} under {key:?}", kind(other)), "a list".into())),
        None => Err((format!("{} without {key:?}", kind(value)), format!("an object with a list {key:?}"))),
    }
}

/// The ISO 8601 time under `key`. An error says what was found.
pub(crate) fn time(value: &Value, key: &str) -> Result<UnixTime, String> {
    match value.get(key) {
        Some(Value::String(text)) => times::parse_iso(text),
        Some(other) => Err(format!("{} under {key:?}, which is no time", kind(other))),
        None => Err(format!("no time {key:?}")),
    }
}

/// The text under `key`.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

/// A number, or a text that is one, as Prometheus and many small devices write them.
pub(crate) fn loose_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Where in JSON something stands: a JSON pointer (RFC 6901), `/data/0/value`, or the same with dots,
/// `data.0.value`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct JsonPath {
    written: String,
    keys: Vec<String>,
}

impl TryFrom<String> for JsonPath {
    type Error = String;

    fn try_from(written: String) -> Result<Self, String> {
        let keys: Vec<String> = match written.strip_prefix('/') {
            Some(pointer) => {
                pointer.split('/').map(|key| key.replace("~1", "/").replace("~0", "~")).collect()
            }
            None => written.split('.').map(str::to_owned).collect(),
        };
        if keys.iter().any(String::is_empty) {
            return Err(format!(
                "found the path {written:?}, expected keys and indexes such as data.0.value, or a JSON \
                 pointer such as /data/0/value"
            ));
        }
        Ok(Self { written, keys })
    }
}

impl JsonPath {
    /// As it was written.
    pub(crate) fn written(&self) -> &str {
        &self.written
    }

    /// What stands there. An error says how far the path leads and what could follow.
    pub(crate) fn find<'a>(&self, root: &'a Value) -> Result<&'a Value, String> {
        let mut value = root;
        for key in &self.keys {
            let next = match value {
                Value::Object(map) => map.get(key),
                Value::Array(items) => key.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => None,
            };
            value = next.ok_or_else(|| {
                let there = match value {
                    Value::Object(map) => {
                        let keys: Vec<String> = map.keys().take(8).map(|key| times::shortened(key)).collect();
                        format!(
                            "an object with {}",
                            if keys.is_empty() { "no keys".into() } else { keys.join(", ") }
                        )
                    }
                    Value::Array(items) => format!("a list of {}", items.len()),
                    other => kind(other).to_owned(),
                };
                format!("no {key:?} of the path {:?}, but {there}", self.written)
            })?;
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_leads_through_objects_and_lists_in_both_spellings() {
        let root = json!({"data": [{"a/b": 1}, {"value": 42}]});
        for (path, found) in [("data.1.value", 42), ("/data/1/value", 42), ("/data/0/a~1b", 1)] {
            let path = JsonPath::try_from(path.to_owned()).unwrap();
            assert_eq!(path.find(&root), Ok(&json!(found)), "{path:?}");
        }
    }

    #[test]
    fn a_path_that_leads_nowhere_says_what_is_there() {
        let root = json!({"data": [{"value": 42}]});
        for (path, told) in
            [("date", "\"data\""), ("data.7", "a list of 1"), ("data.0.value.unit", "a number")]
        {
            let error = JsonPath::try_from(path.to_owned()).unwrap().find(&root).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        for path in ["", "a..b", "/", "a."] {
            assert!(JsonPath::try_from(path.to_owned()).is_err(), "{path}");
        }
    }
}
