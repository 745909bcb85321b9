//! The devices as text for people.

use wattle_core::knob::KnobRange;
use wattle_device::device::{Access, KnobView, SensorView};

use super::view::{Missing, Seen, SeenDevice, TurnedBy};
use crate::table::Table;

/// How far what belongs to a device stands to the right of its name.
const INDENT: &str = "  ";

const BYTES_PER_GIB: f64 = (1_u64 << 30) as f64;

/// Everything that is seen.
pub(super) fn of_machine(seen: &Seen) -> String {
    let mut parts: Vec<String> = seen.devices.iter().map(of_device).collect();
    if parts.is_empty() {
        parts.push("no device here".into());
    }
    if !seen.missing.is_empty() {
        let lines: Vec<_> = seen.missing.iter().map(of_missing).collect();
        parts.push(format!("not here\n{}", lines.join("\n")));
    }
    parts.join("\n\n")
}

fn of_device(device: &SeenDevice) -> String {
    let info = &device.info;
    let mut lines = vec![format!("{}  {}", info.id, info.description)];
    let mut line = |text: String| lines.push(format!("{INDENT}{text}"));
    line(of_power(device));
    line(format!("power is {}", info.power_provenance));
    for (what, figure) in [("idle", &info.idle_power), ("full", &info.full_power)] {
        if let Some((watts, provenance)) = figure {
            let known =
                if *provenance == info.power_provenance { String::new() } else { format!(", {provenance}") };
            line(format!("{what} {} W{known}", figures(watts.get())));
        }
    }
    match device.turned_by {
        Some(TurnedBy { pid, lives: true }) => line(format!("its knobs are turned by process {pid}")),
        Some(TurnedBy { pid, lives: false }) => {
            line(format!(
                "process {pid} was killed with its knobs turned; `wattle devices --restore` puts them back"
            ));
        }
        None => {}
    }
    let inspection = &device.inspection;
    if !inspection.sensors.is_empty() {
        lines.push(String::new());
        lines.push(indented(&sensors(&inspection.sensors, &info.power_provenance.source)));
    }
    if !inspection.knobs.is_empty() {
        lines.push(String::new());
        lines.push(indented(&knobs(&inspection.knobs)));
        for knob in &inspection.knobs {
            lines.extend(why_not(&format!("{} can't be turned", knob.knob.name()), &knob.turnable));
        }
    }
    if !inspection.facts.is_empty() {
        lines.push(String::new());
        let width = inspection.facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, fact) in &inspection.facts {
            lines.push(format!("{INDENT}{name:<width$}  {}", in_words(fact, String::clone)));
        }
    }
    lines.join("\n")
}

/// What the device draws and how busy it is, in a line.
pub(super) fn of_power(device: &SeenDevice) -> String {
    let power = match &device.power {
        Access::Here(watts) => format!("draws {:.1} W", watts.get()),
        other => format!("what it draws is not known: {}", in_words(other, |_| String::new())),
    };
    let busy = device.utilization.map(|share| format!(", {:.0} % busy", 100.0 * share));
    format!("{power}{}", busy.unwrap_or_default())
}

/// `of_power` is where power is from: told above, and not again at each sensor.
fn sensors(sensors: &[SensorView], of_power: &str) -> String {
    let mut table = Table::new(&["sensor", "reads", "unit", "from"]);
    for sensor in sensors {
        let (scale, unit) = if sensor.unit == "bytes" { (BYTES_PER_GIB, "GiB") } else { (1.0, sensor.unit) };
        let (reads, from) = match &sensor.reading {
            Access::Here(value) if sensor.source == of_power => (figures(value / scale), "as power".into()),
            Access::Here(value) => (figures(value / scale), sensor.source.clone()),
            other => ("-".into(), in_words(other, |_| String::new())),
        };
        table.row([sensor.name.to_owned(), reads, unit.to_owned(), from]);
    }
    table.to_string()
}

fn knobs(knobs: &[KnobView]) -> String {
    let mut table = Table::new(&["knob", "stands", "unit", "turns", "by"]);
    for knob in knobs {
        let stands = match &knob.stands {
            Access::Here(Some(value)) => figures(*value),
            Access::Here(None) => "free".into(),
            Access::Absent { .. } | Access::Denied { .. } | Access::Failed { .. } => "?".into(),
        };
        let turns = match (&knob.turnable, &knob.range) {
            (Access::Here(()), Some(range)) => range_of(range),
            (_, Some(range)) => format!("no ({})", range_of(range)),
            (Access::Here(()), None) => "range unknown".into(),
            (_, None) => "no".into(),
        };
        let name = knob.knob.name().to_owned();
        table.row([name, stands, knob.unit.to_owned(), turns, knob.source.clone()]);
    }
    table.to_string()
}

fn range_of(range: &KnobRange) -> String {
    let ends = format!("{} to {}", figures(range.min), figures(range.max));
    match range.steps.len() {
        0 => ends,
        steps => format!("{ends} in {steps} steps"),
    }
}

fn of_missing(missing: &Missing) -> String {
    why_not(missing.driver, &missing.why).join("\n")
}

/// Why something can't be had and what would help; nothing where it can.
fn why_not(what: &str, access: &Access<()>) -> Vec<String> {
    match access {
        Access::Here(()) => Vec::new(),
        Access::Absent { because } => vec![format!("{INDENT}{what}: {because}")],
        Access::Failed { because } => vec![format!("{INDENT}{what}: failed: {because}")],
        Access::Denied { because, fix } => {
            vec![format!("{INDENT}{what}: {because}"), format!("{INDENT}{INDENT}to allow it: {fix}")]
        }
    }
}

/// What there is, or why not, in a line.
fn in_words<T>(access: &Access<T>, here: impl Fn(&T) -> String) -> String {
    match access {
        Access::Here(value) => here(value),
        Access::Absent { because } => format!("none: {because}"),
        Access::Denied { because, fix } => format!("denied: {because}; to allow it: {fix}"),
        Access::Failed { because } => format!("failed: {because}"),
    }
}

/// As many figures as are worth reading.
fn figures(value: f64) -> String {
    let places = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.places$}")
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("{INDENT}{line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use wattle_core::knob::DeviceKnob;
    use wattle_core::provenance::{Basis, Provenance};
    use wattle_core::units::Watts;
    use wattle_device::device::{DeviceInfo, Inspection};

    use super::*;

    fn device() -> SeenDevice {
        let range = |knob, min, max, steps| KnobRange { knob, min, max, steps };
        let clock = range(DeviceKnob::CoreClock, 300.0, 1980.0, vec![300.0, 1200.0, 1980.0]);
        let limit = range(DeviceKnob::PowerLimit, 200.0, 700.0, Vec::new());
        let view = |range: &KnobRange, stands, turnable| KnobView {
            knob: range.knob,
            unit: range.knob.unit(),
            source: "a call".into(),
            range: Some(range.clone()),
            stands,
            turnable,
        };
        let denied = Access::Denied { because: "no permission".into(), fix: "run as root".into() };
        let sensor = |name, unit, reading| SensorView { name, unit, source: "a counter".into(), reading };
        SeenDevice {
            driver: "gpu",
            info: DeviceInfo {
                id: "gpu:7".into(),
                description: "A GPU".into(),
                knobs: vec![clock.clone()],
                power_provenance: Provenance::new(Basis::Measured, "its counter"),
                idle_power: None,
                full_power: Some((Watts::new(700.0), Provenance::new(Basis::Assumed, "its limit"))),
            },
            power: Access::Here(Watts::new(123.45)),
            utilization: Some(0.5),
            inspection: Inspection {
                sensors: vec![
                    sensor("energy", "J", Access::Here(61.25)),
                    sensor("temperature", "C", Access::Absent { because: "not told".into() }),
                ],
                knobs: vec![
                    view(&clock, Access::Here(None), Access::Here(())),
                    view(&limit, Access::Here(Some(700.0)), denied),
                ],
                facts: vec![("driver", Access::Here("570.1".into()))],
            },
            turned_by: Some(TurnedBy { pid: 42, lives: true }),
        }
    }

    #[test]
    fn a_device_is_shown_with_what_can_be_had_and_what_would_help_for_the_rest() {
        let expected = "\
gpu:7  A GPU
  draws 123.5 W, 50 % busy
  power is measured: its counter
  full 700 W, assumed: its limit
  its knobs are turned by process 42

  sensor       reads  unit  from
  energy       61.25  J     a counter
  temperature      -  C     none: not told

  knob         stands  unit  turns                   by
  core_clock   free    MHz   300 to 1980 in 3 steps  a call
  power_limit     700  W     no (200 to 700)         a call
  power_limit can't be turned: no permission
    to allow it: run as root

  driver  570.1";
        assert_eq!(of_device(&device()), expected);
    }

    #[test]
    fn what_is_not_here_says_why() {
        let missing = vec![
            Missing { driver: "nvidia", why: Access::Absent { because: "no library".into() } },
            Missing { driver: "amd", why: Access::Failed { because: "it broke".into() } },
        ];
        let seen = Seen { devices: Vec::new(), missing };
        assert_eq!(
            of_machine(&seen),
            "no device here\n\nnot here\n  nvidia: no library\n  amd: failed: it broke"
        );
    }
}
