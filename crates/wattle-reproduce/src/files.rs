//! Finds files of the user's data by their names.

use std::path::{Path, PathBuf};

/// Folders below which nothing is looked for: no data of anybody's lies deeper.
const MOST_FOLDERS_DEEP: u32 = 8;

/// The first file called `name` in `folder` or below it, in the order of paths. Folders that can't be
/// read are passed over.
pub(crate) fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    find_within(folder, name, MOST_FOLDERS_DEEP)
}

fn find_within(folder: &Path, name: &str, deep: u32) -> Option<PathBuf> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let here = paths.iter().find(|path| path.file_name().is_some_and(|found| found == name) && path.is_file());
    here.cloned().or_else(|| {
        let folders = paths.iter().filter(|path| deep > 0 && path.is_dir());
        folders.into_iter().find_map(|path| find_within(path, name, deep - 1))
    })
}
