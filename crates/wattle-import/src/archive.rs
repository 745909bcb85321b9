//! Unpacks ZIP archives among the files, in memory.

use std::borrow::Cow;
use std::io::{Cursor, Read as _};

use crate::Input;
use crate::error::{Blame, ImportError};

/// Most bytes that the archives of one import may unpack to.
const MOST_BYTES: u64 = 256 << 20;

/// A file, and whether the user named it or it came out of an archive.
pub(crate) struct Unpacked<'a> {
    pub(crate) input: Cow<'a, Input>,
    /// The archive it came out of: there a file that is not of the format is left out, not an error.
    pub(crate) archive: Option<&'a str>,
}

/// The files, with archives replaced by what is in them.
pub(crate) fn unpack(inputs: &[Input]) -> Result<Vec<Unpacked<'_>>, ImportError> {
    let mut left = MOST_BYTES;
    let mut unpacked = Vec::new();
    for input in inputs {
        if !input.bytes.starts_with(b"PK\x03\x04") {
            unpacked.push(Unpacked { input: Cow::Borrowed(input), archive: None });
            continue;
        }
        let broken = |found: String| {
            let help = "unpack it and give the files";
            Blame(&input.name).file(found, "a ZIP archive that can be unpacked", help)
        };
        let mut archive =
            zip::ZipArchive::new(Cursor::new(&input.bytes)).map_err(|error| broken(error.to_string()))?;
        for index in 0..archive.len() {
            let member = archive.by_index(index).map_err(|error| broken(error.to_string()))?;
            if member.is_dir() {
                continue;
            }
            let name = member.name().map_err(|error| broken(error.to_string()))?;
            let name = format!("{}/{name}", input.name);
            let mut bytes = Vec::new();
            member.take(left + 1).read_to_end(&mut bytes).map_err(|error| broken(error.to_string()))?;
            left = left
                .checked_sub(bytes.len() as u64)
                .ok_or_else(|| broken(format!("more than {} MiB of files", MOST_BYTES >> 20)))?;
            unpacked.push(Unpacked { input: Cow::Owned(Input { name, bytes }), archive: Some(&input.name) });
        }
    }
    Ok(unpacked)
}
