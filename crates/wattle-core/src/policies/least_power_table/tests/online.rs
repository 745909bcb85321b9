//! The policies on the table, step by step.

use super::*;
use crate::foresight::Foresight;
use crate::id::ModelName;
use crate::knob::{DeviceKnob, DeviceSetting, KnobRange};
use crate::observation::{DeviceObservation, ModelObservation, Observation};
use crate::policies::plant::model;
use crate::policies::{PolicyOptions, build as build_policy};
use crate::policy::{Decision, Policy, Reason};
use crate::provenance::Provenance;
use crate::signal::{AfterEnd, Signal, Trace};
use crate::time::Timestamp;

const INTERVAL: Duration = Duration::from_millis(500);

fn gpu(knobs: &[DeviceKnob]) -> DeviceObservation {
    let range = |knob: &DeviceKnob| match knob {
        DeviceKnob::CoreClock => {
            KnobRange { knob: *knob, min: 500.0, max: 1000.0, steps: vec![500.0, 1000.0] }
        }
        _ => KnobRange { knob: *knob, min: 1.0, max: 60.0, steps: Vec::new() },
    };
    DeviceObservation {
        id: "gpu".into(),
        power_samples: Vec::new(),
        power_provenance: Provenance::new(Basis::Modelled, "test"),
        knobs: knobs.iter().map(range).collect(),
        settings_failed: false,
    }
}

/// A device and its models, whose batch sizes and device knobs are set as decided.
struct Bench {
    policy: Box<dyn Policy>,
    devices: Vec<DeviceObservation>,
    models: Vec<ModelObservation>,
    now: Timestamp,
    set: (f64, u32),
}

impl Bench {
    fn new(name: &str, names: &[&str], change: impl FnOnce(&mut PolicyOptions)) -> Self {
        let mut options = PolicyOptions {
            profiles: names.iter().map(|name| ((*name).into(), profile(GRID))).collect(),
            least_power: LeastPowerOptions { peak_of_intervals: 1, ..evenly() },
            ..PolicyOptions::default()
        };
        change(&mut options);
        let quiet = |name: &&str| ModelObservation {
            queued_rows: 0,
            arrived_rows: 0,
            running_batches: 0,
            interval: INTERVAL,
            ..model(name, 64)
        };
        Self {
            policy: build_policy(name, &options).unwrap(),
            devices: vec![gpu(&[DeviceKnob::CoreClock, DeviceKnob::ComputeUnits])],
            models: names.iter().map(quiet).collect(),
            now: Timestamp::ZERO,
            set: (0.0, 0),
        }
    }

    /// Half a second in which each model was asked for `rps`.
    fn step(&mut self, rps: &[f64]) -> Decision {
        self.now = self.now + INTERVAL;
        for (model, rps) in self.models.iter_mut().zip(rps) {
            model.arrived_rows = (rps * INTERVAL.as_secs_f64()).round() as u64;
        }
        let decision = self.policy.decide(&Observation {
            now: self.now,
            power_cap: None,
            power_cap_ahead: Vec::new(),
            carbon_intensity_age: None,
            carbon_intensity_ahead: Vec::new(),
            carbon_intensity: None,
            devices: self.devices.clone(),
            models: self.models.clone(),
            families: Vec::new(),
        });
        for setting in decision.devices.get("gpu").into_iter().flatten() {
            match setting {
                DeviceSetting::CoreClock(clock) => self.set.0 = clock.get(),
                DeviceSetting::ComputeUnits(units) => self.set.1 = *units,
                DeviceSetting::PowerLimit(_) => panic!("not a knob of this policy"),
            }
        }
        for model in &mut self.models {
            if let Some(change) = decision.serving.get(&model.name) {
                assert!(!change.is_noop_for(model.setting), "a change that changes nothing");
                model.setting = change.apply_to(model.setting);
            }
        }
        decision
    }
}

fn reason(decision: &Decision) -> &'static str {
    decision.reasons[0].1.name()
}

#[test]
fn the_device_follows_the_load_up_and_down_at_once() {
    let mut bench = Bench::new("cofris-cu", &["m"], |_| {});
    for (rps, expected) in [
        (0.0, (500.0, 60)),
        (40.0, (500.0, 60)),
        (66.0, (1000.0, 30)),
        (88.0, (1000.0, 60)),
        (10.0, (500.0, 60)),
    ] {
        let before = bench.set;
        let decision = bench.step(&[rps]);
        assert_eq!(bench.set, expected, "{rps} rows/s");
        assert_eq!(decision.devices.is_empty(), before == expected, "knobs are turned when they change");
        assert_eq!(decision.ask_again_in, INTERVAL);
        assert_eq!(reason(&decision), "least_power");
    }
    assert_eq!(bench.models[0].setting.batch_size, 1, "the batch size that the table is for");
}

#[test]
fn each_policy_turns_its_own_knobs_only() {
    for (name, expected) in [
        ("frequency-scaling", (500.0, 60)),
        ("resource-scaling-cu", (1000.0, 30)),
        ("resource-scaling-se", (1000.0, 30)),
        ("cofris-se", (500.0, 60)),
    ] {
        let mut bench = Bench::new(name, &["m"], |_| {});
        bench.step(&[20.0]);
        assert_eq!(bench.set, expected, "{name}");
    }
}

#[test]
fn the_highest_of_the_last_intervals_counts_and_lower_has_to_last() {
    let peak = |options: &mut PolicyOptions| options.least_power.peak_of_intervals = 3;
    let mut bench = Bench::new("cofris-cu", &["m"], peak);
    let clocks: Vec<f64> = [88.0, 0.0, 0.0, 0.0]
        .map(|rps| {
            bench.step(&[rps]);
            bench.set.0
        })
        .to_vec();
    assert_eq!(clocks, [1000.0, 1000.0, 1000.0, 500.0]);

    let patient = |options: &mut PolicyOptions| options.least_power.down_after_intervals = 2;
    let mut bench = Bench::new("cofris-cu", &["m"], patient);
    let sets: Vec<(f64, u32)> = [88.0, 0.0, 88.0, 0.0, 0.0, 88.0]
        .map(|rps| {
            bench.step(&[rps]);
            bench.set
        })
        .to_vec();
    let (full, low) = ((1000.0, 60), (500.0, 60));
    assert_eq!(sets, [full, full, full, full, low, full], "down after two, up at once");
}

#[test]
fn a_queue_that_makes_requests_late_puts_the_device_to_full_at_once() {
    let mut bench = Bench::new("cofris-cu", &["m"], |_| {});
    bench.step(&[20.0]);
    assert_eq!(bench.set, (500.0, 60));
    bench.models[0].queued_rows = 1; // the next to be served
    assert_eq!(reason(&bench.step(&[20.0])), "least_power");
    bench.models[0].queued_rows = 5; // 100 ms at 50 rows/s, objective 20 ms
    let decision = bench.step(&[20.0]);
    assert_eq!((bench.set, reason(&decision)), ((1000.0, 60), "slo_at_risk"));
    bench.models[0].queued_rows = 0;
    assert_eq!(reason(&bench.step(&[20.0])), "least_power");
    assert_eq!(bench.set, (500.0, 60));
}

#[test]
fn a_load_that_is_unknown_or_too_high_gets_the_full_device() {
    let mut bench = Bench::new("cofris-cu", &["m"], |_| {});
    bench.models[0].interval = Duration::ZERO;
    let decision = bench.step(&[0.0]);
    assert_eq!((bench.set, reason(&decision)), ((1000.0, 60), "load_unknown"));
    bench.models[0].interval = INTERVAL;
    bench.step(&[0.0]);
    assert_eq!(bench.set, (500.0, 60));
    let decision = bench.step(&[500.0]);
    assert_eq!((bench.set, reason(&decision)), ((1000.0, 60), "load_not_sustained"));
}

#[test]
fn without_the_knobs_or_the_rows_everything_is_left_alone() {
    let mut bench = Bench::new("cofris-cu", &["m"], |_| {});
    bench.devices = vec![gpu(&[DeviceKnob::CoreClock])];
    let decision = bench.step(&[0.0]);
    assert_eq!(decision.reasons[0].1, Reason::KnobMissing { knob: DeviceKnob::ComputeUnits });
    assert!(!decision.turns_something());
    let mut bench = Bench::new("frequency-scaling", &["m"], |_| {});
    bench.devices = vec![gpu(&[DeviceKnob::CoreClock])];
    bench.step(&[0.0]);
    assert_eq!(bench.set, (500.0, 0), "it has all that this one turns");
    let mut bench = Bench::new("cofris-cu", &["m"], |options| options.profiles.clear());
    let decision = bench.step(&[0.0]);
    assert_eq!((reason(&decision), decision.turns_something()), ("no_profile", false));
}

#[test]
fn values_that_the_device_does_not_take_are_passed_over() {
    let mut bench = Bench::new("cofris-cu", &["m"], |_| {});
    bench.devices[0].knobs[0].min = 700.0;
    bench.devices[0].knobs[0].steps = vec![700.0, 1000.0];
    bench.step(&[20.0]);
    assert_eq!(bench.set, (1000.0, 30), "no 500 MHz");
}

#[test]
fn models_on_one_device_get_one_point_that_serves_them_together() {
    let mut bench = Bench::new("cofris-cu", &["a", "b"], |_| {});
    bench.step(&[20.0, 20.0]);
    assert_eq!(bench.set, (500.0, 60), "40 of 47.5 rows/s");
    bench.step(&[30.0, 30.0]);
    assert_eq!(bench.set, (1000.0, 30), "60 are too many for that, though 30 are not");
    let decision = bench.step(&[60.0, 50.0]);
    assert_eq!((bench.set, reason(&decision)), ((1000.0, 60), "load_not_sustained"));
}

#[test]
fn traffic_of_a_model_without_a_profile_gets_the_full_device() {
    let mut bench = Bench::new("cofris-cu", &["a", "b"], |options| {
        options.profiles.remove("b");
    });
    bench.step(&[20.0, 0.0]);
    assert_eq!(bench.set, (500.0, 60));
    let decision = bench.step(&[20.0, 2.0]);
    assert_eq!(bench.set, (1000.0, 60));
    let names: Vec<&str> = decision.reasons.iter().map(|(_, reason)| reason.name()).collect();
    assert_eq!(names, ["no_profile", "load_unknown"]);
}

#[test]
fn with_a_free_batch_size_larger_batches_carry_what_one_by_one_can_not() {
    let mut bench = Bench::new("cofris-cu", &["m"], |options| {
        options.least_power.batch_size_free = true;
        options.latency_objectives = [(ModelName::from("m"), Duration::from_millis(200))].into();
        let rows = GRID.into_iter().chain([(500.0, 60, 8, 0.050, 65.0)]);
        options.profiles = [("m".into(), profile(rows))].into();
    });
    bench.step(&[20.0]);
    assert_eq!((bench.set, bench.models[0].setting.batch_size), ((500.0, 30), 1), "the bound allows 25 ms");
    bench.step(&[90.0]);
    assert_eq!((bench.set, bench.models[0].setting.batch_size), ((500.0, 60), 8), "160 rows/s at low clock");
    bench.models[0].limits.max_batch_size = 4;
    bench.step(&[90.0]);
    assert_eq!(
        (bench.set, bench.models[0].setting.batch_size),
        ((1000.0, 60), 1),
        "batches that it can't take"
    );
}

#[test]
fn the_oracle_sets_for_the_load_to_come_and_plans_no_more_power_than_the_look_up() {
    let second = Duration::from_secs;
    let points = vec![(second(0), 20.0), (second(10), 92.0), (second(11), 0.0), (second(12), 0.0)];
    let trace = Signal::Trace(Trace::new(points, AfterEnd::Hold).unwrap());
    let foresight = Foresight { offered_rps: [("m".into(), trace)].into(), ..Foresight::default() };
    let mut bench =
        Bench::new("oracle-least-power", &["m"], |options| options.foresight = Some(foresight.clone()));
    for (seconds, expected) in [(1, (500.0, 60)), (9, (500.0, 60)), (10, (1000.0, 60)), (11, (500.0, 60))] {
        bench.now = Timestamp::from_duration(second(seconds).saturating_sub(INTERVAL));
        let decision = bench.step(&[777.0]); // what arrived is nothing to it
        assert_eq!(bench.set, expected, "at {seconds} s");
        let Reason::LeastPower { offered_rps, predicted_watts, .. } = decision.reasons[0].1 else {
            panic!("{decision:?}")
        };
        let table = LeastPowerTable::build(&profile(GRID), BOTH, &evenly(), None).unwrap();
        assert!(predicted_watts <= table.look_up(offered_rps).unwrap().predicted_watts);
    }
    bench.now = Timestamp::from_duration(second(9) + INTERVAL / 4);
    bench.step(&[0.0]); // asked at 9.75 s: the burst falls into the interval
    assert_eq!(bench.set, (1000.0, 60));
    let mut blind =
        Bench::new("oracle-least-power", &["m", "b"], |options| options.foresight = Some(foresight));
    let decision = blind.step(&[0.0, 0.0]);
    assert_eq!(blind.set, (1000.0, 60), "a load that is not foreseen");
    let told = [(Some("b".into()), Reason::LoadUnknown), (None, Reason::LoadUnknown)];
    assert_eq!(decision.reasons, told, "nothing false of the one that is");
}

#[test]
fn what_the_device_failed_to_set_is_set_again() {
    let mut bench = Bench::new("cofris-cu", &["m"], |_| {});
    let set = bench.step(&[20.0]).devices;
    assert!(!set.is_empty());
    assert!(bench.step(&[20.0]).devices.is_empty());
    bench.devices[0].settings_failed = true;
    assert_eq!(bench.step(&[20.0]).devices, set);
}

#[test]
fn full_is_the_most_that_the_device_takes_where_the_profile_goes_higher_or_less_high() {
    for max in [999.0, 1200.0] {
        let mut bench = Bench::new("cofris-cu", &["m"], |_| {});
        bench.devices[0].knobs[0] =
            KnobRange { knob: DeviceKnob::CoreClock, min: 500.0, max, steps: Vec::new() };
        bench.step(&[20.0]);
        assert_eq!(bench.set, (500.0, 60));
        let decision = bench.step(&[500.0]);
        assert_eq!((bench.set, reason(&decision)), ((max, 60), "load_not_sustained"));
    }
}

#[test]
fn a_step_of_the_device_that_rounds_a_profiled_value_is_that_value() {
    let mut bench = Bench::new("cofris-cu", &["m"], |_| {});
    bench.devices[0].knobs[0].steps = vec![500.4, 1000.0];
    bench.step(&[20.0]);
    assert_eq!(bench.set, (500.4, 60));
}

#[test]
fn a_model_without_a_profile_is_remembered_as_long_as_a_load_and_counts_while_it_runs() {
    let mut bench = Bench::new("cofris-cu", &["a", "b"], |options| {
        options.profiles.remove("b");
        options.least_power.peak_of_intervals = 3;
    });
    let (full, low) = ((1000.0, 60), (500.0, 60));
    let sets: Vec<(f64, u32)> = [2.0, 0.0, 0.0, 0.0]
        .map(|rps| {
            bench.step(&[20.0, rps]);
            bench.set
        })
        .to_vec();
    assert_eq!(sets, [full, full, full, low]);
    bench.models[1].running_batches = 1;
    bench.step(&[20.0, 0.0]);
    assert_eq!(bench.set, full);
}

#[test]
fn a_profile_that_makes_no_table_is_told_when_the_policy_is_built() {
    let options = PolicyOptions {
        profiles: [("a".into(), profile(GRID)), ("b".into(), profile(GRID[..1].iter().copied()))].into(),
        foresight: Some(Foresight::default()),
        ..PolicyOptions::default()
    };
    for name in [
        "frequency-scaling",
        "resource-scaling-cu",
        "resource-scaling-se",
        "cofris-cu",
        "cofris-se",
        "oracle-least-power",
    ] {
        let told = build_policy(name, &options).err().unwrap().to_string();
        assert!(
            told.starts_with(&format!("policy {name}, model b: the profile has one point only")),
            "{told}"
        );
    }
}

#[test]
fn on_a_device_that_got_slower_more_is_set_for_the_same_load_and_the_same_objective() {
    let mut bench = Bench::new("cofris-cu", &["m"], |options| options.refinement.enabled = false);
    let slo = |decision: &Decision| match decision.reasons[0].1 {
        Reason::LeastPower { slo_ms, .. } => slo_ms,
        ref other => panic!("{other:?}"),
    };
    let before = slo(&bench.step(&[40.0]));
    assert_eq!(bench.set, (500.0, 60));
    // There a batch takes 26 ms now, of 20 that are allowed.
    let slower = profile(GRID).scaled(1.3, 1.0, Watts::new(IDLE));
    bench.policy.refine(&[("m".into(), slower)].into());
    assert_eq!(slo(&bench.step(&[40.0])), before, "being slower is no excuse");
    assert_eq!(bench.set, (1000.0, 30));
}
