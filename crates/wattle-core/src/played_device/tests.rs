//! Tests of power under shared parts. What batches take and draw is tested with the simulated device.

use std::time::Duration;

use super::*;

fn profile(model: &str, watts: f64) -> (ModelName, Profile) {
    let text = format!(
        "# wattle_profile = 1\n# model = \"{model}\"\n# device = \"d\"\n# runtime = \"r\"\n\
         # idle_power_watts = 45\n# power_source = \"s\"\n\
         batch_size,instances,latency_ms_mean,power_watts_mean,basis,power_basis,samples\n\
         1,1,10,{watts},measured,measured,1\n"
    );
    (model.into(), Profile::parse(&text, "test").unwrap())
}

fn device(shared: f64) -> PlayedDevice {
    let profiles = [profile("a", 100.0), profile("b", 150.0)].into();
    PlayedDevice::new(&profiles).unwrap().with_shared_idle(Watts::new(shared))
}

#[test]
fn what_models_share_is_drawn_once_while_any_runs_and_not_at_rest() {
    let mut device = device(25.0);
    let at = |ms| Timestamp::ZERO + Duration::from_millis(ms);
    assert_eq!(device.power(), Watts::new(45.0));
    let (a, _) = device.begin(0, 1, 1, at(0)).unwrap();
    assert_eq!(device.power(), Watts::new(100.0), "alone, as its row says");
    let (b, _) = device.begin(1, 1, 1, at(10)).unwrap();
    assert_eq!(device.power(), Watts::new(45.0 + 25.0 + 30.0 + 80.0));
    assert_eq!(device.full_power(), device.power());
    device.end(a, at(20));
    assert_eq!(device.power(), Watts::new(150.0));
    device.end(b, at(30));
    assert_eq!(device.power(), Watts::new(45.0));
    assert_eq!(device.energy(), Watts::new(100.0 + 180.0 + 150.0) * Duration::from_millis(10));
    assert_eq!(device.steady(1, 1, 1, 1).1, Watts::new(150.0));
}

#[test]
fn no_more_is_shared_than_the_least_row_has_above_idle_power() {
    assert_eq!(device(80.0).shared_idle_power(), Watts::new(55.0));
    assert_eq!(device(0.0).full_power(), Watts::new(45.0 + 55.0 + 105.0));
}
