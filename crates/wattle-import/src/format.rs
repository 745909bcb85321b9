//! The formats there are.

use std::fmt;
use std::str::FromStr;

use wattle_core::nearest::nearest;

/// A format that can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// EnerTune's CSV: batch size, MIG slices and core clock of an A100.
    EnerTune,
    /// Checkpoints and metrics CSVs of Triton's Model Analyzer.
    ModelAnalyzer,
    /// ParvaGPU's CSV: MIG slice, batch size and MPS processes of an A100.
    ParvaGpu,
    /// Step logs of BatchDVFS, and the nvidia-smi logs beside them.
    BatchDvfs,
    /// Result folders of MLPerf Inference with power.
    MlperfPower,
    /// DACF's hourly generation by source.
    Dacf,
    /// CSV of the Electricity Maps portal.
    ElectricityMaps,
    /// Half-hourly and quarter-hourly carbon intensity, as Great Britain's and like it.
    Uk,
    /// Carbon intensities without times, as Clover's.
    Clover,
}

/// A name that is no format's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}, expected one of: {}; did you mean {nearest:?}?", Format::NAMES.join(", "))]
pub struct UnknownFormat {
    /// The name.
    pub found: String,
    /// The nearest known name.
    pub nearest: &'static str,
}

impl Format {
    /// Every name, in the order of [`Format::ALL`].
    pub const NAMES: [&'static str; 9] = [
        "enertune",
        "model-analyzer",
        "parvagpu",
        "batchdvfs",
        "mlperf-power",
        "dacf",
        "electricity-maps",
        "uk",
        "clover",
    ];

    /// Every format.
    pub const ALL: [Self; 9] = [
        Self::EnerTune,
        Self::ModelAnalyzer,
        Self::ParvaGpu,
        Self::BatchDvfs,
        Self::MlperfPower,
        Self::Dacf,
        Self::ElectricityMaps,
        Self::Uk,
        Self::Clover,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EnerTune => "enertune",
            Self::ModelAnalyzer => "model-analyzer",
            Self::ParvaGpu => "parvagpu",
            Self::BatchDvfs => "batchdvfs",
            Self::MlperfPower => "mlperf-power",
            Self::Dacf => "dacf",
            Self::ElectricityMaps => "electricity-maps",
            Self::Uk => "uk",
            Self::Clover => "clover",
        }
    }

    /// Whether it takes a folder of files, told apart by their places in it.
    pub const fn takes_folders(self) -> bool {
        matches!(self, Self::MlperfPower)
    }

    /// The flags that mean something to it.
    pub(crate) const fn flags(self) -> &'static [&'static str] {
        match self {
            Self::EnerTune | Self::ParvaGpu | Self::BatchDvfs => &["--model", "--device", "--runtime"],
            Self::ModelAnalyzer => &["--device", "--runtime", "--concurrency"],
            Self::MlperfPower => &["--device", "--runtime"],
            Self::Dacf => &["--source", "--gaps"],
            Self::ElectricityMaps => &["--kind", "--source", "--gaps"],
            Self::Uk => &["--time-zone", "--gaps"],
            Self::Clover => &["--kind"],
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| UnknownFormat {
            found: name.to_owned(),
            nearest: nearest(name, Self::NAMES).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_as_its_format() {
        for (format, name) in Format::ALL.into_iter().zip(Format::NAMES) {
            assert_eq!((format.name(), name.parse()), (name, Ok(format)));
        }
    }

    #[test]
    fn an_unknown_name_is_told_the_nearest_and_all() {
        let error = "enertunes".parse::<Format>().unwrap_err();
        assert_eq!(error.nearest, "enertune");
        assert!(error.to_string().contains("electricity-maps"), "{error}");
    }
}
