//! What no policy may do, whatever it is shown.

use std::time::Duration;

use proptest::prelude::*;

use super::cap_handling::CapHandlingMode;
use super::*;
use crate::knob::{DeviceKnob, KnobRange};
use crate::policies::plant::{Plant, core_clock, model};
use crate::policy::Reason;
use crate::signal::{AfterEnd, Signal, Trace};
use crate::time::Timestamp;
use crate::units::Watts;

const TICKS_AHEAD: Duration = Duration::from_secs(2);

const PROFILE: &str = "# wattle_profile = 1\n# model = \"m\"\n# device = \"d\"\n# runtime = \"r\"\n\
    # power_source = \"none\"\n# idle_power_watts = 20\n\
    batch_size,instances,core_clock_mhz,compute_units,throughput_rps,latency_ms_mean,power_watts_mean,power_watts_max,basis,power_basis,samples\n\
    1,1,,,10,100,40,40,measured,measured,1\n1,4,,,30,130,70,70,measured,measured,1\n\
    16,1,,,80,200,110,110,measured,measured,1\n16,4,,,90,700,150,150,measured,measured,1\n\
    16,4,734,,70,900,80,80,measured,measured,1\n16,4,734,30,60,1000,60,60,measured,measured,1\n\
    600,4,,,100,24000,160,160,measured,measured,1\n4,1,7777,,100,40,30,30,measured,measured,1\n\
    4,1,,99,100,40,30,30,measured,measured,1\n1,1,7777,99,20,50,90,90,measured,measured,1\n\
    1,1,734,99,9,110,50,50,measured,measured,1\n1,1,7777,30,12,80,60,60,measured,measured,1\n\
    1,1,734,30,6,160,30,30,measured,measured,1\n";

fn any_cap() -> impl Strategy<Value = Option<f64>> {
    proptest::option::of(prop_oneof![
        Just(0.0),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(-5.0),
        0.0..300.0f64
    ])
}

fn any_options() -> impl Strategy<Value = PolicyOptions> {
    let mode = prop_oneof![
        Just(CapHandlingMode::None),
        Just(CapHandlingMode::Reactive),
        Just(CapHandlingMode::Proactive)
    ];
    (mode, any::<bool>(), prop_oneof![Just(0.0), Just(1.0), Just(0.02)], any::<bool>(), 0.0..300.0f64)
        .prop_map(|(mode, device_knobs, saturation_tolerance, has_profile, cap)| {
            let load = Trace::new(vec![(Duration::ZERO, 1.0), (Duration::from_secs(9), 2.0)], AfterEnd::Hold);
            let foresight = Foresight {
                power_cap: Some(Signal::Constant(cap)),
                carbon_intensity: Some(Signal::Constant(100.0)),
                offered_family_rps: [("family".into(), Signal::Trace(load.unwrap()))].into(),
                ..Foresight::default()
            };
            let mut options = PolicyOptions { foresight: Some(foresight), ..PolicyOptions::default() };
            options.oracle_carbon.quality_floor = Some(0.0);
            options.carbon_budget.quality_floor = Some(0.0);
            options.cap_handling.mode = mode;
            options.cap_handling.time_slice_seconds = 0.3;
            options.best_under_cap.device_knobs = device_knobs;
            options.batch_sizer.saturation_tolerance = saturation_tolerance;
            if has_profile {
                options.profiles.insert("m".into(), Profile::parse(PROFILE, "test.csv").unwrap());
            }
            options
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_policy_panics_or_leaves_what_server_and_device_take(
        options in any_options(),
        noise in proptest::collection::vec(prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(-1.0), 0.0..3.0f64], 1..20),
        caps in proptest::collection::vec(any_cap(), 1..20),
        ahead in any_cap(),
        counts in proptest::collection::vec((0u64..30, 0u64..200, 0u32..3), 1..10),
    ) {
        for name in NAMES {
            let mut policy = build(name, &options).unwrap();
            // The plant fails on settings out of range, and on changes that change nothing.
            let mut plant = Plant::with_device(vec![model("m", 64), model("other", 8)], |settings, device| {
                let rows: u32 = settings.iter().map(|setting| setting.batch_size * setting.instances).sum();
                20.0 + f64::from(rows) * device.core_clock_mhz / 1500.0
            });
            let units = KnobRange { knob: DeviceKnob::ComputeUnits, min: 1.0, max: 60.0, steps: Vec::new() };
            plant.knobs = vec![core_clock(), units];
            plant.noise = noise.clone();
            for tick in 0..120 {
                let (batches, queued, running) = counts[tick % counts.len()];
                let busy = &mut plant.models[0];
                (busy.executed_batches, busy.completed_rows) = (batches, batches * 8);
                (busy.queued_rows, busy.running_batches) = (queued, running);
                plant.models[1].arrived_rows = if tick % 50 < 25 { 0 } else { queued };
                plant.cap = caps[tick % caps.len()];
                plant.cap_ahead = ahead.map(|cap| (plant.now + TICKS_AHEAD, Watts::new(cap))).into_iter().collect();
                let decision = plant.tick(policy.as_mut());
                prop_assert!(!decision.reasons.is_empty());
                for (_, reason) in &decision.reasons {
                    prop_assert!(!reason.to_string().is_empty());
                    if let Reason::BestUnderCap { bound_watts, predicted_watts, .. } = reason {
                        prop_assert!(*predicted_watts <= *bound_watts + Watts::new(1e-6), "{name}: {reason}");
                    }
                }
            }
            let mut empty = plant.observe();
            empty.devices.clear();
            empty.models.clear();
            empty.now = Timestamp::ZERO;
            policy.decide(&empty);
        }
    }
}
