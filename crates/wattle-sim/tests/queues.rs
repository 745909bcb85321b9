//! Simulated queues against the closed forms of queueing theory.
//!
//! Kleinrock, "Queueing Systems" I (1975): M/M/1, M/M/c (Erlang C), M/G/1 (Pollaczek-Khinchine), bulk
//! service. Service takes 10 ms on average; the load is set by the arrival rate.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fmt::Write as _;

use common::{fixed, near};
use wattle_sim::summary::Summary;

const SERVICE_SECONDS: f64 = 0.01;

/// Debug builds play fewer requests, so chance has more room in them.
const REQUESTS_SHARE: f64 = if cfg!(debug_assertions) { 0.06 } else { 1.0 };
const WITHIN: f64 = if cfg!(debug_assertions) { 0.08 } else { 0.02 };

/// Requests by load: the mean of a heavily loaded queue settles slowly.
const LOADS: [(f64, f64); 3] = [(0.3, 1e6), (0.7, 2e6), (0.9, 8e6)];

struct Queue {
    servers: u32,
    batch_size: u32,
    spread: &'static str,
}

impl Queue {
    /// Plays about `requests` requests that come at `arrivals_rps`. Service times don't depend on the
    /// batch size, nor on how many instances run.
    fn play(&self, arrivals_rps: f64, requests: f64) -> Summary {
        let span = requests * REQUESTS_SHARE / arrivals_rps;
        let Self { servers, batch_size, spread } = self;
        let mut text = format!(
            "span_seconds = {span}\ntick_ms = 1000\npoints = 100\n\n[[models]]\nname = \"m\"\n\
             idle_power_watts = 20\ninstances = {servers}\nbatch_size = {batch_size}\nspread = \"{spread}\"\n\
             max_queue_size = 1_000_000\nworkload = {{ kind = \"poisson\", rate_rps = {arrivals_rps} }}\nrows = [\n"
        );
        for instances in 1..=*servers {
            for batch_size in 1..=*batch_size {
                let latency = SERVICE_SECONDS * 1e3;
                let _ = writeln!(
                    text,
                    "  {{ batch_size = {batch_size}, instances = {instances}, latency_ms_mean = {latency}, \
                     power_watts_mean = 100 }},"
                );
            }
        }
        text += "]\n";
        fixed(&text, 7)
    }

    /// Plays `load` and checks the mean latency and the mean number in the system.
    fn check(&self, load: f64, requests: f64, wait_seconds: f64) -> Summary {
        let capacity = f64::from(self.servers) * f64::from(self.batch_size) / SERVICE_SECONDS;
        let arrivals_rps = load * capacity;
        let summary = self.play(arrivals_rps, requests);
        let latency = wait_seconds + SERVICE_SECONDS;
        let of = |what: &str| format!("{what} of {} servers at load {load}", self.servers);
        near(&of("mean latency"), summary.latency_ms_mean.unwrap(), latency * 1e3, WITHIN);
        near(&of("mean number"), summary.checks.in_system_mean.unwrap(), arrivals_rps * latency, WITHIN);
        summary
    }
}

#[test]
fn mm1_has_the_mean_and_the_99th_percentile_of_the_theory() {
    for (load, requests) in LOADS {
        // A tail settles more slowly than a mean.
        let requests = if cfg!(debug_assertions) { requests } else { 3.0 * requests };
        let queue = Queue { servers: 1, batch_size: 1, spread: "exponential" };
        let summary = queue.check(load, requests, load / (1.0 - load) * SERVICE_SECONDS);
        // The time in the system is exponential.
        let mean_ms = SERVICE_SECONDS * 1e3 / (1.0 - load);
        for (name, found, share) in
            [("p50", summary.latency_ms_p50, 0.50), ("p99", summary.latency_ms_p99, 0.99_f64)]
        {
            near(name, found.unwrap(), mean_ms * -(1.0 - share).ln(), WITHIN);
        }
        near("power", summary.power_watts_mean, 20.0 + 80.0 * load, WITHIN);
    }
}

#[test]
fn md1_waits_half_as_long() {
    for (load, requests) in LOADS {
        let queue = Queue { servers: 1, batch_size: 1, spread: "constant" };
        queue.check(load, requests / 2.0, load / (2.0 * (1.0 - load)) * SERVICE_SECONDS);
    }
}

#[test]
fn mmc_waits_as_erlang_says() {
    for (servers, (load, requests)) in [(2, LOADS[0]), (4, LOADS[1]), (4, LOADS[2])] {
        let offered = load * f64::from(servers);
        let mut blocked = 1.0;
        for server in 1..=servers {
            blocked = offered * blocked / (f64::from(server) + offered * blocked);
        }
        let waits = blocked / (1.0 - load * (1.0 - blocked));
        let queue = Queue { servers, batch_size: 1, spread: "exponential" };
        queue.check(load, requests, waits * SERVICE_SECONDS / (f64::from(servers) - offered));
    }
}

/// Mean latency where a free instance takes what waits up to `batch_size`, at once, and a batch takes a
/// mean `SERVICE_SECONDS` of any size.
///
/// From the Markov chain of what is left behind at the end of a batch, `X' = max(X - b, 0) + A` with A
/// arrivals in a service: a batch begins with X in the system, or after a pause with 1.
fn bulk_latency_seconds(arrivals_rps: f64, batch_size: usize, is_exponential: bool) -> f64 {
    const MOST: usize = 600;
    let mean = arrivals_rps * SERVICE_SECONDS;
    let (first, next): (f64, Box<dyn Fn(f64) -> f64>) = if is_exponential {
        (1.0 / (1.0 + mean), Box::new(|_| mean / (1.0 + mean)))
    } else {
        ((-mean).exp(), Box::new(|count| mean / count))
    };
    let mut arrivals = vec![first];
    while arrivals.len() < MOST && (arrivals.len() < 2 * batch_size || arrivals[arrivals.len() - 1] > 1e-14) {
        arrivals.push(arrivals[arrivals.len() - 1] * next(arrivals.len() as f64));
    }
    let mut left = vec![0.0; MOST + 1];
    left[0] = 1.0;
    loop {
        let mut after = vec![0.0; MOST + 1];
        for (x, probability) in left.iter().enumerate().filter(|(_, probability)| **probability > 1e-16) {
            for (count, arrives) in arrivals.iter().enumerate() {
                after[(x.saturating_sub(batch_size) + count).min(MOST)] += probability * arrives;
            }
        }
        let moved: f64 = left.iter().zip(&after).map(|(a, b)| (a - b).abs()).sum();
        left = after;
        if moved < 1e-10 {
            break;
        }
    }
    assert!(left[MOST] < 1e-9, "the chain is cut off too early");
    let square = SERVICE_SECONDS.powi(2) * if is_exponential { 2.0 } else { 1.0 };
    let begins_with: f64 = left.iter().enumerate().map(|(x, of)| of * x.max(1) as f64).sum();
    let number_times_seconds = begins_with * SERVICE_SECONDS + arrivals_rps * square / 2.0;
    number_times_seconds / (left[0] / arrivals_rps + SERVICE_SECONDS) / arrivals_rps
}

#[test]
fn late_batching_is_the_bulk_service_queue_of_the_theory() {
    // A batch limit of 1 is the plain queue: the chain agrees with the closed forms.
    near("M/M/1", bulk_latency_seconds(70.0, 1, true), SERVICE_SECONDS / 0.3, 1e-6);
    near("M/D/1", bulk_latency_seconds(70.0, 1, false), (1.0 + 0.7 / 0.6) * SERVICE_SECONDS, 1e-6);
    for (batch_size, spread) in [(4, "constant"), (4, "exponential")] {
        // The mean settles with the number of batches: too many requests for a debug build.
        let is_too_long = cfg!(debug_assertions) && spread == "exponential";
        for (load, requests) in LOADS.into_iter().filter(|(load, _)| *load < 0.8 || !is_too_long) {
            let requests = requests * f64::from(batch_size) / 2.0;
            let arrivals_rps = load * f64::from(batch_size) / SERVICE_SECONDS;
            let latency = bulk_latency_seconds(arrivals_rps, batch_size as usize, spread != "constant");
            let queue = Queue { servers: 1, batch_size, spread };
            queue.check(load, requests, latency - SERVICE_SECONDS);
        }
    }
}

#[test]
fn the_number_in_the_system_is_that_of_the_requests_that_left_and_those_that_did_not() {
    // Little's law is checked in every run; here much is left over, as more arrives than is served.
    let queue = Queue { servers: 1, batch_size: 2, spread: "constant" };
    let summary = queue.play(400.0, 40_000.0);
    assert!(summary.requests_unfinished > 1000, "{}", summary.requests_unfinished);
    near("throughput", summary.throughput_rps_mean, 200.0, 0.005);
}
