//! The zones and months of carbon intensity: the user's files, or a generated one.

use std::path::Path;

use wattle_import::{CarbonKind, Format};

use crate::carbon_adaptive::traces::{CarbonMonth, CarbonTrace};
use crate::{ReproduceError, files};

/// A file that is known, and the months of it.
struct Known {
    file: &'static str,
    zone: &'static str,
    format: Format,
    kind: Option<CarbonKind>,
    /// Each with the days from the start of the file.
    months: &'static [(&'static str, u32)],
}

/// Days to each month, in files that begin with 2020, with 2022 and on 20 December 2019.
const OF_2020: &[(&str, u32)] = &[("June 2020", 152), ("December 2020", 335)];
const OF_2022: &[(&str, u32)] = &[("June 2022", 151), ("December 2022", 334)];
const FROM_2019: &[(&str, u32)] = &[("June 2020", 164), ("December 2020", 347)];

const KNOWN: [Known; 7] = [
    Known { file: "CISO.csv", zone: "CISO", format: Format::Dacf, kind: None, months: OF_2020 },
    Known { file: "ISNE.csv", zone: "ISNE", format: Format::Dacf, kind: None, months: OF_2020 },
    Known { file: "ERCO.csv", zone: "ERCO", format: Format::Dacf, kind: None, months: OF_2020 },
    Known {
        file: "NO_2022_hourly.csv",
        zone: "NO",
        format: Format::ElectricityMaps,
        kind: Some(CarbonKind::Direct),
        months: OF_2022,
    },
    Known {
        file: "US-CAL-CISO_2022_hourly.csv",
        zone: "US-CAL-CISO",
        format: Format::ElectricityMaps,
        kind: Some(CarbonKind::Direct),
        months: OF_2022,
    },
    Known { file: "fr_ci.csv", zone: "FR", format: Format::Uk, kind: None, months: FROM_2019 },
    Known { file: "ger_ci.csv", zone: "DE", format: Format::Uk, kind: None, months: FROM_2019 },
];

/// A month of a zone.
pub(super) struct ZoneMonth {
    pub(super) zone: String,
    pub(super) month: String,
    pub(super) carbon: CarbonTrace,
}

impl ZoneMonth {
    /// Every month of the zones whose files are in `data`, each of `days`; a generated one if there is none.
    pub(super) fn all_of(data: Option<&Path>, days: u32) -> Result<Vec<Self>, ReproduceError> {
        let mut all = Vec::new();
        for Known { file, zone, format, kind, months } in &KNOWN {
            let Some(path) = data.and_then(|folder| files::find(folder, file)) else { continue };
            for (month, day) in *months {
                let of = CarbonMonth { format: *format, kind: *kind, day: *day, days };
                let carbon = CarbonTrace::read(&path, zone, &of)?;
                all.push(Self { zone: (*zone).into(), month: (*month).into(), carbon });
            }
        }
        if all.is_empty() {
            let carbon = CarbonTrace::generated(days);
            all.push(Self { zone: carbon.name.clone(), month: "a month".into(), carbon });
        }
        Ok(all)
    }
}
