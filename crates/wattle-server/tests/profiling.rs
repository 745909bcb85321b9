//! What a profile promises: every point is measured once and kept at once, a cap is kept, knobs stand as
//! they were found. On a simulated device, whose figures are exactly what a profile says.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use wattle_core::id::ModelName;
use wattle_core::knob::{DeviceKnob, DeviceSetting};
use wattle_core::profile::{PowerFigure, Profile};
use wattle_core::provenance::Basis;
use wattle_core::time::Timestamp;
use wattle_core::units::{Megahertz, Watts};
use wattle_device::cpu::CoreBudget;
use wattle_device::device::{Device, DeviceError, DeviceInfo, Inspection, KnobState, Reading};
use wattle_device::held::Held;
use wattle_device::simulated::{SimulatedDevice, SimulatedLoad};
use wattle_runtime::runtime::Runtime;
use wattle_runtime::simulated::SimulatedRuntime;
use wattle_search::{Constraints, Outcome, Question};
use wattle_server::clock::Clock;
use wattle_server::profiling::statistics::SteadyRule;
use wattle_server::profiling::{
    Bench, BenchConfig, Clocks, Ending, Event, KnobValues, MeasureOptions, Plan, Profiled, ProfilingError,
};

const MODEL: &str = "digits-xs";

/// Two clocks; power and throughput grow with the batch size. Batches take 4 to 20 ms.
const PLAYED: &str = "\
# wattle_profile = 1
# model = \"digits-xs\"
# device = \"made up\"
# runtime = \"made up\"
# idle_power_watts = 50.0
# power_source = \"made up for a test\"
batch_size,instances,core_clock_mhz,latency_ms_mean,power_watts_mean,basis,power_basis,samples
1,1,1000,8,60,modelled,modelled,1
2,1,1000,10,80,modelled,modelled,1
4,1,1000,12,110,modelled,modelled,1
8,1,1000,20,150,modelled,modelled,1
1,1,2000,4,100,modelled,modelled,1
2,1,2000,5,140,modelled,modelled,1
4,1,2000,6,200,modelled,modelled,1
8,1,2000,10,280,modelled,modelled,1
";

/// A repository of one model, and a device that plays it.
struct Place {
    folder: TempDir,
    load: Arc<SimulatedLoad>,
}

impl Place {
    fn journal(&self) -> std::path::PathBuf {
        self.folder.path().join("profile.csv.partial")
    }
}

fn place(wrap: impl FnOnce(Arc<dyn Runtime>) -> Arc<dyn Runtime>) -> (Place, Bench) {
    place_on(wrap, |device| Box::new(device))
}

fn place_on(
    wrap: impl FnOnce(Arc<dyn Runtime>) -> Arc<dyn Runtime>,
    wrap_device: impl FnOnce(SimulatedDevice) -> Box<dyn Device>,
) -> (Place, Bench) {
    let clock = Clock::start();
    let played = Profile::parse(PLAYED, "a test").unwrap();
    let profiles = BTreeMap::from([(ModelName::from(MODEL), played)]);
    let (device, load) = SimulatedDevice::new("simulated".into(), &profiles).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("models").join(MODEL);
    std::fs::create_dir_all(model.join("1")).unwrap();
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models/digits-xs/1/model.onnx");
    std::fs::copy(bundled, model.join("1/model.onnx")).unwrap();
    std::fs::write(model.join("model.toml"), "[batching]\nmax_batch_size = 8\n").unwrap();
    let family = folder.path().join("models/digits");
    std::fs::create_dir(&family).unwrap();
    let variants = format!("[[variants]]\nmodel = \"{MODEL}\"\nquality = 0.95\n");
    std::fs::write(family.join("family.toml"), variants).unwrap();
    let bench = Bench::open(BenchConfig {
        clock,
        models: folder.path().join("models"),
        runtime: wrap(Arc::new(SimulatedRuntime::new(Arc::clone(&load), move || clock.now()))),
        budget: CoreBudget::new(1),
        device: Held::new(wrap_device(device)),
        sample_period: Duration::from_millis(10),
        seed: 1,
    })
    .unwrap();
    (Place { folder, load }, bench)
}

fn plan(search: &str) -> Plan {
    Plan {
        search: search.into(),
        question: Question::MostThroughput,
        constraints: Constraints { figure: PowerFigure::Max, ..Constraints::default() },
        budget: None,
        seed: 7,
        values: KnobValues { clocks: Some(Clocks::Auto), ..KnobValues::default() },
        measure: MeasureOptions {
            settle: Duration::from_millis(20),
            window: Duration::from_millis(60),
            // Wide: sleeps of a busy machine may be late.
            steady: SteadyRule { windows: 2, band: 0.5, drift_celsius: 1.0 },
            most_windows: 3,
            cool_down: Duration::ZERO,
            cap: None,
            figure: PowerFigure::Max,
        },
        inputs: None,
    }
}

fn run(place: &Place, bench: &Bench, plan: &Plan, stop_after: usize) -> Result<Profiled, ProfilingError> {
    let stop = AtomicBool::new(stop_after == 0);
    bench.profile(&MODEL.into(), plan, (&place.journal(), false), (&stop, "now"), |event| {
        if let Event::Ended { done, .. } = event {
            stop.store(done >= stop_after, Ordering::Relaxed);
        }
    })
}

fn points(profiled: &Profiled) -> Vec<String> {
    profiled.probes.iter().map(|probe| probe.point.to_string()).collect()
}

#[test]
fn a_full_run_measures_every_point_and_finds_the_best() {
    let (place, bench) = place(|runtime| runtime);
    let before = place.load.knob(DeviceKnob::CoreClock);
    let profiled = run(&place, &bench, &plan("exhaustive"), usize::MAX).unwrap();
    assert_eq!((profiled.points, profiled.probes.len(), profiled.profile.rows.len()), (8, 8, 8));
    assert!(matches!(profiled.ending, Ending::Done(_)));
    for row in &profiled.profile.rows {
        assert_eq!(
            (row.basis, row.power_basis),
            (Basis::Modelled, Basis::Modelled),
            "played is not measured"
        );
        assert!(row.throughput_rps.unwrap() > 0.0 && row.samples >= 4 && row.energy_joules_per_row.is_some());
        // A sleep may be late, never early: the played latency is the least.
        let latency = row.latency_ms_p50.unwrap();
        let played = Profile::parse(PLAYED, "a test").unwrap();
        let point =
            wattle_core::operating_point::OperatingPoint { cores_per_instance: None, ..row.point.clone() };
        let least = played.row_at(&point).unwrap().latency_ms_mean.unwrap();
        assert!(latency >= least - 0.001, "{point}: {latency} ms, played {least} ms");
        assert!(row.confidence.windows.unwrap() >= 2 && row.confidence.throughput_rps_ci95.is_some());
    }
    let best = profiled.answer.measured.unwrap();
    assert_eq!((best.point.batch_size, best.point.core_clock_mhz), (8, Some(Megahertz::new(2000.0))));
    assert_eq!(place.load.knob(DeviceKnob::CoreClock), before, "the clock stands as it was found");
    let head = &profiled.profile.head;
    assert_eq!(head.conditions.model_sha256.as_ref().unwrap().len(), 64);
    assert_eq!(head.quality, Some(0.95), "as its family says");
    assert_eq!((head.idle_power_watts, head.created.as_deref()), (Some(Watts::new(50.0)), Some("now")));
    // What is written reads back.
    let text = profiled.profile.to_text();
    assert_eq!(Profile::parse(&text, "p.csv").unwrap(), profiled.profile);
}

#[test]
fn an_interrupted_run_goes_on_with_the_points_of_one_that_was_not() {
    let (whole, bench) = place(|runtime| runtime);
    let whole = points(&run(&whole, &bench, &plan("random"), usize::MAX).unwrap());
    let (place, bench) = place(|runtime| runtime);
    let first = run(&place, &bench, &plan("random"), 3).unwrap();
    assert_eq!((first.ending.clone(), first.probes.len()), (Ending::Interrupted, 3));
    first.finish().unwrap();
    assert!(place.journal().exists(), "an interrupted run keeps its journal");
    let second = run(&place, &bench, &plan("random"), 0).unwrap();
    assert_eq!(second.probes, first.probes, "what was measured is not measured again");
    let last = run(&place, &bench, &plan("random"), usize::MAX).unwrap();
    assert_eq!((last.resumed, points(&last)), (3, whole));
    last.finish().unwrap();
    assert!(!place.journal().exists());
}

#[test]
fn a_point_cut_off_by_the_end_of_the_process_is_measured_again() {
    let (place, bench) = place(|runtime| runtime);
    let first = run(&place, &bench, &plan("exhaustive"), 2).unwrap();
    let text = std::fs::read_to_string(place.journal()).unwrap();
    std::fs::write(place.journal(), &text[..text.len() - 20]).unwrap();
    let second = run(&place, &bench, &plan("exhaustive"), usize::MAX).unwrap();
    assert_eq!((second.resumed, second.probes.len()), (1, 8));
    assert_eq!(second.probes[0], first.probes[0]);
}

#[test]
fn a_run_with_other_settings_is_refused_unless_it_starts_anew() {
    let (place, bench) = place(|runtime| runtime);
    run(&place, &bench, &plan("exhaustive"), 1).unwrap();
    let other = Plan { seed: 8, ..plan("exhaustive") };
    let error = run(&place, &bench, &other, usize::MAX).unwrap_err().to_string();
    assert!(error.contains("seed was \"7\", is \"8\"") && error.contains("--restart"), "{error}");
    let stop = AtomicBool::new(true);
    let anew =
        bench.profile(&MODEL.into(), &other, (&place.journal(), true), (&stop, "now"), |_| {}).unwrap();
    assert!(anew.probes.is_empty());
    // More points may be asked for.
    let more = Plan { budget: Some(3), ..other };
    assert_eq!(run(&place, &bench, &more, usize::MAX).unwrap().probes.len(), 3);
}

#[test]
fn a_probe_above_the_cap_is_cut_short_and_kept_as_it_was_seen() {
    let (place, bench) = place(|runtime| runtime);
    let cap = Some(Watts::new(120.0));
    let mut plan = plan("exhaustive");
    // Windows that would take minutes: only the cap ends a point above it.
    plan.measure = MeasureOptions { cap, window: Duration::from_secs(60), ..plan.measure };
    plan.constraints.cap = cap;
    plan.values.batch_sizes = Some(vec![4, 8]);
    plan.values.clocks = Some(Clocks::These(vec![2000.0]));
    let profiled = run(&place, &bench, &plan, usize::MAX).unwrap();
    assert_eq!((profiled.probes.len(), profiled.over_cap), (2, 2));
    for row in &profiled.profile.rows {
        assert!(row.power_watts_max.unwrap() > Watts::new(120.0), "{row:?}");
    }
    assert_eq!(profiled.answer.measured, None, "no point keeps the cap");
    assert!(profiled.took < Duration::from_secs(30));
}

#[test]
fn a_search_under_a_cap_answers_with_a_point_that_keeps_it() {
    let (place, bench) = place(|runtime| runtime);
    let cap = Some(Watts::new(145.0));
    let mut plan = plan("sampled");
    plan.measure.cap = cap;
    plan.constraints.cap = cap;
    let profiled = run(&place, &bench, &plan, usize::MAX).unwrap();
    let best = profiled.answer.measured.unwrap();
    assert!(best.power_watts_max.unwrap() <= Watts::new(145.0), "{best:?}");
}

/// As the device within, but it tells neither power nor energy.
struct Mute(SimulatedDevice);

impl Device for Mute {
    fn info(&self) -> &DeviceInfo {
        self.0.info()
    }
    fn read(&mut self, now: Timestamp) -> Result<Reading, DeviceError> {
        Ok(Reading { energy: None, power: None, ..self.0.read(now)? })
    }
    fn apply(&mut self, setting: DeviceSetting) -> Result<(), DeviceError> {
        self.0.apply(setting)
    }
    fn knob_state(&mut self, knob: DeviceKnob) -> Result<KnobState, DeviceError> {
        self.0.knob_state(knob)
    }
    fn put_back(&mut self, knob: DeviceKnob, state: &KnobState) -> Result<(), DeviceError> {
        self.0.put_back(knob, state)
    }
    fn inspect(&mut self, now: Timestamp) -> Inspection {
        self.0.inspect(now)
    }
}

#[test]
fn a_cap_on_a_device_that_tells_no_power_is_refused_and_not_taken_as_kept() {
    let (place, bench) = place_on(|runtime| runtime, |device| Box::new(Mute(device)));
    let mut plan = plan("exhaustive");
    plan.constraints.cap = Some(Watts::new(120.0));
    plan.measure.cap = plan.constraints.cap;
    let error = run(&place, &bench, &plan, usize::MAX).unwrap_err().to_string();
    assert!(error.contains("tells no power") && error.contains("leave the cap out"), "{error}");
    assert!(!place.journal().exists(), "nothing was begun");
}

/// As the runtime within, but slower all the time, and out of memory for batches of four.
struct Uneven(Arc<dyn Runtime>);
struct UnevenModel(Arc<dyn wattle_runtime::runtime::LoadedModel>);
struct UnevenInstance(Box<dyn wattle_runtime::runtime::Instance>, std::time::Instant);

mod uneven {
    //! Delegation only.
    use super::{Uneven, UnevenInstance, UnevenModel};
    use std::sync::Arc;
    use std::time::{Duration, Instant};
    use wattle_runtime::runtime::{Instance, LoadedModel, ModelSource, Runtime, RuntimeError};
    use wattle_runtime::tensor::{BatchInput, Tensor, TensorSpec};

    impl Runtime for Uneven {
        fn name(&self) -> &'static str {
            self.0.name()
        }
        fn describe(&self) -> String {
            self.0.describe()
        }
        fn load(&self, source: &ModelSource) -> Result<Arc<dyn LoadedModel>, RuntimeError> {
            Ok(Arc::new(UnevenModel(self.0.load(source)?)))
        }
    }

    impl LoadedModel for UnevenModel {
        fn inputs(&self) -> &[TensorSpec] {
            self.0.inputs()
        }
        fn outputs(&self) -> &[TensorSpec] {
            self.0.outputs()
        }
        fn instance(&self) -> Result<Box<dyn Instance>, RuntimeError> {
            Ok(Box::new(UnevenInstance(self.0.instance()?, Instant::now())))
        }
    }

    impl Instance for UnevenInstance {
        fn infer(&mut self, inputs: Vec<BatchInput>, cores: u32) -> Result<Vec<Tensor>, RuntimeError> {
            // No window is like the one before.
            std::thread::sleep((self.1.elapsed() / 20).min(Duration::from_millis(50)));
            if inputs.first().is_some_and(|input| input.shape.first() == Some(&4)) {
                return Err(RuntimeError::Run {
                    runtime: "test",
                    model: "m".into(),
                    detail: "out of memory".into(),
                });
            }
            self.0.infer(inputs, cores)
        }
    }
}

#[test]
fn a_point_that_does_not_settle_is_kept_with_all_its_windows_and_a_wide_interval() {
    let (place, bench) = place(|runtime| Arc::new(Uneven(runtime)));
    let mut plan = plan("exhaustive");
    plan.measure.steady.band = 0.01;
    plan.values.batch_sizes = Some(vec![1]);
    plan.values.clocks = Some(Clocks::These(vec![2000.0]));
    let profiled = run(&place, &bench, &plan, usize::MAX).unwrap();
    assert_eq!(profiled.unsteady, 1);
    let row = &profiled.profile.rows[0];
    assert_eq!(row.confidence.windows, Some(3));
    let (mean, half) = (row.throughput_rps.unwrap(), row.confidence.throughput_rps_ci95.unwrap());
    assert!(half > 0.05 * mean, "{mean} ± {half}");
    assert!(profiled.profile.head.notes.as_ref().unwrap().contains("1 points did not settle"));
}

#[test]
fn a_point_out_of_memory_is_noted_and_the_profile_goes_on() {
    let (place, bench) = place(|runtime| Arc::new(Uneven(runtime)));
    let mut plan = plan("exhaustive");
    plan.values.batch_sizes = Some(vec![4, 1]);
    plan.values.clocks = Some(Clocks::These(vec![2000.0]));
    let profiled = run(&place, &bench, &plan, usize::MAX).unwrap();
    let outcomes: Vec<bool> =
        profiled.probes.iter().map(|probe| probe.outcome == Outcome::OutOfMemory).collect();
    assert_eq!(outcomes, [true, false], "{:?}", profiled.probes);
    assert_eq!(profiled.profile.rows.len(), 1);
}

#[test]
fn a_clock_that_was_turned_before_is_put_back_to_where_it_stood() {
    let clock = Clock::start();
    let profiles = BTreeMap::from([(ModelName::from(MODEL), Profile::parse(PLAYED, "a test").unwrap())]);
    let (mut device, load) = SimulatedDevice::new("simulated".into(), &profiles).unwrap();
    wattle_device::device::Device::apply(&mut device, DeviceSetting::CoreClock(Megahertz::new(1000.0)))
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join(MODEL).join("1");
    std::fs::create_dir_all(&model).unwrap();
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models/digits-xs/1/model.onnx");
    std::fs::copy(bundled, model.join("model.onnx")).unwrap();
    let bench = Bench::open(BenchConfig {
        clock,
        models: folder.path().to_owned(),
        runtime: Arc::new(SimulatedRuntime::new(Arc::clone(&load), move || clock.now())),
        budget: CoreBudget::new(1),
        device: Held::new(Box::new(device)),
        sample_period: Duration::from_millis(10),
        seed: 1,
    })
    .unwrap();
    let mut plan = plan("exhaustive");
    plan.values.batch_sizes = Some(vec![2]);
    let stop = AtomicBool::new(false);
    let journal = folder.path().join("journal");
    let turned = AtomicBool::new(false);
    bench
        .profile(&MODEL.into(), &plan, (&journal, false), (&stop, "now"), |_| {
            if load.knob(DeviceKnob::CoreClock) == Some(2000.0) {
                turned.store(true, Ordering::Relaxed);
            }
        })
        .unwrap();
    assert!(turned.load(Ordering::Relaxed));
    assert_eq!(load.knob(DeviceKnob::CoreClock), Some(1000.0));
}

#[test]
fn a_name_that_is_no_model_is_answered_with_the_nearest() {
    let (_place, bench) = place(|runtime| runtime);
    let error = bench.models_of("digits-x").unwrap_err().to_string();
    assert!(error.contains("no model or family \"digits-x\"") && error.contains("\"digits-xs\""), "{error}");
}
