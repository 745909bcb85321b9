//! Everything there is to see of a CPU, for people: sensors, knobs and facts, each with why not.

#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use wattle_core::knob::{DeviceKnob, KnobRange};
use wattle_core::time::Timestamp;

use super::power_meter::PowerMeter;
use super::rapl::powercap;
use super::topology::Topology;
use super::{CpuDevice, and_then, system_file};
use crate::device::{Access, Device, DeviceError, Inspection, KnobView, SensorView};

/// Drivers of the sensors in a CPU: Intel's, AMD's, and that of ARM boards.
const THERMOMETERS: [&str; 4] = ["coretemp", "k10temp", "zenpower", "cpu_thermal"];

/// What the drivers call the sensor of a whole package.
const OF_PACKAGE: [&str; 3] = ["Package id", "Tdie", "Tctl"];

pub(super) fn inspect(cpu: &mut CpuDevice, now: Timestamp) -> Inspection {
    Inspection { sensors: sensors(cpu, now), knobs: knobs(cpu), facts: facts(cpu, now) }
}

fn sensors(cpu: &mut CpuDevice, now: Timestamp) -> Vec<SensorView> {
    let reading = cpu.read(now);
    let source = cpu.info.power_provenance.to_string();
    let sensor =
        |name, unit, source: &str, reading| SensorView { name, unit, source: source.to_owned(), reading };
    let of = |value: fn(&crate::device::Reading) -> Option<f64>| match &reading {
        Ok(reading) => value(reading).map_or_else(unknown_yet, Access::Here),
        Err(error) => system_file::no_access(error),
    };
    let energy = of(|reading| reading.energy.map(|energy| energy.get()));
    let estimated = of(|reading| reading.power.map(|power| power.get()));
    let utilization = of(|reading| reading.utilization);
    let own_share = of(|reading| reading.own_share);
    let before = match &reading {
        Ok(reading) => reading.energy.and_then(|energy| cpu.inspected.replace((now, energy))),
        Err(_) => None,
    };
    let power = match (&cpu.power, before, &energy) {
        (PowerMeter::Rapl(_), Some((last, before)), Access::Here(energy)) if now > last => {
            Access::Here((energy - before.get()) / (now - last).as_secs_f64())
        }
        _ => estimated,
    };
    let mut sensors = vec![
        sensor("energy", "J", &source, energy),
        sensor("power", "W", &source, power),
        sensor("utilization", "share", "/proc/stat", utilization),
        sensor("own_share", "share", "/proc/self/stat", own_share),
    ];
    sensors.extend(counters(cpu));
    let clock = and_then(&cpu.clock, |clock| system_file::access(clock.clock_now()));
    sensors.push(sensor("core_clock", "MHz", "scaling_cur_freq, average of all clocks", clock));
    sensors.extend(temperatures(&cpu.roots.sys));
    sensors
}

fn unknown_yet<T>() -> Access<T> {
    Access::Absent { because: "the first reading starts it".into() }
}

/// Every energy counter, counted or not; or why there is none, way by way.
fn counters(cpu: &mut CpuDevice) -> Vec<SensorView> {
    let view = |source: String, reading| SensorView { name: "energy_counter", unit: "J", source, reading };
    let mut views = Vec::new();
    let mut shown: Vec<String> = Vec::new();
    if let PowerMeter::Rapl(rapl) = &mut cpu.power {
        for (name, source, joules) in rapl.each() {
            views.push(view(
                format!("{source} ({name})"),
                system_file::access(joules.map(|joules| joules.get())),
            ));
            shown.push(source);
        }
    }
    if let Access::Here(zones) = powercap::zones(&cpu.roots.sys) {
        for zone in &zones {
            let path = zone.folder.join("energy_uj");
            let source = path.display().to_string();
            if shown.contains(&source) {
                continue;
            }
            let why = if zone.is_counted(&zones) {
                ""
            } else {
                "; part of another or containing others: not added"
            };
            let microjoules = system_file::read_number(&path, "an energy counter, in microjoules");
            let joules = system_file::access(microjoules.map(|microjoules| microjoules as f64 * 1e-6));
            views.push(view(format!("{source} ({}{why})", zone.name), joules));
        }
    }
    for (way, access) in
        [("powercap", Some(&cpu.ways.powercap)), ("perf_event", cpu.ways.perf_event.as_ref())]
    {
        if let Some(access) = access
            && !matches!(access, Access::Here(_))
        {
            views.push(view(format!("RAPL by {way}"), and_then(access, |_| unknown_yet())));
        }
    }
    views
}

/// The temperature of each package.
fn temperatures(sys: &Path) -> Vec<SensorView> {
    let class = sys.join("class/hwmon");
    let view = |source, reading| SensorView { name: "temperature", unit: "C", source, reading };
    let mut views = Vec::new();
    for monitor in listed(&class) {
        if !system_file::read(&monitor.join("name")).is_ok_and(|name| THERMOMETERS.contains(&name.as_str())) {
            continue;
        }
        let label = |input: &Path| {
            let name = input.file_name()?.to_str()?.replace("_input", "_label");
            system_file::read(&input.with_file_name(name)).ok()
        };
        let is_input = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            name.starts_with("temp") && name.ends_with("_input")
        };
        let inputs: Vec<_> = listed(&monitor).into_iter().filter(is_input).collect();
        let is_of_package = |input: &&PathBuf| {
            label(input).is_some_and(|label| OF_PACKAGE.iter().any(|name| label.starts_with(name)))
        };
        if let Some(input) = inputs.iter().find(is_of_package).or(inputs.first()) {
            let source = match label(input) {
                Some(label) => format!("{} ({label})", input.display()),
                None => input.display().to_string(),
            };
            views.push(view(source, system_file::access(celsius(input))));
        }
    }
    if views.is_empty() {
        let because = format!("no driver of {THERMOMETERS:?} (virtual machines have none)");
        views.push(view(class.display().to_string(), Access::Absent { because }));
    }
    views
}

/// What stands in millidegrees in a file.
fn celsius(path: &Path) -> Result<f64, DeviceError> {
    let text = system_file::read(path)?;
    let expected = "a temperature in thousandths of a degree Celsius";
    let millidegrees: i64 = text.parse().map_err(|_| system_file::unexpected(path, &text, expected))?;
    Ok(millidegrees as f64 * 1e-3)
}

/// What is in a folder, by name; nothing where it can't be listed.
fn listed(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

fn knobs(cpu: &CpuDevice) -> Vec<KnobView> {
    let view = |knob: DeviceKnob, source, range: Access<KnobRange>, stands, may_turn: Access<()>| KnobView {
        knob,
        unit: knob.unit(),
        source,
        stands,
        // What has no range can't be turned, whoever may.
        turnable: and_then(&range, |_| may_turn),
        range: match range {
            Access::Here(range) => Some(range),
            _ => None,
        },
    };
    let cores = DeviceKnob::ComputeUnits;
    let clock_folder = cpu.roots.sys.join("devices/system/cpu/cpufreq/policy*/scaling_max_freq");
    let limit_source = match &cpu.limit {
        Access::Here(limit) => limit.source(),
        _ => cpu.roots.sys.join("class/powercap").display().to_string(),
    };
    let range = cpu.info.range(cores).cloned();
    let absent = || Access::Absent { because: "no thread budget".into() };
    vec![
        view(
            cores,
            "the thread budget of this process".into(),
            range.map_or_else(absent, Access::Here),
            Access::Here(Some(f64::from(cpu.budget.limit()))),
            Access::Here(()),
        ),
        view(
            DeviceKnob::CoreClock,
            clock_folder.display().to_string(),
            and_then(&cpu.clock, |clock| Access::Here(clock.range())),
            and_then(&cpu.clock, |clock| system_file::access(clock.stands())),
            and_then(&cpu.clock, |clock| clock.may_turn().clone()),
        ),
        view(
            DeviceKnob::PowerLimit,
            limit_source,
            and_then(&cpu.limit, |limit| limit.range()),
            and_then(&cpu.limit, |limit| system_file::access(limit.stands())),
            and_then(&cpu.limit, |limit| limit.may_turn().clone()),
        ),
    ]
}

fn facts(cpu: &mut CpuDevice, now: Timestamp) -> Vec<(&'static str, Access<String>)> {
    let folder = cpu.roots.sys.join("devices/system/cpu");
    let fact = |file: &str| system_file::access(system_file::read(&folder.join(file)));
    let blind_after = match &cpu.power {
        PowerMeter::Estimate { because, .. } => Access::Absent { because: because.clone() },
        PowerMeter::Rapl(rapl) => Access::Here(match rapl.blind_after() {
            Some(after) => {
                format!("at least every {} s, or turns of a counter may go unseen", after.as_secs())
            }
            None => "at any time: the kernel extends the counters to 64 bits".into(),
        }),
    };
    vec![
        ("topology", system_file::access(Topology::read(&cpu.roots).map(|topology| topology.to_string()))),
        ("idle_states", cpu.idle_states.shares(&cpu.roots.sys, &cpu.roots.proc, now)),
        ("idle_driver", fact("cpuidle/current_driver")),
        ("clock_driver", fact("cpufreq/policy0/scaling_driver")),
        ("clock_governor", fact("cpufreq/policy0/scaling_governor")),
        ("boost", boost(&folder)),
        ("counters_to_be_read", blind_after),
    ]
}

/// Whether the clock may go above its nominal one, by either of the two files that drivers have.
fn boost(folder: &Path) -> Access<String> {
    let on = |file: &str, is_on: u64| {
        let path = folder.join(file);
        let number = system_file::read_number_if_any(&path, "0 or 1")?;
        Ok(number
            .map(|number| format!("{} ({})", if number == is_on { "on" } else { "off" }, path.display())))
    };
    let found: Result<Option<String>, DeviceError> = on("cpufreq/boost", 1)
        .and_then(|found| found.map_or_else(|| on("intel_pstate/no_turbo", 0), |found| Ok(Some(found))));
    match found {
        Ok(Some(found)) => Access::Here(found),
        Ok(None) => Access::Absent {
            because: format!("no cpufreq/boost or intel_pstate/no_turbo in {}", folder.display()),
        },
        Err(error) => system_file::no_access(&error),
    }
}
