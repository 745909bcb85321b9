//! Published carbon intensities of zones as histories, for tests and figures of forecasts.

use std::path::Path;
use std::time::Duration;

use wattle_core::forecast::{History, Origins};
use wattle_core::time::UnixTime;
use wattle_import::{CarbonKind, Format, Gaps, ImportedSignal, Input, Options, import};

pub(crate) const DAY: Duration = Duration::from_secs(86_400);
const MOST_DAYS: u64 = 365;

/// A file of a zone's carbon intensity.
#[derive(Clone, Copy)]
pub(crate) struct Zone {
    pub(crate) name: &'static str,
    file: &'static str,
    format: Format,
    kind: Option<CarbonKind>,
    step_minutes: u64,
}

const fn zone(
    name: &'static str,
    file: &'static str,
    format: Format,
    kind: Option<CarbonKind>,
    step_minutes: u64,
) -> Zone {
    Zone { name, file, format, kind, step_minutes }
}

const DIRECT: Option<CarbonKind> = Some(CarbonKind::Direct);
const LIFE_CYCLE: Option<CarbonKind> = Some(CarbonKind::LifeCycle);

pub(crate) const CISO: Zone = zone("CISO direct 2020-21", "dacf/CISO.csv", Format::Dacf, None, 60);
pub(crate) const ISNE: Zone = zone("ISNE direct 2020-21", "dacf/ISNE.csv", Format::Dacf, None, 60);
pub(crate) const ERCO: Zone = zone("ERCO direct 2020-21", "dacf/ERCO.csv", Format::Dacf, None, 60);
const EM: Format = Format::ElectricityMaps;

pub(crate) const ZONES: [Zone; 10] = [
    CISO,
    ISNE,
    ERCO,
    zone("CISO life-cycle 2020-22", "electricitymaps/US-CAL-CISO_raw_mix_2020-2022.csv", EM, None, 60),
    zone("CISO direct 2022", "electricitymaps/US-CAL-CISO_2022_hourly.csv", EM, DIRECT, 60),
    zone("CISO life-cycle 2022", "electricitymaps/US-CAL-CISO_2022_hourly.csv", EM, LIFE_CYCLE, 60),
    zone("NO direct 2022", "electricitymaps/NO_2022_hourly.csv", EM, DIRECT, 60),
    zone("NO life-cycle 2022", "electricitymaps/NO_2022_hourly.csv", EM, LIFE_CYCLE, 60),
    zone("FR 2020", "lets-wait-awhile/fr_ci.csv", Format::Uk, None, 30),
    zone("DE 2020", "lets-wait-awhile/ger_ci.csv", Format::Uk, None, 15),
];

impl Zone {
    /// The zone's carbon intensity.
    pub(crate) fn history(&self, data: &Path) -> History {
        let signal = self.signal(data, None);
        let start = start(&signal);
        let points =
            signal.points.iter().map(|(seconds, value)| (start + Duration::from_secs_f64(*seconds), *value));
        History::of_points(points, Duration::from_secs(60 * self.step_minutes)).unwrap()
    }

    /// The same, and beside it what was generated: the sum, and what share of it each of `sources` had.
    pub(crate) fn history_with_mix(&self, data: &Path, sources: &[&str]) -> History {
        let history = self.history(data);
        let all = ["coal", "nat_gas", "nuclear", "oil", "hydro", "solar", "wind", "other"];
        let text = String::from_utf8(self.input(data).bytes).unwrap();
        let has = |source: &&str| text.lines().next().unwrap().split(',').any(|name| name == *source);
        let generated = |source: &str| -> Vec<f64> {
            self.signal(data, Some(source)).points.iter().map(|(_, value)| *value).collect()
        };
        let by_source: Vec<Vec<f64>> = all.iter().filter(|one| has(one)).map(|one| generated(one)).collect();
        let hours = history.values().len();
        let sum: Vec<f64> = (0..hours).map(|hour| by_source.iter().map(|of| of[hour]).sum()).collect();
        let first = history.first();
        let as_seen = |values: Vec<f64>| values.into_iter().map(Some).collect::<Vec<_>>();
        let mut history = history.with_seen(first, &as_seen(sum.clone())).unwrap();
        for source in sources {
            let shares = generated(source).iter().zip(&sum).map(|(made, sum)| made / sum.max(1.0)).collect();
            history = history.with_seen(first, &as_seen(shares)).unwrap();
        }
        history
    }

    pub(crate) fn input(&self, data: &Path) -> Input {
        let path = data.join("grid").join(self.file);
        Input { name: path.display().to_string(), bytes: std::fs::read(path).unwrap() }
    }

    fn signal(&self, data: &Path, source: Option<&str>) -> ImportedSignal {
        // A gap stays a gap: values between its ends would tell of what came later.
        let gaps = (self.format == EM).then_some(Gaps::Hold);
        let options =
            Options { kind: self.kind, gaps, source: source.map(str::to_owned), ..Options::default() };
        import(self.format, &[self.input(data)], &options).unwrap().signals.remove(0)
    }
}

fn start(signal: &ImportedSignal) -> UnixTime {
    let comment = signal.comments.iter().find_map(|comment| comment.strip_prefix("start: ")).unwrap();
    let time: jiff::Timestamp = comment.split(';').next().unwrap().parse().unwrap();
    UnixTime::from_secs(time.as_second())
}

/// Origins in the last 365 days of a history, or in its last half where that is shorter: one `every` so
/// long, from 00:00 in universal time on. The last forecasts end where the history does.
pub(crate) fn last_year(history: &History, every: Duration) -> Origins {
    let end = history.end().as_secs();
    let midnight = end - end.rem_euclid(DAY.as_secs() as i64);
    let days = (history.values().len() as u64 * history.step().as_secs() / DAY.as_secs() / 2).min(MOST_DAYS);
    let last = UnixTime::from_secs(midnight);
    Origins { first: last - DAY * days as u32, until: last - DAY + Duration::from_secs(1), every }
}
