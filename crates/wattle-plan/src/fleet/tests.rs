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
