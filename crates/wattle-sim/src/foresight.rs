//! The future of a run, for policies that only a replay can have.

use std::collections::BTreeMap;
use std::time::Duration;

use wattle_core::foresight::Foresight;
use wattle_core::signal::{AfterEnd, Signal, Trace};

use crate::arrivals::Arrivals;
use crate::epoch_level::Offered;
use crate::plan::{Plan, Target};
use crate::workload::{Source, WorkloadError};

/// At request level the load is known as its mean over so long.
const LOAD_INTERVAL: Duration = Duration::from_millis(500);
/// Means are over more time where a run would have more of them than this.
const MOST_INTERVALS: u32 = 1_000_000;

/// Rows per second in each interval, by who is asked.
type Loads = BTreeMap<Target, Vec<f64>>;

/// The future of a run of `plan` with `seed` at request level: the arrivals that it will draw, counted.
/// Clients that wait for answers make no load that could be known.
///
/// # Errors
/// When a file of requests can't be read on.
pub fn of_requests(plan: &Plan, seed: u64) -> Result<Foresight, WorkloadError> {
    let interval = LOAD_INTERVAL.max(plan.span / MOST_INTERVALS);
    let mut loads = Loads::new();
    for (index, stream) in (0u64..).zip(&plan.streams) {
        if matches!(stream.source, Source::ClosedLoop { .. } | Source::Saturated) {
            continue;
        }
        let load = loads.entry(stream.target).or_insert_with(|| vec![0.0; count(plan, interval)]);
        let mut arrivals = Arrivals::new(&stream.source, seed, index + 2)?;
        while let Some(at) = arrivals.next_arrival()? {
            let bin = u128::from(at) / interval.as_nanos().max(1);
            let Some(bin) = usize::try_from(bin).ok().and_then(|bin| load.get_mut(bin)) else { break };
            *bin += f64::from(stream.rows) / interval.as_secs_f64();
        }
    }
    Ok(foresight(plan, loads, interval))
}

/// The future of a run of `plan` at epoch level: the mean rate of each epoch, as it is played. Of what is
/// saturated no load is known.
pub fn of_epochs(plan: &Plan) -> Foresight {
    let interval = plan.step.max(plan.span / MOST_INTERVALS);
    let mut loads = Loads::new();
    for stream in plan.streams.iter().filter(|stream| !matches!(stream.source, Source::Saturated)) {
        let mut offered = Offered::new(&stream.source);
        let load = loads.entry(stream.target).or_insert_with(|| vec![0.0; count(plan, interval)]);
        let mut left = plan.span;
        for bin in load {
            // The last epoch may be shorter.
            *bin += offered.next(interval.min(left).as_secs_f64()) * f64::from(stream.rows);
            left = left.saturating_sub(interval);
        }
    }
    foresight(plan, loads, interval)
}

/// Intervals of a run.
fn count(plan: &Plan, interval: Duration) -> usize {
    let count = plan.span.as_nanos().div_ceil(interval.as_nanos().max(1));
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn foresight(plan: &Plan, loads: Loads, interval: Duration) -> Foresight {
    let mut foresight = Foresight {
        power_cap: plan.power_cap.clone(),
        carbon_intensity: plan.carbon_intensity.clone(),
        ..Foresight::default()
    };
    for (index, model) in plan.models.iter().enumerate() {
        let is_asked = plan.streams.iter().any(|stream| match stream.target {
            Target::Model(model) => model == index,
            Target::Family(family) => plan.families[family].models.contains(&index),
        });
        if !is_asked {
            foresight.offered_rps.insert(model.name.clone(), Signal::Constant(0.0));
        }
    }
    for (target, load) in loads {
        let points = load.into_iter().zip(0u32..).map(|(rate, bin)| (interval * bin, rate));
        let Ok(trace) = Trace::new(points.collect(), AfterEnd::Hold) else { continue };
        match target {
            Target::Model(model) => {
                foresight.offered_rps.insert(plan.models[model].name.clone(), Signal::Trace(trace));
            }
            Target::Family(family) => {
                foresight.offered_family_rps.insert(plan.families[family].name.clone(), Signal::Trace(trace));
            }
        }
    }
    foresight
}
