//! The place where models are profiled: a server without its network, and the device it runs on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use wattle_core::id::ModelName;
use wattle_core::nearest::nearest;
use wattle_device::cpu::CoreBudget;
use wattle_device::device::{Access, DeviceInfo};
use wattle_device::held::Held;
use wattle_runtime::choice::RuntimeChoice;
use wattle_runtime::runtime::Runtime;

use super::ProfilingError;
use super::memory::resident_bytes;
use super::sampler::Sampler;
use crate::clock::Clock;
use crate::control_loop::Waker;
use crate::executor::Surroundings;
use crate::meter::EnergyRate;
use crate::model_repository::{ModelRepository, ServedModel};

/// Name of the device whose memory is that of this process.
const CPU: &str = "cpu";

/// What a bench is made of.
pub struct BenchConfig {
    /// The clock of everything.
    pub clock: Clock,
    /// The model repository.
    pub models: PathBuf,
    /// What executes the models.
    pub runtime: Arc<dyn Runtime>,
    /// The one thread budget.
    pub budget: Arc<CoreBudget>,
    /// The device that is read and turned.
    pub device: Held,
    /// About how often the device is read.
    pub sample_period: Duration,
    /// Luck of the reading times.
    pub seed: u64,
}

/// A server without its network. Puts the device's knobs back as they were found when dropped, or earlier
/// by [`restore`](Self::restore).
pub struct Bench {
    pub(super) clock: Clock,
    pub(super) models: PathBuf,
    pub(super) cores: u32,
    pub(super) info: DeviceInfo,
    pub(super) sampler: Sampler,
    repository: Arc<ModelRepository>,
}

/// A device in words, for the head of a profile.
pub(super) struct Told {
    pub(super) driver: Option<String>,
    pub(super) sensors: Option<String>,
}

impl Bench {
    /// Opens the repository and starts to read the device. Loads no model yet.
    pub fn open(config: BenchConfig) -> Result<Self, ProfilingError> {
        let cores = config.budget.total();
        let around = Surroundings {
            clock: config.clock,
            budget: config.budget,
            // No answer is told what it cost.
            energy_rate: Arc::new(EnergyRate::unknown()),
            waker: Arc::new(Waker::default()),
        };
        let repository = Arc::new(ModelRepository::open(&config.models, config.runtime, around)?);
        let info = config.device.info().clone();
        let sampler = Sampler::start(config.device, config.clock, config.sample_period, config.seed)
            .map_err(ProfilingError::Thread)?;
        Ok(Self { clock: config.clock, models: config.models, cores, info, sampler, repository })
    }

    /// The device.
    pub fn device(&self) -> &DeviceInfo {
        &self.info
    }

    /// What executes the models, with its version.
    pub fn runtime(&self) -> String {
        self.repository.runtime().describe()
    }

    /// Whether the runtime plays the time of profiles.
    pub(super) fn is_simulated(&self) -> bool {
        self.repository.runtime().name() == RuntimeChoice::Simulated.name()
    }

    /// The models that `name` stands for: itself, or the variants of a family.
    ///
    /// # Errors
    /// Where it is neither a model nor a family.
    pub fn models_of(&self, name: &str) -> Result<Vec<ModelName>, ProfilingError> {
        if let Some(family) = self.repository.families().get(name) {
            return Ok(family.variants().to_vec());
        }
        let mut known: Vec<String> = self.repository.index()?.into_iter().map(|line| line.name).collect();
        known.dedup();
        if known.iter().any(|known| known == name) {
            return Ok(vec![name.into()]);
        }
        let meant = nearest(name, known.iter().map(String::as_str));
        Err(ProfilingError::UnknownModel {
            found: name.to_owned(),
            folder: self.models.display().to_string(),
            meant: meant.map_or_else(String::new, |name| format!(", did you mean {name:?}?")),
        })
    }

    /// Whether `name` is a family.
    pub fn is_family(&self, name: &str) -> bool {
        self.repository.families().contains_key(name)
    }

    /// How good the answers of `model` are, as its family says; `None` where none does, or two differ.
    pub(super) fn quality_of(&self, model: &ModelName) -> Option<f64> {
        let mut told = self.repository.families().values().filter_map(|family| family.quality(model));
        let first = told.next()?;
        told.all(|other| other == first).then_some(first)
    }

    /// Puts every knob of the device back as it was found.
    pub fn restore(&self) -> Result<(), ProfilingError> {
        Ok(self.sampler.device().restore()?)
    }

    /// Loads a model, which is unloaded when the answer is dropped.
    pub(super) fn load(&self, name: &ModelName) -> Result<Loaded<'_>, ProfilingError> {
        self.repository.load(name.as_str(), None)?;
        let model = self.repository.find(name.as_str(), "")?;
        Ok(Loaded { repository: &self.repository, model })
    }

    /// Memory in use now: on the CPU that of this process, else what the device tells.
    pub(super) fn memory_bytes(&self) -> Option<u64> {
        if self.info.id.as_str() == CPU {
            return resident_bytes();
        }
        self.sampler.memory_used_bytes(self.clock.now())
    }

    /// The ONNX file of a model.
    pub(super) fn file_of(&self, model: &ServedModel) -> PathBuf {
        self.models.join(model.name.as_str()).join(model.version.to_string()).join("model.onnx")
    }

    /// Driver and sensors of the device.
    pub(super) fn told(&self) -> Told {
        let inspection = self.sampler.device().inspect(self.clock.now());
        let drivers = inspection.facts.iter().filter_map(|(name, fact)| match fact {
            Access::Here(text) if name.contains("driver") => Some(text.clone()),
            _ => None,
        });
        let drivers: Vec<String> = drivers.chain(kernel()).collect();
        let here = inspection.sensors.iter().filter(|sensor| matches!(sensor.reading, Access::Here(_)));
        let sensors: Vec<String> =
            here.map(|sensor| format!("{} ({}): {}", sensor.name, sensor.unit, sensor.source)).collect();
        let joined = |texts: Vec<String>| (!texts.is_empty()).then(|| texts.join("; "));
        Told { driver: joined(drivers), sensors: joined(sensors) }
    }

    /// Load and heat around the device now, in words.
    pub(super) fn ambient(&self) -> String {
        let load = std::fs::read_to_string("/proc/loadavg").ok();
        let load = load.and_then(|text| Some(text.split_whitespace().next()?.to_owned()));
        let heat = self.sampler.temperature_celsius(self.clock.now());
        format!(
            "load average {}, device at {}",
            load.unwrap_or_else(|| "unknown".into()),
            heat.map_or_else(|| "an unknown temperature".into(), |celsius| format!("{celsius:.0} °C")),
        )
    }
}

impl Drop for Bench {
    /// Models answer what they have; the device is put back as the sampler is dropped.
    fn drop(&mut self) {
        self.repository.close();
    }
}

/// A model that is loaded.
pub(super) struct Loaded<'a> {
    repository: &'a Arc<ModelRepository>,
    pub(super) model: Arc<ServedModel>,
}

impl Drop for Loaded<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.repository.unload(self.model.name.as_str()) {
            tracing::error!(model = %self.model.name, %error, "a model could not be unloaded");
        }
    }
}

/// The kernel's release.
fn kernel() -> Option<String> {
    let release = std::fs::read_to_string(Path::new("/proc/sys/kernel/osrelease")).ok()?;
    Some(format!("Linux {}", release.trim()))
}
