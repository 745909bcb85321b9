//! The books close, whatever comes in.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::profile::Profile;
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

#[test]
fn shared_parts_are_split_by_core_time_and_the_rest_by_how_hungry_a_model_is() {
    let split = |shared: Option<f64>, watts: &[(&str, f64)]| PowerSplit {
        idle_power: None,
        shared_idle_power: shared.map(Watts::new),
        watts_per_core: watts.iter().map(|(name, watts)| ((*name).into(), Watts::new(*watts))).collect(),
    };
    let check = |split: PowerSplit, working_ms, own_share, expected: [(f64, f64); 2], idle| {
        let entry = attribute_split(
            &interval(100.0, 20.0, own_share),
            &activity(&[("a", 1.0), ("b", 1.0)]),
            (&split, Duration::from_millis(working_ms)),
            None,
            &CarbonAccounting::default(),
        );
        let parts = ["a", "b"].map(|name| {
            let of = entry.by_account[&account(name)];
            (of.shared.get(), of.dynamic.get())
        });
        assert_eq!((parts, entry.idle.get()), (expected, idle), "{split:?}");
    };
    let known = [("a", 3.0), ("b", 1.0)];
    check(split(Some(16.0), &known), 1000, None, [(8.0, 48.0), (8.0, 16.0)], 20.0);
    check(split(Some(16.0), &known), 500, None, [(4.0, 54.0), (4.0, 18.0)], 20.0);
    check(split(Some(16.0), &known), 9000, None, [(8.0, 48.0), (8.0, 16.0)], 20.0);
    check(split(Some(16.0), &known), 1000, Some(0.5), [(4.0, 24.0), (4.0, 8.0)], 60.0);
    check(split(Some(500.0), &known), 1000, None, [(40.0, 0.0), (40.0, 0.0)], 20.0);
    // Not known of both: all alike.
    check(split(None, &[("a", 3.0)]), 1000, None, [(0.0, 40.0), (0.0, 40.0)], 20.0);
    check(split(None, &[("a", 3.0), ("b", f64::NAN)]), 1000, None, [(0.0, 40.0), (0.0, 40.0)], 20.0);
}

#[test]
fn a_profile_tells_what_a_busy_core_draws_above_idle() {
    let profile = |model: &str, idle: &str, rows: &str| {
        let text = format!(
            "# wattle_profile = 1\n# model = \"{model}\"\n# device = \"a test\"\n# runtime = \"a test\"\n{idle}\
             # power_source = \"a test\"\nbatch_size,instances,cores_per_instance,duty_cycle,power_watts_mean,\
             basis,power_basis,samples\n{rows}"
        );
        (ModelName::from(model), Profile::parse(&text, "a test").unwrap())
    };
    let idle = "# idle_power_watts = 10.0\n";
    let profiles = [
        profile(
            "a",
            idle,
            "1,1,1,,14,measured,measured,9\n1,1,2,,20,measured,measured,9\n1,4,1,,22,measured,measured,9\n",
        ),
        profile("b", "", "1,1,1,0.5,12,measured,measured,9\n"),
        profile("untold", idle, "1,1,,,30,measured,measured,9\n"),
    ];
    let profiles = profiles.into_iter().collect();
    let split = PowerSplit::of_profiles(&profiles, None, 2);
    // 4, 5 and, on two cores, 6 W a core: the median.
    assert_eq!(split.per_core(&"a".into()), Some(Watts::new(5.0)));
    assert_eq!(split.per_core(&"b".into()), Some(Watts::new(4.0)));
    assert!(!split.knows_all([ModelName::from("a"), "untold".into()].iter()));
    let split = PowerSplit::of_profiles(&profiles, Some(Watts::new(2.0)), 2);
    assert_eq!(split.per_core(&"a".into()), Some(Watts::new(4.0)));
    assert_eq!(split.per_core(&"b".into()), None, "nothing is left above the shared parts");
}

#[test]
fn totals_are_kept_by_model_family_and_class_and_tell_whether_they_close() {
    let of = |model: &str, family: Option<&str>, class: Option<&str>| Account {
        model: model.into(),
        family: family.map(Into::into),
        class: class.map(Into::into),
    };
    let accounts = [
        of("m", None, None),
        of("m", Some("f"), None),
        of("m", Some("f"), Some("gold")),
        of("n", Some("f"), Some("gold")),
        of("n", None, Some("free")),
    ];
    let one = Activity { core_seconds: 1.0, rows: 2, requests: 1 };
    let activity = accounts.iter().map(|account| (account.clone(), one)).collect();
    let totals: Totals =
        [&attribute(&interval(100.0, 20.0, None), &activity, Some(at(360.0)))].into_iter().collect();
    let energy = |of: &AccountTotals| of.energy.get().round();
    assert_eq!((energy(&totals.by_model["m"]), energy(&totals.by_model["n"])), (48.0, 32.0));
    assert_eq!(energy(&totals.by_family["f"]), 48.0);
    assert_eq!((energy(&totals.by_class["gold"]), totals.by_class["gold"].rows), (32.0, 4));
    assert_eq!((totals.by_account.len(), totals.by_account[&accounts[4]].requests), (5, 1));
    let closure = totals.closure();
    assert_eq!((closure.metered.get(), closure.idle.get()), (100.0, 20.0));
    assert!(closure.difference.get().abs() < 1e-9 && (closure.attributed.get() - 80.0).abs() < 1e-9);
}

prop_compose! {
    fn any_amount()(
        amount in prop_oneof![
            Just(0.0), 0.0..1e3f64, 0.0..1e12f64, Just(1e-300), Just(1e300), Just(-1.0), Just(-1e300),
            Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY),
        ]
    ) -> f64 { amount }
}

proptest! {
    #[test]
    fn attributed_and_idle_make_metered(
        joules in any_amount(),
        idle_watts in any_amount(),
        own_share in proptest::option::of(prop_oneof![Just(0.0), Just(1.0), 0.0..1.0f64, -2.0..3.0f64, Just(f64::NAN)]),
        parts in proptest::collection::vec((any_amount(), proptest::option::of(any_amount()), 0..3usize), 0..6),
        shared_idle in proptest::option::of(any_amount()),
        nanos in prop_oneof![Just(0), 1..10_000_000_000u64, Just(u64::MAX)],
        working_nanos in prop_oneof![Just(0), 1..20_000_000_000u64, Just(u64::MAX)],
        intensity in proptest::option::of(0.0..2000.0f64),
    ) {
        let mut interval = interval(joules, idle_watts, own_share);
        interval.end = Timestamp::from_nanos(nanos);
        let mut split = PowerSplit { shared_idle_power: shared_idle.map(Watts::new), ..PowerSplit::default() };
        let mut activity = BTreeMap::new();
        for (index, (core_seconds, watts, class)) in parts.into_iter().enumerate() {
            // Two accounts of each model.
            let model = ModelName::from(format!("m{}", index / 2));
            split.watts_per_core.extend(watts.map(|watts| (model.clone(), Watts::new(watts))));
            let class = (class > 0).then(|| RequestClass::from(format!("c{class}")));
            activity.insert(Account { model, family: None, class }, Activity { core_seconds, rows: 8, requests: 2 });
        }
        let working = Duration::from_nanos(working_nanos);
        let accounting = CarbonAccounting::default();
        let entry = attribute_split(&interval, &activity, (&split, working), intensity.map(at), &accounting);
        let metered = entry.metered.get();
        prop_assert_eq!(metered, if joules.is_finite() { joules.max(0.0) } else { 0.0 });
        let slack = metered * 1e-9;
        prop_assert!(((entry.attributed() + entry.idle).get() - metered).abs() <= slack);
        prop_assert!(entry.idle.get() >= -slack);
        prop_assert!(entry.by_account.values().all(|of| of.dynamic.get() >= 0.0 && of.shared.get() >= 0.0));
        let totals: Totals = [&entry, &entry].into_iter().collect();
        let closure = totals.closure();
        prop_assert!(closure.difference.get().abs() <= 4.0 * slack);
        let by_account: Joules = totals.by_account.values().map(|of| of.energy).sum();
        prop_assert!((by_account - closure.attributed).get().abs() <= 4.0 * slack);
    }
}
