//! How things stand, as the admin API, the dashboard and the demo show it.

use serde::Serialize;
use wattle_core::cap_account::CapAccount;
use wattle_core::id::{FamilyName, ModelName, RequestClass};
use wattle_core::knob::{ServingLimits, ServingSetting};
use wattle_core::ledger::{Account, AccountTotals, Closure, Totals};
use wattle_core::policy::Decision;
use wattle_core::provenance::{Basis, Provenance};
use wattle_core::refinement::Drift;
use wattle_core::units::{CarbonIntensity, Watts};

use super::cap::CapOrigin;
use super::source::SignalStatus;
use crate::accounts::ClassesStatus;
use crate::meter::{Meter, Rates};

/// How things stood at the last tick.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Seconds since the server started.
    pub uptime_seconds: f64,
    /// Name of the policy in force.
    pub policy: String,
    /// Mean power over the last tick; `None` when the device gave no reading.
    pub power_watts: Option<Watts>,
    /// How power is known.
    pub power_provenance: Option<Provenance>,
    /// The power cap in force.
    pub power_cap_watts: Option<Watts>,
    /// Where the cap comes from.
    pub power_cap_origin: CapOrigin,
    /// Carbon intensity now.
    pub carbon_intensity_g_per_kwh: Option<CarbonIntensity>,
    /// Where the carbon intensity comes from.
    pub carbon_source: Option<String>,
    /// Each configured signal: what it says, how old that is, and how its source does.
    pub signals: Vec<SignalStatus>,
    /// The ledger's totals since the server started.
    pub ledger: Totals,
    /// Whether the books close: metered = attributed + idle.
    pub closure: Closure,
    /// Each account of the ledger since the server started.
    pub accounts: Vec<AccountStatus>,
    /// How energy is split between accounts.
    pub attribution: AttributionStatus,
    /// How many classes requests named.
    pub classes: ClassesStatus,
    /// Power against the cap since the server started.
    pub power: CapAccount,
    /// Share of the device that was busy.
    pub utilization: Option<f64>,
    /// Each model.
    pub models: Vec<ModelStatus>,
    /// Each family.
    pub families: Vec<FamilyStatus>,
    /// How far off profiles are, as far as is known: what is seen over what they say (modelled).
    pub profile_drift: Vec<Drift>,
    /// Device readings that failed.
    pub device_read_errors: u64,
    /// Decisions that could not be carried out.
    pub apply_errors: u64,
    /// How long the policy took to decide, last time, in microseconds.
    pub decide_us: Option<f64>,
}

impl Status {
    /// Nothing is known yet.
    pub(super) fn before_first_tick(policy: &str) -> Self {
        Self {
            uptime_seconds: 0.0,
            policy: policy.to_owned(),
            power_watts: None,
            power_provenance: None,
            power_cap_watts: None,
            power_cap_origin: CapOrigin::None,
            carbon_intensity_g_per_kwh: None,
            carbon_source: None,
            signals: Vec::new(),
            ledger: Totals::default(),
            closure: Totals::default().closure(),
            accounts: Vec::new(),
            attribution: AttributionStatus::default(),
            classes: ClassesStatus::default(),
            power: CapAccount::default(),
            utilization: None,
            models: Vec::new(),
            families: Vec::new(),
            profile_drift: Vec::new(),
            device_read_errors: 0,
            apply_errors: 0,
            decide_us: None,
        }
    }
}

/// One account of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AccountStatus {
    /// The model that answered.
    pub model: ModelName,
    /// The family that was asked; `None`: the model itself.
    pub family: Option<FamilyName>,
    /// The class that requests named, if they named one.
    pub class: Option<RequestClass>,
    /// What it took.
    #[serde(flatten)]
    pub totals: AccountTotals,
}

impl AccountStatus {
    /// Every account of `totals`.
    pub(super) fn of(totals: &Totals) -> Vec<Self> {
        let one = |(account, totals): (&Account, &AccountTotals)| {
            let Account { model, family, class } = account.clone();
            Self { model, family, class, totals: *totals }
        };
        totals.by_account.iter().map(one).collect()
    }
}

/// How energy is split between accounts.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AttributionStatus {
    /// What counts as idle, what as shared, and how the rest is split, in words.
    pub rule: String,
    /// How the energy of accounts and of idle is known: split by a model, and so modelled at best. `None`:
    /// nothing is split yet.
    pub basis: Option<Basis>,
    /// What the device draws with nothing to do. `None`: not known, and no energy is called idle for that.
    pub idle_watts: Option<Watts>,
    /// What the parts that all share draw as soon as somebody works (assumed, as configured). `None`: not
    /// known, and none of the energy is called shared.
    pub shared_idle_watts: Option<Watts>,
    /// Whether the last entry's core time was weighted by the power of the models' profiles.
    pub is_weighted: bool,
    /// How far off what requests are told may be, as a share. `None`: not seen yet.
    pub uncertainty: Option<f64>,
}

impl AttributionStatus {
    /// What `meter` splits by, and how far off `rates` may be.
    pub(super) fn of(meter: &Meter, rates: &Rates) -> Self {
        let (split, is_weighted) = meter.split();
        let idle = match meter.idle_power() {
            Some((power, provenance)) => format!("idle power x time, {power} ({provenance})"),
            None => "only where nobody works, as it is not known what the device draws with nothing to do \
                     (idle_watts in [accounts], or a profile taken on this device)"
                .to_owned(),
        };
        let shared = match split.shared_idle_power {
            Some(power) => format!("{power} while somebody works (assumed, as configured)"),
            None => "none, as it is not known what the parts that all share draw".to_owned(),
        };
        let weights = if is_weighted {
            "weighted by the power above idle of a busy core in the models' profiles (modelled)"
        } else {
            "all models alike"
        };
        Self {
            rule: format!(
                "idle: {idle}; shared: {shared}, by core time; dynamic: the rest, by core time, \
                 {weights}; within a batch by rows"
            ),
            basis: Some(rates.basis()),
            idle_watts: meter.idle_power().map(|(power, _)| *power),
            shared_idle_watts: split.shared_idle_power,
            is_weighted,
            uncertainty: rates.uncertainty(),
        }
    }
}

/// One model, as it stands.
#[derive(Debug, Clone, Serialize)]
pub struct ModelStatus {
    /// Which model.
    pub name: ModelName,
    /// Versions served, ascending.
    pub versions: Vec<u64>,
    /// Where its knobs stand.
    pub setting: ServingSetting,
    /// How far its knobs turn.
    pub limits: ServingLimits,
    /// Requests that wait.
    pub queued_requests: u64,
    /// Requests answered since it was loaded.
    pub completed_requests: u64,
    /// Rows answered since it was loaded.
    pub completed_rows: u64,
    /// Batches run since it was loaded.
    pub executed_batches: u64,
    /// Requests not answered since it was loaded: refused, expired or failed.
    pub failed_requests: u64,
    /// Median latency since it was loaded, from arrival to answer, without the network.
    pub latency_ms_p50: Option<f64>,
    /// 95th percentile.
    pub latency_ms_p95: Option<f64>,
    /// 99th percentile.
    pub latency_ms_p99: Option<f64>,
}

/// One family, as it stands.
#[derive(Debug, Clone, Serialize)]
pub struct FamilyStatus {
    /// Which family.
    pub name: FamilyName,
    /// Its variants.
    pub variants: Vec<ModelName>,
    /// The variant that answers; `None` where none is loaded.
    pub active: Option<ModelName>,
    /// How often another variant was chosen since the server started.
    pub switches: u64,
    /// Rows that were asked of the family since the server started.
    pub asked_rows: u64,
}

/// Power of one tick with the cap at its start.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PowerPoint {
    /// Seconds since the server started.
    pub seconds: f64,
    /// Mean power of the tick.
    pub power_watts: Watts,
    /// The cap at the start of the tick.
    pub power_cap_watts: Option<Watts>,
}

/// A decision, when it was made and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct DecisionRecord {
    /// Seconds since the server started.
    pub seconds: f64,
    /// Who decided.
    pub policy: &'static str,
    /// Highest power the policy was shown.
    pub power_watts_max: Option<Watts>,
    /// The cap the policy was shown.
    pub power_cap_watts: Option<Watts>,
    /// What was decided, with reasons.
    pub decision: Decision,
    /// The reasons as sentences.
    pub because: Vec<String>,
    /// How long deciding took, in microseconds.
    pub decide_us: f64,
    /// What of it could not be carried out, and why.
    pub errors: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::EnergyRate;
    use wattle_core::carbon::CarbonAccounting;
    use wattle_core::ledger::PowerSplit;
    use wattle_device::device::DeviceInfo;

    fn attribution(idle_power: Option<(Watts, Provenance)>) -> AttributionStatus {
        let info = DeviceInfo {
            id: "gpu".into(),
            description: String::new(),
            knobs: vec![],
            power_provenance: Provenance::new(Basis::Measured, "a counter"),
            idle_power: None,
            full_power: None,
        };
        let rate = EnergyRate::unknown();
        let split = PowerSplit { idle_power, ..PowerSplit::default() };
        let meter = Meter::new(&info, 2, &rate, CarbonAccounting::default(), (split, None));
        AttributionStatus::of(&meter, &rate.rates())
    }

    #[test]
    fn a_share_of_measured_energy_is_not_measured() {
        assert_eq!(attribution(None).basis, Some(Basis::Modelled));
    }

    #[test]
    fn idle_power_is_told_with_its_source_and_so_is_that_it_is_not_known() {
        let known = attribution(Some((Watts::new(50.0), Provenance::new(Basis::Assumed, "a datasheet"))));
        assert!(known.rule.contains("50.0 W (assumed: a datasheet)"), "{}", known.rule);
        let unknown = attribution(None);
        assert_eq!((known.idle_watts, unknown.idle_watts), (Some(Watts::new(50.0)), None));
        assert!(unknown.rule.contains("not known what the device draws"), "{}", unknown.rule);
    }
}
