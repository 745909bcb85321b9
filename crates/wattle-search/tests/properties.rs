//! What holds for every search on any device, and for every answer and prediction.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use proptest::prelude::*;
use wattle_core::operating_point::{Confidence, OperatingPoint, ProfileRow};
use wattle_core::profile::PowerFigure;
use wattle_core::provenance::Basis;
use wattle_core::units::{Megahertz, Watts};
use wattle_search::{
    Axes, Constraints, Next, Outcome, Probe, Question, STRATEGIES, Space, Stop, Surrogate, answer, build,
    front, held_back,
};

/// A device that is made up: a roofline with host time, noise, and an end of memory.
#[derive(Debug, Clone)]
struct Device {
    host_ms: f64,
    row_ms: f64,
    idle_watts: f64,
    row_joules: f64,
    /// Rows in flight for each slice that memory holds.
    most_rows: f64,
    /// How much figures differ from the law, as a share.
    noise: f64,
    /// Small batches get slower, not faster, with the clock: their host waits.
    waits: bool,
}

fn slices_of(point: &OperatingPoint) -> f64 {
    point.partition.as_deref().unwrap().trim_end_matches('g').parse().unwrap()
}

impl Device {
    fn probe(&self, point: &OperatingPoint) -> Probe {
        let (batch, instances) = (f64::from(point.batch_size), f64::from(point.instances));
        let (clock, slices) = (point.core_clock_mhz.unwrap().get() / 1000.0, slices_of(point));
        if batch * instances > self.most_rows * slices {
            return Probe { point: point.clone(), outcome: Outcome::OutOfMemory };
        }
        // Noise of the point itself: the same each time.
        let jitter = |salt: f64| {
            1.0 + self.noise
                * (batch * 12.9898 + instances * 78.233 + clock * 37.719 + slices * 4.581 + salt).sin()
        };
        let host = if self.waits && batch <= 2.0 { self.host_ms * (1.0 + 0.3 * clock) } else { self.host_ms };
        let device = self.row_ms * batch * instances / (clock * slices);
        let batch_ms = (host + device) * jitter(0.0);
        let rps = batch * instances / batch_ms * 1e3;
        let busy = device / (host + device);
        let watts = self.idle_watts * (1.0 + 0.3 * clock)
            + rps * self.row_joules * (0.5 + 0.5 * clock * clock) * jitter(1.0)
            + busy * slices * clock.powi(3);
        Probe::measured(ProfileRow {
            point: point.clone(),
            throughput_rps: Some(rps),
            latency_ms_mean: Some(batch_ms),
            latency_ms_p50: None,
            latency_ms_p95: None,
            latency_ms_p99: Some(batch_ms * 1.1),
            power_watts_mean: Some(Watts::new(watts)),
            power_watts_p95: None,
            power_watts_max: None,
            energy_joules_per_row: None,
            memory_bytes: None,
            basis: Basis::Measured,
            power_basis: Basis::Measured,
            samples: 10,
            confidence: Confidence::default(),
        })
    }
}

fn space() -> Space {
    Space::product(&Axes {
        batch_size: vec![1, 2, 4, 8, 16, 32],
        instances: vec![1, 2, 3],
        core_clock_mhz: [400.0, 700.0, 1000.0, 1400.0].map(Megahertz::new).to_vec(),
        partition: ["1g", "2g", "4g", "7g"].map(str::to_owned).to_vec(),
        ..Axes::default()
    })
    .unwrap()
}

fn any_device() -> impl Strategy<Value = Device> {
    let figures =
        (0.2..5.0f64, 0.1..4.0f64, 20.0..80.0f64, 0.01..0.2f64, 4.0..60.0f64, 0.0..0.05f64, any::<bool>());
    figures.prop_map(|(host_ms, row_ms, idle_watts, row_joules, most_rows, noise, waits)| Device {
        host_ms,
        row_ms,
        idle_watts,
        row_joules,
        most_rows,
        noise,
        waits,
    })
}

/// Every probe that a search makes of `device`, and why it stopped.
fn play(
    name: &str,
    device: &Device,
    question: Question,
    constraints: Constraints,
    budget: usize,
    seed: u64,
) -> (Vec<Probe>, Stop) {
    let mut search = build(name, space(), question, constraints, budget, seed).unwrap();
    let mut seen = Vec::new();
    loop {
        match search.next(&seen) {
            Next::Probe { point, .. } => seen.push(device.probe(&point)),
            Next::Done(stop) => return (seen, stop),
        }
    }
}

fn under(cap: f64) -> Constraints {
    Constraints { cap: Some(Watts::new(cap)), figure: PowerFigure::Mean, ..Constraints::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn no_search_probes_a_point_twice_or_beyond_its_budget_or_what_must_be_out_of_memory(
        device in any_device(), cap in 40.0..400.0f64, budget in 1usize..14, seed in 0u64..99,
    ) {
        for name in STRATEGIES {
            let (seen, stop) = play(name, &device, Question::MostThroughput, under(cap), budget, seed);
            prop_assert!(seen.len() <= budget, "{name}");
            prop_assert!(seen.len() == budget || !matches!(stop, Stop::Budget { .. }), "{name}");
            for (index, later) in seen.iter().enumerate() {
                prop_assert!(space().points().contains(&later.point), "{name}");
                for earlier in seen.iter().take(index) {
                    prop_assert_ne!(&earlier.point, &later.point, "{}", name);
                    let dominates = earlier.outcome == Outcome::OutOfMemory
                        && later.point.partition == earlier.point.partition
                        && later.point.batch_size >= earlier.point.batch_size
                        && later.point.instances >= earlier.point.instances;
                    prop_assert!(!dominates, "{name}: {later:?} after {earlier:?}");
                }
            }
            let again = play(name, &device, Question::MostThroughput, under(cap), budget, seed);
            prop_assert_eq!((seen, stop), again, "{}", name);
        }
    }

    #[test]
    fn after_its_first_probe_the_search_that_learns_goes_over_the_cap_nowhere_that_it_could_have_known(
        device in any_device(), cap in 40.0..400.0f64,
    ) {
        let (seen, _) = play("sampled", &device, Question::MostThroughput, under(cap), 10, 1);
        for (index, probe) in seen.iter().enumerate().skip(1) {
            let before = &seen[..index];
            let rows: Vec<ProfileRow> = before.iter().filter_map(Probe::row).cloned().collect();
            let surrogate = Surrogate::fit_over(&space(), &rows, PowerFigure::Mean);
            let power = |point: &OperatingPoint| surrogate.predict(point).and_then(|predicted| predicted.power_watts);
            let Some(chosen) = power(&probe.point).filter(|power| power.high > cap) else { continue };
            // A careful step: likely under the cap, and nothing else was surely so.
            prop_assert!(chosen.mean <= cap * 1.05, "{chosen:?} under {cap}");
            let out_of_memory = |point: &OperatingPoint| before.iter().any(|probe| {
                probe.outcome == Outcome::OutOfMemory
                    && point.partition <= probe.point.partition // one digit, so in the order of their sizes
                    && point.batch_size >= probe.point.batch_size
                    && point.instances >= probe.point.instances
            });
            for point in space().points() {
                let is_open = before.iter().all(|probe| probe.point != *point) && !out_of_memory(point);
                if is_open && let Some(power) = power(point) {
                    prop_assert!(power.high > cap, "{point:?} was surely under {cap}: {power:?}");
                }
            }
        }
    }

    #[test]
    fn answers_keep_their_constraints_and_intervals_are_ordered_and_positive(
        device in any_device(), cap in 60.0..400.0f64, latency_ms in 2.0..100.0f64, load_rps in 1.0..500.0f64, seed in 0u64..99,
    ) {
        let constraints = Constraints { latency_ms: Some(latency_ms), ..under(cap) };
        let (seen, _) = play("random", &device, Question::MostThroughput, under(cap), 14, seed);
        for question in [Question::MostThroughput, Question::LeastPowerAt { load_rps }, Question::LeastEnergyPerRow] {
            let found = answer(&space(), &seen, question, &constraints);
            if let Some(row) = &found.measured {
                prop_assert!(row.power_watts_mean.unwrap().get() <= cap && row.latency_ms_p99.unwrap() <= latency_ms);
                prop_assert!(seen.iter().any(|probe| probe.row() == Some(row)));
                if let Question::LeastPowerAt { load_rps } = question {
                    prop_assert!(row.throughput_rps.unwrap() >= load_rps);
                }
            }
            if let Some(candidate) = &found.predicted {
                prop_assert!(candidate.predicted.power_watts.unwrap().high <= cap);
                prop_assert!(candidate.predicted.latency_ms.unwrap().high <= latency_ms);
                if let Question::LeastPowerAt { load_rps } = question {
                    prop_assert!(candidate.predicted.throughput_rps.unwrap().low >= load_rps);
                }
                prop_assert!(seen.iter().all(|probe| probe.point != candidate.point));
            }
        }
        let rows: Vec<ProfileRow> = seen.iter().filter_map(Probe::row).cloned().collect();
        let surrogate = Surrogate::fit_over(&space(), &rows, PowerFigure::Mean);
        for point in space().points().iter().step_by(7) {
            let Some(predicted) = surrogate.predict(point) else {
                prop_assert!(rows.is_empty());
                continue;
            };
            for estimate in [predicted.throughput_rps, predicted.power_watts, predicted.latency_ms].into_iter().flatten() {
                prop_assert!(0.0 < estimate.low && estimate.low <= estimate.mean && estimate.mean <= estimate.high);
                prop_assert!(estimate.high.is_finite());
            }
        }
    }
}

fn a_device() -> Device {
    Device {
        host_ms: 1.0,
        row_ms: 1.0,
        idle_watts: 45.0,
        row_joules: 0.05,
        most_rows: 12.0,
        noise: 0.01,
        waits: true,
    }
}

/// The most throughput there is under `cap`.
fn most(device: &Device, cap: f64) -> f64 {
    let rows =
        space().points().iter().filter_map(|point| device.probe(point).row().cloned()).collect::<Vec<_>>();
    let fitting = rows.iter().filter(|row| row.power_watts_mean.unwrap().get() <= cap);
    fitting.filter_map(|row| row.throughput_rps).fold(0.0, f64::max)
}

#[test]
fn the_search_that_learns_comes_within_5_percent_of_the_best_of_288_points_with_14_of_them() {
    for cap in [120.0, 200.0, 300.0, 400.0] {
        let (seen, _) = play("sampled", &a_device(), Question::MostThroughput, under(cap), 14, 1);
        let found = answer(&space(), &seen, Question::MostThroughput, &under(cap)).measured.unwrap();
        let share = found.throughput_rps.unwrap() / most(&a_device(), cap);
        assert!(share >= 0.95, "{share} of the best under {cap} W");
    }
}

#[test]
fn held_back_rows_are_predicted_and_mostly_lie_within_their_intervals() {
    let (seen, _) = play("random", &a_device(), Question::MostThroughput, under(1000.0), 40, 3);
    let rows: Vec<ProfileRow> = seen.iter().filter_map(Probe::row).cloned().collect();
    let errors = held_back(&rows, PowerFigure::Mean, 1);
    for error in [errors.throughput_rps, errors.power_watts, errors.latency_ms] {
        let error = error.unwrap();
        assert_eq!(error.points, rows.len());
        assert!(error.median < 0.1 && error.p90 >= error.median && error.coverage > 0.7, "{error:?}");
    }
}

#[test]
fn a_looser_cap_never_has_a_worse_measured_answer() {
    let (seen, _) = play("random", &a_device(), Question::MostThroughput, under(1000.0), 30, 5);
    let caps: Vec<Watts> = (5..30).map(|step| Watts::new(f64::from(step) * 10.0)).collect();
    let front = front(&space(), &seen, Question::MostThroughput, &under(1.0), &caps);
    assert_eq!(front.iter().map(|one| one.cap).collect::<Vec<_>>(), caps);
    let rates: Vec<f64> = front
        .iter()
        .map(|one| one.answer.measured.as_ref().and_then(|row| row.throughput_rps).unwrap_or(0.0))
        .collect();
    assert!(rates.is_sorted() && rates.last() > rates.first(), "{rates:?}");
}

#[test]
fn a_variant_that_was_measured_little_shares_the_shape_of_the_others() {
    let at = |variant: &str, batch: u32| OperatingPoint {
        variant: Some(variant.to_owned()),
        ..OperatingPoint::of_batch_and_instances(batch, 1)
    };
    let row = |variant: &str, batch: u32| {
        let slowness = if variant == "large" { 3.0 } else { 1.0 };
        let batch_ms = (4.0 + f64::from(batch)) * slowness;
        let mut row = a_device().probe(&OperatingPoint {
            core_clock_mhz: Some(Megahertz::new(1000.0)),
            partition: Some("7g".to_owned()),
            ..OperatingPoint::of_batch_and_instances(1, 1)
        });
        let Outcome::Measured(row) = &mut row.outcome else { panic!("it fits in memory") };
        ProfileRow {
            point: at(variant, batch),
            throughput_rps: Some(f64::from(batch) / batch_ms * 1e3),
            ..(**row).clone()
        }
    };
    let mut rows: Vec<ProfileRow> = [1, 2, 4, 8, 16, 32].map(|batch| row("small", batch)).to_vec();
    rows.push(row("large", 4));
    let predicted = Surrogate::fit(&rows, PowerFigure::Mean).predict(&at("large", 32)).unwrap();
    let (expected, found) = (row("large", 32).throughput_rps.unwrap(), predicted.throughput_rps.unwrap());
    assert!((found.mean / expected - 1.0).abs() < 0.15, "{found:?} for {expected}");
    assert!((found.low..=found.high).contains(&expected), "{found:?} for {expected}");
}

#[test]
fn nothing_is_said_of_a_knob_that_no_row_turns() {
    let rows: Vec<ProfileRow> = space()
        .points()
        .iter()
        .filter(|point| point.instances == 1)
        .step_by(9)
        .filter_map(|point| a_device().probe(point).row().cloned())
        .collect();
    let surrogate = Surrogate::fit(&rows, PowerFigure::Mean);
    let own = rows.first().unwrap().point.clone();
    assert!(surrogate.predict(&own).is_some());
    assert_eq!(surrogate.predict(&OperatingPoint { instances: 2, ..own }), None);
}
