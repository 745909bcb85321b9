//! The report of profiles: well-formed, alone, and of what was asked for.

use proptest::prelude::*;
use wattle_core::profile::KnobValue;

use super::*;
use crate::report::well_formed::check;

const HEAD: &str = "# wattle_profile = 1\n# model = \"a <model>\"\n# device = \"d\"\n# runtime = \"r\"\n\
                    # power_source = \"s & t\"\n";
const COLUMNS: &str = "batch_size,instances,core_clock_mhz,partition,variant,throughput_rps,latency_ms_mean,\
                       power_watts_mean,basis,power_basis,samples\n";

fn profile(rows: &str) -> Profile {
    Profile::parse(&format!("{HEAD}{COLUMNS}{rows}"), "p.csv").unwrap()
}

/// Batch sizes, instances and partitions in a grid, one corner of which was not measured.
fn grid() -> Profile {
    let mut rows = String::new();
    for (batch, instances, slices) in [1, 2, 4, 8]
        .iter()
        .flat_map(|b| [1, 2].iter().flat_map(move |m| [2, 7].iter().map(move |s| (b, m, s))))
    {
        if (*batch, *instances, *slices) == (2, 1, 7) {
            continue;
        }
        let rps = f64::from(*batch).powf(0.5) * f64::from(*instances) * f64::from(*slices);
        rows += &format!("{batch},{instances},,{slices}g,,{rps},5,{},measured,measured,9\n", 50.0 + rps);
    }
    profile(&rows)
}

fn report(profile: Profile, view: &ProfileView) -> Result<ProfileReport, ProfileViewError> {
    profile_report(&[("p.csv".to_owned(), profile)], view)
}

#[test]
fn in_whatever_order_rows_stand_lines_go_along_their_axis() {
    let lines = |profile: Profile| {
        let mut plots = report(profile, &ProfileView::default()).unwrap().plots;
        plots.retain(|(name, _)| name.ends_with("-lines"));
        plots
    };
    let mut shuffled = grid();
    shuffled.rows.sort_by_key(|row| row.point.batch_size * 5 % 7);
    assert_ne!(shuffled, grid());
    assert_eq!(lines(shuffled), lines(grid()));
}

#[test]
fn a_report_is_well_formed_and_names_no_other_place() {
    let made = report(grid(), &ProfileView::default()).unwrap();
    check(&made.html).unwrap();
    for outside in ["http://", "https://", "<script", "src=", "href=", "url(", "@import"] {
        assert!(!made.html.contains(outside), "{outside}");
    }
    assert!(made.html.contains("<title>Profile of a &lt;model&gt;</title>"));
    let names: Vec<&str> = made.plots.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "front",
        "energy-front",
        "throughput-surface",
        "power-surface",
        "energy-surface",
        "latency-surface",
        "throughput-lines",
        "power-lines",
        "latency-lines",
        "energy-lines",
        "prediction",
    ];
    assert_eq!(names, expected);
    for (name, svg) in &made.plots {
        check(svg).unwrap();
        assert!(svg.contains("a &lt;model&gt;"), "{name} says what it is of");
    }
    assert_eq!(made, report(grid(), &ProfileView::default()).unwrap());
}

#[test]
fn a_place_that_was_not_measured_is_drawn_from_its_neighbours_without_a_dot() {
    let view = ProfileView {
        x: Some(PointKnob::BatchSize),
        y: Some(PointKnob::Partition),
        at: vec![(PointKnob::Instances, KnobValue::Number(1.0))],
        ..ProfileView::default()
    };
    let made = report(grid(), &view).unwrap();
    let (_, svg) = made.plots.iter().find(|(name, _)| name == "throughput-surface").unwrap();
    // Four batch sizes on two partitions are shaded; one of them was not measured.
    let shades = svg.matches("<rect").count() - svg.matches("fill=\"#FFFFFF\"").count();
    assert!(shades >= 8, "{shades}");
    assert_eq!(svg.matches("r=\"2\"").count(), 7);
}

#[test]
fn a_view_that_the_profile_has_not_got_is_refused_by_name() {
    let told = |view: ProfileView| report(grid(), &view).unwrap_err().to_string();
    let x = Some(PointKnob::BatchSize);
    assert!(
        told(ProfileView { x, y: x, ..ProfileView::default() }).starts_with("found batch_size both along")
    );
    let at = vec![(PointKnob::BatchSize, KnobValue::Number(2.0))];
    let held = told(ProfileView { x, at, ..ProfileView::default() });
    assert!(held.starts_with("found batch_size both drawn and held"), "{held}");
    let y = Some(PointKnob::CoreClockMhz);
    assert_eq!(
        told(ProfileView { y, ..ProfileView::default() }),
        "p.csv: found one value of core_clock_mhz, expected several to draw; those with several are: \
         batch_size, instances, partition"
    );
    let at = vec![(PointKnob::Partition, KnobValue::Name("3g".into()))];
    assert_eq!(
        told(ProfileView { at, ..ProfileView::default() }),
        "p.csv: found no row at partition=3g, expected one of: 2g, 7g"
    );
}

#[test]
fn several_profiles_have_plots_of_their_own_and_one_of_all() {
    let all = [("a.csv".to_owned(), grid()), ("b.csv".to_owned(), grid())];
    let made = profile_report(&all, &ProfileView::default()).unwrap();
    check(&made.html).unwrap();
    let mut names: Vec<&String> = made.plots.iter().map(|(name, _)| name).collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!((names.len(), count), (24, 24));
    assert!(made.plots[0].0 == "all-front" && made.plots[0].1.contains("b.csv"));
}

#[test]
fn a_profile_of_one_row_has_a_page() {
    let made = report(profile("1,1,,,,,,,assumed,assumed,0\n"), &ProfileView::default()).unwrap();
    check(&made.html).unwrap();
    assert_eq!(made.plots, []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_profile_has_a_well_formed_report(
        rows in proptest::collection::btree_map(
            (1..5u32, 1..3u32, proptest::option::of(1..3u32), proptest::option::of("[a<&]")),
            (proptest::option::of(0.0..1e3f64), proptest::option::of(0.0..1e300f64)),
            1..12,
        ),
    ) {
        let number = |known: Option<f64>| known.map(|known| known.to_string()).unwrap_or_default();
        let lines = rows.into_iter().map(|((batch, instances, clock, variant), (rps, watts))| {
            let (clock, variant) = (number(clock.map(f64::from)), variant.unwrap_or_default());
            let (rps, watts) = (number(rps), number(watts));
            format!("{batch},{instances},{clock},,{variant},{rps},{rps},{watts},measured,assumed,3\n")
        });
        let made = report(profile(&lines.collect::<String>()), &ProfileView::default()).unwrap();
        check(&made.html).map_err(TestCaseError::fail)?;
    }
}
