//! What the user may say beside the files.

use std::str::FromStr;

use jiff::tz::TimeZone;

use crate::error::ImportError;
use crate::format::Format;

/// Which emissions a carbon intensity counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CarbonKind {
    /// Those of burning the fuel.
    Direct,
    /// Those of building and supplying the plant too.
    LifeCycle,
}

/// What is done with stretches of time that have no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gaps {
    /// The value before the gap holds.
    Hold,
    /// Values on a straight line between both ends.
    Interpolate,
}

/// What the user may say beside the files. `None`: nothing said.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Name of the model, where the file doesn't say it or says it otherwise.
    pub model: Option<String>,
    /// The device, in words.
    pub device: Option<String>,
    /// What executed the model, with its version.
    pub runtime: Option<String>,
    /// Requests in flight at once: the rows to take.
    pub concurrency: Option<u32>,
    /// Which emissions to count.
    pub kind: Option<CarbonKind>,
    /// Make a signal of this source's generation instead of the carbon intensity.
    pub source: Option<String>,
    /// The zone of time stamps that say none.
    pub time_zone: Option<TimeZone>,
    /// What to do with gaps of more than 3 hours.
    pub gaps: Option<Gaps>,
}

/// The flags of [`Options`], as the command line spells them.
const FLAGS: [&str; 8] =
    ["--model", "--device", "--runtime", "--concurrency", "--kind", "--source", "--time-zone", "--gaps"];

impl Options {
    /// Fails when something was said that means nothing to `format`.
    pub(crate) fn check(&self, format: Format) -> Result<(), ImportError> {
        let said = [
            self.model.is_some(),
            self.device.is_some(),
            self.runtime.is_some(),
            self.concurrency.is_some(),
            self.kind.is_some(),
            self.source.is_some(),
            self.time_zone.is_some(),
            self.gaps.is_some(),
        ];
        let known = format.flags();
        match FLAGS.iter().zip(said).find(|(flag, said)| *said && !known.contains(flag)) {
            None => Ok(()),
            Some((flag, _)) => Err(crate::error::Blame(format.name()).file(
                format!("{flag}, which means nothing to this format"),
                format!("one of: {}", known.join(", ")),
                "leave it out",
            )),
        }
    }
}

impl FromStr for CarbonKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "direct" => Ok(Self::Direct),
            "life-cycle" => Ok(Self::LifeCycle),
            _ => Err("expected direct or life-cycle".to_owned()),
        }
    }
}

impl FromStr for Gaps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "hold" => Ok(Self::Hold),
            "interpolate" => Ok(Self::Interpolate),
            _ => Err("expected hold or interpolate".to_owned()),
        }
    }
}
