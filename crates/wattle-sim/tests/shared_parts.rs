//! Models in slices of one device: what they share is drawn once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{fixed, near};
use wattle_sim::scenario::Loaded;

/// Two models that never rest, of 60 and 90 W alone on a device that draws 20 W with nothing to do.
fn two(device: &str) -> String {
    let model = |name: &str, watts: u32| {
        format!(
            "[[models]]\nname = \"{name}\"\nidle_power_watts = 20\nworkload = {{ kind = \"saturated\" }}\n\
             rows = [{{ batch_size = 1, instances = 1, latency_ms_mean = 10, power_watts_mean = {watts} }}]\n"
        )
    };
    let device = format!("[[devices]]\nname = \"gpu\"\n{device}\n");
    format!("span_seconds = 10\n{device}{}{}", model("a", 60), model("b", 90))
}

#[test]
fn shared_parts_are_drawn_once_by_models_that_run_side_by_side() {
    near("power", fixed(&two(""), 1).power_watts_mean, 20.0 + 40.0 + 70.0, 1e-9);
    near(
        "power",
        fixed(&two("shared_idle_power_watts = 15"), 1).power_watts_mean,
        20.0 + 15.0 + 25.0 + 55.0,
        1e-9,
    );
}

#[test]
fn a_slice_needs_a_network_and_a_device_that_has_such_slices() {
    let told = |text: &str| Loaded::parse(text, "s.toml", Path::new("")).unwrap_err().to_string();
    let rows = two("").replace("name = \"b\"", "name = \"b\"\nmig_slices = 3");
    assert_eq!(
        told(&rows),
        "s.toml, models.b.mig_slices: found mig_slices without network, expected partition, to keep its rows"
    );
    let network = |device: &str, slices: u32| {
        format!(
            "span_seconds = 1\n[[devices]]\nname = \"gpu\"\nspec = \"{device}\"\n[[models]]\nname = \"m\"\n\
             network = \"resnet50\"\nmig_slices = {slices}\nworkload = {{ kind = \"saturated\" }}\n"
        )
    };
    assert!(told(&network("nvidia-a100-40gb", 6)).contains("6 of 7"));
    assert!(told(&network("nvidia-p40", 3)).contains("mig_slices is unknown"));
    assert!(Loaded::parse(&network("nvidia-a100-40gb", 3), "s.toml", Path::new("")).is_ok());
    assert!(told(&two("shared_idle_power_watts = -1")).contains("devices.gpu.shared_idle_power_watts"));
}
