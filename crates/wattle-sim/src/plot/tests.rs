//! Any input gives a well-formed plot, the same one each time.

use proptest::prelude::*;

use super::*;
use crate::report::well_formed::check;

fn line(points: &[(f64, Option<f64>)]) -> Line {
    Line { name: "power <W> & \"more\"".into(), kind: LineKind::Straight, points: points.to_vec() }
}

fn power(lines: Vec<Line>) -> LinePlot {
    LinePlot::over_time("power", Axis::from_zero("power", "W"), lines)
}

/// The points of each polyline.
fn polylines(svg: &str) -> Vec<Vec<(i32, i32)>> {
    let point = |text: &str| {
        let (x, y) = text.split_once(',').unwrap();
        (x.parse().unwrap(), y.parse().unwrap())
    };
    let lists = svg.split("points=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    lists.map(|list| list.split_whitespace().map(point).collect()).collect()
}

/// The polylines of a series, which no axis or grid line shares its colour with.
fn series(svg: &str, color: &str) -> Vec<Vec<(i32, i32)>> {
    let tags = svg.split("<polyline").filter(|tag| tag.contains(color));
    tags.flat_map(polylines).collect()
}

const FIRST: &str = "#0072B2";

#[test]
fn an_unknown_value_is_a_gap_and_not_zero() {
    let known = [(0.0, Some(50.0)), (1.0, Some(60.0))];
    let after = [(3.0, Some(50.0)), (4.0, Some(70.0))];
    for unknown in [None, Some(f64::NAN), Some(f64::INFINITY)] {
        let points = [known.as_slice(), &[(2.0, unknown)], &after].concat();
        let drawn = series(&power(vec![line(&points)]).svg(), FIRST);
        assert_eq!(drawn.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2], "{unknown:?}");
    }
}

#[test]
fn a_step_holds_until_the_next_point() {
    let steps =
        Line { kind: LineKind::Step, ..line(&[(0.0, Some(1.0)), (1.0, Some(3.0)), (2.0, Some(3.0))]) };
    let drawn = series(&power(vec![steps]).svg(), FIRST);
    let [path] = drawn.as_slice() else { panic!("{drawn:?}") };
    let [a, b, c, d] = path.as_slice() else { panic!("{path:?}") };
    assert!(a.1 == b.1 && b.0 == c.0 && c.1 == d.1 && a.0 < b.0 && c.1 < b.1 && d.0 > c.0, "{path:?}");
}

#[test]
fn a_million_points_are_drawn_as_two_thousand_with_the_peak() {
    let mut points: Vec<_> = (0..1_000_000).map(|at| (f64::from(at), Some(f64::from(at % 7)))).collect();
    points[123_456].1 = Some(500.0);
    let drawn = series(&power(vec![line(&points)]).svg(), FIRST).concat();
    assert!(drawn.len() <= 2000, "{}", drawn.len());
    let highest = drawn.iter().map(|point| point.1).min().unwrap();
    assert_eq!(drawn.iter().filter(|point| point.1 < highest + 100).count(), 1);
}

#[test]
fn a_distribution_rises_from_0_to_1() {
    let samples = [("ours".to_owned(), vec![3.0, 1.0, f64::NAN, 2.0, 2.0])];
    let plot = LinePlot::cdf("latency", Axis::from_zero("latency", "ms"), &samples);
    let heights: Vec<_> = plot.lines[0].points.iter().map(|point| (point.0, point.1.unwrap())).collect();
    assert_eq!(heights, [(1.0, 0.0), (1.0, 0.25), (2.0, 0.5), (2.0, 0.75), (3.0, 1.0)]);
    check(&plot.svg()).unwrap();
}

#[test]
fn an_unknown_bar_says_so() {
    let bar = |value| Some(Bar { value, spread: None });
    let bars = vec![
        ("fixed".to_owned(), bar(20.0)),
        ("batch-sizer".to_owned(), None),
        ("odd".to_owned(), bar(f64::NAN)),
        ("zero".to_owned(), bar(0.0)),
    ];
    let svg = Bars::of_one("power", Axis::from_zero("power", "W"), bars).svg();
    assert_eq!(svg.matches("unknown").count(), 2);
    assert!(svg.contains("\n20\n"), "{svg}");
    assert!(svg.contains("\n0\n"), "{svg}");
}

#[test]
fn names_are_escaped() {
    let svg = power(vec![line(&[(0.0, Some(1.0))]), line(&[])]).svg();
    assert!(svg.contains("power &lt;W&gt; &amp; &quot;more&quot;"), "{svg}");
    check(&svg).unwrap();
}

#[test]
fn contours_are_labelled_with_their_level() {
    let steps: Vec<f64> = (0..12).map(f64::from).collect();
    let grid = |scale: f64| Grid::of(steps.clone(), steps.clone(), |x, y| Some((x + y) * scale));
    let contours = Contours { name: "power, W".into(), grid: grid(25.0), levels: vec![100.0, 150.0, 250.0] };
    let map = HeatMap {
        title: "throughput and power".into(),
        x: Axis::free("core clock", "MHz"),
        y: Axis::free("compute units", ""),
        shaded: Axis::free("throughput", "rows/s"),
        grid: grid(1.0),
        contours: vec![contours],
        marks: None,
        size: Size::default(),
    };
    let svg = map.svg();
    check(&svg).unwrap();
    for level in ["100", "150", "250"] {
        assert!(svg.contains(&format!("\n{level}\n")), "{level}");
    }
    assert_eq!(svg.matches("<rect").count(), 12 * 12 + 3 + 3);
}

fn any_value() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        Just(None),
        Just(Some(f64::NAN)),
        Just(Some(f64::INFINITY)),
        Just(Some(0.0)),
        Just(Some(f64::MAX)),
        Just(Some(-f64::MAX)),
        any::<f64>().prop_map(Some),
        (0.0..500.0).prop_map(Some),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_values_give_a_well_formed_plot(
        values in proptest::collection::vec((any_value(), any_value()), 0..40),
        is_step in any::<bool>(),
        size in (0u32..5000, 0u32..900),
    ) {
        let size = Size { width: size.0, height: size.1 };
        let or_nan = |value: &Option<f64>| value.unwrap_or(f64::NAN);
        let points: Vec<_> = values.iter().map(|(x, y)| (or_nan(x), *y)).collect();
        let kind = if is_step { LineKind::Step } else { LineKind::Bound };
        let lines = vec![line(&points), Line { kind, ..line(&points) }];
        let plot = LinePlot { size, ..power(lines) };
        let svg = plot.svg();
        check(&svg).map_err(TestCaseError::fail)?;
        prop_assert!(!svg.contains("NaN") && !svg.contains("inf"), "{}", svg);
        prop_assert_eq!(svg, plot.svg());

        let both: Vec<(f64, f64)> = values.iter().map(|(x, y)| (or_nan(x), or_nan(y))).collect();
        let scatter = Scatter {
            title: String::new(),
            x: Axis::free("x", ""),
            y: Axis::free("y", ""),
            series: vec![ScatterSeries { name: "all".into(), points: both.clone() }],
            frontier: Some(Frontier { less_x: is_step, less_y: true }),
            bounds: both.iter().take(3).map(|one| ("cap".into(), one.1)).collect(),
            size,
        };
        check(&scatter.svg()).map_err(TestCaseError::fail)?;

        let bar = |(value, other): &(f64, f64)| Some(Bar { value: *value, spread: Some((*other, *value)) });
        let groups = both.iter().map(|one| BarGroup { name: "one".into(), bars: vec![bar(one), None] });
        let bars = Bars {
            title: "bars".into(),
            axis: Axis::free("x", "s"),
            series: vec!["published".into(), "ours".into()],
            groups: groups.collect(),
            width: size.width,
        };
        check(&bars.svg()).map_err(TestCaseError::fail)?;

        let grid = Grid {
            x: both.iter().map(|one| one.0).take(5).collect(),
            y: vec![1.0, 2.0, 7.0],
            values: values.iter().map(|one| one.1).collect(),
        };
        let map = HeatMap {
            title: "map".into(),
            x: Axis::free("x", ""),
            y: Axis::free("y", ""),
            shaded: Axis::free("z", "W"),
            grid: grid.clone(),
            contours: vec![Contours { name: "z".into(), grid, levels: vec![100.0, f64::NAN, 0.0] }],
            marks: Some(("measured".into(), both.clone())),
            size,
        };
        check(&map.svg()).map_err(TestCaseError::fail)?;

        let samples = [("a".to_owned(), both.iter().map(|one| one.0).collect())];
        check(&LinePlot::cdf("c", Axis::free("x", ""), &samples).svg()).map_err(TestCaseError::fail)?;
        let dotted = Line { kind: LineKind::Dotted, ..line(&points) };
        check(&LinePlot::over("d", Axis::doubling("b", ""), Axis::doubling("w", ""), vec![dotted]).svg())
            .map_err(TestCaseError::fail)?;
        check(&LinePlot::over_time("n", Axis::named("v", vec!["a".into()]), vec![line(&points)]).svg())
            .map_err(TestCaseError::fail)?;
    }
}
