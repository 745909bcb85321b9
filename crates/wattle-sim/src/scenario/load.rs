//! From a scenario file to runs: reads what it names and checks what it says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use wattle_core::device_spec::DeviceSpec;
use wattle_core::family::Variant;
use wattle_core::gating::{self, Gating};
use wattle_core::id::{FamilyName, ModelName};
use wattle_core::nearest::nearest;
use wattle_core::played_device::PlayedDevice;
use wattle_core::profile::{PowerFigure, Profile};
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::units::{Joules, Watts};

use super::traffic::number;
use super::{DeviceFile, FamilyFile, InputFile, Level, ScenarioFile, WorkloadFile};
use crate::plan::{DevicePlan, FamilyPlan, ModelPlan, Plan, Stream, Target};
use crate::workload::{Source, WorkloadError};

/// A scenario that can't be run.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A file can't be read.
    #[error("failed to read {path}: {cause}; files are named relative to the scenario's own folder")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The scenario is no TOML of the right shape.
    #[error("{file}: {cause}")]
    Toml {
        /// The scenario.
        file: String,
        /// What is wrong, and where.
        cause: String,
    },
    /// A key has a value that makes no sense.
    #[error("{file}, {place}: found {found}, expected {expected}")]
    Value {
        /// The scenario.
        file: String,
        /// Which key.
        place: String,
        /// What stands there.
        found: String,
        /// What could stand there.
        expected: String,
    },
    /// A profile is wrong.
    #[error(transparent)]
    Profile(#[from] wattle_core::profile::ProfileError),
    /// A trace is wrong.
    #[error(transparent)]
    Signal(#[from] wattle_core::signal::SignalError),
    /// A file of requests is wrong.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// Something that the scenario names doesn't go together.
    #[error("{file}, {place}: {cause}")]
    Unfit {
        /// The scenario.
        file: String,
        /// Which part of it.
        place: String,
        /// What is wrong.
        cause: String,
    },
}

/// A value of `file` that makes no sense.
pub(super) fn wrong(file: &str, place: &str, found: &str, expected: &str) -> ScenarioError {
    let text = |text: &str| text.to_owned();
    ScenarioError::Value {
        file: text(file),
        place: text(place),
        found: text(found),
        expected: text(expected),
    }
}

/// Reads the files that a scenario names, and keeps their hashes.
pub(super) struct Files<'a> {
    name: &'a str,
    folder: &'a Path,
    inputs: Vec<InputFile>,
}

impl Files<'_> {
    /// The scenario's own name, for errors.
    pub(super) fn name(&self) -> &str {
        self.name
    }

    /// Keeps the hash of `file`; gives where it is.
    pub(super) fn record(&mut self, file: &str) -> Result<PathBuf, ScenarioError> {
        let path = self.folder.join(file);
        if !self.inputs.iter().any(|input| input.path == Path::new(file)) {
            let bytes = std::fs::read(&path);
            let bytes = bytes.map_err(|cause| ScenarioError::Read { path: path.clone(), cause })?;
            self.inputs.push(InputFile { path: file.into(), sha256: sha256(&bytes) });
        }
        Ok(path)
    }

    pub(super) fn text(&self, path: &Path) -> Result<String, ScenarioError> {
        std::fs::read_to_string(path).map_err(|cause| ScenarioError::Read { path: path.to_owned(), cause })
    }
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A scenario with everything it names, read and checked.
#[derive(Debug)]
pub struct Loaded {
    /// What it is called.
    pub name: String,
    /// The file as it is.
    pub file: ScenarioFile,
    /// The scenario and the files it rests on, with their hashes.
    pub inputs: Vec<InputFile>,
    /// The profile of each model, ungated.
    pub profiles: BTreeMap<ModelName, Profile>,
    /// What is known of each device, in the order of `plan.devices`.
    pub specs: Vec<Option<DeviceSpec>>,
    /// The variants of each family.
    pub families: BTreeMap<FamilyName, Vec<Variant>>,
    /// The run, ungated.
    pub plan: Plan,
}

impl Loaded {
    /// Reads the scenario at `path` and all that it names.
    ///
    /// # Errors
    /// When anything is missing or makes no sense; every error names its place.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let read = std::fs::read_to_string(path);
        let text = read.map_err(|cause| ScenarioError::Read { path: path.to_owned(), cause })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, &path.display().to_string(), folder)
    }

    /// Reads a scenario from its text; files are looked for in `folder`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(text: &str, name: &str, folder: &Path) -> Result<Self, ScenarioError> {
        let file: ScenarioFile = toml::from_str(text)
            .map_err(|error| ScenarioError::Toml { file: name.to_owned(), cause: told(&error) })?;
        let input = InputFile { path: name.into(), sha256: sha256(text.as_bytes()) };
        let mut files = Files { name, folder, inputs: vec![input] };
        let stem = Path::new(name).file_stem().map_or(name.into(), |stem| stem.to_string_lossy());
        let called = file.name.clone().unwrap_or_else(|| stem.into_owned());
        let (devices, specs) = read_devices(&file.devices, &mut files)?;
        let mut profiles = BTreeMap::new();
        let mut models: Vec<&super::ModelFile> = file.models.iter().collect();
        models.sort_by(|a, b| a.name.cmp(&b.name));
        for model in &models {
            let device = device_of(model, &devices, &files)?;
            let profile = model.read_profile(specs[device].as_ref(), &mut files)?;
            if profiles.insert(ModelName::from(model.name.as_str()), profile).is_some() {
                return Err(wrong(
                    name,
                    &format!("models.{}", model.name),
                    "the name twice",
                    "each name once",
                ));
            }
        }
        let mut loaded = Self {
            name: called,
            plan: empty_plan(&file, name)?,
            inputs: Vec::new(),
            profiles,
            specs,
            families: BTreeMap::new(),
            file: file.clone(),
        };
        loaded.plan.devices = loaded.devices(&devices, &files)?;
        for model in &models {
            let device = device_of(model, &devices, &files)?;
            loaded.add_model(model, device, &mut files)?;
        }
        for family in &file.families {
            loaded.add_family(family, &mut files)?;
        }
        loaded.plan.families.sort_by(|a, b| a.name.cmp(&b.name));
        loaded.add_streams(&mut files)?;
        if let Some(cap) = &file.power_cap {
            loaded.plan.power_cap = Some(cap.signal("power_cap", "power_cap_watts", &mut files)?);
            let horizon = number(&files, "power_cap.horizon_seconds", cap.horizon_seconds)?;
            loaded.plan.cap_horizon = Duration::from_secs_f64(horizon.min(1e9));
        }
        if let Some(carbon) = &file.carbon_intensity {
            let column = "carbon_intensity_g_per_kwh";
            loaded.plan.carbon_intensity = Some(carbon.signal("carbon_intensity", column, &mut files)?);
        }
        loaded.inputs = files.inputs;
        Ok(loaded)
    }

    /// The profiles with unused units gated, as planned with and played under `gating`.
    ///
    /// # Errors
    /// When a device has no spec, or its spec or a profile lacks what gating needs.
    pub fn gated_profiles(&self, gating: Gating) -> Result<BTreeMap<ModelName, Profile>, ScenarioError> {
        if gating == Gating::None {
            return Ok(self.profiles.clone());
        }
        let gated = self.plan.models.iter().map(|model| {
            let unfit = |cause: String| ScenarioError::Unfit {
                file: self.name.clone(),
                place: format!("models.{}", model.name),
                cause,
            };
            let spec = self.specs[model.device].as_ref().ok_or_else(|| {
                unfit("gating of unused units needs the device's spec; give devices.spec".into())
            })?;
            let profile = gating::apply(&self.profiles[&model.name], spec, gating);
            Ok((model.name.clone(), profile.map_err(|error| unfit(error.to_string()))?))
        });
        gated.collect()
    }

    /// The run with unused units gated.
    ///
    /// # Errors
    /// As [`gated_profiles`](Self::gated_profiles).
    pub fn gated_plan(&self, gating: Gating) -> Result<Plan, ScenarioError> {
        let mut plan = self.plan.clone();
        if gating == Gating::None {
            return Ok(plan);
        }
        let profiles = self.gated_profiles(gating)?;
        for (index, device) in plan.devices.iter_mut().enumerate() {
            let of_device = self.plan.models.iter().filter(|model| model.device == index);
            let of_device = of_device.map(|model| (model.name.clone(), profiles[&model.name].clone()));
            let shared_idle = device.played.shared_idle_power();
            device.played = played(&of_device.collect(), shared_idle, &self.name, device.id.as_str())?;
            let basis = device.provenance.basis.max(Basis::Modelled);
            let source = format!("{}; unused units gated in a model", device.provenance.source);
            device.provenance = Provenance::new(basis, source);
        }
        Ok(plan)
    }

    fn devices(&self, devices: &[DeviceFile], files: &Files<'_>) -> Result<Vec<DevicePlan>, ScenarioError> {
        let mut plans = Vec::new();
        for (index, device) in devices.iter().enumerate() {
            let mut profiles = BTreeMap::new();
            for model in &self.file.models {
                if device_of(model, devices, files)? == index {
                    let name = ModelName::from(model.name.as_str());
                    let mut profile = self.profiles[&name].clone();
                    if let Some(idle) = device.idle_power_watts {
                        let place = format!("devices.{}.idle_power_watts", device.name);
                        profile.head.idle_power_watts = Some(Watts::new(number(files, &place, idle)?));
                    }
                    profiles.insert(name, profile);
                }
            }
            let place = format!("devices.{}.sensor_noise", device.name);
            let sensor_noise = number(files, &place, device.sensor_noise)?;
            if profiles.is_empty() {
                let place = format!("devices.{}", device.name);
                return Err(wrong(files.name(), &place, "a device without a model", "a model that names it"));
            }
            let place = format!("devices.{}.shared_idle_power_watts", device.name);
            let shared_idle = Watts::new(number(files, &place, device.shared_idle_power_watts)?);
            let played = played(&profiles, shared_idle, files.name(), &device.name)?;
            let sources: Vec<String> = profiles
                .values()
                .map(|profile| format!("{} on {}", profile.head.model, profile.head.device))
                .collect();
            let basis = played.power_basis().unwrap_or(Basis::Assumed).max(Basis::Modelled);
            let source = format!("played from the profile of {}", sources.join(", of "));
            let provenance = Provenance::new(basis, source);
            plans.push(DevicePlan { id: device.name.as_str().into(), played, provenance, sensor_noise });
        }
        Ok(plans)
    }

    fn add_model(
        &mut self,
        model: &super::ModelFile,
        device: usize,
        files: &mut Files<'_>,
    ) -> Result<(), ScenarioError> {
        let limits = model.limits(&self.profiles[model.name.as_str()]);
        let setting = model.setting(&limits, files)?;
        let head = &self.profiles[model.name.as_str()].head;
        let of_profile = model.time("overhead_ms", head.request_overhead_ms, files)?;
        let overhead = model.time("overhead_ms", model.overhead_ms, files)?;
        let index = self.plan.devices[device].played.index_of(&model.name).unwrap_or(0);
        self.plan.models.push(ModelPlan {
            name: model.name.as_str().into(),
            device,
            index,
            setting,
            limits,
            spread: model.spread(files)?,
            overhead: overhead.or(of_profile).unwrap_or_default(),
            timeout: model.time("timeout_ms", model.timeout_ms, files)?,
            objective: model.time("objective_ms", model.objective_ms, files)?,
            quality: model.quality.or(head.quality),
        });
        Ok(())
    }

    fn add_family(&mut self, family: &FamilyFile, files: &mut Files<'_>) -> Result<(), ScenarioError> {
        let place = format!("families.{}", family.name);
        let mut members = Vec::new();
        for variant in &family.variants {
            let names = || self.plan.models.iter().map(|model| model.name.as_str());
            let Some(index) = names().position(|name| name == variant.model) else {
                let expected = format!("a model of the scenario: {}", names().collect::<Vec<_>>().join(", "));
                return Err(wrong(files.name(), &place, &format!("{:?}", variant.model), &expected));
            };
            let model = &self.plan.models[index];
            let energy = match variant.energy_joules_per_row {
                Some(energy) => Some(number(files, &place, energy)?),
                None => energy_per_row(&self.profiles[&model.name], model.setting.batch_size),
            };
            let (Some(energy), Some(quality)) = (energy, variant.quality.or(model.quality)) else {
                let expected = "energy_joules_per_row and quality of each variant, here or in its model";
                return Err(wrong(files.name(), &place, "a variant without", expected));
            };
            let energy_joules_per_row = Joules::new(energy);
            let of = Variant { model: model.name.clone(), energy_joules_per_row, quality };
            members.push((of, index));
        }
        members.sort_by(|(a, _), (b, _)| a.model.cmp(&b.model));
        let first = family.active.as_ref().or(family.variants.first().map(|variant| &variant.model));
        let active = members.iter().position(|(of, _)| Some(of.model.as_str()) == first.map(String::as_str));
        let Some(active) = active else {
            return Err(wrong(files.name(), &place, "no active variant", "one of its variants"));
        };
        let (variants, models): (Vec<Variant>, Vec<usize>) = members.into_iter().unzip();
        let name = FamilyName::from(family.name.as_str());
        self.families.insert(name.clone(), variants.clone());
        self.plan.families.push(FamilyPlan { name, variants, models, active });
        Ok(())
    }

    fn add_streams(&mut self, files: &mut Files<'_>) -> Result<(), ScenarioError> {
        let is_epoch = self.file.level == Level::Epoch;
        let mut streams = Vec::new();
        for (index, plan) in self.plan.models.iter().enumerate() {
            let file = self.file.models.iter().find(|model| model.name == plan.name.as_str());
            if let Some(workload) = file.and_then(|model| model.workload.as_ref()) {
                let place = format!("models.{}.workload", plan.name);
                let clients = saturating_clients(plan);
                streams.push(stream(workload, Target::Model(index), clients, is_epoch, &place, files)?);
            }
        }
        for (index, plan) in self.plan.families.iter().enumerate() {
            let file = self.file.families.iter().find(|family| family.name == plan.name.as_str());
            if let Some(workload) = file.and_then(|family| family.workload.as_ref()) {
                let place = format!("families.{}.workload", plan.name);
                let clients = plan.models.iter().map(|model| saturating_clients(&self.plan.models[*model]));
                let clients = clients.max().unwrap_or(1);
                streams.push(stream(workload, Target::Family(index), clients, is_epoch, &place, files)?);
            }
        }
        if streams.is_empty() {
            let expected = "a [models.workload] or [families.workload]";
            return Err(wrong(files.name(), "models", "nobody who asks for anything", expected));
        }
        self.plan.streams = streams;
        Ok(())
    }
}

/// Clients that keep a model saturated: twice what it can run at once.
fn saturating_clients(model: &ModelPlan) -> u32 {
    let at_once = model.limits.max_batch_size.saturating_mul(model.limits.max_instances);
    at_once.saturating_mul(2).clamp(1, model.setting.max_queue_size.saturating_add(at_once).max(1))
}

fn stream(
    workload: &WorkloadFile,
    target: Target,
    clients: u32,
    is_epoch: bool,
    place: &str,
    files: &mut Files<'_>,
) -> Result<Stream, ScenarioError> {
    let source = match workload.source(place, files)? {
        Source::Saturated if !is_epoch => Source::ClosedLoop { clients, think: Duration::ZERO },
        source @ (Source::Timestamps(_) | Source::ClosedLoop { .. }) if is_epoch => {
            let expected = "another kind of workload at epoch level, which knows rates alone";
            let found = if matches!(source, Source::Timestamps(_)) { "timestamps" } else { "closed-loop" };
            return Err(wrong(files.name(), place, found, expected));
        }
        source => source,
    };
    Ok(Stream { target, source, rows: workload.rows, priority: workload.priority })
}

/// Energy of a row by `profile` with one saturated instance at `batch_size`.
fn energy_per_row(profile: &Profile, batch_size: u32) -> Option<f64> {
    let of_one = |row: &&wattle_core::operating_point::ProfileRow| {
        row.point.batch_size == batch_size && row.point.instances == 1
    };
    let row = profile.rows.iter().find(of_one)?;
    let by_power = || Some(PowerFigure::Mean.of(row)?.get() / row.throughput_rps?);
    row.energy_joules_per_row.map(Joules::get).or_else(by_power)
}

type Devices = (Vec<DeviceFile>, Vec<Option<DeviceSpec>>);

fn read_devices(written: &[DeviceFile], files: &mut Files<'_>) -> Result<Devices, ScenarioError> {
    let mut devices = written.to_vec();
    if devices.is_empty() {
        let name = "device".to_owned();
        devices.push(DeviceFile {
            name,
            spec: None,
            idle_power_watts: None,
            shared_idle_power_watts: 0.0,
            sensor_noise: 0.0,
        });
    }
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(twice) = devices.windows(2).find(|pair| pair[0].name == pair[1].name) {
        let place = format!("devices.{}", twice[0].name);
        return Err(wrong(files.name(), &place, "the name twice", "each name once"));
    }
    let mut specs = Vec::new();
    for device in &devices {
        let Some(spec) = &device.spec else {
            specs.push(None);
            continue;
        };
        let unfit = |cause: String| ScenarioError::Unfit {
            file: files.name.to_owned(),
            place: format!("devices.{}.spec", device.name),
            cause,
        };
        let is_file = Path::new(spec).extension().is_some_and(|extension| extension == "toml");
        let spec = if is_file {
            let path = files.record(spec)?;
            let text = files.text(&path)?;
            DeviceSpec::parse(&text, &path.display().to_string()).map_err(|error| unfit(error.to_string()))?
        } else {
            wattle_core::device_spec::bundled(spec).map_err(|error| unfit(error.to_string()))?
        };
        specs.push(Some(spec));
    }
    Ok((devices, specs))
}

fn device_of(
    model: &super::ModelFile,
    devices: &[DeviceFile],
    files: &Files<'_>,
) -> Result<usize, ScenarioError> {
    let place = || format!("models.{}.device", model.name);
    match &model.device {
        None if devices.len() == 1 => Ok(0),
        None => Err(wrong(files.name(), &place(), "nothing", "the device it runs on, as there are several")),
        Some(name) => devices.iter().position(|device| device.name == *name).ok_or_else(|| {
            let known = devices.iter().map(|device| device.name.as_str());
            let near = nearest(name, known).unwrap_or_default();
            wrong(
                files.name(),
                &place(),
                &format!("{name:?}"),
                &format!("a device of the scenario, such as {near:?}"),
            )
        }),
    }
}

fn played(
    profiles: &BTreeMap<ModelName, Profile>,
    shared_idle: Watts,
    file: &str,
    device: &str,
) -> Result<PlayedDevice, ScenarioError> {
    let played = PlayedDevice::new(profiles).map_err(|error| ScenarioError::Unfit {
        file: file.to_owned(),
        place: format!("devices.{device}"),
        cause: error.to_string(),
    })?;
    Ok(played.with_shared_idle(shared_idle))
}

/// Everything but devices, models, families, streams and signals.
fn empty_plan(file: &ScenarioFile, name: &str) -> Result<Plan, ScenarioError> {
    let seconds = |key: &str, seconds: f64| {
        Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|duration| !duration.is_zero() && *duration < Duration::from_secs(10_000_000_000))
            .ok_or_else(|| wrong(name, key, &seconds.to_string(), "more than 0, and less than 300 years"))
    };
    let span = seconds("span_seconds", file.span_seconds)?;
    let step = match file.level {
        Level::Request => seconds("tick_ms", file.tick_ms / 1e3)?.max(Duration::from_micros(1)),
        Level::Epoch => seconds("epoch_seconds", file.epoch_seconds)?,
    };
    Ok(Plan {
        span,
        step,
        devices: Vec::new(),
        models: Vec::new(),
        families: Vec::new(),
        streams: Vec::new(),
        power_cap: None,
        cap_horizon: Duration::ZERO,
        carbon_intensity: None,
        points: file.points.clamp(1, 100_000),
    })
}

/// What toml says, with the nearest known key where one is unknown.
pub(crate) fn told(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let unknown = text.split("unknown field `").nth(1).and_then(|rest| {
        let (found, rest) = rest.split_once('`')?;
        let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
        nearest(found, known).map(|near| format!("; did you mean {near:?}?"))
    });
    format!("{}{}", text.trim_end(), unknown.unwrap_or_default())
}
