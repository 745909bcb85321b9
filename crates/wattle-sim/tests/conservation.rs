//! Whatever is played, under whatever knobs: nothing is lost, and the same seed gives the same run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fmt::Write as _;
use std::time::Duration;

use common::{plan, play};
use proptest::prelude::*;
use wattle_core::knob::ServingChange;
use wattle_core::observation::Observation;
use wattle_core::policy::{Decision, Policy, Reason};

/// One model of a random scenario.
#[derive(Debug, Clone)]
struct Model {
    service_ms: f64,
    batch_size: u32,
    instances: u32,
    cores: u32,
    duty_cycle: f64,
    delay_us: u64,
    queue: u32,
    timeout_ms: Option<u32>,
    overhead_ms: u32,
    spread: &'static str,
    workload: (&'static str, f64),
    rows: u32,
    priority: u32,
}

fn model() -> impl Strategy<Value = Model> {
    let knobs = (0.5..20.0, 1_u32..9, 0_u32..4, 1_u32..4, prop::sample::select(vec![1.0, 0.5, 0.2]));
    let queue = (prop::sample::select(vec![0_u64, 500, 20_000]), 1_u32..60, prop::option::of(1_u32..80));
    let spread = prop::sample::select(vec![
        "spread = \"constant\"",
        "spread = \"exponential\"",
        "spread = \"lognormal\"\nvariation = 0.5",
    ]);
    let kinds = vec!["poisson", "constant", "closed-loop", "saturated"];
    let workload = (prop::sample::select(kinds), 1.0..400.0, 1_u32..4, 1_u32..4);
    (knobs, queue, spread, 0_u32..5, workload).prop_map(|(knobs, queue, spread, overhead_ms, workload)| {
        Model {
            service_ms: knobs.0,
            batch_size: knobs.1,
            instances: knobs.2,
            cores: knobs.3,
            duty_cycle: knobs.4,
            delay_us: queue.0,
            queue: queue.1,
            timeout_ms: queue.2,
            overhead_ms,
            spread,
            workload: (workload.0, workload.1),
            rows: workload.2,
            priority: workload.3,
        }
    })
}

fn workload((kind, amount): (&str, f64)) -> String {
    match kind {
        "closed-loop" => format!("clients = {}, think_ms = {}", 1 + amount as u32 / 8, amount as u32 % 50),
        "saturated" => String::from("rows = 1"),
        _ => format!("rate_rps = {amount}"),
    }
}

/// Two devices, a family of all models, and each model with a workload of its own.
fn scenario(models: &[Model]) -> String {
    let mut text = String::from(
        "span_seconds = 3\ntick_ms = 50\npoints = 7\n[[devices]]\nname = \"a\"\nsensor_noise = 0.02\n\
         [[devices]]\nname = \"b\"\nsensor_noise = 0.1\n[carbon_intensity]\nconstant = 300\n\
         [power_cap]\nsteps = [[0, 150], [1, 90], [2.02, 200]]\n",
    );
    let mut variants = Vec::new();
    for (index, model) in models.iter().enumerate() {
        // The first two models make sure that each device has one.
        let device = ["a", "b"][index % 2];
        let (kind, _) = model.workload;
        let rows = if kind == "saturated" { String::new() } else { format!("rows = {}, ", model.rows) };
        let timeout = model.timeout_ms.map(|ms| format!("timeout_ms = {ms}\n")).unwrap_or_default();
        let _ = write!(
            text,
            "[[models]]\nname = \"m{index}\"\ndevice = \"{device}\"\nidle_power_watts = 20\nbatch_size = {}\n\
             instances = {}\ncores_per_instance = {}\nduty_cycle = {}\nmax_queue_delay_us = {}\n\
             max_queue_size = {}\noverhead_ms = {}\nobjective_ms = 30\nquality = 0.7\n{}\n{timeout}\
             max_instances = 4\nmax_batch_size = 12\nworkload = {{ kind = \"{kind}\", {rows}priority = {}, {} }}\nrows = [\n",
            model.batch_size,
            model.instances,
            model.cores,
            model.duty_cycle,
            model.delay_us,
            model.queue,
            model.overhead_ms,
            model.spread,
            model.priority,
            workload(model.workload),
        );
        for (batch_size, instances, slower, watts) in
            [(1, 1, 1.0, 50.0), (8, 1, 3.0, 80.0), (1, 2, 1.5, 70.0), (8, 2, 5.0, 100.0)]
        {
            let latency = model.service_ms * slower;
            let _ = writeln!(
                text,
                "{{ batch_size = {batch_size}, instances = {instances}, latency_ms_mean = {latency}, \
                 power_watts_mean = {watts} }},"
            );
        }
        text += "]\n";
        variants.push(format!("{{ model = \"m{index}\", energy_joules_per_row = 1.0, quality = 0.7 }}"));
    }
    let variants = variants.join(", ");
    text + &format!(
        "[[families]]\nname = \"f\"\nvariants = [{variants}]\nworkload = {{ kind = \"poisson\", rate_rps = 80 }}\n"
    )
}

/// Turns any knob of any model at any time, out of its range too.
struct Restless {
    state: u64,
}

impl Restless {
    /// A number below `bound`, by a linear congruential generator.
    fn draw(&mut self, bound: u64) -> u64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % bound
    }
}

impl Policy for Restless {
    fn name(&self) -> &'static str {
        "restless"
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        let mut decision = Decision::keep(Reason::Fixed, Duration::from_millis(self.draw(200)));
        for model in &seen.models {
            if self.draw(3) == 0 {
                let change = ServingChange {
                    batch_size: (self.draw(2) == 0).then_some(self.draw(14) as u32),
                    instances: (self.draw(2) == 0).then_some(self.draw(6) as u32),
                    duty_cycle: (self.draw(4) == 0).then_some(1.0 / (1 + self.draw(4)) as f64),
                    max_queue_delay: (self.draw(4) == 0).then_some(Duration::from_millis(self.draw(20))),
                    max_queue_size: (self.draw(4) == 0).then_some(self.draw(60) as u32),
                    ..ServingChange::default()
                };
                decision.serving.insert(model.name.clone(), change);
            }
        }
        for family in &seen.families {
            let variant = self.draw(family.variants.len() as u64) as usize;
            decision.variants.insert(family.name.clone(), family.variants[variant].clone());
        }
        decision
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each run's books are checked in `play`: requests, Little's law, energy.
    #[test]
    fn nothing_is_lost_and_the_same_seed_gives_the_same_run(
        models in prop::collection::vec(model(), 2..5),
        seed in 0_u64..1000,
    ) {
        let plan = plan(&scenario(&models));
        let run = |seed: u64| play(&plan, &mut Restless { state: 42 }, seed);
        let (first, again, other) = (run(seed), run(seed), run(seed + 1));
        let bytes = |outcome: &wattle_sim::request_level::Outcome| {
            serde_json::to_string(&(&outcome.summary, &outcome.points, &outcome.decisions)).unwrap()
        };
        prop_assert_eq!(bytes(&first), bytes(&again));
        prop_assert_ne!(bytes(&first), bytes(&other));
        let summary = &first.summary;
        for model in summary.models.values() {
            prop_assert!(model.requests_completed <= model.requests_total);
            prop_assert!(model.rows_completed >= model.requests_completed);
        }
        prop_assert!(summary.energy_joules >= 3.0 * 40.0 - 1e-6, "less than idle");
        prop_assert!(summary.cap_violation_seconds <= summary.span_seconds + 1e-9);
        prop_assert!(summary.power_watts_mean <= summary.power_watts_max + 1e-9);
    }
}
