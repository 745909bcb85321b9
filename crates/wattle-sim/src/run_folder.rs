//! The folder that a command leaves: `metadata.json`, `summary.json`, `report.html` and a folder a run.
//!
//! ```text
//! metadata.json                        what was run, by which version, on which files (by hash)
//! summary.json                         {"runs": [the figures of each run]}
//! report.html                          the same for people
//! runs/<label>-seed<seed>/summary.json
//! runs/<label>-seed<seed>/timeseries.csv   one row a point; an empty cell is unknown
//! runs/<label>-seed<seed>/decisions.jsonl  one decision a line
//! ```
//! No clock, host or folder of the machine goes in: the same scenario and seed give the same bytes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::recorder::Point;
use crate::report::run_report;
use crate::request_level::Outcome;
use crate::scenario::InputFile;
use crate::summary::Summary;

/// Version of the layout; raised when a file or a field changes its meaning.
pub const FORMAT_VERSION: u32 = 1;

/// Files of the folder itself.
const FILES: [&str; 3] = ["metadata.json", "summary.json", "report.html"];
/// Files of the folder of a run.
const RUN_FILES: [&str; 3] = ["summary.json", "timeseries.csv", "decisions.jsonl"];

/// What one command found.
#[derive(Debug, Clone)]
pub struct Written {
    /// Name of the scenario.
    pub scenario: String,
    /// What it shows.
    pub description: String,
    /// Version of the program.
    pub wattle_version: String,
    /// The scenario and the files it rests on, the scenario first, as
    /// [`Loaded::inputs`](crate::scenario::Loaded::inputs) has them.
    pub inputs: Vec<InputFile>,
    /// The runs.
    pub runs: Vec<Outcome>,
}

impl Written {
    /// The inputs without folders of the machine: the scenario by its file name alone, the others as the
    /// scenario names them, or by their file name where it names them from the root.
    pub(crate) fn named_inputs(&self) -> Vec<InputFile> {
        let named = self.inputs.iter().enumerate().map(|(index, input)| {
            let name = input.path.file_name().filter(|_| index == 0 || input.path.is_absolute());
            let path = name.map_or_else(|| input.path.clone(), PathBuf::from);
            InputFile { path, sha256: input.sha256.clone() }
        });
        named.collect()
    }
}

/// A folder that can't be written.
#[derive(Debug, thiserror::Error)]
pub enum RunFolderError {
    /// Something else is there.
    #[error(
        "{folder} is not empty; name another folder, or ask to overwrite (this replaces the files of \
         an earlier run and leaves others alone)"
    )]
    NotEmpty {
        /// Which folder.
        folder: PathBuf,
    },
    /// A file or folder can't be made.
    #[error("failed to write {path}: {cause}")]
    Write {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A result has no form as text.
    #[error("failed to write {path}: {cause}; this is a bug, please report it")]
    Encode {
        /// Which file it was for.
        path: PathBuf,
        /// Why.
        cause: String,
    },
}

/// `summary.json`, and what `--json` prints: the figures of each run. Ends with a line break.
///
/// # Errors
/// When a figure has no form in JSON; none is known.
pub fn summary_json(runs: &[Outcome]) -> Result<String, serde_json::Error> {
    #[derive(Serialize)]
    struct Summaries<'a> {
        runs: Vec<&'a Summary>,
    }
    pretty(&Summaries { runs: runs.iter().map(|run| &run.summary).collect() })
}

/// Checks that [`write`] would not refuse `folder`, so that it can be told before anything runs.
///
/// # Errors
/// When the folder isn't empty and is not to be overwritten.
pub fn check(folder: &Path, overwrite: bool) -> Result<(), RunFolderError> {
    let holds_something = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if holds_something && !overwrite {
        return Err(RunFolderError::NotEmpty { folder: folder.to_owned() });
    }
    Ok(())
}

/// Writes `written` into `folder`: first all of it beside the folder, then by renaming, so that no file is
/// ever half written, and a new folder is there with all its files or not at all.
///
/// A folder that isn't empty is refused unless `overwrite` is set. Then its files are replaced one by one,
/// the new runs first; when all are there, those of earlier runs are removed, and all others stay. A
/// failure on the way leaves files of both, and loses no run that isn't replaced.
///
/// # Errors
/// When the folder isn't empty, or the system refuses.
pub fn write(folder: &Path, written: &Written, overwrite: bool) -> Result<(), RunFolderError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause| RunFolderError::Write { path, cause }
    };
    let is_there = folder.symlink_metadata().is_ok();
    let mut is_empty = true;
    let target = if is_there {
        is_empty = fs::read_dir(folder).map_err(failed(folder))?.next().is_none();
        folder.canonicalize().map_err(failed(folder))?
    } else {
        folder.to_owned()
    };
    if !is_empty && !overwrite {
        return Err(RunFolderError::NotEmpty { folder: folder.to_owned() });
    }
    let name = target.file_name().ok_or_else(|| {
        let cause = io::Error::new(io::ErrorKind::InvalidInput, "expected a folder with a name of its own");
        failed(folder)(cause)
    })?;
    let parent = target.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(failed(parent))?;
    let beside = parent.join(format!(".{}.partial-{}", name.display(), std::process::id()));
    let done = write_new(&beside, written).and_then(|()| {
        if is_empty {
            // Renaming over an empty folder is refused on some systems.
            if is_there {
                fs::remove_dir(&target).map_err(failed(&target))?;
            }
            fs::rename(&beside, &target).map_err(failed(&target))
        } else {
            replace(&beside, &target)
        }
    });
    if beside.exists() {
        let removed = fs::remove_dir_all(&beside).map_err(failed(&beside));
        return done.and(removed);
    }
    done
}

/// Writes `files`, by name, into `folder`, which is made if need be: first each beside its place, then by
/// renaming, so that none is ever half written. Other files of the folder stay; see [`check`].
///
/// # Errors
/// When the system refuses.
pub fn write_files(folder: &Path, files: &[(&str, String)]) -> Result<(), RunFolderError> {
    make(folder)?;
    let beside = |name: &str| folder.join(format!(".{name}.partial-{}", std::process::id()));
    let written = files.iter().try_for_each(|(name, text)| {
        let path = beside(name);
        fs::write(&path, text).map_err(|cause| RunFolderError::Write { path, cause })
    });
    let done = written
        .and_then(|()| files.iter().try_for_each(|(name, _)| rename(&beside(name), &folder.join(name))));
    if done.is_err() {
        // What went wrong is told already; what is left of it is of no use.
        files.iter().for_each(|(name, _)| drop(fs::remove_file(beside(name))));
    }
    done
}

/// The folders of `runs`, by label and seed; a name that is taken gets a number.
pub(crate) fn folder_names(runs: &[Outcome]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(runs.len());
    for run in runs {
        let name = format!("{}-seed{}", safe_name(&run.summary.label), run.summary.seed);
        // Some systems don't tell capitals from small letters.
        let is_taken = |name: &str| names.iter().any(|taken| taken.eq_ignore_ascii_case(name));
        let numbered = (2u64..).map(|number| format!("{name}-{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !is_taken(name));
        names.push(free.unwrap_or(name));
    }
    names
}

/// `label` with nothing in it that a file name may not have on some system.
pub fn safe_name(label: &str) -> String {
    let kept =
        |letter: char| if letter.is_ascii_alphanumeric() || "-_.".contains(letter) { letter } else { '-' };
    let safe: String = label.chars().take(60).map(kept).collect();
    let safe = safe.trim_matches(['.', '-']);
    if safe.is_empty() { "run".into() } else { safe.into() }
}

fn pretty(value: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(value).map(|text| text + "\n")
}

#[derive(Serialize)]
struct Metadata<'a> {
    format_version: u32,
    wattle_version: &'a str,
    scenario: &'a str,
    description: &'a str,
    policies: Vec<&'a str>,
    seeds: Vec<u64>,
    inputs: Vec<InputFile>,
    runs: Vec<RunEntry<'a>>,
}

#[derive(Serialize)]
struct RunEntry<'a> {
    folder: String,
    label: &'a str,
    policy: &'a str,
    seed: u64,
}

fn metadata(written: &Written) -> Result<String, serde_json::Error> {
    let summaries = || written.runs.iter().map(|run| &run.summary);
    let (mut policies, mut seeds): (Vec<&str>, Vec<u64>) = (Vec::new(), Vec::new());
    for run in summaries() {
        if !policies.contains(&run.policy.as_str()) {
            policies.push(&run.policy);
        }
        if !seeds.contains(&run.seed) {
            seeds.push(run.seed);
        }
    }
    let runs = summaries().zip(folder_names(&written.runs)).map(|(run, name)| RunEntry {
        folder: format!("runs/{name}"),
        label: &run.label,
        policy: &run.policy,
        seed: run.seed,
    });
    pretty(&Metadata {
        format_version: FORMAT_VERSION,
        wattle_version: &written.wattle_version,
        scenario: &written.scenario,
        description: &written.description,
        policies,
        seeds,
        inputs: written.named_inputs(),
        runs: runs.collect(),
    })
}

/// A file, as text or as why there is none.
fn put<E: std::fmt::Display>(
    folder: &Path,
    name: &str,
    text: Result<String, E>,
) -> Result<(), RunFolderError> {
    let path = folder.join(name);
    let text =
        text.map_err(|error| RunFolderError::Encode { path: path.clone(), cause: error.to_string() })?;
    fs::write(&path, text).map_err(|cause| RunFolderError::Write { path, cause })
}

fn make(folder: &Path) -> Result<(), RunFolderError> {
    fs::create_dir_all(folder).map_err(|cause| RunFolderError::Write { path: folder.to_owned(), cause })
}

/// Writes everything into `folder`, which is nobody else's.
fn write_new(folder: &Path, written: &Written) -> Result<(), RunFolderError> {
    make(folder)?;
    put(folder, "metadata.json", metadata(written))?;
    put(folder, "summary.json", summary_json(&written.runs))?;
    put(folder, "report.html", Ok::<_, serde_json::Error>(run_report(written)))?;
    for (run, name) in written.runs.iter().zip(folder_names(&written.runs)) {
        let folder = folder.join("runs").join(name);
        make(&folder)?;
        put(&folder, "summary.json", pretty(&run.summary))?;
        put(&folder, "timeseries.csv", timeseries(&run.points))?;
        let lines: Result<String, _> =
            run.decisions.iter().map(|told| serde_json::to_string(told).map(|line| line + "\n")).collect();
        put(&folder, "decisions.jsonl", lines)?;
    }
    Ok(())
}

/// The points as CSV, with the fields of [`Point`] as columns; what is no finite number is unknown.
fn timeseries(points: &[Point]) -> Result<String, Box<dyn std::error::Error>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for point in points {
        writer.serialize(point)?;
    }
    let written = writer.into_inner()?;
    if written.is_empty() {
        return Ok(String::new());
    }
    let mut reader = csv::Reader::from_reader(written.as_slice());
    let columns = reader.headers()?.clone();
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&columns)?;
    for record in reader.records() {
        let record = record?;
        let is_odd = |cell: &str| cell.parse().is_ok_and(|value: f64| !value.is_finite());
        let cells = record.iter().zip(&columns);
        let known = cells.map(|(cell, name)| if name != "variant" && is_odd(cell) { "" } else { cell });
        writer.write_record(known)?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// Moves what is in `beside` into `target`, then removes the files of earlier runs.
fn replace(beside: &Path, target: &Path) -> Result<(), RunFolderError> {
    // Some systems don't tell capitals from small letters: a folder is known by what it is called there.
    let called = |path: &Path| {
        path.canonicalize().map_err(|cause| RunFolderError::Write { path: path.to_owned(), cause })
    };
    let mut new = Vec::new();
    for folder in folders(&beside.join("runs"))? {
        let place = target.join("runs").join(folder.file_name().unwrap_or_default());
        make(&place)?;
        for file in RUN_FILES {
            rename(&folder.join(file), &place.join(file))?;
        }
        new.push(called(&place)?);
    }
    FILES.iter().try_for_each(|file| rename(&beside.join(file), &target.join(file)))?;
    for folder in folders(&target.join("runs"))? {
        if new.contains(&called(&folder)?) {
            continue;
        }
        for file in RUN_FILES {
            let path = folder.join(file);
            match fs::remove_file(&path) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                    return Err(RunFolderError::Write { path, cause });
                }
                _ => {}
            }
        }
        // Stays where it holds files of someone else.
        let _ = fs::remove_dir(&folder);
    }
    Ok(())
}

/// The folders in `folder`; none where it isn't there.
fn folders(folder: &Path) -> Result<Vec<PathBuf>, RunFolderError> {
    let failed = |cause| RunFolderError::Write { path: folder.to_owned(), cause };
    let entries = match fs::read_dir(folder) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn rename(from: &Path, to: &Path) -> Result<(), RunFolderError> {
    fs::rename(from, to).map_err(|cause| RunFolderError::Write { path: to.to_owned(), cause })
}

#[cfg(test)]
mod tests;
