//! The books close, whatever comes in.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::provenance::Basis;
use crate::signal::{Quantity, SignalHead};

fn interval(joules: f64, idle_watts: f64, own_share: Option<f64>) -> MeteredInterval {
    MeteredInterval {
        start: Timestamp::ZERO,
        end: Timestamp::from_duration(Duration::from_secs(1)),
        energy: Joules::new(joules),
        idle_power: Watts::new(idle_watts),
        own_share,
        provenance: Provenance::new(Basis::Measured, "RAPL package-0"),
    }
}

fn account(model: &str) -> Account {
    Account::of_model(model.into())
}

fn at(g_per_kwh: f64) -> SignalReading {
    let head = SignalHead::configured(Quantity::CarbonIntensity, "a test");
    SignalReading::configured(g_per_kwh, &Arc::new(head))
}

fn attribute(
    interval: &MeteredInterval,
    activity: &BTreeMap<Account, Activity>,
    carbon_intensity: Option<SignalReading>,
) -> LedgerEntry {
    super::attribute(interval, activity, carbon_intensity, &CarbonAccounting::default())
}

fn activity(core_seconds: &[(&str, f64)]) -> BTreeMap<Account, Activity> {
    let one = |(name, core_seconds): &(&str, f64)| {
        (account(name), Activity { core_seconds: *core_seconds, rows: 8, requests: 2 })
    };
    core_seconds.iter().map(one).collect()
}

#[test]
fn active_energy_is_split_by_core_time_and_the_rest_is_idle() {
    // (metered, idle power, own share, core seconds of a and b) -> (a, b, idle)
    let check = |metered, idle_watts, own_share, a: f64, b: f64, expected: [f64; 3]| {
        let entry =
            attribute(&interval(metered, idle_watts, own_share), &activity(&[("a", a), ("b", b)]), None);
        let found = [
            entry.by_account[&account("a")].energy().get(),
            entry.by_account[&account("b")].energy().get(),
            entry.idle.get(),
        ];
        assert_eq!(found, expected, "{metered} J, idle {idle_watts} W, own {own_share:?}, {a} and {b} s");
        assert_eq!(entry.emissions, None);
    };
    check(100.0, 20.0, None, 3.0, 1.0, [60.0, 20.0, 20.0]);
    check(100.0, 20.0, Some(0.5), 3.0, 1.0, [30.0, 10.0, 60.0]);
    check(100.0, 20.0, Some(0.0), 3.0, 1.0, [0.0, 0.0, 100.0]);
    check(100.0, 20.0, None, 0.0, 0.0, [0.0, 0.0, 100.0]);
    check(15.0, 20.0, None, 3.0, 1.0, [0.0, 0.0, 15.0]);
    check(0.0, 20.0, None, 3.0, 1.0, [0.0, 0.0, 0.0]);
    check(100.0, 0.0, None, f64::MAX, f64::MAX, [50.0, 50.0, 0.0]);
}

#[test]
fn carbon_is_energy_times_intensity() {
    let intensity = Some(at(360.0));
    let entry = attribute(&interval(100.0, 20.0, None), &activity(&[("a", 1.0)]), intensity);
    assert!((entry.emissions.unwrap().location.get() - 0.01).abs() < 1e-12);
    assert!((entry.by_account[&account("a")].emissions.unwrap().location.get() - 0.008).abs() < 1e-12);
}

#[test]
fn totals_say_for_how_much_energy_the_carbon_is_known() {
    let known = attribute(&interval(100.0, 20.0, None), &activity(&[("a", 1.0)]), Some(at(360.0)));
    let mut unknown = attribute(&interval(50.0, 20.0, None), &activity(&[("b", 1.0)]), None);
    unknown.start = Timestamp::from_duration(Duration::from_secs(1));
    unknown.end = Timestamp::from_duration(Duration::from_secs(2));
    unknown.provenance.basis = Basis::Modelled;
    let totals: Totals = [&unknown, &known].into_iter().collect();
    assert_eq!((totals.start, totals.end), (Some(known.start), Some(unknown.end)));
    assert_eq!((totals.metered.get(), totals.idle.get(), totals.entries), (150.0, 40.0, 2));
    assert_eq!(
        (totals.carbon, totals.carbon_known_for.get()),
        (known.emissions.map(|of| of.location), 100.0)
    );
    assert_eq!(totals.basis, Some(Basis::Modelled));
    assert_eq!((totals.by_model["a"].rows, totals.by_model["b"].carbon), (8, None));
    assert_eq!(Totals::default().carbon, None);
}

prop_compose! {
    fn any_amount()(
        amount in prop_oneof![Just(0.0), 0.0..1e3f64, 0.0..1e12f64, Just(1e-300), Just(1e300)]
    ) -> f64 { amount }
}

proptest! {
    #[test]
    fn attributed_and_idle_make_metered(
        joules in any_amount(),
        idle_watts in any_amount(),
        own_share in proptest::option::of(prop_oneof![Just(0.0), Just(1.0), 0.0..1.0f64, -2.0..3.0f64]),
        core_seconds in proptest::collection::vec(any_amount(), 0..6),
        nanos in prop_oneof![Just(0), 1..10_000_000_000u64, Just(u64::MAX)],
        intensity in proptest::option::of(0.0..2000.0f64),
    ) {
        let mut interval = interval(joules, idle_watts, own_share);
        interval.end = Timestamp::from_nanos(nanos);
        let names: Vec<String> = (0..core_seconds.len()).map(|i| format!("m{i}")).collect();
        let pairs: Vec<_> = names.iter().map(String::as_str).zip(core_seconds).collect();
        let entry = attribute(&interval, &activity(&pairs), intensity.map(at));
        let attributed = entry.attributed();
        let slack = joules * 1e-9;
        prop_assert!(((attributed + entry.idle).get() - joules).abs() <= slack);
        prop_assert!(entry.idle.get() >= -slack && entry.by_account.values().all(|of| of.energy().get() >= 0.0));
        let totals: Totals = [&entry, &entry].into_iter().collect();
        let by_model: Joules = totals.by_model.values().map(|model| model.energy).sum();
        prop_assert!(((by_model + totals.idle).get() - totals.metered.get()).abs() <= 4.0 * slack);
    }
}
