//! The models that are served: read from a folder, loaded and unloaded while others serve.
//!
//! ```text
//! <models>/<name>/model.toml          optional, Wattle's own
//! <models>/<name>/config.pbtxt        optional, Triton's
//! <models>/<name>/<version>/model.onnx
//! <models>/<family>/family.toml       optional, a name that one of several models answers for
//! ```
//! The table of what is served is swapped whole, so that requests read it without a lock. A model that
//! is replaced or unloaded answers what it was given before it goes.

pub mod config;
pub mod config_pbtxt;
mod error;
pub mod family;
pub mod model_toml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use arc_swap::ArcSwap;
use wattle_core::id::{FamilyName, ModelName};
use wattle_core::knob::{ServingChange, SettingError};
use wattle_runtime::runtime::{ModelSource, Runtime};

use crate::executor::{Executor, StatsSnapshot, Surroundings};
use config::{Declared, ModelConfig};
use family::Family;

pub use error::RepositoryError;

/// One version of a model, ready to serve.
pub struct ServedModel {
    /// Its name.
    pub name: ModelName,
    /// Its version.
    pub version: u64,
    /// What clients are told of it.
    pub config: ModelConfig,
    /// Runs it.
    pub executor: Executor,
}

/// All versions of a model that are served; never empty.
pub struct ModelEntry {
    /// By version.
    pub versions: BTreeMap<u64, Arc<ServedModel>>,
}

impl ModelEntry {
    /// The highest version.
    pub fn latest(&self) -> &Arc<ServedModel> {
        self.versions.values().next_back().expect("an entry is made with at least one version")
    }

    /// What all versions together have done.
    pub fn stats(&self) -> StatsSnapshot {
        let all = self.versions.values().map(|served| served.executor.stats());
        all.fold(StatsSnapshot::default(), StatsSnapshot::plus)
    }

    /// Turns the knobs of every version, or of none where one of them can't take a value.
    pub fn turn(&self, change: &ServingChange) -> Result<(), SettingError> {
        let executors = || self.versions.values().map(|served| &served.executor);
        executors().try_for_each(|executor| executor.limits().check(&change.apply_to(executor.setting())))?;
        executors().try_for_each(|executor| executor.turn(change).map(drop))
    }
}

/// What is served now, by name.
pub type Table = BTreeMap<ModelName, Arc<ModelEntry>>;

/// One line of the repository's index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexLine {
    /// Name of the model.
    pub name: String,
    /// Its version; empty when none was ever loaded, and for a family.
    pub version: String,
    /// `READY`, `UNAVAILABLE` or empty.
    pub state: &'static str,
    /// Why it is not ready.
    pub reason: String,
}

/// The models of one folder.
pub struct ModelRepository {
    folder: PathBuf,
    runtime: Arc<dyn Runtime>,
    around: Surroundings,
    cores: u32,
    table: ArcSwap<Table>,
    families: BTreeMap<FamilyName, Family>,
    /// Why models that were asked for are not there.
    unavailable: Mutex<BTreeMap<ModelName, String>>,
    /// Held while a model loads or unloads, so that two at once don't undo each other.
    changing: Mutex<()>,
    /// Models that were replaced or unloaded and answer what they have, each in a thread of its own.
    leaving: Mutex<Leaving>,
}

/// What was served and is on its way out.
#[derive(Default)]
struct Leaving {
    entries: Vec<(ModelName, Arc<ModelEntry>)>,
    threads: Vec<JoinHandle<()>>,
    /// What those that are gone have done, so that no work is lost from the books.
    gone: BTreeMap<ModelName, StatsSnapshot>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ModelRepository {
    /// A repository of `folder` with nothing loaded. Families are read now, models when they are loaded.
    pub fn open(
        folder: &Path,
        runtime: Arc<dyn Runtime>,
        around: Surroundings,
    ) -> Result<Self, RepositoryError> {
        let families = family::read_families(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            runtime,
            cores: around.budget.limit(),
            around,
            table: ArcSwap::default(),
            families: families.iter().map(|(name, family)| (name.clone(), family.into())).collect(),
            unavailable: Mutex::default(),
            changing: Mutex::default(),
            leaving: Mutex::default(),
        })
    }

    /// What executes the models.
    pub fn runtime(&self) -> &dyn Runtime {
        self.runtime.as_ref()
    }

    /// What is served now.
    pub fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// The families, by name.
    pub fn families(&self) -> &BTreeMap<FamilyName, Family> {
        &self.families
    }

    /// Lets `model` answer for `family` from now on. Or says why it can't.
    pub fn choose_variant(&self, family: &FamilyName, model: &ModelName) -> Result<(), String> {
        let Some(found) = self.families.get(family) else {
            return Err(format!("family {family} is not here"));
        };
        found.choose(model, &self.table.load()).map_err(|detail| format!("family {family} {detail}"))
    }

    /// Counts `rows` that were asked of `name`, if that is a family. Models count their own.
    pub fn count_asked(&self, name: &str, rows: u32) {
        if let Some(family) = self.families.get(name) {
            family.asked(rows);
        }
    }

    /// Loads every model of the folder. Those that fail are logged and listed in the index; the rest
    /// serve. Returns the failures.
    pub fn load_all(self: &Arc<Self>) -> Result<Vec<RepositoryError>, RepositoryError> {
        let failures = self.names()?.iter().filter_map(|name| self.load(name, None).err()).collect();
        Ok(failures)
    }

    /// The version asked for (empty: the latest) of a model that is served, or of the variant that
    /// answers for a family, which has no versions. Takes no lock.
    pub fn find(&self, name: &str, version: &str) -> Result<Arc<ServedModel>, RepositoryError> {
        if let Some(family) = self.families.get(name).filter(|_| !version.is_empty()) {
            return Err(RepositoryError::VersionOfFamily {
                name: name.to_owned(),
                version: version.to_owned(),
                variants: join(family.variants().iter().map(ModelName::as_str)),
            });
        }
        let table = self.table.load();
        let active = || self.families.get(name).and_then(|family| family.active(&table));
        let entry = table.get(name).or_else(|| table.get(active()?));
        let entry = entry.ok_or_else(|| {
            let families = self.families.iter().filter(|(_, family)| family.active(&table).is_some());
            let families = families.map(|(name, _)| name.as_str());
            RepositoryError::UnknownModel {
                name: name.to_owned(),
                served: join(table.keys().map(ModelName::as_str).chain(families)),
            }
        })?;
        if version.is_empty() {
            return Ok(Arc::clone(entry.latest()));
        }
        let found = version.parse::<u64>().ok().and_then(|version| entry.versions.get(&version));
        found.cloned().ok_or_else(|| RepositoryError::UnknownVersion {
            name: name.to_owned(),
            version: version.to_owned(),
            served: join(entry.versions.keys().map(u64::to_string)),
        })
    }

    /// Loads a model, or loads it anew. Blocks. What was served before serves until the new one is
    /// ready, and goes on serving when it fails. `config`: Triton's JSON form, in place of the
    /// model's own files.
    pub fn load(self: &Arc<Self>, name: &str, config: Option<&str>) -> Result<(), RepositoryError> {
        if !is_plain(name) {
            let detail = "its name is not that of a folder in the model repository".to_owned();
            return Err(RepositoryError::Load { name: name.to_owned(), detail });
        }
        self.refuse_family(name)?;
        let _changing = lock(&self.changing);
        let started = self.around.clock.now();
        let entry = self.read(name, config);
        match entry.and_then(|entry| self.agrees_with_variants(name, &entry).map(|()| entry)) {
            Ok(entry) => {
                let latest = entry.latest();
                tracing::info!(
                    model = name,
                    versions = ?entry.versions.keys().collect::<Vec<_>>(),
                    runtime = self.runtime.name(),
                    max_batch_size = latest.config.max_batch_size,
                    instances = latest.config.setting.instances,
                    load_ms = self.around.clock.now().saturating_since(started).as_millis() as u64,
                    "model loaded"
                );
                lock(&self.unavailable).remove(name);
                self.swap(name.into(), Some(Arc::new(entry)));
                Ok(())
            }
            Err(detail) => {
                tracing::error!(model = name, %detail, "model failed to load");
                // A name that was never there leaves no trace in the index.
                if self.folder.join(name).is_dir() {
                    lock(&self.unavailable).insert(name.into(), detail.clone());
                }
                Err(RepositoryError::Load { name: name.to_owned(), detail })
            }
        }
    }

    /// Unloads a model. It takes no more requests; those it has are answered.
    pub fn unload(self: &Arc<Self>, name: &str) -> Result<(), RepositoryError> {
        self.refuse_family(name)?;
        let _changing = lock(&self.changing);
        self.find(name, "")?;
        self.swap(name.into(), None);
        lock(&self.unavailable).insert(name.into(), "unloaded".into());
        tracing::info!(model = name, "model unloaded");
        Ok(())
    }

    fn refuse_family(&self, name: &str) -> Result<(), RepositoryError> {
        match self.families.get(name) {
            None => Ok(()),
            Some(family) => Err(RepositoryError::IsFamily {
                name: name.to_owned(),
                variants: join(family.variants().iter().map(ModelName::as_str)),
            }),
        }
    }

    /// Checks that clients of a family could not tell `entry` from the variants that are served.
    fn agrees_with_variants(&self, name: &str, entry: &ModelEntry) -> Result<(), String> {
        let table = self.table();
        let is_variant = |model: &ModelName| model.as_str() == name;
        for (family, found) in &self.families {
            if !found.variants().iter().any(is_variant) {
                continue;
            }
            let others = found.variants().iter().filter(|model| !is_variant(model));
            for other in others.filter_map(|model| table.get(model)) {
                let (new, other) = (entry.latest(), other.latest());
                let difference = family::difference((&new.name, &new.config), (&other.name, &other.config));
                if let Some(difference) = difference {
                    return Err(format!("variants of family {family} must agree, but {difference}"));
                }
            }
        }
        Ok(())
    }

    /// Every model and family of the folder and its state, by name.
    pub fn index(&self) -> Result<Vec<IndexLine>, RepositoryError> {
        let table = self.table();
        let unavailable = lock(&self.unavailable).clone();
        let mut lines = Vec::new();
        for name in self.names()? {
            let reason = unavailable.get(name.as_str());
            if let Some(entry) = table.get(name.as_str()) {
                lines.extend(entry.versions.keys().map(|version| IndexLine {
                    name: name.clone(),
                    version: version.to_string(),
                    state: "READY",
                    // Still there although a later load failed.
                    reason: reason.cloned().unwrap_or_default(),
                }));
            } else {
                let state = if reason.is_some() { "UNAVAILABLE" } else { "" };
                let (version, reason) = (String::new(), reason.cloned().unwrap_or_default());
                lines.push(IndexLine { name, version, state, reason });
            }
        }
        lines.extend(self.families.iter().map(|(name, family)| {
            let (state, reason) = match family.active(&table) {
                Some(model) => ("READY", format!("family: {model} answers")),
                None => {
                    let variants = join(family.variants().iter().map(ModelName::as_str));
                    ("UNAVAILABLE", format!("family: none of {variants} is loaded"))
                }
            };
            IndexLine { name: name.to_string(), version: String::new(), state, reason }
        }));
        lines.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(lines)
    }

    /// What each model has done since the server started, by name: those that were replaced or unloaded
    /// count on, so that no figure ever falls.
    pub fn stats(&self) -> BTreeMap<ModelName, StatsSnapshot> {
        // Held throughout, so that a model on its way from one place to the next is counted once.
        let leaving = lock(&self.leaving);
        let mut stats = leaving.gone.clone();
        let table = self.table();
        let served = leaving.entries.iter().map(|(name, entry)| (name, entry)).chain(table.iter());
        for (name, entry) in served {
            let sum = stats.remove(name).unwrap_or_default().plus(entry.stats());
            stats.insert(name.clone(), sum);
        }
        stats
    }

    /// Unloads everything and waits until all that was accepted is answered. Blocks.
    pub fn close(self: &Arc<Self>) {
        let _changing = lock(&self.changing);
        for name in self.table().keys() {
            self.swap(name.clone(), None);
        }
        let threads = std::mem::take(&mut lock(&self.leaving).threads);
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }

    /// Puts `entry` in place of what is served under `name`, which answers what it has and goes.
    fn swap(self: &Arc<Self>, name: ModelName, entry: Option<Arc<ModelEntry>>) {
        let mut leaving = lock(&self.leaving);
        let mut table = Table::clone(&self.table.load());
        let old = match entry {
            Some(entry) => table.insert(name.clone(), entry),
            None => table.remove(&name),
        };
        self.table.store(Arc::new(table));
        let Some(old) = old else { return };
        leaving.entries.push((name.clone(), Arc::clone(&old)));
        let repository = Arc::clone(self);
        let thread = thread::spawn(move || {
            old.versions.values().for_each(|served| served.executor.close());
            let mut leaving = lock(&repository.leaving);
            leaving.entries.retain(|(_, entry)| !Arc::ptr_eq(entry, &old));
            let sum = leaving.gone.remove(&name).unwrap_or_default().plus(old.stats());
            leaving.gone.insert(name, sum);
        });
        leaving.threads.retain(|thread| !thread.is_finished());
        leaving.threads.push(thread);
    }

    /// The folders that may hold a model, by name.
    fn names(&self) -> Result<Vec<String>, RepositoryError> {
        let mut names = folder_names(&self.folder)?;
        names.retain(|name| !self.families.contains_key(name.as_str()));
        Ok(names)
    }

    /// Reads a model's files and starts its versions. Errors name the file and what to do.
    fn read(&self, name: &str, config: Option<&str>) -> Result<ModelEntry, String> {
        let folder = self.folder.join(name);
        if !folder.is_dir() {
            return Err(format!("no folder {name:?} in the model repository {}", self.folder.display()));
        }
        let declared = declared(&folder, config)?;
        let there = versions(&folder)?;
        let mut entry = ModelEntry { versions: BTreeMap::new() };
        for version in config::wanted_versions(&declared, &there)? {
            let path = folder.join(version.to_string()).join("model.onnx");
            let source = ModelSource { name: name.into(), version, path: path.clone() };
            let model = self.runtime.load(&source).map_err(|error| error.to_string())?;
            let config = config::resolve(name, &declared, model.as_ref(), self.runtime.name(), self.cores)
                .map_err(|detail| format!("{}: {detail}", folder.display()))?;
            let executor =
                Executor::start(name.into(), model, config.limits, config.setting, self.around.clone())
                    .map_err(|error| error.to_string())?;
            entry
                .versions
                .insert(version, Arc::new(ServedModel { name: name.into(), version, config, executor }));
        }
        if entry.versions.is_empty() {
            return Err(format!(
                "{}: the version policy names no version; found {there:?}",
                folder.display()
            ));
        }
        Ok(entry)
    }
}

/// The folders in `folder`, by name, but for hidden ones.
fn folder_names(folder: &Path) -> Result<Vec<String>, RepositoryError> {
    let failed = |source| RepositoryError::Folder { path: folder.display().to_string(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Whether a name is that of a folder, and of none outside the repository.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\\']) && !name.starts_with('.')
}

/// What the owner says of the model in `folder`.
fn declared(folder: &Path, config: Option<&str>) -> Result<Declared, String> {
    if let Some(json) = config {
        let triton = config_pbtxt::parse_json(json)
            .map_err(|error| format!("the config parameter of the load request: {error}"))?;
        return Ok(Declared { triton: Some(triton), ..Declared::default() });
    }
    let read = |file: &str| match std::fs::read_to_string(folder.join(file)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("failed to read {}: {error}", folder.join(file).display())),
    };
    let toml = match read("model.toml")? {
        Some(text) => toml::from_str(&text)
            .map_err(|error| format!("{}: {error}", folder.join("model.toml").display()))?,
        None => model_toml::ModelToml::default(),
    };
    let triton = match read("config.pbtxt")? {
        Some(text) => Some(
            config_pbtxt::parse_text(&text)
                .map_err(|error| format!("{}: {error}", folder.join("config.pbtxt").display()))?,
        ),
        None => None,
    };
    Ok(Declared { triton, toml })
}

/// The versions in `folder`, ascending: folders named by a number with a `model.onnx` in them.
fn versions(folder: &Path) -> Result<Vec<u64>, String> {
    let entries =
        std::fs::read_dir(folder).map_err(|error| format!("failed to read {}: {error}", folder.display()))?;
    let mut found: Vec<u64> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|version: &u64| folder.join(version.to_string()).join("model.onnx").is_file())
        .collect();
    found.sort_unstable();
    if found.is_empty() {
        return Err(format!(
            "no {}/<version>/model.onnx, where <version> is a number such as 1",
            folder.display()
        ));
    }
    Ok(found)
}

fn join<S: AsRef<str>>(names: impl Iterator<Item = S>) -> String {
    let names: Vec<String> = names.map(|name| name.as_ref().to_owned()).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
