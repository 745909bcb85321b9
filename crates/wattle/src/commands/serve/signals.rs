//! Carbon intensity and the power cap: by flags, or by `[signals]` of `wattle.toml` from live sources.

use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value};
use wattle_core::signal::series::{Fallback, StalenessRule};
use wattle_core::signal::{AfterEnd, Quantity, Signal, Trace};
use wattle_core::time::UnixTime;
use wattle_server::control_loop::SignalSource;
use wattle_signals::config::{SourceConfig, build};
use wattle_signals::live::{LiveSignal, wall_clock};
use wattle_signals::poller::{LiveOptions, Poller};
use wattle_signals::site::LiveSupply;
use wattle_signals::supply::SupplyRule;

use crate::exit::ConfigError;

/// The table `[signals]`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SignalsFile {
    /// The folder of the caches [default: wattle/signals in the user's cache folder].
    cache_folder: Option<PathBuf>,
    /// Whether nothing is kept on disk.
    no_cache: bool,
    carbon_intensity: Option<SignalTable>,
    power_cap: Option<CapTable>,
    /// Parts of a site's supply, for a power cap with `source = "supply"`.
    pv: Option<SignalTable>,
    wind: Option<SignalTable>,
    battery_charge: Option<SignalTable>,
}

/// A signal of one source: keys that all signals have, and those of the source.
pub(crate) struct SignalTable {
    source: SourceConfig,
    interval_seconds: Option<u64>,
    max_requests_per_day: Option<u32>,
    stale_after_seconds: Option<u64>,
    give_up_after_seconds: Option<u64>,
    fallback: Fallback,
}

/// The power cap: from a source of its own, or of what the site makes.
enum CapTable {
    Source(Box<SignalTable>),
    Supply(SupplyRule),
}

/// A week, as the sources' own `interval_seconds` have it.
const LONGEST_INTERVAL_SECONDS: u64 = 7 * 24 * 3600;

/// Which signal: its name in the configuration, and what it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named(&'static str, Quantity);

const CARBON_INTENSITY: Named = Named("carbon_intensity", Quantity::CarbonIntensity);
const POWER_CAP: Named = Named("power_cap", Quantity::Power);
const PV: Named = Named("pv", Quantity::Power);
const WIND: Named = Named("wind", Quantity::Power);
const BATTERY_CHARGE: Named = Named("battery_charge", Quantity::StateOfCharge);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[signals.{}]", self.0)
    }
}

impl Named {
    /// After how long a value of the signal is stale, and given up, unless configured: a grid changes over
    /// hours, a site's sun within minutes.
    const fn default_limits(self) -> (u64, u64) {
        match self.1 {
            Quantity::CarbonIntensity => (3600, 6 * 3600),
            Quantity::Power | Quantity::StateOfCharge => (300, 1800),
        }
    }
}

impl<'de> Deserialize<'de> for CapTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut keys = Map::deserialize(deserializer)?;
        if keys.get("source").and_then(Value::as_str) != Some("supply") {
            return SignalTable::of(keys).map(Box::new).map(Self::Source).map_err(D::Error::custom);
        }
        keys.remove("source");
        let rule: SupplyRule = serde_json::from_value(Value::Object(keys)).map_err(D::Error::custom)?;
        rule.check().map_err(D::Error::custom)?;
        Ok(Self::Supply(rule))
    }
}

impl<'de> Deserialize<'de> for SignalTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(Map::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl SignalTable {
    /// The signal that `keys` describe: those that no signal has are the source's.
    fn of(mut keys: Map<String, Value>) -> Result<Self, String> {
        let interval_seconds = match keys.get("source").and_then(Value::as_str) {
            // Sources that have this key take it themselves.
            Some("carbon-aware-sdk" | "prometheus" | "http-json" | "csv") => None,
            _ => key(&mut keys, "interval_seconds")?,
        };
        if let Some(seconds) =
            interval_seconds.filter(|seconds| !(1..=LONGEST_INTERVAL_SECONDS).contains(seconds))
        {
            return Err(format!(
                "interval_seconds: found {seconds}, expected 1 to {LONGEST_INTERVAL_SECONDS}"
            ));
        }
        let (stale_after_seconds, give_up_after_seconds) =
            (key(&mut keys, "stale_after_seconds")?, key(&mut keys, "give_up_after_seconds")?);
        let (max_requests_per_day, fallback) =
            (key(&mut keys, "max_requests_per_day")?, key(&mut keys, "fallback")?.unwrap_or_default());
        if max_requests_per_day == Some(0) {
            return Err("max_requests_per_day: found 0, expected at least 1".into());
        }
        if let Fallback::Constant(value) = fallback
            && !(value.is_finite() && value >= 0.0)
        {
            return Err(format!("fallback: found a constant of {value}, expected 0 or more"));
        }
        let source = serde_json::from_value(Value::Object(keys)).map_err(|error| error.to_string())?;
        Ok(Self {
            source,
            interval_seconds,
            max_requests_per_day,
            stale_after_seconds,
            give_up_after_seconds,
            fallback,
        })
    }

    /// What asks for the signal, with what its cache holds.
    fn poller(&self, named: Named, at: &Place) -> Result<Poller> {
        let (stale, give_up) = named.default_limits();
        let stale_after = self.stale_after_seconds.unwrap_or(stale);
        let give_up_after = self.give_up_after_seconds.unwrap_or(give_up.max(stale_after));
        if give_up_after < stale_after {
            return Err(anyhow!(
                "{named}: found give_up_after_seconds = {give_up_after}, expected at least stale_after_seconds, \
                 which is {stale_after}"
            ));
        }
        if let Fallback::Constant(share) = self.fallback
            && named.1 == Quantity::StateOfCharge
            && share > 1.0
        {
            return Err(anyhow!(
                "{named}: found fallback = {{ constant = {share} }}, expected a share, 0 to 1, whatever the unit of the \
                 source"
            ));
        }
        let provider = build(&self.source, named.1, &at.base).with_context(|| named.to_string())?;
        let options = LiveOptions {
            name: named.0.into(),
            interval: self.interval_seconds.map(Duration::from_secs),
            max_requests_per_day: self.max_requests_per_day,
            rule: StalenessRule {
                stale_after: Duration::from_secs(stale_after),
                give_up_after: Duration::from_secs(give_up_after),
                fallback: self.fallback,
            },
            cache_folder: at.cache_folder.clone(),
            // Another for each process: whoever lost a source is not to come back with all others at once.
            seed: RandomState::new().build_hasher().finish(),
        };
        Ok(Poller::new(provider, options, at.now))
    }
}

/// Takes the key `name` out of `keys`, if it is there.
fn key<T: for<'de> Deserialize<'de>>(keys: &mut Map<String, Value>, name: &str) -> Result<Option<T>, String> {
    let value = keys.remove(name).map(serde_json::from_value).transpose();
    value.map_err(|error| format!("{name}: {error}"))
}

/// From where signals are set up.
struct Place {
    /// The folder of the configuration.
    base: PathBuf,
    cache_folder: Option<PathBuf>,
    now: UnixTime,
}

/// Signals that can be asked.
#[derive(Default)]
pub(crate) struct Pollers {
    pub(crate) carbon_intensity: Option<Poller>,
    pub(crate) power_cap: Option<Poller>,
    /// A power cap made of what the site generates, of its battery, and how.
    pub(crate) supply: Option<(Vec<Poller>, Option<Poller>, SupplyRule)>,
}

impl SignalsFile {
    /// Sets up all signals of the file at `path`. Nobody is asked yet.
    pub(crate) fn pollers(&self, path: Option<&Path>) -> Result<Pollers> {
        self.set_up(path).context(ConfigError)
    }

    fn set_up(&self, path: Option<&Path>) -> Result<Pollers> {
        let base = path.and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
        let cache_folder = match (&self.cache_folder, self.no_cache) {
            (_, true) => None,
            (Some(folder), false) => Some(base.join(folder)),
            (None, false) => user_cache().map(|folder| folder.join("wattle/signals")),
        };
        let at = Place { base, cache_folder, now: wall_clock() };
        let poller = |table: &Option<SignalTable>, named: Named| {
            table.as_ref().map(|table| table.poller(named, &at)).transpose()
        };
        let generators: Vec<Poller> =
            [poller(&self.pv, PV)?, poller(&self.wind, WIND)?].into_iter().flatten().collect();
        let battery = poller(&self.battery_charge, BATTERY_CHARGE)?;
        let mut pollers = Pollers {
            carbon_intensity: poller(&self.carbon_intensity, CARBON_INTENSITY)?,
            ..Pollers::default()
        };
        match &self.power_cap {
            Some(CapTable::Supply(rule)) if generators.is_empty() => {
                let told =
                    format!("{POWER_CAP}: found source = \"supply\" (share {}) of nothing", rule.share);
                return Err(anyhow!("{told}, expected {PV} or {WIND} as well"));
            }
            Some(CapTable::Supply(rule)) => pollers.supply = Some((generators, battery, *rule)),
            _ if !generators.is_empty() || battery.is_some() => {
                return Err(anyhow!(
                    "{PV}, {WIND} and {BATTERY_CHARGE} are parts of a supply: found one without {POWER_CAP} that \
                     says source = \"supply\", expected both or neither"
                ));
            }
            Some(CapTable::Source(table)) => pollers.power_cap = Some(table.poller(POWER_CAP, &at)?),
            None => {}
        }
        Ok(pollers)
    }
}

impl Pollers {
    /// Starts a thread for each signal; gives the power cap and the carbon intensity.
    pub(crate) fn start(self) -> Result<(Option<SignalSource>, Option<SignalSource>)> {
        let live = |poller| {
            let live =
                LiveSignal::start(poller, wall_clock).context("failed to start a thread of a signal")?;
            Ok::<_, anyhow::Error>(Arc::new(live))
        };
        let carbon = self.carbon_intensity.map(live).transpose()?.map(SignalSource::Live);
        let cap = match self.supply {
            Some((generators, battery, rule)) => {
                let generators = generators.into_iter().map(live).collect::<Result<_>>()?;
                let supply = LiveSupply::new(generators, battery.map(live).transpose()?, rule);
                Some(SignalSource::Supply(Arc::new(supply)))
            }
            None => self.power_cap.map(live).transpose()?.map(SignalSource::Live),
        };
        Ok((cap, carbon))
    }
}

/// The one of two ways to name a signal that is used: by flags and keys of old, or by `[signals]`.
pub(crate) fn one_of(
    configured: Option<SignalSource>,
    live: Option<SignalSource>,
    keys: &str,
    table: &str,
) -> Result<Option<SignalSource>> {
    match (configured, live) {
        (Some(_), Some(_)) => {
            Err(anyhow!("found {keys} and the table [signals.{table}], expected one of them"))
                .context(ConfigError)
        }
        (configured, live) => Ok(configured.or(live)),
    }
}

/// Where a user's caches are kept: the XDG Base Directory Specification.
fn user_cache() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))
}

/// A constant or a trace, and where it is from. What the command line says of either goes before the file.
pub(super) fn configured(
    flags: (Option<f64>, Option<PathBuf>),
    file: (Option<f64>, Option<PathBuf>),
    column: &str,
    quantity: Quantity,
) -> Result<Option<SignalSource>> {
    let of = |signal, source: String| Some(SignalSource::configured(signal, quantity, source));
    let (constant, trace) = if flags.0.is_some() || flags.1.is_some() { flags } else { file };
    if constant.is_some() && trace.is_some() {
        return Err(anyhow!("{column} is given as a constant and as a trace, expected one of them"))
            .context(ConfigError);
    }
    if let Some(value) = constant {
        if !value.is_finite() || value < 0.0 {
            return Err(anyhow!("{column} is {value}, expected 0 or more")).context(ConfigError);
        }
        return Ok(of(Signal::Constant(value), "assumed: a constant from the configuration".into()));
    }
    let Some(path) = &trace else { return Ok(None) };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read {}", path.display()))
        .context(ConfigError)?;
    let trace =
        Trace::parse(&text, &path.display().to_string(), column, AfterEnd::Repeat).context(ConfigError)?;
    Ok(of(Signal::Trace(trace), format!("assumed: the trace {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<SignalsFile, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.to_string())
    }

    fn refused(text: &str) -> String {
        match read(text) {
            Err(error) => error,
            Ok(file) => {
                let file = SignalsFile { no_cache: true, ..file };
                format!("{:#}", file.pollers(None).err().unwrap())
            }
        }
    }

    const CONSTANT: &str = "source = \"constant\"\nvalue = 100\nunit = \"W\"\n";

    #[test]
    fn a_table_has_keys_of_its_own_beside_those_of_its_source() {
        let file = read(
            "no_cache = true\n[carbon_intensity]\nsource = \"constant\"\nvalue = 300\nunit = \"g/kWh\"\n\
             stale_after_seconds = 60\ngive_up_after_seconds = 600\nmax_requests_per_day = 50\n\
             fallback = { constant = 250.0 }\n",
        );
        let pollers = file.unwrap().pollers(None).unwrap();
        let options = pollers.carbon_intensity.unwrap().options().clone();
        assert_eq!(options.rule.fallback, Fallback::Constant(250.0));
        assert_eq!((options.rule.stale_after.as_secs(), options.rule.give_up_after.as_secs()), (60, 600));
        assert_eq!((options.max_requests_per_day, options.cache_folder), (Some(50), None));
        let fallback = |word: &str| {
            let file =
                read(&format!("no_cache = true\n[power_cap]\n{CONSTANT}fallback = \"{word}\"\n")).unwrap();
            file.pollers(None).unwrap().power_cap.unwrap().options().rule.fallback
        };
        assert_eq!(fallback("hold"), Fallback::Hold);
        assert_eq!(fallback("last-week"), Fallback::LastWeek);
        assert_eq!(fallback("unknown"), Fallback::Unknown);
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_place() {
        for (text, told) in [
            ("[carbon]\n", "unknown field `carbon`"),
            (&format!("[power_cap]\n{CONSTANT}watts = 3\n"), "watts"),
            (&format!("[power_cap]\n{CONSTANT}fallback = \"holt\"\n"), "fallback: unknown variant `holt`"),
            (&format!("[power_cap]\n{CONSTANT}fallback = {{ constant = -1 }}\n"), "a constant of -1"),
            (&format!("[power_cap]\n{CONSTANT}max_requests_per_day = 0\n"), "expected at least 1"),
            (
                &format!("[power_cap]\n{CONSTANT}stale_after_seconds = 9\ngive_up_after_seconds = 8\n"),
                "expected at least stale_after_seconds, which is 9",
            ),
            (
                "[power_cap]\nsource = \"supply\"\nshare = 0.5\n",
                "expected [signals.pv] or [signals.wind] as well",
            ),
            ("[power_cap]\nsource = \"supply\"\nshare = 5.0\n", "share: found 5, expected a number over 0"),
            ("[power_cap]\nsource = \"supply\"\nshares = 5\n", "unknown field `shares`"),
            (&format!("[pv]\n{CONSTANT}"), "expected both or neither"),
            (&format!("[power_cap]\n{CONSTANT}interval_seconds = 0\n"), "found 0, expected 1 to 604800"),
            (
                &format!("[power_cap]\n{CONSTANT}interval_seconds = 9223372036854775807\n"),
                "found 9223372036854775807, expected 1 to 604800",
            ),
            (
                "[carbon_intensity]\nsource = \"carbon-aware-sdk\"\nbase_url = \"http://x\"\nlocation = \"x\"\n\
                 interval_seconds = 0\n",
                "the source carbon-aware-sdk, interval_seconds: found 0",
            ),
            (
                "[battery_charge]\nsource = \"constant\"\nvalue = 80\nunit = \"%\"\n\
                 fallback = { constant = 80 }\n",
                "expected a share, 0 to 1",
            ),
            ("[power_cap]\nsource = \"prometeus\"\n", "did you mean \"prometheus\"?"),
            (
                "[carbon_intensity]\nsource = \"constant\"\nvalue = 3\nunit = \"W\"\n",
                "[signals.carbon_intensity]",
            ),
        ] {
            let error = refused(text);
            assert!(error.contains(told), "{error:?} without {told:?}");
        }
    }

    #[test]
    fn a_supply_is_made_of_its_parts() {
        let battery = "[battery_charge]\nsource = \"constant\"\nvalue = 80\nunit = \"%\"\n";
        let text = format!(
            "no_cache = true\n[power_cap]\nsource = \"supply\"\nreserved_watts = 40\nbattery_floor = 0.5\n\
             battery_discharge_watts = 30\n[pv]\n{CONSTANT}[wind]\n{CONSTANT}{battery}"
        );
        let mut pollers = read(&text).unwrap().pollers(None).unwrap();
        let (generators, battery, rule) = pollers.supply.take().unwrap();
        assert_eq!(generators.len(), 2);
        assert!(battery.is_some_and(|battery| battery.head().quantity == Quantity::StateOfCharge));
        assert_eq!(rule.watts(200.0, Some(0.8)), 190.0);
    }
}
