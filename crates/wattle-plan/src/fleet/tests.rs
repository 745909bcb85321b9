//! Fleet files, lawful and not.

use super::*;

const GOOD: &str = r#"
grid = { source = "gas" }
[[devices]]
name = "a100"
spec = "nvidia-a100-40gb"
count = 4
[[models]]
name = "photos"
network = "resnet50"
load_rps = 100
slo_ms = 50
"#;

fn no_files(_: &str) -> Result<String, String> {
    Err("no files here".to_owned())
}

fn error_of(text: &str) -> String {
    let parsed = Fleet::parse(text, "FLEET.toml").and_then(|fleet| load(fleet, "FLEET.toml", &no_files));
    parsed.unwrap_err().to_string()
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_nearest() {
    let text = GOOD.replace("slo_ms", "slo_msec");
    let error = error_of(&text);
    assert!(error.starts_with("FLEET.toml, line 11: found unknown field `slo_msec`"), "{error}");
    assert!(error.ends_with("did you mean \"slo_ms\"?"), "{error}");
}

#[test]
fn what_makes_no_sense_is_told_with_its_place() {
    for (from, to, expected) in [
        (
            "load_rps = 100",
            "load_rps = -1",
            "models \"photos\", load_rps: found -1, expected rows per second over 0",
        ),
        ("slo_ms = 50", "slo_ms = nan", "models \"photos\", slo_ms: found NaN"),
        ("\"gas\"", "\"gass\"", "grid.source: found \"gass\""),
        ("source = \"gas\"", "", "grid: found 0 of them"),
        ("network = \"resnet50\"", "", "models \"photos\", profiles: found neither"),
        ("network = \"resnet50\"", "network = \"resnet5\"", "models \"photos\", network: found"),
        ("network = \"resnet50\"", "profiles = { a10 = \"x\" }", "did you mean \"a100\"?"),
        ("network = \"resnet50\"", "profiles = { a100 = \"x\" }", "found x: no files here"),
        ("nvidia-a100-40gb", "nvidia-a100-4gb", "devices \"a100\", spec: found"),
        ("count = 4", "count = -4", "line 6"),
        ("grid =", "pue = 0.5\ngrid =", "pue: found 0.5"),
        ("grid =", "headroom = 0\ngrid =", "headroom: found 0"),
        (
            "source = \"gas\"",
            "trace = \"ci.csv\", start_seconds = 1e30",
            "grid.start_seconds: found 1000000000000000000000000000000, expected a number in 0 to 1e10",
        ),
    ] {
        let text = GOOD.replace(from, to);
        assert_ne!(text, GOOD, "{from}");
        let error = error_of(&text);
        assert!(error.contains(expected), "{to}: {error}");
    }
}

#[test]
fn a_trace_counts_by_its_mean_over_the_horizon_and_what_is_unknown_of_it_is_told() {
    let text =
        GOOD.replace("source = \"gas\"", "trace = \"ci.csv\"").replace("grid =", "horizon_hours = 4\ngrid =");
    let fleet = Fleet::parse(&text, "FLEET.toml").unwrap();
    let read = |_: &str| Ok("seconds,carbon_intensity_g_per_kwh\n0,100\n3600,300\n".to_owned());
    let loaded = load(fleet, "FLEET.toml", &read).unwrap();
    assert!((loaded.intensity - 200.0).abs() < 1e-9);
    assert_eq!(loaded.hours, [100.0, 300.0]);
    assert!(loaded.intensity_known.source.ends_with("2.0 h of 4.0 known"), "{}", loaded.intensity_known);
}

#[test]
fn loads_of_a_file_take_the_place_of_the_fleets() {
    let fleet = Fleet::parse(&format!("loads = \"loads.csv\"\n{GOOD}"), "FLEET.toml").unwrap();
    let loaded =
        load(fleet.clone(), "FLEET.toml", &|_| Ok("model,load_rps\nphotos,7.5\n".to_owned())).unwrap();
    assert_eq!(loaded.fleet.models[0].load_rps, 7.5);
    let error = load(fleet, "FLEET.toml", &|_| Ok("model,load_rps\nphoto,7.5\n".to_owned())).unwrap_err();
    assert!(error.to_string().contains("did you mean \"photos\"?"), "{error}");
}

#[test]
fn a_model_twice_or_an_unknown_column_in_a_file_of_loads_is_an_error() {
    let fleet = Fleet::parse(&format!("loads = \"loads.csv\"\n{GOOD}"), "FLEET.toml").unwrap();
    let error =
        |text: &str| load(fleet.clone(), "FLEET.toml", &|_| Ok(text.to_owned())).unwrap_err().to_string();
    let told = error("model,load_rps\nphotos,7.5\nphotos,8\n");
    assert!(told.contains("row 2: found \"photos\" a second time"), "{told}");
    let told = error("model,load_rps,slo_ms\nphotos,7.5,10\n");
    assert!(told.contains("slo_ms"), "{told}");
}

const SHARING: &str = r#"
wattle_sharing = 1
device = "a test"
slice_means = "MIG instance"
static_watts = 45.0
power_basis = "assumed"
power_source = "a guess"
measured = [
    { tenants = [{ model = "a", slice = "1/7" }], power_watts = 80.0, samples = 9 },
    { tenants = [{ model = "a", slice = "1/7" }, { model = "a", slice = "1/7" }], power_watts = 90.0, samples = 9 },
    { tenants = [{ model = "b", slice = "1/7" }], power_watts = 110.0, samples = 9 },
    { tenants = [{ model = "a", slice = "1/7" }, { model = "b", slice = "1/7" }], power_watts = 120.0, samples = 9, held_out = true },
]
"#;

#[test]
fn shared_power_is_fitted_on_the_file_that_is_named_and_how_it_is_known_is_told() {
    let text = GOOD.replace("count = 4", "count = 4\nshared_power = \"sharing.toml\"");
    let fleet = Fleet::parse(&text, "FLEET.toml").unwrap();
    let loaded = load(fleet.clone(), "FLEET.toml", &|_| Ok(SHARING.to_owned())).unwrap();
    let entry = &loaded.fleet.devices[0];
    assert_eq!((entry.idle_power_watts, entry.overlap_per_watt), (Some(45.0), None));
    assert!((entry.shared_idle_power_watts.unwrap() - 25.0).abs() < 1e-9, "{entry:?}");
    let made = crate::options::options(&loaded, crate::options::Restrict::default()).unwrap();
    assert!((made.instance.kinds[0].clocks[0].shared_idle_watts - 25.0).abs() < 1e-9);
    let note = made.notes.iter().find(|note| note.contains("sharing.toml")).unwrap();
    assert!(note.contains("a guess") && note.contains("off by 0.0 % on 1 sets"), "{note}");
    assert!(note.ends_with("is added up, as no overlap is known"), "{note}");

    let solved =
        crate::solve::solve(&made.instance, Default::default(), &|| std::time::Duration::MAX).unwrap();
    let plan = crate::plan::plan(&loaded, &made, &solved);
    assert_eq!(plan.basis, wattle_core::provenance::Basis::Assumed, "no better than what it rests on");

    let cut = SHARING.replace("power_watts = 90.0", "power_watts = 40.0");
    let error = load(fleet, "FLEET.toml", &|_| Ok(cut.clone())).unwrap_err().to_string();
    assert!(error.contains("devices \"a100\", shared_power: found sharing.toml: measurement 2"), "{error}");
    let error = error_of(&text.replace("count = 4", "count = 4\nidle_power_watts = 50"));
    assert!(error.contains("figures beside it"), "{error}");
}
