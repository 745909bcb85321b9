//! One value, always.

use std::time::Duration;

use serde::Deserialize;
use wattle_core::signal::{EmissionScope, IntensityKind, PointStatus, Quantity, SignalHead};
use wattle_core::time::UnixTime;

use crate::config::{ConfigError, factor_of, told_head};
use crate::points::Points;
use crate::provider::{FetchError, Fetched, Provider};
use crate::unit::Unit;

const NAME: &str = "constant";

/// How long the value of one fetch holds: longer than until the next.
const STEP: Duration = Duration::from_secs(24 * 3600);

/// `source = "constant"`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConstantConfig {
    /// The value.
    pub value: f64,
    /// Its unit.
    pub unit: Unit,
    /// Of where.
    pub zone: Option<String>,
    /// Average or marginal.
    pub kind: Option<IntensityKind>,
    /// Direct or life-cycle.
    pub scope: Option<EmissionScope>,
}

/// Says the same at all times.
#[derive(Debug)]
pub struct Constant {
    head: SignalHead,
    value: f64,
    factor: f64,
}

impl Constant {
    /// The constant of `config`; an error if it can't be a value of `quantity`.
    pub fn new(config: &ConstantConfig, quantity: Quantity) -> Result<Self, ConfigError> {
        let factor = factor_of(NAME, config.unit, quantity)?;
        let head = told_head(
            NAME,
            quantity,
            (config.zone.as_ref(), config.kind, config.scope),
            "a constant of the configuration".into(),
        )?;
        let constant = Self { head, value: config.value, factor };
        if let Some(problem) = constant.points(UnixTime::default()).left_out.first() {
            let found = format!("{} ({problem})", config.value);
            return Err(ConfigError::new(NAME, "value", found, "a number of at least 0 that can be"));
        }
        Ok(constant)
    }

    fn points(&self, now: UnixTime) -> Fetched {
        let mut points = Points::new(self.head.quantity, self.factor, now);
        points.take(now, Some(self.value), PointStatus::Unknown);
        points.finish(Some(STEP), None)
    }
}

impl Provider for Constant {
    fn head(&self) -> &SignalHead {
        &self.head
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(3600)
    }

    fn most_requests(&self) -> u32 {
        0
    }

    fn fetch(&mut self, _since: UnixTime, now: UnixTime) -> Result<Fetched, FetchError> {
        Ok(self.points(now))
    }
}
