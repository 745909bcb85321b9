//! Claims about the generated traces and the rule for measured ones.

use super::measured::{Rule, capped};
use super::*;

#[test]
fn generated_traces_have_the_published_mean_deviation_and_maximum() {
    for source in Source::ALL {
        let (trace, published) = (generate::trace(source, 1), source.published());
        assert!((trace.mean() - published.mean_watts).abs() < 0.5, "{source:?}: {}", trace.mean());
        let off = trace.deviation() - published.deviation_watts;
        assert!(off.abs() < 0.5, "{source:?}: {}", trace.deviation());
        assert!(trace.watts.iter().all(|watts| (0.0..=MAX_WATTS).contains(watts)));
        assert!(trace.watts.iter().any(|watts| *watts > MAX_WATTS - 0.01));
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    assert_eq!(generate::trace(Source::Wind, 4), generate::trace(Source::Wind, 4));
    assert_ne!(generate::trace(Source::Wind, 4).watts, generate::trace(Source::Wind, 5).watts);
}

#[test]
fn an_hour_is_like_the_one_before_and_water_changes_slowest() {
    let correlation = |source| {
        let watts = generate::trace(source, 1).watts;
        let (mean, deviation) = (mean(&watts), deviation(&watts));
        let product = watts.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum::<f64>();
        product / watts.len() as f64 / deviation.powi(2)
    };
    let [hydro, solar, wind] = Source::ALL.map(correlation);
    assert!(hydro > wind && wind > solar && solar > 0.5, "{hydro} {wind} {solar}");
}

#[test]
fn the_sun_gives_about_half_of_the_hours_and_the_others_all() {
    let [hydro, solar, wind] = Source::ALL.map(|source| generate::trace(source, 1).watts.len());
    assert_eq!((hydro, wind), (8760, 8760));
    assert!((4300..4500).contains(&solar), "{solar}");
}

#[test]
fn the_rule_puts_its_percentile_at_the_maximum_clips_above_and_drops_below_its_floor() {
    let generation: Vec<f64> = (0..=100).map(f64::from).collect();
    let watts = capped(&generation, &Rule::default());
    assert_eq!(watts.iter().copied().fold(0.0, f64::max), MAX_WATTS);
    assert_eq!(watts.iter().filter(|watts| **watts == MAX_WATTS).count(), 3, "98, 99 and 100");
    assert!(watts.iter().all(|watts| *watts >= 60.0));
    let plain = Rule { percentile: 1.0, drop_under_watts: 0.0 };
    assert_eq!(capped(&generation, &plain).len(), 101);
    assert_eq!(capped(&[0.0, 0.0], &Rule::default()), Vec::<f64>::new());
}

#[test]
fn measured_generation_comes_close_to_the_published_figures_by_the_rule() {
    let Some(folder) = std::env::var_os("WATTLE_DATA") else {
        println!("passed over: WATTLE_DATA names no folder of published files");
        return;
    };
    for source in Source::ALL {
        let trace = measured::trace(source, std::path::Path::new(&folder), &Rule::default()).unwrap();
        let (trace, published) = (trace.unwrap(), source.published());
        let (mean, deviation) =
            (trace.mean() / published.mean_watts, trace.deviation() / published.deviation_watts);
        assert!(
            (0.8..1.25).contains(&mean) && (0.8..1.25).contains(&deviation),
            "{source:?}: {mean} {deviation}"
        );
    }
}
