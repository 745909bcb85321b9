//! Equal profiles differ in nothing, and what differs is told with how sure it is.

use proptest::prelude::*;

use super::*;

fn profile(head: &str, rows: &str) -> Profile {
    let fixed = "# wattle_profile = 1\n# model = \"m\"\n# device = \"d\"\n# runtime = \"r\"\n";
    let columns = "batch_size,instances,throughput_rps,latency_ms_p99,power_watts_mean,power_watts_ci95,\
                   throughput_rps_ci95,basis,power_basis,samples";
    let text = format!("{fixed}# power_source = \"s\"\n{head}{columns}\n{rows}");
    Profile::parse(&text, "p.csv").unwrap()
}

#[test]
fn a_difference_that_the_intervals_explain_is_told_apart_from_one_they_do_not() {
    let a = profile("", "1,1,100,5,50,3,1,measured,measured,9\n2,1,0,,,,,measured,measured,9\n");
    let b = profile("", "1,1,90,6,53,4,1,measured,measured,9\n2,1,7,,,,,measured,measured,9\n");
    let diff = Diff::of(&a, &b);
    let at = |figure| *diff.points[0].figures.iter().find(|one| one.figure == figure).unwrap();
    let throughput = at(Figure::ThroughputRps);
    assert_eq!((throughput.ratio, throughput.beyond_ci95), (0.9, Some(true)));
    assert_eq!(at(Figure::PowerWattsMean).beyond_ci95, Some(false), "3 W apart, 5 W by chance");
    assert_eq!(at(Figure::LatencyMsP99).beyond_ci95, None);
    let energy = at(Figure::EnergyJoulesPerRow);
    assert!((energy.ratio - 53.0 / 90.0 / 0.5).abs() < 1e-12, "power over throughput");
    assert_eq!(energy.beyond_ci95, Some(true), "0.089 J apart, 0.054 J by chance");
    assert_eq!(diff.points[1].figures, [], "a change from 0 has no ratio");
    let throughput = &diff.summary[0];
    assert_eq!((throughput.compared, throughput.with_ci95, throughput.beyond_ci95), (1, 1, 1));
}

#[test]
fn only_what_is_worse_and_beyond_chance_is_a_regression() {
    let a = profile("", "1,1,100,5,50,3,1,measured,measured,9\n2,1,100,5,50,9,1,measured,measured,9\n");
    let b = profile("", "1,1,80,4,50,3,1,measured,measured,9\n2,1,130,5,60,9,1,measured,measured,9\n");
    let diff = Diff::of(&a, &b);
    let worse =
        |share| diff.worse_by(share).iter().map(|(at, one)| (at.batch_size, one.figure)).collect::<Vec<_>>();
    assert_eq!(worse(0.1), [(1, Figure::EnergyJoulesPerRow), (1, Figure::ThroughputRps)]);
    assert_eq!(worse(0.22), [(1, Figure::EnergyJoulesPerRow)]);
    assert_eq!(worse(0.3), []);
}

#[test]
fn heads_and_points_of_one_alone_are_told() {
    let row = |batch: u32| format!("{batch},1,100,,,,,measured,measured,9\n");
    let a = profile("# driver = \"550\"\n", &(row(1) + &row(2)));
    let b = profile("# driver = \"560\"\n# quality = 0.5\n", &(row(2) + &row(4)));
    let diff = Diff::of(&a, &b);
    let keys: Vec<_> = diff.head.iter().map(|one| (one.key, one.a.as_deref(), one.b.as_deref())).collect();
    assert_eq!(keys, [("driver", Some("550"), Some("560")), ("quality", None, Some("0.5"))]);
    assert_eq!((diff.only_in_a[0].batch_size, diff.only_in_b[0].batch_size), (1, 4));
    assert_eq!((diff.points.len(), diff.only_in_a.len(), diff.only_in_b.len()), (1, 1, 1));
    assert!(!diff.is_empty());
}

#[test]
fn what_has_no_ratio_is_a_difference_too() {
    let a = profile("", "1,1,100,,0,,,measured,measured,9\n2,1,100,,,,,measured,measured,9\n");
    let b = profile("", "1,1,100,,50,,,measured,measured,9\n2,1,100,5,,,,assumed,measured,9\n");
    let diff = Diff::of(&a, &b);
    assert_eq!(diff.points[0].others, ["power_watts_mean"], "from 0");
    assert_eq!(diff.points[1].others, ["latency_ms_p99", "basis"], "of one alone, and how it is known");
    assert!(!diff.is_empty());
}

proptest! {
    #[test]
    fn a_profile_does_not_differ_from_itself(
        rows in proptest::collection::btree_map(1..9u32, (0.0..1e3f64, proptest::option::of(0.0..1e3f64)), 1..6),
    ) {
        let text = rows.iter().map(|(batch, (rps, watts))| {
            let watts = watts.map(|watts| watts.to_string()).unwrap_or_default();
            format!("{batch},1,{rps},3,{watts},1,1,measured,measured,9\n")
        });
        let profile = profile("# notes = \"n\"\n", &text.collect::<String>());
        let diff = Diff::of(&profile, &profile);
        prop_assert!(diff.is_empty());
        prop_assert!(diff.worse_by(0.0).is_empty());
        prop_assert!(diff.summary.iter().all(|one| one.median_ratio == 1.0 && one.worst_ratio == 1.0));
    }

    #[test]
    fn the_other_way_round_every_ratio_is_the_inverse(one in (1.0..1e3f64, 1.0..1e3f64), other in (1.0..1e3f64, 1.0..1e3f64)) {
        let of = |(rps, watts): (f64, f64)| profile("", &format!("1,1,{rps},,{watts},2,2,measured,measured,9\n"));
        let (there, back) = (Diff::of(&of(one), &of(other)), Diff::of(&of(other), &of(one)));
        for (a, b) in there.points[0].figures.iter().zip(&back.points[0].figures) {
            prop_assert!((a.ratio * b.ratio - 1.0).abs() < 1e-9);
            prop_assert_eq!(a.beyond_ci95, b.beyond_ci95);
        }
    }
}
