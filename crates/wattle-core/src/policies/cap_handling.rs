//! When a policy is asked, and which cap it is shown: nothing between time slices, reactive, proactive.
//!
//! After the two ways to handle violations of "Opportunities of Renewable Energy Powered DNN
//! Inference" (Nabavinejad, Guo), which the paper asks for, and the bare time slices of its own
//! simulation. Goes around any policy:
//!
//! - `none`: the policy is asked at the start of each time slice and sees no power. What the cap and
//!   power do in between is ignored.
//! - `reactive`: the policy is asked as the driver sees fit, at once when the cap changes or is violated.
//! - `proactive`: the policy is shown the lowest cap that is expected until what it turns now has taken
//!   effect, less a margin for the noise and drift of power, so that it acts before a violation. A cap
//!   that is to rise is not anticipated.

mod batch_time;
mod margin;
mod slices;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::forecast::ChangeHistory;
use crate::id::ModelName;
use crate::observation::Observation;
use crate::policy::{Decision, Policy, Reason};
use crate::profile::Profile;
use crate::time::Timestamp;
use crate::units::Watts;
use batch_time::BatchTimes;
use margin::Margin;
use slices::Slices;

/// How far beyond the lead the cap's changes are looked for, and how long it is until the next look.
const LOOK_AHEAD: Duration = Duration::from_secs(30);

/// When a policy is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CapHandlingMode {
    /// At the start of each time slice only.
    None,
    /// When a change or a violation of the cap is seen.
    #[default]
    Reactive,
    /// Before either is expected.
    Proactive,
}

/// Where the caps to come are known from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CapForecast {
    /// From the driver, which reads them in a trace or is told.
    #[default]
    Driver,
    /// The same as one period ago. Until a period has been seen there is no forecast: a lower cap is
    /// then acted on when it is there, as in the mode `reactive`.
    Seasonal,
    /// The line through the last two caps, where they change at a regular interval.
    Trend,
}

/// What can be set about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CapHandlingOptions {
    /// When the policy is asked.
    pub mode: CapHandlingMode,
    /// Length of a time slice, for `none`. Slices begin with the run.
    pub time_slice_seconds: f64,
    /// How long before a lower cap the policy is shown it, for `proactive`; the time that batches take
    /// is added.
    pub lead_seconds: f64,
    /// Where the caps to come are known from.
    pub forecast: CapForecast,
    /// After how long the caps repeat, for the forecast `seasonal`.
    pub period_seconds: f64,
    /// The margin below the cap is for so many standard deviations of power.
    pub margin_deviations: f64,
    /// The margin is never more than this share of the cap. In 0 to 1.
    pub margin_max_share: f64,
}

impl Default for CapHandlingOptions {
    fn default() -> Self {
        Self {
            mode: CapHandlingMode::Reactive,
            time_slice_seconds: 3600.0,
            lead_seconds: 1.0,
            forecast: CapForecast::Driver,
            period_seconds: 86_400.0,
            margin_deviations: 2.0,
            margin_max_share: 0.05,
        }
    }
}

/// `inner`, asked as the mode of `options` says. Where that is `reactive`, it is `inner` as it is.
pub fn around(inner: Box<dyn Policy>, options: &CapHandlingOptions) -> Box<dyn Policy> {
    let handling = match options.mode {
        CapHandlingMode::Reactive => return inner,
        CapHandlingMode::None => Handling::None(Slices::new(seconds(options.time_slice_seconds))),
        CapHandlingMode::Proactive => Handling::Proactive(Proactive::new(options)),
    };
    Box::new(CapHandling { inner, handling })
}

/// A policy that is not asked as the driver sees fit.
struct CapHandling {
    inner: Box<dyn Policy>,
    handling: Handling,
}

enum Handling {
    None(Slices),
    Proactive(Proactive),
}

impl Policy for CapHandling {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn decide(&mut self, seen: &Observation) -> Decision {
        match &mut self.handling {
            Handling::None(slices) => slices.decide(self.inner.as_mut(), seen),
            Handling::Proactive(proactive) => proactive.decide(self.inner.as_mut(), seen),
        }
    }

    fn refine(&mut self, profiles: &BTreeMap<ModelName, Profile>) {
        self.inner.refine(profiles);
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// What is remembered to act ahead.
#[derive(Debug, Clone)]
struct Proactive {
    lead: Duration,
    forecast: CapForecast,
    caps: ChangeHistory,
    batch_times: BatchTimes,
    margin: Margin,
}

impl Proactive {
    fn new(options: &CapHandlingOptions) -> Self {
        Self {
            lead: seconds(options.lead_seconds),
            forecast: options.forecast,
            caps: ChangeHistory::new(seconds(options.period_seconds)),
            batch_times: BatchTimes::default(),
            margin: Margin::new(options.margin_deviations, options.margin_max_share),
        }
    }

    fn decide(&mut self, inner: &mut dyn Policy, seen: &Observation) -> Decision {
        let cap_now = seen.power_cap.filter(|cap| !cap.get().is_nan());
        if let Some(cap) = cap_now {
            self.caps.see(seen.now, cap.get());
        }
        self.batch_times.take_in(seen);
        let lead = self.lead.saturating_add(self.batch_times.longest());
        let ahead = self.caps_ahead(seen, lead.saturating_add(LOOK_AHEAD));

        // The lowest until what is turned now has taken effect, and since when it is expected.
        let mut lowest: Option<(Watts, Option<Timestamp>)> = cap_now.map(|cap| (cap, None));
        for (at, cap) in ahead.iter().filter(|(at, _)| *at <= seen.now + lead) {
            if lowest.is_none_or(|(low, _)| *cap < low) {
                lowest = Some((*cap, Some(*at)));
            }
        }
        let Some((cap, at)) = lowest else {
            let mut decision = inner.decide(seen);
            self.ask_in_time(&mut decision, seen.now, lead, Watts::new(f64::INFINITY), &ahead);
            return decision;
        };
        let margin_watts = self.margin.take_in(seen, cap, lead, self.batch_times.longest());
        let cap_watts_shown = (cap - margin_watts).max(Watts::ZERO);
        let is_as_it_is = cap_now == Some(cap_watts_shown);
        let mut decision = if is_as_it_is {
            inner.decide(seen)
        } else {
            inner.decide(&Observation { power_cap: Some(cap_watts_shown), ..seen.clone() })
        };
        if decision.turns_something() {
            self.margin.turned(seen.now);
        }
        if !is_as_it_is {
            let reason = Reason::CapAhead {
                cap_watts_now: cap_now,
                cap_watts_shown,
                at_seconds: at.map(Timestamp::as_secs_f64),
                margin_watts,
            };
            decision.reasons.push((None, reason));
        }
        self.ask_in_time(&mut decision, seen.now, lead, cap, &ahead);
        decision
    }

    /// The policy is asked again when the next cap lower than `cap` is `lead` ahead.
    fn ask_in_time(
        &self,
        decision: &mut Decision,
        now: Timestamp,
        lead: Duration,
        cap: Watts,
        ahead: &[(Timestamp, Watts)],
    ) {
        let falls = ahead.iter().find(|(at, next)| *at > now + lead && *next < cap);
        let until = falls.map_or(LOOK_AHEAD, |(at, _)| (*at - now).saturating_sub(lead));
        decision.ask_again_in = decision.ask_again_in.min(until);
    }

    /// The caps to come, ascending in time.
    fn caps_ahead(&self, seen: &Observation, horizon: Duration) -> Vec<(Timestamp, Watts)> {
        let watts = |(at, cap): (Timestamp, f64)| (at, Watts::new(cap));
        match self.forecast {
            CapForecast::Driver => {
                let lawful = |(at, cap): &&(Timestamp, Watts)| *at >= seen.now && !cap.get().is_nan();
                seen.power_cap_ahead.iter().filter(lawful).copied().collect()
            }
            CapForecast::Seasonal => self.caps.seasonal(seen.now, horizon).into_iter().map(watts).collect(),
            CapForecast::Trend => self.caps.trend(seen.now, horizon).into_iter().map(watts).collect(),
        }
    }
}
