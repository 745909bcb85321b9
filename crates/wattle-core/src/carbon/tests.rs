//! Embodied emissions, crossovers, shares of a device's time and the SCI, by hand and as properties.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::provenance::{Basis, Provenance};
use crate::units::{CarbonIntensity, GramsCo2e, Joules};

const LIFE: Duration = Duration::from_secs(5 * 31_557_600);

fn figure(kilograms: f64) -> EmbodiedFigure {
    EmbodiedFigure { kilograms, provenance: Provenance::new(Basis::Modelled, "a test") }
}

fn a100() -> Embodied {
    Embodied {
        low: figure(21.56),
        high: Some(figure(181.0)),
        lifetime_years: 5.0,
        lifetime_source: "a test".into(),
        device_share: 1.0,
    }
}

#[test]
fn a_device_reserved_for_all_its_life_has_all_its_embodied_emissions() {
    assert!((embodied(21.56, 5.0, LIFE).get() - 21_560.0).abs() < 1e-6);
    assert!((embodied(21.56, 5.0, LIFE / 1000).get() - 21.56).abs() < 1e-6);
    let all = a100().of(LIFE);
    assert!((all.low.get() - 21_560.0).abs() < 1e-6);
    assert!((all.high.unwrap().get() - 181_000.0).abs() < 1e-6);
}

#[test]
fn four_of_seven_slices_have_four_sevenths_of_the_device() {
    let slices = Embodied { device_share: 4.0 / 7.0, ..a100() };
    assert!((slices.of(LIFE).low.get() - 21_560.0 * 4.0 / 7.0).abs() < 1e-6);
}

#[test]
fn crossover_powers_are_those_of_the_published_figures() {
    // Kilograms, then watts on wind, hydropower, solar and gas over five years, rounded as published.
    let rows = [
        (21.56, [45.0, 21.0, 12.0, 1.0]),
        (127.6, [265.0, 121.0, 71.0, 5.9]),
        (164.0, [340.0, 156.0, 91.0, 7.6]),
        (181.0, [376.0, 172.0, 101.0, 8.4]),
        (318.0, [660.0, 302.0, 177.0, 15.0]),
    ];
    let sources = ["wind", "hydropower", "solar", "gas"];
    for (kilograms, expected) in rows {
        for (source, expected) in sources.into_iter().zip(expected) {
            let of = act::INTENSITIES.iter().find(|of| of.name == source).unwrap();
            let found = crossover_power(kilograms, 5.0, CarbonIntensity::new(of.grams_per_kwh)).unwrap();
            // Within the last digit that is printed.
            let digit = if expected < 10.0 && expected != 1.0 { 0.06 } else { 0.6 };
            assert!((found.get() - expected).abs() < digit, "{kilograms} kg on {source}: {found}");
        }
    }
}

#[test]
fn embodied_leads_on_wind_only_below_45_watts_with_the_papers_own_figures() {
    let wind = CarbonIntensity::new(11.0);
    let crossover = crossover_power(21.56, 5.0, wind).unwrap();
    let hour = Duration::from_secs(3600);
    let made = embodied(21.56, 5.0, hour).get();
    assert!((crossover * hour * wind).get() - made < 1e-9);
    assert!((crossover.get() - 44.7).abs() < 0.1);
    assert!(crossover_power(21.56, 5.0, CarbonIntensity::new(0.0)).is_none());
}

#[test]
fn an_sci_score_is_that_computed_by_hand() {
    // 0.5 kWh at the device, PUE 1.2: E = 0.6 kWh. I = 300 g/kWh: E x I = 180 g. M: an A100 (21.56 to 181 kg,
    // 5 years) for 10 hours is 10 / 43830 of its life: 4.919 to 41.296 g. R = 1000 requests.
    let embodied = a100().of(Duration::from_secs(36_000));
    assert!((embodied.low.get() - 4.919).abs() < 1e-3);
    let terms = SciTerms::at(Joules::new(0.5 * 3.6e6 * 1.2), CarbonIntensity::new(300.0), Some(embodied));
    assert!((terms.operational.get() - 180.0).abs() < 1e-9);
    assert!((terms.intensity().unwrap().get() - 300.0).abs() < 1e-9);
    let score = terms.per(1000.0).unwrap();
    assert!((score.low.get() - 0.184_919).abs() < 1e-6, "{}", score.low);
    assert!((score.high.unwrap().get() - 0.221_296).abs() < 1e-6);
}

#[test]
fn there_is_no_score_of_nothing_done_or_of_a_device_of_which_nothing_is_known() {
    let terms = SciTerms::at(Joules::new(1.0), CarbonIntensity::new(1.0), Some(EmbodiedGrams::default()));
    assert!(terms.per(0.0).is_none());
    assert!(SciTerms { embodied: None, ..terms }.per(1.0).is_none());
    assert!(SciTerms::at(Joules::ZERO, CarbonIntensity::new(1.0), None).intensity().is_none());
}

#[test]
fn a_device_that_nobody_used_is_nobodys() {
    let shares = time_shares(&[0.0, f64::NAN, -1.0], 10.0);
    assert_eq!(shares, vec![TimeShare::default(); 3]);
}

#[test]
fn a_sum_with_an_unknown_high_end_has_none() {
    let one = EmbodiedGrams { low: GramsCo2e::new(1.0), high: Some(GramsCo2e::new(10.0)) };
    let unknown = EmbodiedGrams { high: None, ..one };
    assert_eq!(one.plus(one).high, Some(GramsCo2e::new(20.0)));
    assert_eq!(one.plus(unknown).high, None);
}

proptest! {
    #[test]
    fn reserved_shares_are_the_whole_and_busy_ones_never_more(
        busy in prop::collection::vec(0.0..1e9f64, 1..20),
        device in 0.0..1e9f64,
    ) {
        let shares = time_shares(&busy, device);
        let sum = |attribution| shares.iter().map(|share| share.by(attribution)).sum::<f64>();
        if busy.iter().any(|seconds| *seconds > 0.0) {
            prop_assert!((sum(Attribution::ReservedTime) - 1.0).abs() < 1e-9);
        }
        prop_assert!(sum(Attribution::BusyTime) <= 1.0 + 1e-9);
        for share in shares {
            prop_assert!(share.busy >= 0.0 && share.busy <= share.reserved + 1e-12);
        }
    }

    #[test]
    fn shares_of_any_numbers_are_numbers(
        busy in prop::collection::vec(prop::num::f64::ANY, 0..10),
        device in prop::num::f64::ANY,
    ) {
        for share in time_shares(&busy, device) {
            prop_assert!((0.0..=1.0 + 1e-9).contains(&share.busy));
            prop_assert!((0.0..=1.0 + 1e-9).contains(&share.reserved));
        }
    }
}
