//! What it chooses fits the cap, and nothing that fits answers more.

use proptest::prelude::*;

use super::*;
use crate::policies::plant::{Plant, core_clock, model};
use crate::signal::{AfterEnd, Trace};

const HEAD: &str = "# wattle_profile = 1\n# model = \"m\"\n# device = \"d\"\n# runtime = \"r\"\n\
    # power_source = \"none\"\n# idle_power_watts = 20\n";

/// Batch size, instances, core clock or 0 for none, rows per second, power.
type Figures = (u32, u32, u32, f64, f64);

fn profile(rows: &[Figures]) -> Profile {
    let row = |(b, m, f, rps, watts): &Figures| {
        let clock = if *f == 0 { String::new() } else { f.to_string() };
        format!("{b},{m},{clock},{rps},{watts},measured,measured,1\n")
    };
    let columns =
        "batch_size,instances,core_clock_mhz,throughput_rps,power_watts_max,basis,power_basis,samples\n";
    let text = HEAD.to_owned() + columns + &rows.iter().map(row).collect::<String>();
    Profile::parse(&text, "test.csv").unwrap()
}

fn oracle(profiles: &[(&str, &[Figures])], cap: Signal) -> OracleUnderCap {
    let profiles = profiles.iter().map(|(name, rows)| ((*name).into(), profile(rows))).collect();
    let foresight = Foresight { power_cap: Some(cap), ..Foresight::default() };
    OracleUnderCap::new(PowerFigure::Max, &profiles, &foresight)
}

fn plant(names: &[&str]) -> Plant {
    let mut plant = Plant::new(names.iter().map(|name| model(name, 64)).collect(), |_| 500.0);
    plant.knobs = vec![core_clock()];
    plant
}

fn points(plant: &Plant) -> Vec<(u32, u32)> {
    plant.models.iter().map(|model| (model.setting.batch_size, model.setting.instances)).collect()
}

const ROWS: [Figures; 5] = [
    (1, 1, 0, 10.0, 40.0),
    (4, 1, 0, 30.0, 70.0),
    (8, 2, 0, 60.0, 120.0),
    (8, 2, 1063, 50.0, 80.0),
    (8, 2, 1000, 59.0, 81.0), // no step of the device
];

#[test]
fn it_turns_all_knobs_to_the_best_point_and_asks_again_exactly_when_the_cap_changes() {
    let at = Duration::from_millis;
    let points_of_cap = vec![(at(0), 130.0), (at(1050), 100.0), (at(5000), 60.0), (at(9000), 30.0)];
    let trace = Trace::new(points_of_cap, AfterEnd::Hold).unwrap();
    let mut policy = oracle(&[("m", &ROWS)], Signal::Trace(trace));
    let mut plant = plant(&["m"]);
    let mut told = Vec::new();
    for (clock, point, next_ms) in [
        (1500.0, (8, 2), 1050),
        (1063.0, (8, 2), 5000),
        (1531.0, (1, 1), 9000),
        (1531.0, (1, 0), 9000 + 366 * 86_400_000),
    ] {
        let decision = plant.tick(&mut policy);
        assert_eq!((plant.device.core_clock_mhz, points(&plant)[0]), (clock, point));
        let next = plant.now + decision.ask_again_in;
        assert_eq!(next.as_nanos(), next_ms * 1_000_000);
        told.push(decision.reasons[0].1.name());
        // The next tick is at the change.
        plant.now = Timestamp::from_nanos(next.as_nanos().saturating_sub(100_000_000));
    }
    assert_eq!(told, ["best_under_cap", "best_under_cap", "best_under_cap", "parked"]);
}

#[test]
fn several_models_get_the_split_of_most_throughput_not_equal_shares() {
    let hungry: &[Figures] = &[(1, 1, 0, 10.0, 60.0), (2, 1, 0, 12.0, 100.0)];
    let frugal: &[Figures] = &[(1, 1, 0, 10.0, 30.0), (2, 1, 0, 50.0, 70.0)];
    let at_cap = |cap| {
        let mut policy = oracle(&[("a", hungry), ("b", frugal)], Signal::Constant(cap));
        let mut plant = plant(&["a", "b", "c"]);
        let decision = plant.tick(&mut policy);
        assert_eq!(decision.reasons[2].1, Reason::NoProfile);
        points(&plant)[..2].to_vec()
    };
    assert_eq!(at_cap(110.0), [(1, 1), (2, 1)], "40 W and 50 W above idle");
    assert_eq!(at_cap(109.0), [(4, 0), (2, 1)], "equal shares would let neither have its best");
    assert_eq!(at_cap(70.0), [(4, 0), (2, 1)]);
    assert_eq!(at_cap(69.9), [(4, 0), (1, 1)], "of two that answer as much, the one of less power");
    assert_eq!(at_cap(19.0), [(4, 0), (4, 0)]);
}

#[test]
fn what_fits_draws_no_more_on_the_device_that_plays_the_same_profiles() {
    // Idle power differs from profile to profile: each was taken with its own model loaded.
    let of_idle = |rows: &[Figures], idle: f64| {
        let mut profile = profile(rows);
        profile.head.idle_power_watts = Some(Watts::new(idle));
        profile
    };
    let one: &[Figures] = &[(1, 1, 0, 10.0, 60.0)];
    let profiles: BTreeMap<ModelName, Profile> =
        [("a".into(), of_idle(one, 20.0)), ("b".into(), of_idle(one, 40.0))].into();
    let mut device = crate::played_device::PlayedDevice::new(&profiles).unwrap();
    for model in [0, 1] {
        let _token = device.begin(model, 1, 1, Timestamp::ZERO).unwrap();
    }
    assert_eq!(device.power(), Watts::new(100.0));
    let serves_both = |cap| {
        let foresight = Foresight { power_cap: Some(Signal::Constant(cap)), ..Foresight::default() };
        let mut plant = plant(&["a", "b"]);
        plant.tick(&mut OracleUnderCap::new(PowerFigure::Max, &profiles, &foresight));
        points(&plant) == [(1, 1), (1, 1)]
    };
    assert!(serves_both(100.0));
    assert!(!serves_both(99.9));
}

#[test]
fn without_a_cap_nothing_is_turned() {
    let mut policy = OracleUnderCap::new(PowerFigure::Max, &BTreeMap::new(), &Foresight::default());
    let decision = plant(&["m"]).tick(&mut policy);
    assert_eq!(decision.reasons[0].1, Reason::NoCap);
}

fn any_rows() -> impl Strategy<Value = Vec<Figures>> {
    // Powers on the grid, so that the split is exact.
    let row = (0.0..1e3f64, 200u32..1500).prop_map(|(rps, tenths)| (rps, f64::from(tenths) / 10.0));
    proptest::collection::vec(row, 1..5).prop_map(|rows| {
        rows.into_iter()
            .enumerate()
            .map(|(index, (rps, watts))| (index as u32 + 1, 1, 0, rps, watts))
            .collect()
    })
}

/// Most throughput of all choices, by trying each.
fn most_by_trial(models: &[Vec<Figures>], left: f64) -> f64 {
    let Some((first, rest)) = models.split_first() else { return 0.0 };
    let with = |row: &Figures| {
        let need = row.4 - 20.0;
        (need <= left + 1e-6).then(|| row.3 + most_by_trial(rest, left - need))
    };
    first.iter().filter_map(with).fold(most_by_trial(rest, left), f64::max)
}

proptest! {
    #[test]
    fn no_choice_that_fits_answers_more(
        models in proptest::collection::vec(any_rows(), 1..4),
        tenths in 0u32..3000,
    ) {
        let cap = f64::from(tenths) / 10.0;
        let names = ["a", "b", "c"];
        let profiles: Vec<(&str, &[Figures])> =
            names.iter().zip(&models).map(|(name, rows)| (*name, rows.as_slice())).collect();
        let mut policy = oracle(&profiles, Signal::Constant(cap));
        let mut plant = plant(&names[..models.len()]);
        let decision = plant.tick(&mut policy);
        let (mut power, mut rps) = (20.0, 0.0);
        for (_, reason) in &decision.reasons {
            if let Reason::BestUnderCap { predicted_watts, predicted_rps, .. } = reason {
                power += predicted_watts.get() - 20.0;
                rps += predicted_rps;
            }
        }
        prop_assert!(power <= cap.max(20.0) + 1e-6, "{power} W over {cap} W");
        let most = if cap >= 20.0 { most_by_trial(&models, cap - 20.0) } else { 0.0 };
        prop_assert!((rps - most).abs() < 1e-6, "{rps} of {most}");
    }
}
