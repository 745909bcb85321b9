//! The reference names every policy and every option of the policies.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::path::Path;

use wattle_core::policies::{NAMES, PolicyConfig};

fn reference() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference.md")).unwrap()
}

#[test]
fn the_table_of_policies_lists_every_policy() {
    let reference = reference();
    let is_listed = |name: &&str| {
        let cell = format!("`{name}`");
        reference.lines().any(|line| line.split('|').nth(1).is_some_and(|first| first.contains(&cell)))
    };
    let missing: Vec<_> = NAMES.iter().filter(|name| !is_listed(name)).collect();
    assert!(missing.is_empty(), "not in docs/reference.md: {missing:?}");
}

#[test]
fn every_option_of_the_policies_is_told() {
    let reference = reference();
    let config = serde_json::to_value(PolicyConfig::default()).unwrap();
    let mut missing = Vec::new();
    for (section, options) in config.as_object().unwrap() {
        let Some(options) = options.as_object() else { continue };
        let text = reference.split_once(&format!("\n[{section}]")).map(|(_, rest)| rest);
        let text = text.and_then(|rest| rest.split("\n[").next()).unwrap_or_default();
        let is_told = |key: &str| {
            text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == key)
        };
        missing.extend(options.keys().filter(|key| !is_told(key)).map(|key| format!("{section}.{key}")));
    }
    assert!(missing.is_empty(), "not in docs/reference.md: {missing:?}");
}
