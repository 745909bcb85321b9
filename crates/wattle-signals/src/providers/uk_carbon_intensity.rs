//! The Carbon Intensity API of Great Britain, of its system operator: half hours of UTC, no key.
//!
//! Of the nation it tells a forecast and, once settled, an estimate from metered generation that it calls
//! actual. Of the 17 regions it tells forecasts only. It counts what generation emits, not life cycles.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use wattle_core::signal::{EmissionScope, IntensityKind, PointStatus, Quantity, SignalHead};
use wattle_core::time::UnixTime;

use crate::config::ConfigError;
use crate::extra::Extra;
use crate::http::{Http, HttpLimits};
use crate::json;
use crate::points::Points;
use crate::provider::{FetchError, Fetched, Provider};
use crate::times::{iso_minutes, shortened};

const NAME: &str = "uk-carbon-intensity";
const WANTED: &str = "a region of 1 to 17 or the first half of a postcode of Great Britain; check base_url";
const HALF_HOUR: Duration = Duration::from_secs(1800);
/// Half hours settle within about an hour.
const SETTLES: Duration = Duration::from_secs(2 * 3600);
/// The service tells at most 14 days at once.
const LONGEST_PAST: Duration = Duration::from_secs(13 * 24 * 3600);

/// `source = "uk-carbon-intensity"`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UkCarbonIntensityConfig {
    /// A region, 1 to 17. Neither this nor a postcode: the nation.
    pub region: Option<u8>,
    /// The first half of a postcode, such as `RG10`.
    pub postcode: Option<String>,
    /// The address of the service.
    #[serde(default = "official")]
    pub base_url: String,
}

fn official() -> String {
    "https://api.carbonintensity.org.uk".into()
}

/// Asks the Carbon Intensity API.
#[derive(Debug)]
pub struct UkCarbonIntensity {
    head: SignalHead,
    http: Http,
    region: Option<u8>,
    /// What of: the start and the end of its paths.
    before: &'static str,
    after: String,
    past: Extra,
    /// Until when the past was told.
    told_until: Option<UnixTime>,
}

impl UkCarbonIntensity {
    /// The source of `config`.
    pub fn new(config: &UkCarbonIntensityConfig, limits: HttpLimits) -> Result<Self, ConfigError> {
        let (before, after, zone) = match (config.region, config.postcode.as_deref().map(str::trim)) {
            (None, None) => ("/intensity", String::new(), "GB".to_owned()),
            (Some(region @ 1..=17), None) => {
                ("/regional/intensity", format!("/regionid/{region}"), region.to_string())
            }
            (Some(region), None) => {
                return Err(ConfigError::new(NAME, "region", region.to_string(), "1 to 17"));
            }
            (None, Some(postcode)) => {
                let is_outward = (2..=4).contains(&postcode.len())
                    && postcode.chars().all(|letter| letter.is_ascii_alphanumeric());
                if !is_outward {
                    let expected = "the first half of a postcode, such as RG10 or SW1";
                    return Err(ConfigError::new(NAME, "postcode", format!("{postcode:?}"), expected));
                }
                ("/regional/intensity", format!("/postcode/{postcode}"), postcode.to_owned())
            }
            (Some(_), Some(_)) => {
                return Err(ConfigError::new(NAME, "postcode", "region and postcode", "one of the two"));
            }
        };
        let name = "Carbon Intensity API (Great Britain)";
        Ok(Self {
            head: SignalHead {
                quantity: Quantity::CarbonIntensity,
                zone: Some(zone),
                kind: IntensityKind::Average,
                scope: EmissionScope::Direct,
                source: name.into(),
            },
            http: Http::new(NAME, name, ("base_url", &config.base_url), Vec::new(), limits)?,
            region: config.region,
            before,
            after,
            past: Extra::new("the past", Duration::ZERO),
            told_until: None,
        })
    }

    fn ask(
        &mut self,
        from: UnixTime,
        to: &str,
        now: UnixTime,
        points: &mut Points,
    ) -> Result<Option<i64>, FetchError> {
        let path = format!("{}/{}/{to}{}", self.before, iso_minutes(from), self.after);
        let answer = self.http.get(&path, &[], WANTED, now)?;
        for item in self.half_hours(&answer.json)? {
            if let Err(problem) = self.take(item, points) {
                points.note(format!("a half hour: found {problem}"));
            }
        }
        Ok(answer.clock_ahead_seconds)
    }

    /// The half hours of an answer. Those of a region are within the region, which some paths put into a
    /// list.
    fn half_hours<'a>(&self, answer: &'a Value) -> Result<&'a [Value], FetchError> {
        let wrong = |(found, expected): (String, String)| self.http.nonsense(found, expected);
        if self.after.is_empty() {
            return json::list(answer, "data").map_err(wrong);
        }
        let region = match answer.get("data") {
            Some(Value::Array(regions)) => regions.first(),
            region => region,
        };
        let region = region.unwrap_or(&Value::Null);
        if let (Some(asked), Some(told)) = (self.region, region.get("regionid").and_then(Value::as_u64))
            && told != u64::from(asked)
        {
            return Err(self
                .http
                .nonsense(format!("an answer of region {told}"), format!("one of {asked}, as asked")));
        }
        json::list(region, "data").map_err(wrong)
    }

    fn take(&self, item: &Value, points: &mut Points) -> Result<(), String> {
        let (from, to) = (json::time(item, "from")?, json::time(item, "to")?);
        if to.saturating_since(from) != HALF_HOUR {
            return Err(format!(
                "one of {} s from {}",
                to.as_secs().saturating_sub(from.as_secs()),
                iso_minutes(from)
            ));
        }
        let intensity = item.get("intensity").ok_or("none with an intensity")?;
        let number = |key: &str| match intensity.get(key) {
            Some(Value::Number(number)) => Ok(number.as_f64()),
            Some(Value::Null) | None => Ok(None),
            Some(Value::String(text)) => Err(format!("{} as its {key}", shortened(text))),
            Some(other) => Err(format!("{} as its {key}", json::kind(other))),
        };
        match number("actual")? {
            Some(actual) => points.take(from, Some(actual), PointStatus::Actual),
            None => points.take(from, number("forecast")?, PointStatus::Forecast),
        }
        Ok(())
    }
}

impl Provider for UkCarbonIntensity {
    fn head(&self) -> &SignalHead {
        &self.head
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(15 * 60)
    }

    fn most_requests(&self) -> u32 {
        2
    }

    fn fetch(&mut self, since: UnixTime, now: UnixTime) -> Result<Fetched, FetchError> {
        let mut points = Points::new(Quantity::CarbonIntensity, 1.0, now);
        let from = now - SETTLES;
        let clock_ahead = self.ask(from, "fw48h", now, &mut points)?;
        // What was told before has settled since, unless there was nobody to tell it for a while.
        let since = since.max(now - LONGEST_PAST).max(self.told_until.unwrap_or(since));
        if since >= from {
            self.told_until = Some(now);
        } else if self.past.is_due(now) {
            match self.ask(since, &iso_minutes(from), now, &mut points) {
                Ok(_) => {
                    self.past.answered(now);
                    self.told_until = Some(now);
                }
                Err(error) => points.note(self.past.failed(now, &error)),
            }
        }
        Ok(points.finish(Some(HALF_HOUR), clock_ahead))
    }
}
