//! The reference gives the default of every option of a policy.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use wattle_core::policies::PolicyConfig;

#[test]
fn the_defaults_of_policies_in_the_reference_are_those_of_the_code() {
    let reference = include_str!("../../../docs/reference.md");
    let (_, options) = reference.split_once("\n[batch_sizer]\n").unwrap();
    let (options, _) = options.split_once("\n```").unwrap();
    let told: PolicyConfig = toml::from_str(&format!("[batch_sizer]\n{options}")).unwrap();
    assert_eq!(told, PolicyConfig::default());
}
