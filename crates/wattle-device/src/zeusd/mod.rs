//! Knobs of GPUs turned by zeusd, the privileged daemon of Zeus, for users who may only read.
//!
//! zeusd is asked over its Unix socket (its API: `GET /discover`, `POST /gpu/set_power_limit`, and so on).
//! It resets nothing by itself: that stays with [`Held`](crate::held::Held), which knows these knobs as it
//! knows any other.

mod client;
mod unix;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use serde::Deserialize;
use wattle_core::knob::{DeviceKnob, DeviceSetting, KnobRange};
use wattle_core::time::Timestamp;

use self::client::{Client, RequestError};
use crate::device::{Access, Device, DeviceError, DeviceInfo, Inspection, KnobState, Reading};

/// Where zeusd listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/zeusd/zeusd.sock";
/// The environment variable with the token for a zeusd that asks for one, as Zeus itself reads it.
pub const TOKEN_VARIABLE: &str = "ZEUSD_TOKEN";

/// How far, as a share, a knob may read back from what was set: drivers round to their own steps.
const READ_BACK_TOLERANCE: f64 = 0.01;

/// A zeusd that turns knobs for us, and the GPUs it knows.
#[derive(Debug, Clone)]
pub struct Zeusd {
    client: Client,
    gpus: Vec<KnownGpu>,
}

/// One GPU, as zeusd tells of it.
#[derive(Debug, Clone, Deserialize)]
struct KnownGpu {
    id: u32,
    name: String,
    pci_address: Option<String>,
}

/// The answer to `GET /discover`, as far as it matters here.
#[derive(Deserialize)]
struct Discovered {
    gpus: Vec<KnownGpu>,
    enabled_api_groups: Vec<String>,
    #[serde(default)]
    auth_required: bool,
}

#[derive(Deserialize)]
struct PowerLimit {
    power_limit_mw: f64,
}

impl Zeusd {
    /// Asks the zeusd at `socket` (`None`: [`DEFAULT_SOCKET`]) for its GPUs. `token` is for one that asks
    /// for authentication.
    ///
    /// `Absent` where nothing listens there; `Denied` where it turns no knobs, or not for this user.
    pub fn connect(socket: Option<&Path>, token: Option<String>) -> Access<Self> {
        let has_token = token.is_some();
        let client = Client::new(socket.unwrap_or(Path::new(DEFAULT_SOCKET)), token);
        let denied = |because: &str, fix: &str| Access::Denied { because: because.into(), fix: fix.into() };
        let discovered: Discovered = match client.get("/discover", &[], "what `GET /discover` answers") {
            Ok(discovered) => discovered,
            Err(RequestError::Unreachable { socket, source }) => {
                let because = format!("{socket}: {source}");
                return match source.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                        Access::Absent { because: format!("no zeusd listens: {because}") }
                    }
                    io::ErrorKind::PermissionDenied => denied(
                        &because,
                        "let this user write to zeusd's socket (it is made with mode 666 by default)",
                    ),
                    _ => Access::Failed { because },
                };
            }
            Err(error) => return Access::Failed { because: format!("{error}{}", error.hint()) },
        };
        if !discovered.enabled_api_groups.iter().any(|group| group == "gpu-control") {
            let told = "zeusd turns no knobs: its API group gpu-control is not enabled";
            return denied(told, "start zeusd as root, with the API group gpu-control enabled");
        }
        if discovered.auth_required && !has_token {
            let fix =
                "issue a token with the scope gpu-control (zeusd token issue) and give it as ZEUSD_TOKEN";
            return denied("zeusd asks for a token", fix);
        }
        Access::Here(Self { client, gpus: discovered.gpus })
    }

    /// `inner` with the knobs that it has but this user may not turn, turned by zeusd. `now` is the time of
    /// the look at it that this takes.
    ///
    /// # Errors
    /// Gives `inner` back where zeusd doesn't know that GPU for certain, or would add nothing.
    pub fn wrap(&self, mut inner: Box<dyn Device>, now: Timestamp) -> Result<ViaZeusd, NotWrapped> {
        let inspection = inner.inspect(now);
        let gpu = match self.gpu_of(inner.info(), &inspection) {
            Ok(gpu) => gpu,
            Err(because) => return Err(NotWrapped { inner, because }),
        };
        let mut info = inner.info().clone();
        let is_missing = |range: &KnobRange| {
            range.knob != DeviceKnob::ComputeUnits && inner.info().range(range.knob).is_none()
        };
        let tells_clock = inspection
            .knobs
            .iter()
            .any(|view| view.knob == DeviceKnob::CoreClock && !matches!(view.stands, Access::Absent { .. }));
        let added: Vec<_> =
            inspection.knobs.into_iter().filter_map(|view| view.range).filter(is_missing).collect();
        if added.is_empty() {
            return Err(NotWrapped { inner, because: "it has no knob that zeusd could add".into() });
        }
        info.knobs.extend(added.iter().cloned());
        Ok(ViaZeusd { inner, info, added, tells_clock, client: self.client.clone(), gpu, last: now })
    }

    /// zeusd's number of a GPU: by its place on the bus, or by its name where no place is known and only
    /// one GPU has the name.
    fn gpu_of(&self, info: &DeviceInfo, inspection: &Inspection) -> Result<u32, String> {
        let facts = inspection.facts.iter().filter(|(name, _)| matches!(*name, "pci_address" | "pci_bus"));
        let place = facts.into_iter().find_map(|(_, fact)| match fact {
            Access::Here(text) => PciAddress::parse(text),
            _ => None,
        });
        let places = || self.gpus.iter().map(|gpu| gpu.pci_address.as_deref().and_then(PciAddress::parse));
        if let Some(place) = place
            && places().any(|known| known.is_some())
        {
            let found = self.gpus.iter().zip(places()).find(|(_, known)| *known == Some(place));
            let at = |gpu: &KnownGpu| gpu.pci_address.clone().unwrap_or_default();
            return found.map(|(gpu, _)| gpu.id).ok_or_else(|| {
                let known: Vec<_> = self.gpus.iter().map(at).collect();
                format!("zeusd knows no GPU at {place}; it knows {known:?}")
            });
        }
        let mut named = self.gpus.iter().filter(|gpu| gpu.name == info.description);
        match (named.next(), named.next()) {
            (Some(gpu), None) => Ok(gpu.id),
            (Some(_), Some(_)) => {
                Err(format!("zeusd knows several GPUs called {:?}, and not where they sit", info.description))
            }
            (None, _) => Err(format!("zeusd knows no GPU called {:?}", info.description)),
        }
    }
}

/// A device that zeusd adds nothing to, unchanged, and why.
pub struct NotWrapped {
    /// The device.
    pub inner: Box<dyn Device>,
    /// Why zeusd adds nothing.
    pub because: String,
}

impl fmt::Debug for NotWrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.inner.info().id;
        f.debug_struct("NotWrapped").field("inner", inner).field("because", &self.because).finish()
    }
}

/// A GPU that is read as before, and of which zeusd turns the knobs that this user may not.
pub struct ViaZeusd {
    inner: Box<dyn Device>,
    info: DeviceInfo,
    /// The knobs that zeusd turns.
    added: Vec<KnobRange>,
    /// Whether the device tells the limit of its core clock. A look at one that doesn't only costs time, of
    /// which a partitioned GPU takes a lot.
    tells_clock: bool,
    client: Client,
    gpu: u32,
    /// The last time that was told, for looks at the device between readings.
    last: Timestamp,
}

impl ViaZeusd {
    /// The range of a knob that zeusd turns; `None` where `inner` turns it, or nobody.
    fn added(&self, knob: DeviceKnob) -> Option<&KnobRange> {
        self.added.iter().find(|range| range.knob == knob)
    }

    fn failed(&self, action: &str) -> impl FnOnce(RequestError) -> DeviceError {
        let (device, action) = (self.info.id.clone(), format!("{action} through zeusd"));
        move |error| DeviceError::Driver { device, action, hint: error.hint(), said: error.to_string() }
    }

    fn gpu(&self) -> (&'static str, String) {
        ("gpu_ids", self.gpu.to_string())
    }

    /// Where the power limit stands, in watts, as zeusd reads it.
    fn power_limit(&self) -> Result<f64, RequestError> {
        let expected = "the power limit of each GPU, as power_limit_mw";
        let answer: BTreeMap<String, PowerLimit> =
            self.client.get("/gpu/get_power_limit", &[self.gpu()], expected)?;
        let limit = answer.get(&self.gpu.to_string()).map(|limit| limit.power_limit_mw / 1e3);
        limit.ok_or_else(|| RequestError::Answer {
            found: format!("limits of the GPUs {:?}", answer.keys()),
            expected,
        })
    }

    /// Where a knob stands as the device itself tells. `None`: it doesn't.
    fn stands(&mut self, knob: DeviceKnob) -> Option<Access<Option<f64>>> {
        if knob == DeviceKnob::CoreClock && !self.tells_clock {
            return None;
        }
        let inspection = self.inner.inspect(self.last);
        inspection.knobs.into_iter().find(|view| view.knob == knob).map(|view| view.stands)
    }

    fn set_power_limit(&mut self, watts: f64) -> Result<(), DeviceError> {
        // Down to whole milliwatts and megahertz, as every knob; a float a hair below a milliwatt is it.
        let milliwatts = format!("{:.0}", (watts * 1e3 + 1e-3).floor());
        let set = self.client.post("/gpu/set_power_limit", &[self.gpu(), ("power_limit_mw", milliwatts)]);
        set.map_err(self.failed("set the power limit"))?;
        let found = match self.power_limit() {
            // zeusd reads for others than it writes for: the device tells it, too.
            Err(error) if error.is_closed() => match self.stands(DeviceKnob::PowerLimit) {
                Some(Access::Here(Some(watts))) => watts,
                _ => return Err(self.failed("read back the power limit")(error)),
            },
            read => read.map_err(self.failed("read back the power limit"))?,
        };
        self.check(DeviceKnob::PowerLimit, watts, found)
    }

    /// Sets the highest core clock. Where the device tells its limit, that is read back; where it can't,
    /// as GPUs of NVIDIA, zeusd's word has to do.
    fn set_clock(&mut self, low: f64, high: f64) -> Result<(), DeviceError> {
        let query = [
            self.gpu(),
            ("min_clock_mhz", format!("{:.0}", low.floor())),
            ("max_clock_mhz", format!("{:.0}", high.floor())),
        ];
        let set = self.client.post("/gpu/set_gpu_locked_clocks", &query);
        set.map_err(self.failed("set the core clock"))?;
        let highest = self.added(DeviceKnob::CoreClock).map_or(high, |range| range.max);
        match self.stands(DeviceKnob::CoreClock) {
            Some(Access::Here(found)) => self.check(DeviceKnob::CoreClock, high, found.unwrap_or(highest)),
            _ => Ok(()),
        }
    }

    /// Gives the core clock back to the driver. On AMD only all clocks can be, together.
    fn reset_clock(&mut self) -> Result<(), DeviceError> {
        let is_amd = self.info.id.as_str().starts_with("amd:");
        let path = if is_amd { "/gpu/reset_locked_clocks" } else { "/gpu/reset_gpu_locked_clocks" };
        self.client.post(path, &[self.gpu()]).map_err(self.failed("reset the core clock"))
    }

    fn check(&self, knob: DeviceKnob, wanted: f64, found: f64) -> Result<(), DeviceError> {
        if (found - wanted).abs() <= READ_BACK_TOLERANCE * wanted {
            return Ok(());
        }
        Err(DeviceError::ReadBack { device: self.info.id.clone(), knob, wanted, found })
    }
}

impl Device for ViaZeusd {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn read(&mut self, now: Timestamp) -> Result<Reading, DeviceError> {
        self.last = now;
        let reading = self.inner.read(now);
        // What the device found out as it was read.
        self.info.power_provenance.clone_from(&self.inner.info().power_provenance);
        reading
    }

    fn apply(&mut self, setting: DeviceSetting) -> Result<(), DeviceError> {
        match (setting, self.added(setting.knob())) {
            (_, None) => self.inner.apply(setting),
            (DeviceSetting::CoreClock(clock), Some(range)) => {
                let low = range.min;
                self.set_clock(low, clock.get())
            }
            (_, Some(_)) => self.set_power_limit(setting.value()),
        }
    }

    fn knob_state(&mut self, knob: DeviceKnob) -> Result<KnobState, DeviceError> {
        let state = match (knob, self.added(knob).cloned()) {
            (_, None) => return self.inner.knob_state(knob),
            (DeviceKnob::CoreClock, Some(range)) => match self.stands(knob) {
                Some(Access::Here(Some(mhz))) if mhz < range.max => ("zeusd_max_clock_mhz", mhz.to_string()),
                _ => ("zeusd_max_clock_mhz", "reset".to_owned()),
            },
            (_, Some(_)) => {
                let watts = self.power_limit().or_else(|error| match self.stands(knob) {
                    Some(Access::Here(Some(watts))) => Ok(watts),
                    _ => Err(self.failed("read the power limit")(error)),
                })?;
                ("zeusd_power_limit_watts", watts.to_string())
            }
        };
        Ok(KnobState([(state.0.to_owned(), state.1)].into()))
    }

    fn put_back(&mut self, knob: DeviceKnob, state: &KnobState) -> Result<(), DeviceError> {
        let number = |key: &str| state.0.get(key)?.parse().ok().filter(|value: &f64| *value > 0.0);
        let clock = state.0.get("zeusd_max_clock_mhz").map(String::as_str);
        match (knob, self.added(knob).cloned()) {
            (_, None) => self.inner.put_back(knob, state),
            (DeviceKnob::CoreClock, _) if clock == Some("reset") => self.reset_clock(),
            (DeviceKnob::CoreClock, Some(range)) if number("zeusd_max_clock_mhz").is_some() => {
                let high = number("zeusd_max_clock_mhz").unwrap_or(range.max);
                self.set_clock(range.min.min(high), high)
            }
            (DeviceKnob::PowerLimit, _) if number("zeusd_power_limit_watts").is_some() => {
                self.set_power_limit(number("zeusd_power_limit_watts").unwrap_or_default())
            }
            _ => Err(DeviceError::State {
                device: self.info.id.clone(),
                knob,
                found: format!("{:?}", state.0),
                expected: "zeusd_power_limit_watts, or zeusd_max_clock_mhz, a clock or `reset`",
            }),
        }
    }

    fn inspect(&mut self, now: Timestamp) -> Inspection {
        self.last = now;
        let mut inspection = self.inner.inspect(now);
        for view in &mut inspection.knobs {
            if self.added.iter().any(|range| range.knob == view.knob) {
                view.source = format!("zeusd at {}, GPU {}", self.client.socket().display(), self.gpu);
                view.turnable = Access::Here(());
            }
        }
        inspection
    }
}

impl fmt::Debug for ViaZeusd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViaZeusd").field("info", &self.info).field("gpu", &self.gpu).finish_non_exhaustive()
    }
}

/// A place on the PCI bus. Written in several ways: NVIDIA's libraries give the domain eight digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PciAddress {
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

impl PciAddress {
    fn parse(text: &str) -> Option<Self> {
        let (domain, rest) = text.trim().split_once(':')?;
        let (bus, rest) = rest.split_once(':')?;
        let (device, function) = rest.split_once('.')?;
        let byte = |text| u8::from_str_radix(text, 16).ok();
        let domain = u32::from_str_radix(domain, 16).ok()?;
        Some(Self { domain, bus: byte(bus)?, device: byte(device)?, function: byte(function)? })
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, device, function } = self;
        write!(f, "{domain:04x}:{bus:02x}:{device:02x}.{function:x}")
    }
}

#[cfg(test)]
mod tests {
    use super::PciAddress;

    #[test]
    fn a_place_on_the_bus_is_the_same_however_it_is_written() {
        let place = PciAddress::parse("0000:c1:00.0");
        assert!(place.is_some());
        assert_eq!(PciAddress::parse("00000000:C1:00.0"), place);
        assert_eq!(place.map(|place| place.to_string()).as_deref(), Some("0000:c1:00.0"));
        for broken in ["", "0", "c1:00.0", "0000:c1:00", "0000:1c1:00.0", "0000:c1:00.g"] {
            assert_eq!(PciAddress::parse(broken), None, "{broken}");
        }
    }
}
