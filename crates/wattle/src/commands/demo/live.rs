//! One line a second while the day is replayed.

use wattle_core::policy::Reason;
use wattle_core::time::Timestamp;
use wattle_server::control_loop::Control;

use super::day::Day;
use super::load::SharedTally;

/// Longest line, so that it stays one line.
const WIDTH: usize = 110;

/// What the lines are made from, and what the last one said.
pub(super) struct Live<'a> {
    pub(super) control: &'a Control,
    pub(super) model: &'a str,
    pub(super) day: &'a Day,
    pub(super) tally: SharedTally,
    last: Last,
}

#[derive(Default)]
struct Last {
    at_seconds: f64,
    sent: u64,
    answered: u64,
    because: String,
}

impl<'a> Live<'a> {
    /// Lines from `start` on.
    pub(super) fn new(
        control: &'a Control,
        model: &'a str,
        day: &'a Day,
        tally: SharedTally,
        start: Timestamp,
    ) -> Self {
        let last = Last { at_seconds: start.as_secs_f64(), ..Last::default() };
        Self { control, model, day, tally, last }
    }

    /// The line of the time since the line before.
    pub(super) fn line(&mut self, now: Timestamp) -> String {
        let seconds = now.as_secs_f64();
        let elapsed = (seconds - self.last.at_seconds).max(1e-3);
        let status = self.control.status();
        let knobs = status.models.iter().find(|model| model.name.as_str() == self.model);
        let knobs = knobs.map_or_else(String::new, |model| {
            let setting = &model.setting;
            format!("b={} m={} duty={:.2}", setting.batch_size, setting.instances, setting.duty_cycle)
        });
        let power = self.mean_power(seconds);
        let (sent, answered, p95) = {
            let tally = self.tally.lock();
            let [p95] = tally.latency_ms_since(self.last.answered, [0.95]);
            (tally.sent, tally.answered(), p95)
        };
        let rate = |now: u64, before: u64| (now - before) as f64 / elapsed;
        let watts = |watts: Option<f64>| watts.map_or("?".into(), |watts| format!("{watts:.1}"));
        let mut line = format!(
            "{} cap {:>4} W power {:>4} W | asked {:>4.0}/s answered {:>4.0}/s p95 {:>3} ms | {knobs:<18}",
            self.day.time_of_day(now),
            watts(status.power_cap_watts.map(|cap| cap.get())),
            watts(power),
            rate(sent, self.last.sent),
            rate(answered, self.last.answered),
            p95.map_or("-".into(), |p95| format!("{p95:.0}")),
        );
        let because = self.because();
        if because != self.last.because {
            line = format!("{line} | {because}");
        }
        self.last = Last { at_seconds: seconds, sent, answered, because };
        line.chars().take(WIDTH).collect::<String>().trim_end().to_owned()
    }

    /// Mean power since the line before.
    fn mean_power(&self, now_seconds: f64) -> Option<f64> {
        let points = self.control.power_points();
        let (mut joules, mut seconds) = (0.0, 0.0);
        for pair in points.windows(2).rev() {
            if pair[0].seconds < self.last.at_seconds - 0.05 || pair[1].seconds > now_seconds {
                break;
            }
            let length = pair[1].seconds - pair[0].seconds;
            joules += pair[1].power_watts.get() * length;
            seconds += length;
        }
        (seconds > 0.0).then(|| joules / seconds)
    }

    /// The last decision's reason for this model, in a few words.
    fn because(&self) -> String {
        let Some(last) = self.control.decisions(1).pop() else { return String::new() };
        let of_model = |(model, _): &&(Option<_>, Reason)| {
            model.as_ref().is_none_or(|model: &wattle_core::id::ModelName| model.as_str() == self.model)
        };
        last.decision
            .reasons
            .iter()
            .rev()
            .find(of_model)
            .map_or_else(String::new, |(_, reason)| in_short(reason))
    }
}

/// A reason in a few words; the whole of it is on the dashboard.
fn in_short(reason: &Reason) -> String {
    match reason {
        Reason::BestUnderCap { predicted_watts, .. } => format!("fits {predicted_watts}"),
        Reason::Parked { least_watts, .. } => format!("parked, {least_watts}"),
        other => other.name().replace('_', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wattle_core::units::Watts;

    #[test]
    fn a_reason_is_told_in_a_few_words() {
        let reason = Reason::BestUnderCap {
            cap_watts: Watts::new(6.0),
            bound_watts: Watts::new(6.0),
            predicted_watts: Watts::new(5.5),
            predicted_rps: 800.0,
            batch_size: 8,
            instances: 1,
            duty_cycle: 0.5,
            core_clock_mhz: None,
            compute_units: None,
        };
        assert_eq!(in_short(&reason), "fits 5.5 W");
        assert_eq!(in_short(&Reason::NoTraffic), "no traffic");
    }
}
