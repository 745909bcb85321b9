//! How fast replays run: `cargo bench -p wattle-sim`. A plain clock, no dependency.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use wattle_core::policies::{self, PolicyOptions, fixed::Fixed};
use wattle_sim::scenario::Loaded;
use wattle_sim::{epoch_level, request_level};

/// Each figure is the best of so many runs: others may use the machine too.
const RUNS: u32 = 5;
const REQUESTS: f64 = 4e6;

fn main() -> Result<(), Box<dyn Error>> {
    for (name, batch_size, instances) in
        [("batch size 1", 1, 1), ("batch size 32", 32, 1), ("batch size 1, 4 instances", 1, 4)]
    {
        let loaded = parse(&one_model(batch_size, instances))?;
        let mut requests = 0;
        let seconds = best(|| {
            let outcome = request_level::run(&loaded.plan, &mut Fixed, 1, &mut |_| ())?;
            requests = outcome.summary.requests_completed;
            Ok(())
        })?;
        let millions = requests as f64 / seconds / 1e6;
        println!("request level, {name}: {millions:.2} million requests/s ({requests} in {seconds:.3} s)");
    }
    let studies = (0..3).map(|trace| parse(&year(trace))).collect::<Result<Vec<_>, _>>()?;
    let names = ["fixed", "batching", "combination", "multi-tenant"];
    // A decision is for all models of its node: one epoch of one model, one cap trace and one policy.
    let epochs = 365 * 24 * 10 * 3 * names.len();
    for name in names {
        let seconds = best(|| year_under(&studies[0], name))?;
        println!("epoch level, {name}: a year of hours with 10 models in {:.1} ms", seconds * 1e3);
    }
    let seconds = best(|| {
        thread::scope(|scope| {
            // The halves of the work take about as long.
            let halves = [[names[0], names[2]], [names[1], names[3]]].map(|half| {
                let studies = &studies;
                scope.spawn(move || -> Result<(), String> {
                    for (study, name) in studies.iter().flat_map(|study| half.map(|name| (study, name))) {
                        year_under(study, name).map_err(|error| error.to_string())?;
                    }
                    Ok(())
                })
            });
            for half in halves {
                half.join().map_err(|_| "a run panicked")??;
            }
            Ok(())
        })
    })?;
    let rate = epochs as f64 / seconds / 1e6;
    println!("epoch level: {epochs} epochs on two cores in {seconds:.3} s, {rate:.2} million a second");
    Ok(())
}

/// Seconds of the fastest of some runs.
fn best(mut run: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let start = Instant::now();
        run()?;
        best = best.min(start.elapsed());
    }
    Ok(best.as_secs_f64())
}

fn parse(text: &str) -> Result<Loaded, Box<dyn Error>> {
    Ok(Loaded::parse(text, "bench.toml", Path::new(""))?)
}

/// One model at a load of 0.8, with Poisson arrivals.
fn one_model(batch_size: u32, instances: u32) -> String {
    let rate = 0.8 * f64::from(batch_size * instances) / 0.001;
    let span = REQUESTS / rate;
    let mut text = format!(
        "span_seconds = {span}\n[[models]]\nname = \"m\"\nidle_power_watts = 20\nmax_queue_size = 100000\n\
         batch_size = {batch_size}\ninstances = {instances}\n\
         workload = {{ kind = \"poisson\", rate_rps = {rate} }}\nrows = [\n"
    );
    for instances in 1..=instances {
        for batch_size in 1..=batch_size {
            let _ = writeln!(
                text,
                "{{ batch_size = {batch_size}, instances = {instances}, latency_ms_mean = 1, power_watts_mean = 80 }},"
            );
        }
    }
    text + "]\n"
}

/// A year of hours: 10 saturated models of 100 rows each under one of the cap traces, none of which
/// repeats itself within a day.
fn year(trace: u32) -> String {
    let mut text = "level = \"epoch\"\nspan_seconds = 31536000\noracle = false\n".to_owned();
    for model in 0..10 {
        let _ = write!(
            text,
            "[[models]]\nname = \"m{model}\"\nidle_power_watts = 20\nworkload = {{ kind = \"saturated\" }}\nrows = [\n"
        );
        for instances in 1..=4 {
            for batch_size in 1..=25 {
                let work = f64::from(instances * batch_size).sqrt() * (1.0 + 0.05 * f64::from(model));
                let (rps, watts) = (50.0 * work, 20.0 + 8.0 * work);
                let _ = writeln!(
                    text,
                    "{{ batch_size = {batch_size}, instances = {instances}, throughput_rps = {rps}, \
                     power_watts_mean = {watts}, power_watts_max = {watts} }},"
                );
            }
        }
        text += "]\n";
    }
    text += "[power_cap]\nsteps = [\n";
    for hour in 0..365 * 24 {
        let of_day = f64::from(hour % 24) / 24.0 * std::f64::consts::TAU;
        let watts = 400.0 + 250.0 * (of_day + f64::from(trace)).sin() + f64::from(hour * 7919 % 101);
        let _ = writeln!(text, "[{}, {watts}],", hour * 3600);
    }
    text + "]\n"
}

fn year_under(study: &Loaded, policy: &str) -> Result<(), Box<dyn Error>> {
    let options = PolicyOptions { profiles: BTreeMap::clone(&study.profiles), ..PolicyOptions::default() };
    let mut policy = policies::build(policy, &options)?;
    let outcome = epoch_level::run(&study.plan, policy.as_mut(), 1, &mut |_| ());
    if outcome.summary.requests_completed == 0 {
        return Err("nothing was served".into());
    }
    Ok(())
}
