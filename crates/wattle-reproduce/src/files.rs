//! Finds files of the user's data by their names.

use std::path::{Path, PathBuf};

/// Folders below which nothing is looked for: no data of anybody's lies deeper.
const MOST_FOLDERS_DEEP: u32 = 8;

/// The first file called `name` in `folder` or below it, as [`find_all`] orders them.
pub(crate) fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    find_all(folder, &|found| found == name).into_iter().next()
}

/// All files in `folder` or below it whose name is wanted: those of a folder before those of the folders
/// in it, each in the order of their paths. Folders that can't be read are passed over.
pub(crate) fn find_all(folder: &Path, is_wanted: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    find_within(folder, is_wanted, MOST_FOLDERS_DEEP, &mut found);
    found
}

fn find_within(folder: &Path, is_wanted: &dyn Fn(&str) -> bool, deep: u32, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = paths.into_iter().partition(|path| path.is_dir());
    let is_named = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(is_wanted);
    found.extend(files.into_iter().filter(is_named));
    for folder in folders.iter().filter(|_| deep > 0) {
        find_within(folder, is_wanted, deep - 1, found);
    }
}
