//! Plans again and again, and tells a new plan only where it pays for the change.

use std::time::{Duration, Instant};

use anyhow::Result;
use wattle_plan::plan::Plan;

use super::{PlanArgs, decide, made, plan_json, read_fleet, read_plan, text};
use crate::new_file;
use crate::output::say;

/// Runs until the process is ended.
pub(super) fn run(args: &PlanArgs, every: Duration) -> Result<()> {
    let mut current = args.current.as_deref().map(read_plan).transpose()?;
    let started = Instant::now();
    let mut is_first = true;
    loop {
        match look(args, current.as_ref(), started.elapsed().as_secs_f64()) {
            Ok(Some(plan)) => current = Some(plan),
            Ok(None) => {}
            // What is wrong at first is the user's to correct; a file that is just being written is not.
            Err(error) if is_first => return Err(error),
            Err(error) => tracing::warn!(error = format!("{error:#}"), "the plan stays as it is"),
        }
        is_first = false;
        std::thread::sleep(every);
    }
}

/// Plans once; the plan, where it is to take the place of the current one.
fn look(args: &PlanArgs, current: Option<&Plan>, later_seconds: f64) -> Result<Option<Plan>> {
    let loaded = read_fleet(args, later_seconds)?;
    let plan = made(&loaded, args)?;
    let decision = current.map(|current| decide(&loaded, current, &plan));
    let change = decision.is_none_or(|decision| decision.change);
    if args.json {
        say(serde_json::json!({ "change": change, "decision": decision, "plan": change.then_some(&plan) }));
    } else {
        match &decision {
            Some(decision) => say(text::decision(&loaded, decision)),
            None => text::print_plan(&loaded, &plan),
        }
        if change && decision.is_some() {
            text::print_plan(&loaded, &plan);
        }
    }
    if !change {
        return Ok(None);
    }
    if let Some(out) = &args.out {
        new_file::write(out, plan_json(&plan)?.as_bytes(), args.force || current.is_some())?;
    }
    Ok(Some(plan))
}
