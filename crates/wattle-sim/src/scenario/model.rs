//! `[[models]]`: a model, its profile, its knobs at first and who asks it.

use std::time::Duration;

use serde::Deserialize;
use wattle_core::analytic;
use wattle_core::device_spec::DeviceSpec;
use wattle_core::knob::{ServingLimits, ServingSetting};
use wattle_core::operating_point::OperatingPoint;
use wattle_core::profile::Profile;
use wattle_core::units::Watts;

use super::check::{MOST_GRID_POINTS, number};
use super::files::Files;
use super::load::{ScenarioError, wrong};
use super::traffic::WorkloadFile;
use crate::plan::Spread;

/// A model, as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Its name.
    pub name: String,
    /// The device it runs on; the only one by default.
    pub device: Option<String>,
    /// Its profile: a CSV file.
    pub profile: Option<String>,
    /// Its profile, written here: tables with the columns of a profile file. `basis` and `power_basis`
    /// are `assumed` and `samples` is 0 where they are not told.
    pub rows: Option<Vec<toml::Table>>,
    /// Its profile, from the analytic model: a network that comes with the program, on the device's spec.
    pub network: Option<String>,
    /// With `network`: the operating points to model; powers of two up to 128 and up to 4 instances by
    /// default.
    pub grid: Option<analytic::Grid>,
    /// With `network`: the MIG slice that it runs on, in sevenths of the device; the whole device by
    /// default.
    pub mig_slices: Option<u32>,
    /// What the device draws with nothing to do, where the profile does not tell it or is not to.
    pub idle_power_watts: Option<f64>,
    /// Only rows of this partition.
    pub partition: Option<String>,
    /// Only rows of this variant.
    pub variant: Option<String>,
    /// Batch limit at first; the largest by default.
    pub batch_size: Option<u32>,
    /// Instances at first; 1 by default.
    pub instances: Option<u32>,
    /// Compute threads of each; 1 by default.
    pub cores_per_instance: Option<u32>,
    /// Share of time in which instances may compute; 1 by default.
    pub duty_cycle: Option<f64>,
    /// How long a batch that isn't full waits, in microseconds; 0 by default.
    pub max_queue_delay_us: Option<u64>,
    /// Most requests that wait; 1024 by default.
    pub max_queue_size: Option<u32>,
    /// Largest batch; the largest of the profile by default.
    pub max_batch_size: Option<u32>,
    /// Most instances; the most of the profile by default.
    pub max_instances: Option<u32>,
    /// How batch times spread around the profile's mean: `constant` (the default), `exponential`, or
    /// `lognormal` with `variation`.
    #[serde(default)]
    pub spread: SpreadFile,
    /// With `spread = "lognormal"`: the coefficient of variation.
    pub variation: Option<f64>,
    /// Time of a request outside queue and instance; the profile's, or 0, by default.
    pub overhead_ms: Option<f64>,
    /// How long a request waits at most; for ever by default.
    pub timeout_ms: Option<f64>,
    /// Bound on the tail latency.
    pub objective_ms: Option<f64>,
    /// How good its answers are, as a share.
    pub quality: Option<f64>,
    /// Who asks it; nobody by default, so that a variant of a family has no requests of its own.
    pub workload: Option<WorkloadFile>,
}

/// The kinds of spread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpreadFile {
    /// None.
    #[default]
    Constant,
    /// Exponential.
    Exponential,
    /// Lognormal.
    Lognormal,
}

impl ModelFile {
    pub(super) fn place(&self) -> String {
        format!("models.{}", self.name)
    }

    /// Whether its batch times spread.
    pub(super) fn is_spread(&self) -> bool {
        self.spread != SpreadFile::Constant
    }

    /// How good its answers are, where the file tells.
    pub(super) fn quality(&self, files: &Files<'_>) -> Result<Option<f64>, ScenarioError> {
        match self.quality.filter(|quality| !(0.0..=1.0).contains(quality)) {
            Some(quality) => {
                let place = format!("{}.quality", self.place());
                Err(wrong(files.name(), &place, &quality.to_string(), "a share in 0 to 1"))
            }
            None => Ok(self.quality),
        }
    }

    /// Refuses a grid without a network, and one of too many points.
    fn check_grid(&self, files: &Files<'_>) -> Result<(), ScenarioError> {
        let Some(grid) = &self.grid else { return Ok(()) };
        let place = format!("{}.grid", self.place());
        if self.network.is_none() {
            return Err(wrong(files.name(), &place, "grid without network", "network, which it is of"));
        }
        let lengths = [grid.batch_sizes.len(), grid.instances.len(), grid.clocks.len(), grid.units.len()];
        let points = lengths.iter().fold(1, |points: u64, length| {
            points.saturating_mul(u64::try_from(*length).unwrap_or(u64::MAX).max(1))
        });
        if points > MOST_GRID_POINTS {
            let found = format!("{points} operating points");
            return Err(wrong(files.name(), &place, &found, &format!("at most {MOST_GRID_POINTS}")));
        }
        Ok(())
    }

    /// Its profile, from wherever it is. `spec` is the device's.
    pub(super) fn read_profile(
        &self,
        spec: Option<&DeviceSpec>,
        files: &mut Files<'_>,
    ) -> Result<Profile, ScenarioError> {
        self.check_grid(files)?;
        let mut profile = match (&self.profile, &self.rows, &self.network) {
            (Some(file), None, None) => {
                let path = files.record(file)?;
                Profile::parse(&files.text(&path)?, &path.display().to_string())?
            }
            (None, Some(rows), None) => self.inline(rows, files)?,
            (None, None, Some(network)) => {
                let Some(spec) = spec else {
                    let expected = "a device with a spec, which the analytic model needs";
                    return Err(wrong(files.name(), &self.place(), "network without it", expected));
                };
                self.analytic_profile(network, spec).map_err(|cause| {
                    wrong(
                        files.name(),
                        &format!("{}.network", self.place()),
                        &cause,
                        "a network on a device that the analytic model can describe",
                    )
                })?
            }
            _ => {
                let expected = "exactly one of profile, rows and network";
                return Err(wrong(files.name(), &self.place(), "none or several", expected));
            }
        };
        if self.network.is_none() && self.mig_slices.is_some() {
            let place = format!("{}.mig_slices", self.place());
            return Err(wrong(
                files.name(),
                &place,
                "mig_slices without network",
                "partition, to keep its rows",
            ));
        }
        type Column = fn(&mut OperatingPoint) -> &mut Option<String>;
        let columns: [(&str, &Option<String>, Column); 2] = [
            ("partition", &self.partition, |point| &mut point.partition),
            ("variant", &self.variant, |point| &mut point.variant),
        ];
        for (key, wanted, column) in columns {
            let Some(wanted) = wanted else { continue };
            let mut there: Vec<String> =
                profile.rows.iter_mut().filter_map(|row| column(&mut row.point).clone()).collect();
            there.sort();
            there.dedup();
            profile.rows.retain_mut(|row| column(&mut row.point).as_ref() == Some(wanted));
            if profile.rows.is_empty() {
                let place = format!("{}.{key}", self.place());
                let expected = format!("one that the profile has: {}", there.join(", "));
                return Err(wrong(files.name(), &place, &format!("{wanted:?}"), &expected));
            }
            // The model runs there for good: to its policies the rows are of no other place.
            profile.rows.iter_mut().for_each(|row| *column(&mut row.point) = None);
        }
        if profile.rows.is_empty() {
            return Err(wrong(files.name(), &self.place(), "a profile without a row", "at least one"));
        }
        if let Some(idle) = self.idle_power_watts {
            let idle = number(files, &format!("{}.idle_power_watts", self.place()), idle)?;
            profile.head.idle_power_watts = Some(Watts::new(idle));
        }
        profile.head.model = self.name.as_str().into();
        Ok(profile)
    }

    /// The profile of a bundled network on `spec`, or a slice of it, by the analytic model.
    fn analytic_profile(&self, network: &str, spec: &DeviceSpec) -> Result<Profile, String> {
        let network = analytic::networks::bundled(network).map_err(|error| error.to_string())?;
        let usual = || analytic::Grid {
            batch_sizes: (0..=7).map(|power| 1 << power).collect(),
            instances: (1..=4).collect(),
            ..analytic::Grid::default()
        };
        let grid = self.grid.clone().unwrap_or_else(usual);
        let profile = match self.mig_slices {
            None => analytic::profile(spec, &network, &grid),
            Some(slices) => analytic::profile_on_slice(spec, &network, &grid, slices),
        };
        profile.map_err(|error| error.to_string())
    }

    /// The profile of `rows`, by the words of a profile file, so that its reader checks it.
    fn inline(&self, rows: &[toml::Table], files: &Files<'_>) -> Result<Profile, ScenarioError> {
        let mut columns: Vec<&str> = vec!["basis", "power_basis", "samples"];
        for row in rows {
            for key in row.keys() {
                if !columns.contains(&key.as_str()) {
                    columns.push(key);
                }
            }
        }
        let cell = |row: &toml::Table, column: &str| match (row.get(column), column) {
            (Some(toml::Value::String(text)), _) => format!("\"{}\"", text.replace('"', "\"\"")),
            (Some(value), _) => value.to_string(),
            (None, "basis" | "power_basis") => "assumed".into(),
            (None, "samples") => "0".into(),
            (None, _) => String::new(),
        };
        let mut text = format!(
            "# wattle_profile = 1\n# model = \"m\"\n# device = \"as the scenario says\"\n\
             # runtime = \"none\"\n# power_source = \"the scenario\"\n{}\n",
            columns.join(",")
        );
        for row in rows {
            let cells: Vec<String> = columns.iter().map(|column| cell(row, column)).collect();
            text.push_str(&cells.join(","));
            text.push('\n');
        }
        Ok(Profile::parse(&text, &format!("{}: {}.rows", files.name(), self.place()))?)
    }

    /// How far its knobs turn.
    pub(super) fn limits(&self, profile: &Profile) -> ServingLimits {
        let points = || profile.rows.iter().map(|row| &row.point);
        let most = |of: &dyn Fn(&OperatingPoint) -> u32| points().map(of).max();
        let profiled_batch = most(&|point| point.batch_size).unwrap_or(1).max(1);
        let profiled_instances = most(&|point| point.instances).unwrap_or(1).max(1);
        let profiled_cores = most(&|point| point.cores_per_instance.unwrap_or(1)).unwrap_or(1).max(1);
        ServingLimits {
            max_batch_size: self.max_batch_size.unwrap_or(profiled_batch),
            // Where it is told, more instances at first are an error.
            max_instances: self.max_instances.unwrap_or(profiled_instances.max(self.instances.unwrap_or(1))),
            max_cores_per_instance: profiled_cores.max(self.cores_per_instance.unwrap_or(1)),
        }
    }

    /// Where its knobs stand at first.
    pub(super) fn setting(
        &self,
        limits: &ServingLimits,
        files: &Files<'_>,
    ) -> Result<ServingSetting, ScenarioError> {
        let setting = ServingSetting {
            batch_size: self.batch_size.unwrap_or(limits.max_batch_size),
            instances: self.instances.unwrap_or(1),
            cores_per_instance: self.cores_per_instance.unwrap_or(1),
            duty_cycle: self.duty_cycle.unwrap_or(1.0),
            max_queue_delay: Duration::from_micros(self.max_queue_delay_us.unwrap_or(0)),
            max_queue_size: self.max_queue_size.unwrap_or(1024),
        };
        match limits.check(&setting) {
            Ok(()) => Ok(setting),
            Err(error) => {
                let place = format!("{}.{}", self.place(), error.knob);
                Err(wrong(files.name(), &place, &error.found, &error.expected))
            }
        }
    }

    /// How its batch times spread.
    pub(super) fn spread(&self, files: &Files<'_>) -> Result<Spread, ScenarioError> {
        let place = format!("{}.variation", self.place());
        match (self.spread, self.variation) {
            (SpreadFile::Constant, None) => Ok(Spread::Constant),
            (SpreadFile::Exponential, None) => Ok(Spread::Exponential),
            (SpreadFile::Lognormal, Some(variation)) if variation > 0.0 => {
                Ok(Spread::Lognormal(number(files, &place, variation)?))
            }
            _ => Err(wrong(
                files.name(),
                &place,
                "otherwise",
                "more than 0 with spread = \"lognormal\", and only there",
            )),
        }
    }

    /// A time in milliseconds, where the file gives one.
    pub(super) fn time(
        &self,
        key: &str,
        value: Option<f64>,
        files: &Files<'_>,
    ) -> Result<Option<Duration>, ScenarioError> {
        let place = format!("{}.{key}", self.place());
        value.map(|ms| Ok(Duration::from_secs_f64((number(files, &place, ms)? / 1e3).min(1e9)))).transpose()
    }
}
