//! From a scenario file to runs: reads what it names and checks what it says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wattle_core::device_spec::DeviceSpec;
use wattle_core::family::Variant;
use wattle_core::gating::{self, Gating};
use wattle_core::id::{FamilyName, ModelName};
use wattle_core::nearest::nearest;
use wattle_core::profile::Profile;
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::units::Watts;

use super::check::{MOST_CLIENTS, SHORTEST_REPEAT, number, seconds, top};
use super::files::Files;
use super::truth::played;
use super::{DeviceFile, InputFile, Level, ScenarioFile, Truth, WorkloadFile};
use crate::plan::{CarbonForecast, DevicePlan, ModelPlan, Plan, Stream, Target};
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
        top(&file, name)?;
        let mut files = Files::of(name, text, folder);
        let stem = Path::new(name).file_stem().map_or(name.into(), |stem| stem.to_string_lossy());
        let called = file.name.clone().unwrap_or_else(|| stem.into_owned());
        let (devices, specs) = read_devices(&file.devices, &mut files)?;
        let mut profiles = BTreeMap::new();
        let mut models: Vec<&super::ModelFile> = file.models.iter().collect();
        models.sort_by(|a, b| a.name.cmp(&b.name));
        for model in &models {
            let device = device_of(model, &devices, &files)?;
            let mut profile = model.read_profile(specs[device].as_ref(), &mut files)?;
            if let Some(idle) = devices[device].idle_power_watts {
                let place = format!("devices.{}.idle_power_watts", devices[device].name);
                profile.head.idle_power_watts = Some(Watts::new(number(&files, &place, idle)?));
            }
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
            loaded.add_family(family, &files)?;
        }
        loaded.plan.families.sort_by(|a, b| a.name.cmp(&b.name));
        loaded.add_streams(&mut files)?;
        if let Some(cap) = &file.power_cap {
            loaded.plan.power_cap = Some(cap.signal("power_cap", "power_cap_watts", &mut files)?);
            loaded.plan.cap_horizon = cap.horizon("power_cap", &files)?;
            cap.without_forecast("power_cap", &files)?;
        }
        if let Some(carbon) = &file.carbon_intensity {
            let column = "carbon_intensity_g_per_kwh";
            loaded.plan.carbon_horizon = carbon.horizon("carbon_intensity", &files)?;
            loaded.plan.carbon_forecast = carbon.forecast("carbon_intensity", &files)?;
            loaded.plan.carbon_intensity = Some(carbon.signal("carbon_intensity", column, &mut files)?);
        }
        loaded.inputs = files.into_inputs();
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
            let place = (self.name.as_str(), device.id.as_str());
            device.played = played(&of_device.collect(), device.truth, shared_idle, place)?;
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
                    let profile = self.profiles[&name].clone();
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
            let truth = Truth::read(device, files)?;
            let played = played(&profiles, truth, shared_idle, (files.name(), &device.name))?;
            let sources: Vec<String> = profiles
                .values()
                .map(|profile| format!("{} on {}", profile.head.model, profile.head.device))
                .collect();
            let basis = played.power_basis().unwrap_or(Basis::Assumed).max(Basis::Modelled);
            let mut source = format!("played from the profile of {}", sources.join(", of "));
            if !truth.is_as_profiled() {
                let (power, time) = (truth.power_ratio, truth.batch_time_ratio);
                source += &format!("; power above idle x{power}, batch times x{time}");
            }
            let provenance = Provenance::new(basis, source);
            let id = device.name.as_str().into();
            plans.push(DevicePlan { id, played, truth, provenance, sensor_noise });
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
            quality: model.quality(files)?.or(head.quality),
        });
        Ok(())
    }

    fn add_streams(&mut self, files: &mut Files<'_>) -> Result<(), ScenarioError> {
        let mut streams = Vec::new();
        for (index, plan) in self.plan.models.iter().enumerate() {
            let file = self.file.models.iter().find(|model| model.name == plan.name.as_str());
            if let Some(workload) = file.and_then(|model| model.workload.as_ref()) {
                let place = format!("models.{}.workload", plan.name);
                let target = Target::Model(index);
                streams.push(self.stream(workload, target, &[index], &place, files)?);
            }
        }
        for (index, plan) in self.plan.families.iter().enumerate() {
            let file = self.file.families.iter().find(|family| family.name == plan.name.as_str());
            if let Some(workload) = file.and_then(|family| family.workload.as_ref()) {
                let place = format!("families.{}.workload", plan.name);
                let target = Target::Family(index);
                streams.push(self.stream(workload, target, &plan.models, &place, files)?);
            }
        }
        if streams.is_empty() {
            let expected = "a [models.workload] or [families.workload]";
            return Err(wrong(files.name(), "models", "nobody who asks for anything", expected));
        }
        self.plan.streams = streams;
        Ok(())
    }

    /// The stream of `workload`, which asks any of `models`.
    fn stream(
        &self,
        workload: &WorkloadFile,
        target: Target,
        models: &[usize],
        place: &str,
        files: &mut Files<'_>,
    ) -> Result<Stream, ScenarioError> {
        let asked = || models.iter().filter_map(|index| self.plan.models.get(*index));
        // As the server does: a request must fit into a batch.
        if let Some(small) = asked().find(|model| workload.rows > model.limits.max_batch_size) {
            let most = small.limits.max_batch_size;
            let expected = format!("at most {most}, the max_batch_size of {}", small.name);
            return Err(wrong(files.name(), &format!("{place}.rows"), &workload.rows.to_string(), &expected));
        }
        let is_epoch = self.file.level == Level::Epoch;
        let source = workload.source(place, files)?;
        let refused = |found: &str, expected: &str| Err(wrong(files.name(), place, found, expected));
        if let Source::Rates { trace, .. } = &source
            && trace.repeat
        {
            // Else an epoch would be a walk through it without end.
            let shortest = SHORTEST_REPEAT.max(self.plan.step / 1_000_000).as_secs_f64();
            if trace.seconds() < shortest {
                let found = format!("a repeated trace of {} seconds", trace.seconds());
                return refused(&found, &format!("at least {shortest} seconds"));
            }
        }
        let source = match source {
            Source::Saturated if !is_epoch => {
                let clients = asked().map(saturating_clients).max().unwrap_or(1);
                if clients > MOST_CLIENTS {
                    let found = format!("a model that takes {clients} clients to saturate");
                    let expected = format!(
                        "at most {MOST_CLIENTS}, twice max_batch_size x max_instances; lower those, or use \
                         kind = \"closed-loop\""
                    );
                    return refused(&found, &expected);
                }
                Source::ClosedLoop { clients, think: Duration::ZERO }
            }
            Source::Timestamps(_) if is_epoch => {
                let expected = "another kind of workload at epoch level, which knows rates alone";
                return refused("timestamps", expected);
            }
            Source::ClosedLoop { .. } if is_epoch => {
                let expected = "kind = \"saturated\" or a rate at epoch level, which plays no clients";
                return refused("closed-loop", expected);
            }
            source => source,
        };
        Ok(Stream { target, source, rows: workload.rows, priority: workload.priority })
    }
}

/// Clients that keep a model saturated: twice what it can run at once.
fn saturating_clients(model: &ModelPlan) -> u32 {
    let at_once = model.limits.max_batch_size.saturating_mul(model.limits.max_instances);
    at_once.saturating_mul(2).clamp(1, model.setting.max_queue_size.saturating_add(at_once).max(1))
}

/// Length of a control tick, where the scenario gives none.
const DEFAULT_TICK_MS: f64 = 100.0;
/// Length of an epoch, where the scenario gives none.
const DEFAULT_EPOCH_SECONDS: f64 = 3600.0;

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
            power_ratio: 1.0,
            batch_time_ratio: 1.0,
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
        let file = files.name().to_owned();
        let unfit = |cause: String| ScenarioError::Unfit {
            file: file.clone(),
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

/// Everything but devices, models, families, streams and signals.
fn empty_plan(file: &ScenarioFile, name: &str) -> Result<Plan, ScenarioError> {
    let span = seconds(name, "span_seconds", file.span_seconds)?;
    let step = match file.level {
        Level::Request => {
            let tick_ms = file.tick_ms.unwrap_or(DEFAULT_TICK_MS);
            seconds(name, "tick_ms", tick_ms / 1e3)?.max(Duration::from_micros(1))
        }
        Level::Epoch => seconds(name, "epoch_seconds", file.epoch_seconds.unwrap_or(DEFAULT_EPOCH_SECONDS))?,
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
        carbon_horizon: Duration::ZERO,
        carbon_forecast: CarbonForecast::default(),
        points: file.points,
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
