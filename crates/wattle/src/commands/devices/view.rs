//! What is seen of the machine's devices at one moment.

use std::time::{Duration, Instant};

use wattle_core::id::DeviceId;
use wattle_core::time::Timestamp;
use wattle_core::units::{Joules, Watts};
use wattle_device::device::{Access, Device, DeviceInfo, Inspection};
use wattle_device::discover::DriverReport;
use wattle_device::lease::LeaseFolder;

/// Between two readings, power is the energy in between: long enough for every counter to move.
const BETWEEN_READINGS: Duration = Duration::from_millis(500);

/// The devices of this machine, open.
pub(super) struct Machine {
    devices: Vec<Opened>,
    missing: Vec<Missing>,
    leases: Vec<LeaseFolder>,
    since: Instant,
}

/// A driver that has no device here.
#[derive(Debug, Clone)]
pub(super) struct Missing {
    pub(super) driver: &'static str,
    /// Why; `Here` where the driver works and finds nothing.
    pub(super) why: Access<()>,
}

struct Opened {
    driver: &'static str,
    device: Box<dyn Device>,
    last: Option<(Timestamp, Joules)>,
}

/// What is seen at one moment.
pub(super) struct Seen {
    pub(super) devices: Vec<SeenDevice>,
    pub(super) missing: Vec<Missing>,
}

/// What is seen of one device.
pub(super) struct SeenDevice {
    pub(super) driver: &'static str,
    pub(super) info: DeviceInfo,
    /// Mean power since the look before, or the power it tells itself.
    pub(super) power: Access<Watts>,
    pub(super) utilization: Option<f64>,
    pub(super) inspection: Inspection,
    /// Who turned its knobs, by its lease.
    pub(super) turned_by: Option<TurnedBy>,
}

/// A process that turned knobs.
pub(super) struct TurnedBy {
    pub(super) pid: u32,
    pub(super) lives: bool,
}

impl Machine {
    pub(super) fn new(reports: Vec<DriverReport>, leases: Vec<LeaseFolder>) -> Self {
        let (mut devices, mut missing) = (Vec::new(), Vec::new());
        for DriverReport { driver, devices: found } in reports {
            let why = match found {
                Access::Here(found) if !found.is_empty() => {
                    devices.extend(found.into_iter().map(|device| Opened { driver, device, last: None }));
                    continue;
                }
                Access::Here(_) => Access::Absent { because: "the driver works, but finds no device".into() },
                Access::Absent { because } => Access::Absent { because },
                Access::Denied { because, fix } => Access::Denied { because, fix },
                Access::Failed { because } => Access::Failed { because },
            };
            missing.push(Missing { driver, why });
        }
        Self { devices, missing, leases, since: Instant::now() }
    }

    /// Looks twice, so that power over the time in between is known.
    pub(super) fn look_twice(&mut self) -> Seen {
        self.look();
        std::thread::sleep(BETWEEN_READINGS);
        self.look()
    }

    /// Reads every device.
    pub(super) fn look(&mut self) -> Seen {
        let now = Timestamp::from_duration(self.since.elapsed());
        let leases = &self.leases;
        let devices = self.devices.iter_mut().map(|opened| opened.look(now, leases)).collect();
        Seen { devices, missing: self.missing.clone() }
    }
}

impl Opened {
    fn look(&mut self, now: Timestamp, leases: &[LeaseFolder]) -> SeenDevice {
        let (power, utilization) = match self.device.read(now) {
            Err(error) => (Access::Failed { because: error.to_string() }, None),
            Ok(reading) => {
                let before = self.last;
                self.last = reading.energy.map(|energy| (now, energy)).or(before);
                let mean = match (before, reading.energy) {
                    (Some((then, before)), Some(energy)) if now > then => {
                        let seconds = (now - then).as_secs_f64();
                        Some(Watts::new((energy.get() - before.get()) / seconds))
                    }
                    _ => None,
                };
                let because = match reading.energy {
                    Some(_) => "it is known from the second reading on",
                    None => "the device tells neither energy nor power now",
                };
                let power = mean
                    .or(reading.power)
                    .map_or_else(|| Access::Absent { because: because.to_owned() }, Access::Here);
                (power, reading.utilization)
            }
        };
        let info = self.device.info().clone();
        let turned_by = leases.iter().find_map(|leases| turned_by(leases, &info.id));
        let inspection = self.device.inspect(now);
        SeenDevice { driver: self.driver, info, power, utilization, inspection, turned_by }
    }
}

fn turned_by(leases: &LeaseFolder, device: &DeviceId) -> Option<TurnedBy> {
    let (lease, lives) = leases.of(device).ok().flatten()?;
    Some(TurnedBy { pid: lease.pid, lives })
}
