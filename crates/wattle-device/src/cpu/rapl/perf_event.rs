//! Energy counters through the kernel's perf events: the second way, where the powercap files are absent
//! or refused.
//!
//! The kernel extends these counters to 64 bits itself, so they don't turn over. Counts packages and
//! their memory: `energy-cores` and `energy-gpu` are parts of the package, and `energy-psys` contains it.
//! Formats: the kernel's `Documentation/ABI/testing/sysfs-bus-event_source-devices-events`; permissions:
//! `Documentation/admin-guide/perf-security.rst`.

use std::io;
use std::path::Path;

use super::super::system_file;
use super::Counter;
use crate::device::{Access, DeviceError};

/// The events that are added up, and what they count.
const EVENTS: [(&str, &str); 2] = [("energy-pkg", "package"), ("energy-ram", "dram")];

/// How to be let to open an event that counts for all processes.
const GRANT: &str = "; setcap cap_perfmon=ep PROGRAM (CAP_SYS_ADMIN before Linux 5.8; in a container: --cap-add PERFMON), \
                     or as root: sysctl kernel.perf_event_paranoid=0";

/// An event of one package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Event {
    /// The number of the PMU.
    pub(super) kind: u32,
    /// The event within it.
    pub(super) config: u64,
    /// The CPU that counts for its package.
    pub(super) cpu: u32,
}

/// Reads the ticks that an open event has counted.
pub(in super::super) type ReadTicks = Box<dyn FnMut() -> io::Result<u64> + Send>;

/// Opens an event: [`in_kernel`], or a stand-in for it.
pub(in super::super) type OpenEvent = dyn Fn(&Event) -> io::Result<ReadTicks>;

/// Opens an event of the kernel, which counts from now on.
pub(in super::super) fn in_kernel(event: &Event) -> io::Result<ReadTicks> {
    let mut builder = perf_event::Builder::new().any_pid().one_cpu(event.cpu as usize);
    // These events can leave nothing out, and refuse to be asked to.
    builder.include_kernel().include_hv().exclude_guest(false);
    let attributes = builder.attrs_mut();
    attributes.type_ = event.kind;
    attributes.config = event.config;
    let mut counter = builder.build()?;
    counter.enable()?;
    Ok(Box::new(move || counter.read()))
}

/// Finds the counters below `sys` and opens each.
pub(super) fn open(sys: &Path, open_event: &OpenEvent) -> Access<Vec<Counter>> {
    let pmu = sys.join("bus/event_source/devices/power");
    let packages = pmu.join("events").join(EVENTS[0].0);
    if !packages.exists() {
        let because = format!("no event {} (virtual machines have none)", packages.display());
        return Access::Absent { because };
    }
    system_file::access(counters(sys, &pmu, open_event))
}

fn counters(sys: &Path, pmu: &Path, open_event: &OpenEvent) -> Result<Vec<Counter>, DeviceError> {
    let expected = "the number of a PMU";
    let path = pmu.join("type");
    let kind = system_file::read_number(&path, expected)?;
    let kind =
        u32::try_from(kind).map_err(|_| system_file::unexpected(&path, &kind.to_string(), expected))?;
    let path = pmu.join("cpumask");
    let cpus = system_file::read_cpu_list(&path)?;
    if cpus.is_empty() {
        return Err(system_file::unexpected(&path, "", "a CPU of each package, such as 0,18"));
    }
    let mut counters = Vec::new();
    for (file, counts) in EVENTS {
        let path = pmu.join("events").join(file);
        if !path.exists() {
            continue;
        }
        let config = config(&path)?;
        let joules_per_tick = joules_per_tick(&path)?;
        for &cpu in &cpus {
            let source = format!("{} on cpu{cpu}", path.display());
            let mut ticks =
                open_event(&Event { kind, config, cpu }).map_err(|error| refused(&source, error))?;
            let name = if counts == "dram" { counts.to_owned() } else { package_name(sys, cpu, &cpus) };
            let said = source.clone();
            let read = Box::new(move || ticks().map_err(|error| refused(&said, error)));
            counters.push(Counter::open(name, source, joules_per_tick, None, read)?);
        }
    }
    Ok(counters)
}

/// `package-` and the number of the package of `cpu`, or its place among `cpus`.
fn package_name(sys: &Path, cpu: u32, cpus: &[u32]) -> String {
    let path = sys.join(format!("devices/system/cpu/cpu{cpu}/topology/physical_package_id"));
    let place = cpus.iter().position(|other| *other == cpu).unwrap_or_default() as u64;
    format!("package-{}", system_file::read_number(&path, "the number of a package").unwrap_or(place))
}

/// The number in `event=0x02`.
fn config(path: &Path) -> Result<u64, DeviceError> {
    let text = system_file::read(path)?;
    let number = text.strip_prefix("event=0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    number.ok_or_else(|| system_file::unexpected(path, &text, "an event such as `event=0x02`"))
}

/// Joules of one tick of the event at `path`, by the files beside it.
fn joules_per_tick(path: &Path) -> Result<f64, DeviceError> {
    let beside = |extension: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(extension);
        std::path::PathBuf::from(name)
    };
    let unit_path = beside(".unit");
    let unit = system_file::read(&unit_path)?;
    if unit != "Joules" {
        return Err(system_file::unexpected(&unit_path, &unit, "Joules"));
    }
    let path = beside(".scale");
    let text = system_file::read(&path)?;
    let scale = text.parse::<f64>().ok().filter(|scale| scale.is_finite() && *scale > 0.0);
    scale.ok_or_else(|| system_file::unexpected(&path, &text, "joules of one tick, more than 0"))
}

fn refused(source: &str, error: io::Error) -> DeviceError {
    let hint = if error.kind() == io::ErrorKind::PermissionDenied { GRANT } else { "" };
    DeviceError::File { action: "open", path: source.to_owned(), hint, source: error }
}

#[cfg(test)]
pub(in super::super) mod tests {
    use super::super::super::fake_tree::FakeTree;
    use super::*;

    const POWER: &str = "sys/bus/event_source/devices/power";

    /// Two packages with the events of a server, of half a joule per tick.
    pub(in super::super::super) fn power_pmu(tree: &FakeTree) {
        tree.write(&format!("{POWER}/type"), "20\n");
        tree.write(&format!("{POWER}/cpumask"), "0,18\n");
        for (event, config) in [("energy-pkg", 2), ("energy-ram", 3), ("energy-cores", 1), ("energy-psys", 5)]
        {
            tree.write(&format!("{POWER}/events/{event}"), &format!("event=0x0{config}\n"));
            tree.write(&format!("{POWER}/events/{event}.scale"), "0.5\n");
            tree.write(&format!("{POWER}/events/{event}.unit"), "Joules\n");
        }
    }

    fn open_any(_: &Event) -> io::Result<ReadTicks> {
        Ok(Box::new(|| Ok(7)))
    }

    #[test]
    fn opens_the_events_of_packages_and_memory_on_a_cpu_of_each_package() {
        let tree = FakeTree::new();
        power_pmu(&tree);
        let opened = std::cell::RefCell::new(Vec::new());
        let opened_in = std::rc::Rc::new(opened);
        let seen = std::rc::Rc::clone(&opened_in);
        let open_event = move |event: &Event| {
            seen.borrow_mut().push(*event);
            open_any(event)
        };
        let Access::Here(counters) = open(&tree.sys(), &open_event) else { panic!("no counters") };
        let event = |config, cpu| Event { kind: 20, config, cpu };
        assert_eq!(*opened_in.borrow(), [event(2, 0), event(2, 18), event(3, 0), event(3, 18)]);
        let names: Vec<_> = counters.iter().map(|counter| counter.name.as_str()).collect();
        assert_eq!(names, ["package-0", "package-1", "dram", "dram"]);
    }

    #[test]
    fn a_refused_event_names_the_capability_and_the_setting() {
        let tree = FakeTree::new();
        power_pmu(&tree);
        let refuse = |_: &Event| -> io::Result<ReadTicks> { Err(io::ErrorKind::PermissionDenied.into()) };
        let Access::Denied { because, fix } = open(&tree.sys(), &refuse) else { panic!("not denied") };
        assert!(because.contains("events/energy-pkg on cpu0"), "{because}");
        assert!(fix.starts_with("setcap cap_perfmon=ep"), "{fix}");
        assert!(fix.ends_with("sysctl kernel.perf_event_paranoid=0"), "{fix}");
    }

    #[test]
    fn a_machine_without_the_events_has_none_and_a_strange_file_is_named() {
        let tree = FakeTree::new();
        assert!(matches!(open(&tree.sys(), &open_any), Access::Absent { .. }));
        for (file, text) in [
            ("type", "many"),
            ("type", "4294967296"),
            ("cpumask", "0-"),
            ("cpumask", ""),
            ("events/energy-pkg", "umask=1"),
            ("events/energy-pkg.scale", "-1"),
            ("events/energy-ram.unit", "Watts"),
        ] {
            let tree = FakeTree::new();
            power_pmu(&tree);
            tree.write(&format!("{POWER}/{file}"), text);
            let Access::Failed { because } = open(&tree.sys(), &open_any) else { panic!("{file}: {text}") };
            assert!(because.contains(file) && because.contains(text), "{because}");
        }
    }

    /// Events that many machines have and that count as the energy would: the kernel's own clock of a
    /// CPU, and its time stamp counter, whose PMU, as that of energy, refuses to leave anything out.
    #[test]
    fn events_of_this_kernel_count_on_where_this_user_may_open_them() {
        let mut events = vec![Event { kind: 1, config: 0, cpu: 0 }];
        let msr = Path::new("/sys/bus/event_source/devices/msr");
        if let (Ok(kind), Ok("event=0x00")) = (
            system_file::read_number(&msr.join("type"), ""),
            system_file::read(&msr.join("events/tsc")).as_deref(),
        ) {
            events.push(Event { kind: kind as u32, config: 0, cpu: 0 });
        }
        for event in events {
            let mut read = match in_kernel(&event) {
                Ok(read) => read,
                Err(error) => return println!("not tested, as this user may not open {event:?}: {error}"),
            };
            let first = read().unwrap();
            assert!(read().unwrap() > first, "{event:?}");
        }
    }
}
