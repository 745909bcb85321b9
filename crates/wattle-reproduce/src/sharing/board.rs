//! The boards that models are placed on, and the models: what each takes and draws alone and on slices.

use std::collections::BTreeMap;

use wattle_core::analytic::networks::Network;
use wattle_core::analytic::{self, Grid};
use wattle_core::device_spec::{Curve, DeviceSpec, Figure};
use wattle_core::operating_point::OperatingPoint;
use wattle_core::profile::{Predictor, Profile, ProfileHead};
use wattle_core::provenance::Basis;
use wattle_core::units::{Megahertz, Watts};

use crate::ReproduceError;

/// The experiment's name, for errors.
pub(super) const NAME: &str = "sharing";

/// A defect of the bundled inputs.
pub(super) fn broken(cause: impl ToString) -> ReproduceError {
    ReproduceError::Broken { name: NAME, cause: cause.to_string() }
}

/// What is known of the board that all devices of an experiment are.
#[derive(Debug, Clone)]
pub(super) struct Board {
    /// `P_S`: power while it waits for requests.
    pub(super) idle: Watts,
    /// `P_S + P_OI` by core clock: power with everything clocked and nothing to do.
    clocked: Curve,
    /// Emissions of making it.
    pub(super) embodied_kilograms: f64,
    /// Years that it is used for.
    pub(super) lifetime_years: f64,
    /// The clock that the paper ran at.
    pub(super) top_clock: Megahertz,
    /// The worst of its powers at rest and clocked.
    pub(super) power_basis: Basis,
    /// The worst of the emissions of making it and its years.
    pub(super) embodied_basis: Basis,
}

impl Board {
    /// The board of `spec`, its power at rest being `idle`, clocked as in `clocked`, where these were measured.
    pub(super) fn new(
        spec: &DeviceSpec,
        idle: Option<Watts>,
        clocked: Option<Curve>,
    ) -> Result<Self, ReproduceError> {
        let missing = |key: &str| broken(format!("device {}: {key} is unknown", spec.name));
        let of_spec = || spec.loaded_idle_power_watts.as_ref().map(|figure| figure.value);
        let curve_of_spec = || spec.static_power_watts.as_ref().map(|figure| figure.value.clone());
        let number = |figure: &Option<Figure<f64>>, key: &str| {
            figure.as_ref().map(|figure| figure.value).ok_or_else(|| missing(key))
        };
        fn basis_of<T>(figure: &Option<Figure<T>>) -> Basis {
            figure.as_ref().map_or(Basis::Assumed, |figure| figure.basis)
        }
        let basis_unless = |is_measured: bool, of_spec: Basis| match is_measured {
            true => Basis::Measured,
            false => of_spec,
        };
        let at_rest = basis_unless(idle.is_some(), basis_of(&spec.loaded_idle_power_watts));
        let when_clocked = basis_unless(clocked.is_some(), basis_of(&spec.static_power_watts));
        Ok(Self {
            power_basis: at_rest.max(when_clocked),
            embodied_basis: basis_of(&spec.embodied_kilograms_co2e).max(basis_of(&spec.lifetime_years)),
            idle: idle.or_else(of_spec).ok_or_else(|| missing("loaded_idle_power_watts"))?,
            clocked: clocked.or_else(curve_of_spec).ok_or_else(|| missing("static_power_watts"))?,
            embodied_kilograms: number(&spec.embodied_kilograms_co2e, "embodied_kilograms_co2e")?,
            lifetime_years: number(&spec.lifetime_years, "lifetime_years")?,
            top_clock: spec.boost_clock_mhz.as_ref().ok_or_else(|| missing("boost_clock_mhz"))?.value,
        })
    }

    /// `P_OI` at `clock`; zero where the board draws no more clocked than at rest.
    pub(super) fn shared_idle(&self, clock: Megahertz) -> Result<Watts, ReproduceError> {
        let (low, high) = self.clocked.range();
        let clocked = self.clocked.at(clock);
        let clocked = clocked.ok_or_else(|| broken(format!("clock {clock}, expected {low} to {high}")))?;
        Ok((Watts::new(clocked) - self.idle).max(Watts::ZERO))
    }
}

/// Where a member's figures come from.
#[derive(Debug, Clone)]
enum Figures {
    /// The analytic model.
    Modelled { spec: Box<DeviceSpec>, network: Box<Network> },
    /// Rows measured on slices called `1g` to `7g`, and between them.
    Measured { head: Box<ProfileHead>, between: Box<Predictor> },
}

/// A model of a set.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// What the paper calls it.
    pub(super) name: String,
    /// Its weights: the larger model gets the larger slice.
    pub(super) parameters: f64,
    /// Rows of each batch.
    pub(super) batch_size: u32,
    figures: Figures,
}

/// What a member takes and draws somewhere: a profile of one row.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) profile: Profile,
    pub(super) latency_ms: f64,
    pub(super) power: Watts,
    pub(super) basis: Basis,
}

impl Member {
    /// `network` on the board of `spec`, one request at a time, by the analytic model.
    pub(super) fn modelled(name: &str, network: Network, spec: &DeviceSpec) -> Self {
        Self {
            name: name.to_owned(),
            parameters: network.parameters,
            batch_size: 1,
            figures: Figures::Modelled { spec: Box::new(spec.clone()), network: Box::new(network) },
        }
    }

    /// The model of `profile`, measured on slices, in batches of `batch_size`.
    pub(super) fn measured(name: &str, parameters: f64, profile: &Profile, batch_size: u32) -> Self {
        let between = Box::new(profile.predictor());
        let figures = Figures::Measured { head: Box::new(profile.head.clone()), between };
        Self { name: name.to_owned(), parameters, batch_size, figures }
    }

    /// The member on a slice of so many sevenths, or on the whole device (`None`), at `clock`.
    pub(super) fn placed(
        &self,
        slices: Option<u32>,
        clock: Megahertz,
        idle: Watts,
    ) -> Result<Placed, ReproduceError> {
        let place = slices.map_or("the whole device".to_owned(), |slices| format!("{slices}/7"));
        let none = || broken(format!("{} at {clock} on {place}: no row", self.name));
        let (mut profile, known) = match &self.figures {
            Figures::Modelled { spec, network } => {
                let grid = Grid {
                    batch_sizes: vec![self.batch_size],
                    instances: vec![1],
                    clocks: vec![clock],
                    units: Vec::new(),
                };
                let made = match slices {
                    None => analytic::profile(spec, network, &grid),
                    Some(slices) => analytic::profile_on_slice(spec, network, &grid, slices),
                };
                (made.map_err(broken)?, analytic::basis(spec, network))
            }
            Figures::Measured { head, between } => {
                let point = OperatingPoint {
                    core_clock_mhz: Some(clock),
                    partition: Some(format!("{}g", slices.unwrap_or(7))),
                    ..OperatingPoint::of_batch_and_instances(self.batch_size, 1)
                };
                let row = between.predict(&point).ok_or_else(none)?.row;
                (Profile { head: head.as_ref().clone(), rows: vec![row] }, Basis::Measured)
            }
        };
        profile.head.idle_power_watts = Some(idle);
        let row = profile.rows.first().ok_or_else(none)?;
        let (Some(latency_ms), Some(power)) = (row.latency_ms_mean, row.power_watts_mean) else {
            return Err(none());
        };
        let basis = row.basis.max(row.power_basis).max(known);
        Ok(Placed { latency_ms, power, basis, profile })
    }
}

/// Models that are served together.
#[derive(Debug, Clone)]
pub(super) struct Set {
    /// Its models, the largest first.
    pub(super) members: Vec<Member>,
    /// Its name: its models, the largest first.
    pub(super) name: String,
}

impl Set {
    /// The set of two or three `members`.
    pub(super) fn new(mut members: Vec<Member>) -> Self {
        members.sort_by(|a, b| b.parameters.total_cmp(&a.parameters));
        let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
        Self { name: names.join("/"), members }
    }

    /// The slice of each model, in sevenths: the paper's rule.
    pub(super) fn slices(&self) -> Result<&'static [u32], ReproduceError> {
        match self.members.len() {
            2 => Ok(&[4, 3]),
            3 => Ok(&[3, 2, 2]),
            count => Err(broken(format!("a set of {count} models, expected 2 or 3"))),
        }
    }

    /// Every member where sharing puts it.
    pub(super) fn on_slices(
        &self,
        board: &Board,
        clock: Megahertz,
    ) -> Result<BTreeMap<String, Placed>, ReproduceError> {
        let pairs = self.members.iter().zip(self.slices()?);
        pairs
            .map(|(member, slices)| {
                Ok((member.name.clone(), member.placed(Some(*slices), clock, board.idle)?))
            })
            .collect()
    }

    /// Every member on a device of its own.
    pub(super) fn alone(
        &self,
        board: &Board,
        clock: Megahertz,
    ) -> Result<BTreeMap<String, Placed>, ReproduceError> {
        let members = self.members.iter();
        members.map(|member| Ok((member.name.clone(), member.placed(None, clock, board.idle)?))).collect()
    }
}
