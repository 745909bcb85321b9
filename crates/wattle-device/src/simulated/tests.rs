//! What a simulated device claims: it plays its profile, and energy adds up.

use std::time::Duration;

use proptest::prelude::*;
use wattle_core::knob::DeviceKnob;
use wattle_core::units::{Joules, Watts};

use super::*;
use crate::conformance;
use crate::held::Held;

const HEAD: &str = "# wattle_profile = 1\n# model = \"m\"\n# device = \"P40\"\n# runtime = \"TF 1.15\"\n\
                    # power_source = \"NVML\"\n# idle_power_watts = 50\n";

/// Power grows by 10 W with each instance at a batch of 1, by 20 W at 4; time by 1 ms.
const PLAIN: &str = "batch_size,instances,latency_ms_mean,power_watts_mean,basis,power_basis,samples\n\
                     1,1,10,60,measured,measured,1\n4,1,20,70,measured,measured,1\n\
                     1,2,11,70,measured,measured,1\n4,2,21,90,measured,measured,1\n";

/// As [`PLAIN`] with one instance, at two clocks and two counts of compute units.
const KNOBS: &str = "batch_size,instances,core_clock_mhz,compute_units,latency_ms_mean,power_watts_mean,\
                     basis,power_basis,samples\n\
                     1,1,800,30,40,55,measured,measured,1\n1,1,1600,30,20,60,measured,measured,1\n\
                     1,1,800,60,20,65,measured,measured,1\n1,1,1600,60,10,80,measured,assumed,1\n";

fn profile(text: &str) -> Profile {
    Profile::parse(&format!("{HEAD}{text}"), "test.csv").unwrap()
}

fn open(texts: &[(&str, &str)]) -> Result<(Held, Arc<SimulatedLoad>), UnplayableProfile> {
    let profiles = texts.iter().map(|(model, text)| (ModelName::from(*model), profile(text))).collect();
    SimulatedDevice::new("sim".into(), &profiles).map(|(device, load)| (Held::new(Box::new(device)), load))
}

fn at_ms(milliseconds: u64) -> Timestamp {
    Timestamp::from_duration(Duration::from_millis(milliseconds))
}

fn begin(load: &SimulatedLoad, model: &str, rows: u32, now_ms: u64) -> (RunToken, f64) {
    let (token, latency) = load.begin(&model.into(), rows, 1, at_ms(now_ms)).unwrap();
    (token, latency.as_secs_f64() * 1e3)
}

#[track_caller]
fn check_reading(device: &mut Held, now_ms: u64, power_watts: f64, energy_joules: f64) {
    let reading = device.read(at_ms(now_ms)).unwrap();
    let found = [reading.power.unwrap().get(), reading.energy.unwrap().get()];
    let is_near = |i: usize, expected: f64| (found[i] - expected).abs() < 1e-6;
    assert!(is_near(0, power_watts) && is_near(1, energy_joules), "{found:?} at {now_ms} ms");
}

#[test]
fn plays_time_and_power_of_the_profile() {
    let (mut device, load) = open(&[("m", PLAIN)]).unwrap();
    check_reading(&mut device, 1_000, 50.0, 0.0);
    let (first, latency_ms) = begin(&load, "m", 4, 2_000);
    assert_eq!(latency_ms, 20.0);
    check_reading(&mut device, 3_000, 70.0, 50.0 + 70.0);
    let (second, latency_ms) = begin(&load, "m", 4, 3_000);
    assert_eq!(latency_ms, 21.0, "the profile's latency with two instances");
    check_reading(&mut device, 4_000, 90.0, 120.0 + 90.0);
    load.end(first, at_ms(4_000));
    check_reading(&mut device, 5_000, 70.0, 210.0 + 70.0);
    load.end(second, at_ms(5_000));
    check_reading(&mut device, 6_000, 50.0, 280.0 + 50.0);
}

#[test]
fn draws_between_batch_sizes_and_never_beyond() {
    let (mut device, load) = open(&[("m", PLAIN)]).unwrap();
    let (_token, latency_ms) = begin(&load, "m", 2, 0);
    let halfway = |low: f64, high: f64| (low * high).sqrt(); // in doublings, as in Profile::predict
    assert!((latency_ms - halfway(10.0, 20.0)).abs() < 1e-6, "{latency_ms} ms");
    check_reading(&mut device, 0, halfway(60.0, 70.0), 0.0);
    let error = |model: &str, rows| load.begin(&model.into(), rows, 1, at_ms(0)).unwrap_err().to_string();
    assert_eq!(error("m", 5), "a batch of 5 is outside the profile of m, which has 1 to 4 rows");
    assert_eq!(error("m", 0), "a batch of 0 is outside the profile of m, which has 1 to 4 rows");
    assert_eq!(error("n", 1), "the simulated device has no profile of n; it has [ModelName(\"m\")]");
    check_reading(&mut device, 0, halfway(60.0, 70.0), 0.0);
}

#[test]
fn past_the_most_profiled_instances_time_grows_and_power_stays() {
    let (mut device, load) = open(&[("m", PLAIN)]).unwrap();
    let _running: Vec<_> = (0..3).map(|_| begin(&load, "m", 4, 0)).collect();
    let (_fourth, latency_ms) = begin(&load, "m", 4, 0);
    assert!((latency_ms - 42.0).abs() < 1e-6, "{latency_ms} ms for four on the place of two");
    check_reading(&mut device, 0, 90.0, 0.0);
}

#[test]
fn below_the_fewest_profiled_instances_power_is_shared() {
    let two_only = "batch_size,instances,throughput_rps,power_watts_max,basis,power_basis,samples\n\
                    4,2,400,90,measured,measured,1\n";
    let (mut device, load) = open(&[("m", two_only)]).unwrap();
    let (_token, latency_ms) = begin(&load, "m", 4, 0);
    assert_eq!(latency_ms, 20.0, "2 instances x 4 rows / 400 rows/s");
    check_reading(&mut device, 0, 70.0, 0.0);
}

#[test]
fn models_add_up_on_one_device() {
    let (mut device, load) = open(&[("a", PLAIN), ("b", PLAIN)]).unwrap();
    let (_a, a_ms) = begin(&load, "a", 1, 0);
    let (_b, b_ms) = begin(&load, "b", 4, 0);
    assert_eq!((a_ms, b_ms), (10.0, 20.0), "each model counts its own batches");
    check_reading(&mut device, 1_000, 80.0, 80.0);
    assert_eq!(device.info().full_power.as_ref().unwrap().0, Watts::new(130.0));
}

#[test]
fn threads_of_an_instance_choose_the_rows_of_as_many() {
    let by_cores = "batch_size,instances,cores_per_instance,latency_ms_mean,power_watts_mean,basis,power_basis,samples\n\
                    1,1,1,40,55,measured,measured,1\n1,1,4,10,70,measured,measured,1\n";
    let (_device, load) = open(&[("m", by_cores)]).unwrap();
    let latency_ms = |cores| load.begin(&"m".into(), 1, cores, at_ms(0)).unwrap().1.as_millis();
    assert_eq!(latency_ms(4), 10);
    let (_device, load) = open(&[("m", by_cores)]).unwrap();
    let (_token, latency) = load.begin(&"m".into(), 1, 3, at_ms(0)).unwrap();
    assert_eq!(latency.as_millis(), 40, "no more threads than it may use");
}

#[test]
fn knobs_are_what_rows_differ_in_and_turn_time_and_power() {
    let (mut device, load) = open(&[("k", KNOBS), ("m", PLAIN)]).unwrap();
    let steps = |knob| device.info().range(knob).unwrap().steps.clone();
    assert_eq!(steps(DeviceKnob::CoreClock), [800.0, 1600.0]);
    assert_eq!(steps(DeviceKnob::ComputeUnits), [30.0, 60.0]);
    let (token, latency_ms) = begin(&load, "k", 1, 0);
    assert_eq!(latency_ms, 10.0, "every knob at its highest");
    device.apply(DeviceSetting::CoreClock(Megahertz::new(1599.0))).unwrap();
    assert_eq!(load.knob(DeviceKnob::CoreClock), Some(800.0), "the step below");
    check_reading(&mut device, 1_000, 65.0, 65.0);
    device.apply(DeviceSetting::ComputeUnits(30)).unwrap();
    check_reading(&mut device, 2_000, 55.0, 65.0 + 55.0);
    load.end(token, at_ms(2_000));
    assert_eq!(begin(&load, "k", 1, 2_000).1, 40.0);
    assert_eq!(begin(&load, "m", 1, 2_000).1, 10.0, "its rows differ in no knob");
    drop(device);
    assert_eq!(load.knob(DeviceKnob::CoreClock), Some(1600.0));
}

#[test]
fn says_what_it_is_made_of() {
    let (device, _) = open(&[("m", PLAIN)]).unwrap();
    assert_eq!(device.info().description, "simulated P40");
    assert_eq!(
        device.info().power_provenance.to_string(),
        "modelled: played from the profile of m on P40 (NVML)"
    );
    let (device, _) = open(&[("k", KNOBS)]).unwrap();
    assert_eq!(device.info().power_provenance.basis, Basis::Assumed, "one row is");
}

#[test]
fn usage_is_the_share_of_time_in_which_anything_ran() {
    let (mut device, load) = open(&[("m", PLAIN)]).unwrap();
    let mut usage = |now_ms| {
        let reading = device.read(at_ms(now_ms)).unwrap();
        (reading.utilization, reading.own_share)
    };
    assert_eq!(usage(0), (None, None));
    assert_eq!(usage(1_000), (Some(0.0), None));
    let (token, _) = begin(&load, "m", 1, 1_000);
    load.end(token, at_ms(1_250));
    assert_eq!(usage(2_000), (Some(0.25), Some(1.0)));
    assert_eq!(usage(2_000), (None, None), "no time passed");
}

#[test]
fn refuses_profiles_that_leave_it_open_what_happens() {
    let fails = |texts: &[(&str, &str)], expected: &str| {
        assert_eq!(open(texts).unwrap_err().to_string(), expected);
    };
    let no_time = PLAIN.replace("1,2,11,", "1,2,,");
    fails(
        &[("m", &no_time)],
        "the profile of m tells no time at batch_size = 1, instances = 2: give latency_ms_mean or throughput_rps, over 0",
    );
    let no_power = PLAIN.replace("1,2,11,70", "1,2,11,");
    fails(
        &[("m", &no_power)],
        "the profile of m tells no power at batch_size = 1, instances = 2: give power_watts_mean",
    );
    fails(&[], "none of the profiles tells idle_power_watts in its head; give it there or in the scenario");
    let untold = KNOBS.replace("1,1,800,30,", "1,1,,30,");
    fails(
        &[("k", &untold)],
        "the profile of k has rows with and without core_clock_mhz: fill it in every row",
    );
    let hole = KNOBS.replace("1,1,800,30,40,55,measured,measured,1\n", "");
    fails(&[("k", &hole)], "the profile of k has no row where core_clock_mhz = 800 and compute_units = 30");
    let other = KNOBS.replace("800", "900").replace("1600", "1800");
    fails(&[("k", KNOBS), ("o", &other)], "the profiles share no value of core_clock_mhz");
    let variants = "batch_size,instances,variant,latency_ms_mean,power_watts_mean,basis,power_basis,samples\n\
                    1,1,small,1,60,measured,measured,1\n1,1,large,2,60,measured,measured,1\n";
    fails(&[("m", variants)], "the profile of m has rows of several values of variant: keep those of one");
    let injected = "batch_size,instances,duty_cycle,latency_ms_mean,power_watts_mean,basis,power_basis,samples\n\
                    1,1,0.5,1,60,measured,measured,1\n";
    fails(&[("m", injected)], "the profile of m has no row with a duty cycle of 1");
}

#[test]
fn conforms() {
    for texts in [&[("m", PLAIN)][..], &[("k", KNOBS), ("m", PLAIN)]] {
        let (mut device, load) = open(texts).unwrap();
        let _runs = begin(&load, "m", 4, 0);
        let mut now_ms = 0;
        let now = || {
            now_ms += 7;
            at_ms(now_ms)
        };
        conformance::check(&mut device, now, |knob| load.knob(knob)).unwrap();
    }
}

/// One thing that happens to a device. Times are steps from the last event, in milliseconds.
#[derive(Debug, Clone)]
enum Event {
    Begin { model: usize, rows: u32 },
    End { which: usize },
    Clock { mhz: f64 },
    Read,
}

fn any_events() -> impl Strategy<Value = Vec<(i64, Event)>> {
    let event = prop_oneof![
        3 => (0..2usize, 1..5u32).prop_map(|(model, rows)| Event::Begin { model, rows }),
        2 => (0..8usize).prop_map(|which| Event::End { which }),
        1 => (800.0..1600.0f64).prop_map(|mhz| Event::Clock { mhz }),
        1 => Just(Event::Read),
    ];
    // Mostly forwards, at times a little backwards, as threads report.
    proptest::collection::vec((-20..200i64, event), 1..60)
}

proptest! {
    #[test]
    fn energy_is_the_integral_of_power_and_at_least_idle(events in any_events()) {
        let (mut device, load) = open(&[("k", KNOBS), ("m", PLAIN)]).unwrap();
        let mut power = device.read(at_ms(1_000)).unwrap().power.unwrap();
        let (mut now, mut latest) = (1_000_i64, 1_000_i64);
        let (mut running, mut integral, mut told) = (Vec::new(), Joules::ZERO, Joules::ZERO);
        for (step, event) in events {
            now += step;
            let forward = u64::try_from(now - latest).unwrap_or(0);
            integral += power * Duration::from_millis(forward);
            latest = latest.max(now);
            let at = at_ms(u64::try_from(now).unwrap_or(0));
            match event {
                Event::Begin { model, rows } => {
                    let name = ModelName::from(["m", "k"][model]);
                    running.extend(load.begin(&name, rows, 1, at).ok().map(|(token, _)| token));
                }
                Event::End { which } if which < running.len() => load.end(running.swap_remove(which), at),
                Event::Clock { mhz } => {
                    device.read(at).unwrap(); // knobs turn at the latest event
                    device.apply(DeviceSetting::CoreClock(Megahertz::new(mhz))).unwrap();
                }
                Event::Read | Event::End { .. } => {}
            }
            let reading = device.read(at).unwrap();
            power = reading.power.unwrap();
            let energy = reading.energy.unwrap();
            prop_assert!(energy >= told, "ran backwards: {told:?} to {energy:?}");
            told = energy;
            let full = device.info().full_power.as_ref().unwrap().0;
            prop_assert!(power >= Watts::new(50.0) && power.get() <= full.get() + 1e-9);
        }
        prop_assert!((told.get() - integral.get()).abs() <= 1e-9 * integral.get().max(1.0));
        let elapsed = Duration::from_millis(u64::try_from(latest - 1_000).unwrap());
        prop_assert!(told.get() >= (Watts::new(50.0) * elapsed).get() * (1.0 - 1e-12));
    }

    /// In `PLAIN` each running batch adds 10 W or 20 W whatever runs beside it (two at most), so the
    /// energies of runs that overlap add up to that of the device, wherever they overlap.
    #[test]
    fn overlapping_runs_add_up_to_what_the_device_drew(
        spans in proptest::collection::vec((0..2usize, proptest::bool::ANY, 1..500u64, 0..300u64), 1..40),
    ) {
        let (mut device, load) = open(&[("m", PLAIN)]).unwrap();
        device.read(at_ms(0)).unwrap();
        // Two lanes, each with one run after the other.
        let (mut free, mut edges, mut of_runs) = ([0_u64; 2], Vec::new(), 0.0);
        for (i, (lane, large, length, gap)) in spans.iter().copied().enumerate() {
            let start = free[lane] + gap;
            free[lane] = start + length;
            edges.push((start, 1, i, large));
            edges.push((free[lane], 0, i, large));
            of_runs += (length as f64 / 1e3) * if large { 20.0 } else { 10.0 };
        }
        edges.sort_unstable(); // at one time, ends come before beginnings
        let mut tokens: BTreeMap<usize, RunToken> = BTreeMap::new();
        for (now_ms, begins, i, large) in edges {
            if begins == 1 {
                tokens.insert(i, begin(&load, "m", if large { 4 } else { 1 }, now_ms).0);
            } else {
                load.end(tokens.remove(&i).unwrap(), at_ms(now_ms));
            }
        }
        let end_ms = free[0].max(free[1]);
        let drawn = device.read(at_ms(end_ms)).unwrap().energy.unwrap().get();
        prop_assert!((drawn - 50.0 * end_ms as f64 / 1e3 - of_runs).abs() < 1e-6, "{drawn} J");
    }
}
