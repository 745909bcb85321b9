//! Writes a file whole or not at all: beside its place, then into it, so that a reader never sees half.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result, anyhow};

/// Writes `bytes` to `path`, in whose folder there must be room; its folder is made where there is none.
///
/// # Errors
/// Names the file and what failed. One that is there already is replaced only with `force`.
pub(crate) fn write(path: &Path, bytes: &[u8], force: bool) -> Result<()> {
    check(path, force)?;
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .with_context(|| format!("failed to make the folder {}", folder.display()))?;
    let failed = || format!("failed to write {}", path.display());
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(failed)?;
    file.write_all(bytes).with_context(failed)?;
    readable_by_all(file.as_file()).with_context(failed)?;
    if force {
        file.persist(path).with_context(failed)?;
    } else {
        file.persist_noclobber(path).with_context(failed)?;
    }
    Ok(())
}

/// Fails where `path` is there already and may not be replaced: told before any work is done.
pub(crate) fn check(path: &Path, force: bool) -> Result<()> {
    // What a link leads to would stay, and a device would be no device any more.
    if path.symlink_metadata().is_ok_and(|about| !about.is_file()) {
        return Err(anyhow!(
            "{} is no regular file and nothing was written: name another place",
            path.display()
        ));
    }
    if !force && path.exists() {
        return Err(anyhow!(
            "{} is there already and nothing was written: replace it with --force, or name another place",
            path.display()
        ));
    }
    Ok(())
}

/// A temporary file is its owner's alone; what is made of it is not.
fn readable_by_all(file: &std::fs::File) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}
