//! A policy is told of device settings that could not be made, until its next ones were.

#![allow(clippy::unwrap_used, reason = "a test that can't read its own scenario has failed")]

use std::path::Path;
use std::time::Duration;

use wattle_core::knob::DeviceSetting;
use wattle_core::observation::Observation;
use wattle_core::policy::{Decision, Policy, Reason};
use wattle_core::units::Megahertz;
use wattle_sim::scenario::Loaded;
use wattle_sim::{epoch_level, request_level};

const SCENARIO: &str = r#"
    span_seconds = 10
    [[devices]]
    name = "gpu"
    spec = "nvidia-p40"
    [[models]]
    name = "mobilenet_v2"
    network = "mobilenet_v2"
    batch_size = 1
    grid.batch_sizes = [1]
    grid.instances = [1]
    grid.clocks = [544, 1063, 1531]
    [models.workload]
    kind = "saturated"
"#;

/// Asks for these clocks, one a decision, and keeps what it was told before each.
struct Asks {
    clocks: [Option<f64>; 4],
    told: Vec<bool>,
}

impl Policy for Asks {
    fn name(&self) -> &'static str {
        "asks"
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let mut decision = Decision::keep(Reason::Fixed, Duration::from_secs(1));
        if let Some(Some(clock)) = self.clocks.get(self.told.len()) {
            let setting = DeviceSetting::CoreClock(Megahertz::new(*clock));
            decision.devices.insert(seen.devices[0].id.clone(), vec![setting]);
        }
        self.told.push(seen.devices[0].settings_failed);
        decision
    }
}

#[test]
fn a_clock_that_could_not_be_set_is_told_until_one_was() {
    let plan = Loaded::parse(SCENARIO, "test.toml", Path::new("")).unwrap().plan;
    let asks = || Asks { clocks: [Some(9999.0), None, Some(544.0), None], told: Vec::new() };
    let (mut by_request, mut by_epoch) = (asks(), asks());
    request_level::run(&plan, &mut by_request, 1, &mut |_| ()).unwrap();
    epoch_level::run(&plan, &mut by_epoch, 1, &mut |_| ());
    for told in [by_request.told, by_epoch.told] {
        assert_eq!(told[..4], [false, true, true, false]);
    }
}
