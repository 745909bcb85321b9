//! Finds the user's own measured files and reads generation from them.

use std::path::{Path, PathBuf};

use wattle_import::{Format, Gaps, Input, Options, import};

use crate::ReproduceError;

/// Folders within folders that are looked into.
const DEPTH: usize = 8;

/// All files below `folder` whose name passes `is_wanted`, in the order of their paths.
///
/// # Errors
/// When `folder` itself can't be read.
pub(crate) fn find_all(
    folder: &Path,
    is_wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<PathBuf>, ReproduceError> {
    let entries = std::fs::read_dir(folder).map_err(|cause| unread(folder, &cause))?;
    let mut found = Vec::new();
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    look(&paths, is_wanted, DEPTH, &mut found);
    Ok(found)
}

fn look(paths: &[PathBuf], is_wanted: &dyn Fn(&str) -> bool, depth: usize, found: &mut Vec<PathBuf>) {
    for path in paths {
        if path.is_dir() {
            // A folder that can't be read holds nothing for us.
            let entries = std::fs::read_dir(path).into_iter().flatten();
            let mut within: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
            within.sort();
            if depth > 0 {
                look(&within, is_wanted, depth - 1, found);
            }
        } else if path.file_name().and_then(|name| name.to_str()).is_some_and(is_wanted) {
            found.push(path.clone());
        }
    }
}

/// The text of a file.
pub(crate) fn text(path: &Path) -> Result<String, ReproduceError> {
    std::fs::read_to_string(path).map_err(|cause| unread(path, &cause))
}

/// Hourly generation of `source` in a file of DACF, in megawatts.
pub(super) fn generation(path: &Path, source: &str) -> Result<Vec<f64>, ReproduceError> {
    let data = |cause: String| ReproduceError::Data { file: path.to_owned(), cause };
    let bytes = std::fs::read(path).map_err(|cause| unread(path, &cause))?;
    let input = Input { name: path.display().to_string(), bytes };
    let options =
        Options { source: Some(source.to_owned()), gaps: Some(Gaps::Interpolate), ..Options::default() };
    let imported = import(Format::Dacf, &[input], &options).map_err(|error| data(error.to_string()))?;
    let signal = imported.signals.into_iter().next();
    let signal = signal.ok_or_else(|| data(format!("found no column {source}, expected one")))?;
    Ok(signal.points.into_iter().map(|(_, megawatts)| megawatts).collect())
}

fn unread(path: &Path, cause: &std::io::Error) -> ReproduceError {
    let cause = format!("failed to read: {cause}; name a folder with measured files");
    ReproduceError::Data { file: path.to_owned(), cause }
}
