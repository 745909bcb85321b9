//! A fleet with all that its file names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use wattle_core::analytic::networks::{self, Network};
use wattle_core::device_spec::{self, DeviceSpec};
use wattle_core::nearest::nearest;
use wattle_core::profile::Profile;
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::shared_power::{SharedPowerError, SharingFile};
use wattle_core::signal::{AfterEnd, Signal, Trace};
use wattle_core::time::Timestamp;

use super::{DeviceEntry, Fleet, FleetError, SOURCES};

/// The column of a trace of carbon intensity.
const COLUMN: &str = "carbon_intensity_g_per_kwh";
/// Steps of a trace looked at, at most.
const MOST_STEPS: usize = 1_000_000;

/// A fleet with all that its file names, ready to be planned.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The file.
    pub fleet: Fleet,
    /// Its name, for errors.
    pub file: String,
    /// Its devices, in its order.
    pub devices: Vec<Device>,
    /// What is known of its models, in its order.
    pub sources: Vec<Source>,
    /// Mean carbon intensity over the horizon, in grams per kilowatt-hour.
    pub intensity: f64,
    /// How that is known.
    pub intensity_known: Provenance,
    /// Carbon intensity of each hour of the horizon that the trace knows; empty for a constant.
    pub hours: Vec<f64>,
}

/// What is known of devices of a kind.
#[derive(Debug, Clone)]
pub struct Device {
    /// The spec.
    pub spec: DeviceSpec,
    /// How its shared power is known, where a file of it was fitted.
    pub shared_power: Option<Provenance>,
}

/// What is known of a model.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its published figures, at the size asked for.
    pub network: Option<Network>,
    /// Profiles, by the name of the device.
    pub profiles: BTreeMap<String, Arc<Profile>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadLine {
    model: String,
    load_rps: f64,
}

/// Loads all that `fleet` names; `read` gives the text of a file, named as in the fleet.
///
/// # Errors
/// Where a file can't be read or is not what it should be, or a name is unknown.
pub fn load(
    mut fleet: Fleet,
    file: &str,
    read: &dyn Fn(&str) -> Result<String, String>,
) -> Result<Loaded, FleetError> {
    let wrong = |place: &str, found: String, expected: &str, help: &str| FleetError {
        file: file.to_owned(),
        place: place.to_owned(),
        found,
        expected: expected.to_owned(),
        help: help.to_owned(),
    };
    let text_of = |place: &str, path: &str| {
        read(path).map_err(|cause| {
            wrong(
                place,
                format!("{path}: {cause}"),
                "a file that can be read",
                "name it from this file's folder",
            )
        })
    };
    let mut devices = Vec::new();
    for entry in &fleet.devices {
        let place = format!("devices {:?}, spec", entry.name);
        let spec = if entry.spec.ends_with(".toml") {
            DeviceSpec::parse(&text_of(&place, &entry.spec)?, &entry.spec)
        } else {
            device_spec::bundled(&entry.spec)
        };
        let spec = spec.map_err(|error| {
            wrong(
                &place,
                error.to_string(),
                "a device that comes with the program, or a .toml file",
                "correct it",
            )
        })?;
        devices.push(Device { spec, shared_power: None });
    }
    for (entry, device) in fleet.devices.iter_mut().zip(&mut devices) {
        let Some(path) = entry.shared_power.clone() else { continue };
        let place = format!("devices {:?}, shared_power", entry.name);
        let text = text_of(&place, &path)?;
        let known = take_shared_power(entry, &text, &path);
        device.shared_power = Some(known.map_err(|found| {
            wrong(&place, found, "a file of wattle profile --sharing that can be fitted", "measure it anew")
        })?);
    }
    let mut sources = Vec::new();
    let mut known: BTreeMap<&str, Arc<Profile>> = BTreeMap::new();
    for entry in &fleet.models {
        let place = format!("models {:?}", entry.name);
        let network = entry.network.as_deref().map(networks::bundled).transpose().map_err(|error| {
            wrong(
                &format!("{place}, network"),
                error.to_string(),
                "a network that comes with the program",
                "correct it",
            )
        })?;
        let mut profiles = BTreeMap::new();
        for (device, path) in &entry.profiles {
            let profile = match known.get(path.as_str()) {
                Some(profile) => Arc::clone(profile),
                None => {
                    let place = format!("{place}, profiles.{device}");
                    let read = Profile::parse(&text_of(&place, path)?, path);
                    let profile = Arc::new(read.map_err(|error| {
                        wrong(
                            &place,
                            error.to_string(),
                            "a profile file",
                            "make one: wattle profile, wattle import",
                        )
                    })?);
                    known.insert(path, Arc::clone(&profile));
                    profile
                }
            };
            profiles.insert(device.clone(), profile);
        }
        sources.push(Source { network: network.map(|network| sized(network, entry.size)), profiles });
    }
    if let Some(path) = fleet.loads.clone() {
        let loads = parse_loads(&text_of("loads", &path)?, &path)?;
        for (model, load) in loads {
            match fleet.models.iter_mut().find(|entry| entry.name == model) {
                Some(entry) => entry.load_rps = load,
                None => {
                    let names = fleet.models.iter().map(|entry| entry.name.as_str());
                    let near = nearest(&model, names).unwrap_or_default();
                    let help = format!("did you mean {near:?}?");
                    return Err(wrong("loads", format!("{model:?}"), "the name of a model", &help));
                }
            }
        }
    }
    let (intensity, intensity_known, hours) = intensity(&fleet, &text_of, &wrong)?;
    Ok(Loaded { fleet, file: file.to_owned(), devices, sources, intensity, intensity_known, hours })
}

/// Takes `P_S`, `P_OI` and κ from the sharing file `text`; how they are known, or why there are none.
fn take_shared_power(entry: &mut DeviceEntry, text: &str, path: &str) -> Result<Provenance, String> {
    let file = SharingFile::parse(text, path).map_err(|error| error.to_string())?;
    let fit = file.fit().map_err(|error| format!("{path}: {error}"))?;
    let error = match file.error_report(&fit) {
        Ok(errors) => {
            let share = errors.mean_abs_error_share_corrected.unwrap_or(errors.mean_abs_error_share_additive);
            format!("off by {:.1} % on {} sets not fitted", share * 100.0, errors.sets)
        }
        Err(SharedPowerError::NothingHeldOut) => "its error unknown, as nothing was held out".to_owned(),
        Err(error) => return Err(format!("{path}: {error}")),
    };
    entry.idle_power_watts = Some(fit.static_power.get());
    entry.shared_idle_power_watts = Some(fit.shared_idle_power.get());
    entry.overlap_per_watt = fit.overlap_per_watt;
    let at = file.core_clock_mhz.map_or(String::new(), |clock| format!(" at {} MHz", clock.get()));
    let source = format!("{path}, fitted on power {}{at}, {error}", file.power_provenance());
    Ok(Provenance::new(file.power_basis.max(Basis::Modelled), source))
}

/// The network with so many times the work for each row: attention grows by more, which is left out.
pub(crate) fn sized(network: Network, size: f64) -> Network {
    Network {
        multiply_accumulates_per_row: network.multiply_accumulates_per_row * size,
        activation_values_per_row: network.activation_values_per_row * size,
        peak_values_per_row: network.peak_values_per_row * size,
        parallelism: network.parallelism * size,
        ..network
    }
}

fn parse_loads(text: &str, path: &str) -> Result<BTreeMap<String, f64>, FleetError> {
    let mut reader =
        csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).from_reader(text.as_bytes());
    let mut loads = BTreeMap::new();
    for (index, line) in reader.deserialize::<LoadLine>().enumerate() {
        let wrong = |found: String| FleetError {
            file: path.to_owned(),
            place: format!("row {}", index + 1),
            found,
            expected: "model,load_rps with a number over 0".to_owned(),
            help: "correct the row".to_owned(),
        };
        let line = line.map_err(|error| wrong(error.to_string()))?;
        if !(line.load_rps.is_finite() && line.load_rps > 0.0) {
            return Err(wrong(format!("{} for {}", line.load_rps, line.model)));
        }
        if let Some(before) = loads.insert(line.model.clone(), line.load_rps) {
            return Err(wrong(format!("{:?} a second time, first with {before}", line.model)));
        }
    }
    Ok(loads)
}

type TextOf<'a> = dyn Fn(&str, &str) -> Result<String, FleetError> + 'a;
type Wrong<'a> = dyn Fn(&str, String, &str, &str) -> FleetError + 'a;

/// Mean carbon intensity over the horizon, how it is known, and its hours.
fn intensity(
    fleet: &Fleet,
    text_of: &TextOf<'_>,
    wrong: &Wrong<'_>,
) -> Result<(f64, Provenance, Vec<f64>), FleetError> {
    let grid = &fleet.grid;
    if let Some(value) = grid.intensity_g_per_kwh {
        return Ok((value, Provenance::new(Basis::Assumed, "FLEET.toml"), Vec::new()));
    }
    if let Some((name, value)) =
        grid.source.as_deref().and_then(|name| SOURCES.into_iter().find(|(known, _)| *known == name))
    {
        let source = format!("all of it from {name}: ACT's table (Gupta et al., ISCA 2022)");
        return Ok((value, Provenance::new(Basis::Assumed, source), Vec::new()));
    }
    let path = grid.trace.as_deref().unwrap_or_default();
    let trace =
        Trace::parse(&text_of("grid.trace", path)?, path, COLUMN, AfterEnd::Unknown).map_err(|error| {
            wrong("grid.trace", error.to_string(), "a trace of carbon intensity", "correct the file")
        })?;
    let start = Duration::try_from_secs_f64(grid.start_seconds.unwrap_or(0.0)).unwrap_or(Duration::ZERO);
    let signal = Signal::Trace(trace).starting_at(start);
    let horizon = fleet.horizon_hours * 3600.0;
    let mean = |from: f64, to: f64| mean(&signal, from, to);
    let (Some(value), known_seconds) = mean(0.0, horizon) else {
        let found = format!("{path}: no value from {} s on", start.as_secs_f64());
        return Err(wrong("grid.trace", found, "values within the horizon", "correct grid.start_seconds"));
    };
    let hours = (0..fleet.horizon_hours.ceil() as usize)
        .map_while(|hour| {
            let from = hour as f64 * 3600.0;
            mean(from, (from + 3600.0).min(horizon)).0
        })
        .collect();
    let part = match known_seconds < horizon * (1.0 - 1e-9) {
        true => format!(", {:.1} h of {:.1} known", known_seconds / 3600.0, horizon / 3600.0),
        false => String::new(),
    };
    Ok((value, Provenance::new(Basis::Modelled, format!("mean of {path} over the horizon{part}")), hours))
}

/// The mean of `signal` over what is known of it between two times, and for how many seconds it is.
fn mean(signal: &Signal, from: f64, to: f64) -> (Option<f64>, f64) {
    let time =
        |seconds: f64| Timestamp::from_duration(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    let (mut at, mut sum, mut known) = (from, 0.0, 0.0);
    for _ in 0..MOST_STEPS {
        if at >= to {
            break;
        }
        let next = signal.next_change(time(at)).map_or(to, |next| next.since_start().as_secs_f64().min(to));
        let next = if next > at { next } else { to };
        if let Some(value) = signal.at(time(at)) {
            sum += value * (next - at);
            known += next - at;
        }
        at = next;
    }
    ((known > 0.0).then(|| sum / known), known)
}
