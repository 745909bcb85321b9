//! Turns measured files of others into profile and signal files.
//!
//! Every format is a pure function from the bytes of files to profiles, signals and a list of all that
//! was odd in them: nothing is dropped, filled or changed in silence. What a file does not say stays
//! unknown. A file that is not of the format is an error that says where and what to do.

mod archive;
mod clock;
mod error;
mod format;
mod formats;
mod imported;
mod oddity;
mod options;
mod series;
mod table;

pub use error::ImportError;
pub use format::{Format, UnknownFormat};
pub use formats::batchdvfs::{Step, StepLog, StepSummary, SummaryRow, step_log};
pub use formats::dacf::direct_intensity;
pub use formats::model_analyzer::{ModelAnalyzerMeasurement, measurements};
pub use imported::{Imported, ImportedProfile, ImportedSignal};
pub use jiff::tz::TimeZone;
pub use oddity::Oddity;
pub use options::{CarbonKind, Gaps, Options};

use error::Blame;
use oddity::Oddities;

/// A file to import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its name, with the folders that tell where it belongs.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl Input {
    /// Its text, without the mark that some programs put before it.
    pub(crate) fn text(&self) -> Result<&str, ImportError> {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
            Err(error) => {
                let before = self.bytes.iter().take(error.valid_up_to());
                let line = 1 + before.filter(|byte| **byte == b'\n').count() as u64;
                let found = "bytes that are no UTF-8";
                Err(Blame(&self.name).at(
                    Some(line),
                    None,
                    found,
                    "text in UTF-8",
                    "convert the file to UTF-8",
                ))
            }
        }
    }
}

/// Imports `inputs`, all of `format`. Archives among them (ZIP) are unpacked in memory.
///
/// Files of one import belong together where the format says so: the CSVs of one Model Analyzer run, the
/// files of an MLPerf result folder. Fails at the first file that is not of the format; then nothing is
/// given at all.
pub fn import(format: Format, inputs: &[Input], options: &Options) -> Result<Imported, ImportError> {
    options.check(format)?;
    let mut oddities = Oddities::default();
    let inputs = archive::unpack(inputs)?;
    if inputs.is_empty() {
        return Err(Blame(format.name()).file("no file", "at least one", "name the files to import"));
    }
    let mut imported = match format {
        Format::EnerTune => formats::enertune::import(&inputs, options, &mut oddities),
        Format::ModelAnalyzer => formats::model_analyzer::import(&inputs, options, &mut oddities),
        Format::ParvaGpu => formats::parvagpu::import(&inputs, options, &mut oddities),
        Format::BatchDvfs => formats::batchdvfs::import(&inputs, options, &mut oddities),
        Format::MlperfPower => formats::mlperf_power::import(&inputs, options, &mut oddities),
        Format::Dacf => formats::dacf::import(&inputs, options, &mut oddities),
        Format::ElectricityMaps => formats::electricity_maps::import(&inputs, options, &mut oddities),
        Format::Uk => formats::uk::import(&inputs, options, &mut oddities),
        Format::Clover => formats::clover::import(&inputs, options, &mut oddities),
    }?;
    if imported.profiles.is_empty() && imported.signals.is_empty() {
        let name = inputs.first().map_or(format.name(), |input| &input.input.name);
        let expected = "at least one profile or signal";
        return Err(Blame(name).file("nothing to import", expected, "give files of this format"));
    }
    imported.oddities = oddities.into_vec();
    name_apart(&mut imported);
    Ok(imported)
}

/// Gives every file a name of its own: later ones of one name are numbered.
fn name_apart(imported: &mut Imported) {
    let profiles = imported.profiles.iter_mut().map(|profile| &mut profile.file_stem);
    number(profiles);
    number(imported.signals.iter_mut().map(|signal| &mut signal.file_stem));
}

fn number<'a>(stems: impl Iterator<Item = &'a mut String>) {
    let mut taken = std::collections::BTreeSet::new();
    for stem in stems {
        let mut name = stem.clone();
        let mut count = 1;
        // Names that differ in letter case only are one file on some systems.
        while !taken.insert(name.to_lowercase()) {
            count += 1;
            name = format!("{stem}-{count}");
        }
        *stem = name;
    }
}
