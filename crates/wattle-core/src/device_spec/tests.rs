//! Tests of device files: the built-in ones and wrong ones.

use super::*;

const SMALL: &str = "name = \"x\"\ntitle = \"X\"\nkind = \"gpu\"\n";

fn error_of(more: &str) -> String {
    DeviceSpec::parse(&format!("{SMALL}{more}"), "x.toml").unwrap_err().to_string()
}

#[test]
fn every_built_in_device_reads_and_has_the_name_of_its_file() {
    for (name, _) in BUNDLED {
        let spec = bundled(name).unwrap();
        assert_eq!(spec.name, *name);
    }
}

#[test]
fn built_in_devices_agree_with_themselves() {
    for (name, _) in BUNDLED {
        let spec = bundled(name).unwrap();
        let limit = spec.max_power_watts.unwrap().value;
        for power in [&spec.idle_power_watts, &spec.loaded_idle_power_watts].into_iter().flatten() {
            assert!(power.value < limit, "{name}");
        }
        let boost = spec.boost_clock_mhz.unwrap().value;
        let clocks = spec.core_clocks_mhz.unwrap().value;
        assert_eq!(clocks.last(), Some(&boost), "{name}");
        for curve in [&spec.static_power_watts, &spec.active_idle_power_watts].into_iter().flatten() {
            let (low, high) = curve.value.range();
            assert!(low <= clocks[0] && high >= boost, "{name}: the curve covers the clocks");
            assert!(curve.value.points().is_sorted_by(|(_, a), (_, b)| a <= b), "{name}");
        }
    }
}

#[test]
fn figures_of_the_papers_are_there_with_their_sources() {
    let mi50 = bundled("amd-mi50").unwrap();
    assert_eq!(mi50.units_per_engine(), Some(15));
    let idle = mi50.idle_power_watts.unwrap();
    assert_eq!((idle.value, idle.basis), (Watts::new(15.0), Basis::Measured));
    assert!(idle.source.contains("CoFRIS"));
    assert_eq!(mi50.core_clocks_mhz.unwrap().value.len(), 9);
    assert_eq!(bundled("nvidia-p40").unwrap().core_clocks_mhz.unwrap().value.len(), 10);
    let a100 = bundled("nvidia-a100-40gb").unwrap();
    assert_eq!(a100.embodied_kilograms_co2e.unwrap().value, 21.56);
    assert_eq!(a100.lifetime_years.unwrap().value, 5.0);
}

#[test]
fn what_is_not_there_is_unknown() {
    let spec = DeviceSpec::parse(SMALL, "x.toml").unwrap();
    assert_eq!((spec.idle_power_watts, spec.compute_units), (None, None));
}

#[test]
fn wrong_files_are_told_where_what_and_what_to_do() {
    let wrong = [
        ("kin = 1", "key \"kin\": found an unknown key", "did you mean \"kind\"?"),
        ("compute_units = 60", "key \"compute_units\": found 60", "a table of value, basis and source"),
        (
            "compute_units = { value = 0, basis = \"assumed\", source = \"s\" }",
            "key \"compute_units.value\": found 0",
            "a whole number over 0",
        ),
        (
            "max_power_watts = { value = 9, bases = \"assumed\", source = \"s\" }",
            "key \"max_power_watts.bases\"",
            "did you mean \"basis\"?",
        ),
        (
            "max_power_watts = { value = 9, basis = \"guessed\", source = \"s\" }",
            "found \"guessed\"",
            "\"measured\", \"modelled\" or \"assumed\"",
        ),
        ("max_power_watts = { value = 9, basis = \"assumed\" }", "max_power_watts.source", "add source"),
        (
            "core_clocks_mhz = { value = [2, 1], basis = \"assumed\", source = \"s\" }",
            "core_clocks_mhz.value",
            "ascending",
        ),
        (
            "static_power_watts = { value = [[1, 2, 3]], basis = \"assumed\", source = \"s\" }",
            "static_power_watts.value",
            "[MHz, value]",
        ),
        (
            "shader_engines = { value = 4, basis = \"assumed\", source = \"s\" }\n\
             compute_units = { value = 61, basis = \"assumed\", source = \"s\" }",
            "key \"shader_engines\": found 4",
            "a divisor of the 61 compute units",
        ),
        ("x = = 1", "line 4", "correct the line"),
    ];
    for (more, place, help) in wrong {
        let error = error_of(more);
        assert!(error.starts_with("x.toml, ") && error.contains(place) && error.contains(help), "{error}");
    }
}

#[test]
fn an_unknown_device_gets_the_nearest_name() {
    let error = bundled("nvidia-p4").unwrap_err().to_string();
    assert!(error.contains("did you mean \"nvidia-p40\"?"), "{error}");
}

#[test]
fn a_curve_holds_between_its_points_and_nowhere_else() {
    let point = |clock, value| (Megahertz::new(clock), value);
    let curve = Curve::new(vec![point(100.0, 10.0), point(200.0, 20.0), point(300.0, 60.0)]).unwrap();
    let at = |clock| curve.at(Megahertz::new(clock));
    assert_eq!(
        (at(100.0), at(150.0), at(250.0), at(300.0)),
        (Some(10.0), Some(15.0), Some(40.0), Some(60.0))
    );
    assert_eq!((at(99.0), at(301.0), at(f64::NAN)), (None, None, None));
    assert_eq!(Curve::new(Vec::new()), None);
    assert_eq!(Curve::new(vec![point(2.0, 1.0), point(2.0, 1.0)]), None);
}

#[test]
fn what_act_makes_of_each_built_in_device_is_the_figure_of_its_file() {
    let mut seen = 0;
    for (name, _) in BUNDLED {
        let spec = bundled(name).unwrap();
        let Some(inputs) = spec.embodied.as_ref().and_then(EmbodiedSpec::act_inputs) else { continue };
        let (found, told) =
            (inputs.emissions().unwrap().kilograms(), spec.embodied_kilograms_co2e.as_ref().unwrap().value);
        assert!((found / told - 1.0).abs() < 0.005, "{name}: ACT {found} kg, the file {told} kg");
        let range = spec.embodied_range().unwrap();
        assert_eq!((range.low.kilograms, range.lifetime_years), (found, 5.0));
        assert!(range.high.is_none_or(|high| high.kilograms > range.low.kilograms), "{name}");
        seen += 1;
    }
    assert_eq!(seen, 7);
}

#[test]
fn the_high_end_is_what_was_published_of_this_very_board() {
    let range = bundled("nvidia-a100-40gb").unwrap().embodied_range().unwrap();
    let high = range.high.unwrap();
    assert_eq!(high.kilograms, 181.0);
    assert!(high.provenance.source.contains("Hubblo"), "{}", high.provenance);
    assert!(range.low.provenance.source.contains("826 mm2 at 7 nm"), "{}", range.low.provenance);
    // Of the 80 GB card nobody published one; that of another make stands for comparison alone.
    assert!(bundled("nvidia-a100-80gb").unwrap().embodied_range().unwrap().high.is_none());
    assert!(bundled("x86-server-small").unwrap().embodied_range().is_none());
}

#[test]
fn wrong_tables_of_embodied_are_told_where_what_and_what_to_do() {
    let wrong = [
        ("embodied = 3", "key \"embodied\": found 3", "write it as [embodied]"),
        ("[embodied]\ndie_area = 3", "key \"embodied.die_area\"", "did you mean \"die_area_mm2\"?"),
        (
            "[embodied.node_nm]\nvalue = 12\nbasis = \"assumed\"\nsource = \"s\"",
            "key \"embodied.node_nm.value\": found 12",
            "28, 20, 14, 10, 8, 7, 5 or 3",
        ),
        (
            "[[embodied.published]]\nkilograms_co2e = 3\nboundary = \"bord\"",
            "key \"embodied.published.boundary\": found \"bord\"",
            "\"related-board\"",
        ),
        ("[embodied]\npublished = 3", "key \"embodied.published\": found 3", "write [[embodied.published]]"),
    ];
    for (more, place, help) in wrong {
        let error = error_of(more);
        assert!(error.starts_with("x.toml, ") && error.contains(place) && error.contains(help), "{error}");
    }
}
