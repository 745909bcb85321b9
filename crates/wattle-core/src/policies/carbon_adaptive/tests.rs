//! The rule runs the way the paper means it, and the printed one the other way.

use proptest::prelude::*;

use super::*;
use crate::id::ModelName;
use crate::signal::{AfterEnd, Trace};
use crate::time::Timestamp;

/// Jung, Table 1: the ResNets, millijoules of one inference and error in percent.
const RESNETS: [(&str, f64, f64); 4] = [
    ("resnet34", 359.9321833, 8.58),
    ("resnet50", 420.6213298, 7.138),
    ("resnet101", 803.0948846, 6.454),
    ("resnet152", 1238.147188, 5.954),
];

fn variant(name: &str, millijoules: f64, error_percent: f64) -> Variant {
    Variant {
        model: name.into(),
        energy_joules_per_row: Joules::new(millijoules / 1e3),
        quality: 1.0 - error_percent / 100.0,
    }
}

fn options() -> PolicyOptions {
    let resnets = RESNETS.iter().map(|(name, energy, error)| variant(name, *energy, *error)).collect();
    PolicyOptions { families: [("resnet".into(), resnets)].into(), ..PolicyOptions::default() }
}

fn seen(seconds: u64, intensity: Option<f64>, serving: &[&str]) -> Observation {
    Observation {
        now: Timestamp::from_duration(Duration::from_secs(seconds)),
        power_cap: None,
        power_cap_ahead: Vec::new(),
        carbon_intensity_age: None,
        carbon_intensity_ahead: Vec::new(),
        carbon_intensity: intensity.map(CarbonIntensity::new),
        devices: Vec::new(),
        models: Vec::new(),
        families: vec![FamilyObservation {
            name: "resnet".into(),
            variants: serving.iter().map(|name| (*name).into()).collect(),
            active: "none".into(),
            arrived_rows: 0,
        }],
    }
}

const ALL: [&str; 4] = ["resnet101", "resnet152", "resnet34", "resnet50"];

fn chosen(decision: &Decision) -> Option<&str> {
    decision.variants.get("resnet").map(ModelName::as_str)
}

/// After the range 100 to 300 was seen.
fn policy(direction: Direction) -> CarbonAdaptive {
    let mut policy = CarbonAdaptive::new(direction, &options()).unwrap();
    policy.decide(&seen(0, Some(100.0), &ALL));
    policy.decide(&seen(1, Some(300.0), &ALL));
    policy
}

#[test]
fn clean_electricity_selects_large_models_and_dirty_electricity_small_ones() {
    let mut policy = policy(Direction::LowIsLarge);
    for (intensity, expected) in [
        (100.0, "resnet152"),
        (140.0, "resnet152"),
        (200.0, "resnet101"),
        (280.0, "resnet50"),
        (300.0, "resnet34"),
    ] {
        assert_eq!(chosen(&policy.decide(&seen(2, Some(intensity), &ALL))), Some(expected), "{intensity}");
    }
    // E_sel at 200 g/kWh, by hand.
    let decision = policy.decide(&seen(2, Some(200.0), &ALL));
    let Reason::VariantForCarbon { wanted_joules, .. } = &decision.reasons[0].1 else {
        panic!("{decision:?}")
    };
    assert!((wanted_joules.get() - (1.238147188 + 0.3599321833) / 2.0).abs() < 1e-12);
}

#[test]
fn the_printed_rule_selects_large_models_when_electricity_is_dirty() {
    let mut policy = policy(Direction::AsPrinted);
    assert_eq!(chosen(&policy.decide(&seen(2, Some(300.0), &ALL))), Some("resnet152"));
    assert_eq!(chosen(&policy.decide(&seen(2, Some(100.0), &ALL))), Some("resnet34"));
}

#[test]
fn without_an_intensity_or_a_range_the_active_variant_stays() {
    let mut policy = CarbonAdaptive::new(Direction::LowIsLarge, &options()).unwrap();
    let decision = policy.decide(&seen(0, None, &ALL));
    assert_eq!((chosen(&decision), &decision.reasons[0].1), (None, &Reason::NoCarbonIntensity));
    let decision = policy.decide(&seen(1, Some(100.0), &ALL));
    assert_eq!((chosen(&decision), decision.reasons[0].1.name()), (None, "carbon_intensity_flat"));
    assert_eq!(policy.decide(&seen(2, Some(90.0), &["other"])).reasons[0].1.name(), "no_variant");
}

#[test]
fn variants_that_do_not_serve_are_passed_over_and_so_are_their_energies() {
    let mut policy = policy(Direction::LowIsLarge);
    let two = ["resnet34", "resnet101"];
    assert_eq!(chosen(&policy.decide(&seen(2, Some(100.0), &two))), Some("resnet101"));
    assert_eq!(chosen(&policy.decide(&seen(2, Some(300.0), &two))), Some("resnet34"));
    let mut serving = seen(2, Some(300.0), &two);
    serving.families[0].active = "resnet34".into();
    assert_eq!(chosen(&policy.decide(&serving)), None, "it serves already");
}

#[test]
fn what_is_older_than_the_window_is_forgotten() {
    let mut policy = policy(Direction::LowIsLarge);
    let day = 86_400;
    assert_eq!(chosen(&policy.decide(&seen(600, Some(200.0), &ALL))), Some("resnet101"));
    // 100 was last seen at second 0, 300 at 1: now the range is 200 to 250.
    assert_eq!(chosen(&policy.decide(&seen(day + 300, Some(250.0), &ALL))), Some("resnet34"));
    assert_eq!(chosen(&policy.decide(&seen(day + 301, Some(200.0), &ALL))), Some("resnet152"));
}

#[test]
fn the_whole_trace_gives_the_range_where_it_is_known() {
    let mut options = options();
    options.carbon_adaptive.window = IntensityWindow::Whole;
    let error = CarbonAdaptive::new(Direction::LowIsLarge, &options).unwrap_err();
    assert!(error.to_string().contains("the whole trace of carbon intensity"), "{error}");
    let points =
        [100.0, 300.0].iter().zip(0..).map(|(value, hour)| (Duration::from_secs(hour * 3600), *value));
    let trace = Trace::new(points.collect(), AfterEnd::Hold).unwrap();
    options.foresight =
        Some(Foresight { carbon_intensity: Some(Signal::Trace(trace)), ..Foresight::default() });
    let mut policy = CarbonAdaptive::new(Direction::LowIsLarge, &options).unwrap();
    assert_eq!(chosen(&policy.decide(&seen(0, Some(200.0), &ALL))), Some("resnet101"), "at first sight");
}

proptest! {
    #[test]
    fn a_higher_intensity_never_selects_more_energy_and_every_choice_is_on_the_front(
        figures in prop::collection::vec((1.0f64..1000.0, 0.0f64..100.0), 1..8),
        mut intensities in prop::collection::vec(0.0f64..500.0, 2..40),
    ) {
        let names: Vec<String> = (0..figures.len()).map(|index| format!("v{index}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let variants: Vec<Variant> =
            names.iter().zip(&figures).map(|(name, (energy, error))| variant(name, *energy, *error)).collect();
        let options = PolicyOptions { families: [("resnet".into(), variants.clone())].into(), ..options() };
        let mut policy = CarbonAdaptive::new(Direction::LowIsLarge, &options).unwrap();
        for (second, intensity) in intensities.iter().enumerate() {
            policy.decide(&seen(second as u64, Some(*intensity), &names));
        }
        intensities.sort_by(f64::total_cmp);
        let mut energy_before = f64::INFINITY;
        for intensity in intensities {
            let decision = policy.decide(&seen(100, Some(intensity), &names));
            if let Some(name) = chosen(&decision) {
                let one = variants.iter().find(|one| one.model.as_str() == name).unwrap();
                let (energy, quality) = (one.energy_joules_per_row, one.quality);
                prop_assert!(energy.get() <= energy_before);
                energy_before = energy.get();
                let beaten = variants.iter().any(|other| {
                    other.energy_joules_per_row < energy && other.quality > quality
                });
                prop_assert!(!beaten);
            }
        }
    }

    #[test]
    fn the_window_has_the_extremes_of_what_it_covers(
        values in prop::collection::vec((0u64..50, 0.0f64..9.0), 1..60), length in 1u64..100,
    ) {
        let mut extremes = Extremes::new(Duration::from_secs(length));
        let (mut now, mut all) = (0, Vec::new());
        for (gap, value) in values {
            now += gap;
            all.push((now, value));
            extremes.take_in(Timestamp::from_duration(Duration::from_secs(now)), value);
            let within = || all.iter().filter(|(at, _)| now - at <= length).map(|(_, value)| *value);
            let expected = (within().reduce(f64::min).unwrap(), within().reduce(f64::max).unwrap());
            prop_assert_eq!(extremes.range(), Some(expected));
        }
    }
}
