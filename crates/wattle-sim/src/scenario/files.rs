//! The files that a scenario names: where they are, and their hashes.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::InputFile;
use super::load::ScenarioError;

/// Reads the files that a scenario names, and keeps their hashes.
pub(super) struct Files<'a> {
    name: &'a str,
    folder: &'a Path,
    inputs: Vec<InputFile>,
}

impl<'a> Files<'a> {
    /// The files of the scenario `name` with the words `text`, whose files are in `folder`.
    pub(super) fn of(name: &'a str, text: &str, folder: &'a Path) -> Self {
        let input = InputFile { path: name.into(), sha256: sha256(text.as_bytes()) };
        Self { name, folder, inputs: vec![input] }
    }

    /// The scenario's own name, for errors.
    pub(super) fn name(&self) -> &str {
        self.name
    }

    /// The scenario and the files it rests on.
    pub(super) fn into_inputs(self) -> Vec<InputFile> {
        self.inputs
    }

    /// Keeps the hash of `file`; gives where it is.
    pub(super) fn record(&mut self, file: &str) -> Result<PathBuf, ScenarioError> {
        let path = self.folder.join(file);
        if !self.inputs.iter().any(|input| input.path == Path::new(file)) {
            let sha256 =
                sha256_of_file(&path).map_err(|cause| ScenarioError::Read { path: path.clone(), cause })?;
            self.inputs.push(InputFile { path: file.into(), sha256 });
        }
        Ok(path)
    }

    pub(super) fn text(&self, path: &Path) -> Result<String, ScenarioError> {
        std::fs::read_to_string(path).map_err(|cause| ScenarioError::Read { path: path.to_owned(), cause })
    }
}

/// SHA-256 in hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// SHA-256 of a file of any length, in little memory.
fn sha256_of_file(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(hexadecimal(&hash.finalize())),
            Ok(read) => hash.update(block.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_longer_than_a_block_has_the_hash_of_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..200_000_u32).map(|index| (index % 251) as u8).collect();
        std::fs::write(folder.path().join("long"), &bytes).unwrap();
        let mut files = Files::of("scenario.toml", "", folder.path());
        files.record("long").unwrap();
        assert_eq!(files.into_inputs()[1].sha256, sha256(&bytes));
    }
}
