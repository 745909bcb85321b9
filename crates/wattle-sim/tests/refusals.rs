//! What a scenario may not say is refused, with its place, what was found and what was expected.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use wattle_core::gating::Gating;
use wattle_core::units::Watts;
use wattle_sim::scenario::{Loaded, check_span};
use wattle_sim::workload::Source;

const HEAD: &str = "span_seconds = 10\n";
const ROWS: &str = "rows = [{ batch_size = 4, instances = 1, latency_ms_mean = 10.0, power_watts_mean = 120.0, \
                    throughput_rps = 400.0 }]\nidle_power_watts = 20\n";
const POISSON: &str = "kind = \"poisson\", rate_rps = 5";

fn load(text: &str, folder: &Path) -> Result<Loaded, String> {
    Loaded::parse(text, "test.toml", folder).map_err(|error| error.to_string())
}

/// A model of that name with more `keys`.
fn model(name: &str, keys: &str) -> String {
    format!("[[models]]\nname = \"{name}\"\n{ROWS}{keys}\n")
}

/// One model with that workload.
fn asked(workload: &str) -> String {
    format!("{HEAD}{}", model("m", &format!("workload = {{ {workload} }}")))
}

/// Checks that the scenario is refused, and that the error tells each of `parts`.
#[track_caller]
fn refused(text: &str, parts: &[&str]) {
    let error = load(text, Path::new("")).expect_err(text);
    assert!(error.starts_with("test.toml"), "{error}");
    for part in parts {
        assert!(error.contains(part), "{error}\nlacks {part}");
    }
}

/// Checks that the scenario is fine.
#[track_caller]
fn loaded(text: &str) -> Loaded {
    load(text, Path::new("")).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn requests_with_more_rows_than_a_batch_of_any_model_they_may_reach_are_refused() {
    loaded(&asked(&format!("{POISSON}, rows = 4")));
    refused(
        &asked(&format!("{POISSON}, rows = 5")),
        &["models.m.workload.rows: found 5, expected at most 4, the max_batch_size of m"],
    );
    let family = |rows: u32| {
        format!(
            "{HEAD}{}{}[[families]]\nname = \"f\"\nvariants = [{{ model = \"a\" }}, {{ model = \"b\" }}]\n\
             workload = {{ {POISSON}, rows = {rows} }}\n",
            model("a", "quality = 0.9\nmax_batch_size = 8"),
            model("b", "quality = 0.8"),
        )
    };
    loaded(&family(4));
    refused(&family(8), &["families.f.workload.rows: found 8, expected at most 4, the max_batch_size of b"]);
}

/// Models `a` and `b` with those keys, `variants` of a family `f`, and whatever `more` there is.
fn family(a: &str, variants: &str, more: &str) -> String {
    format!(
        "{HEAD}{}{}[[families]]\nname = \"f\"\nvariants = [{variants}]\nworkload = {{ {POISSON} }}\n{more}",
        model("a", a),
        model("b", "quality = 0.5"),
    )
}

#[test]
fn the_quality_of_a_variant_is_that_of_its_model_in_the_figures() {
    let plan = loaded(&family("", "{ model = \"a\", quality = 0.9 }, { model = \"b\" }", "")).plan;
    let qualities: Vec<_> = plan.models.iter().map(|model| model.quality).collect();
    assert_eq!(qualities, [Some(0.9), Some(0.5)]);
    assert_eq!(plan.families[0].variants[0].quality, 0.9);
    refused(
        &family("quality = 0.7", "{ model = \"a\", quality = 0.9 }", ""),
        &["families.f.variants.a.quality: found 0.9, expected 0.7"],
    );
    loaded(&family("quality = 0.9", "{ model = \"a\", quality = 0.9 }", ""));
    refused(
        &family(
            "",
            "{ model = \"a\", quality = 0.9 }",
            "[[families]]\nname = \"g\"\nvariants = [{ model = \"a\", quality = 0.8 }]\n",
        ),
        &["families.f.variants.a.quality: found 0.9, expected 0.8"],
    );
}

#[test]
fn quality_is_a_share_and_energy_is_over_0() {
    for quality in ["nan", "1.5", "-0.1"] {
        let found = quality.replace("nan", "NaN");
        let variant = format!("{{ model = \"a\", quality = {quality} }}");
        let part = format!("quality: found {found}, expected a share in 0 to 1");
        refused(&family("", &variant, ""), &[&format!("families.f.variants.a.{part}")]);
        refused(
            &family(&format!("quality = {quality}"), "{ model = \"b\" }", ""),
            &[&format!("models.a.{part}")],
        );
    }
    for energy in ["0", "-1", "nan", "inf"] {
        let variant =
            format!("{{ model = \"b\", energy_joules_per_row = {energy}.0 }}").replace("nan.0", "nan");
        let variant = variant.replace("inf.0", "inf");
        refused(
            &family("", &variant, ""),
            &["families.f.variants.b.energy_joules_per_row: found", "expected a number over 0"],
        );
    }
    let plan = loaded(&family("", "{ model = \"b\" }", "")).plan;
    assert_eq!(plan.families[0].variants[0].energy_joules_per_row.get(), 120.0 / 400.0, "as in the server");
}

#[test]
fn families_have_names_of_their_own_and_each_variant_once() {
    let b = "{ model = \"b\" }";
    let again = |name: &str| format!("[[families]]\nname = \"{name}\"\nvariants = [{b}]\n");
    refused(&family("", b, &again("f")), &["families.f: found the name twice"]);
    refused(&family("", b, &again("a")), &["families.a: found the name of a model"]);
    refused(&family("", &format!("{b}, {b}"), ""), &["families.f.variants: found \"b\" twice"]);
    refused(&family("", "{ model = \"bb\" }", ""), &["families.f: found \"bb\"", "such as \"b\""]);
}

#[test]
fn fixed_and_gated_policies_play_the_idle_power_that_the_device_is_given() {
    let text = "span_seconds = 10\n[[devices]]\nname = \"gpu\"\nspec = \"amd-mi50\"\nidle_power_watts = 11\n\
                [[models]]\nname = \"m\"\nnetwork = \"resnet152\"\n\
                grid = { batch_sizes = [1], instances = [1], clocks = [925], units = [10, 60] }\n\
                workload = { kind = \"poisson\", rate_rps = 1 }\n";
    let scenario = loaded(text);
    for gating in [Gating::None, Gating::ComputeUnit] {
        let plan = scenario.gated_plan(gating).unwrap();
        assert_eq!(plan.devices[0].played.idle_power(), Watts::new(11.0));
        let profiles = scenario.gated_profiles(gating).unwrap();
        assert_eq!(profiles["m"].head.idle_power_watts, Some(Watts::new(11.0)), "as policies see it");
    }
}

/// What `workload`, with a trace of 1, 2 and 3 requests a second of a second each, comes to.
fn trace(workload: &str) -> Result<Vec<(f64, f64)>, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("counts"), "[1, 2, 3]").unwrap();
    let text =
        asked(&format!("kind = \"trace\", file = \"counts\", format = \"counts-per-second\", {workload}"));
    let loaded = load(&text, folder.path())?;
    let Source::Rates { trace, .. } = &loaded.plan.streams[0].source else { panic!("no rates") };
    Ok(trace.segments.iter().map(|segment| (segment.seconds, segment.rate_rps)).collect())
}

#[test]
fn a_trace_is_scaled_as_a_whole_before_its_start_is_cut() {
    let found = trace("start_seconds = 1.5, mean_rps = 20, lasts_seconds = 6").unwrap();
    assert_eq!(found, [(1.0, 20.0), (2.0, 30.0)]);
    let found = trace("start_seconds = 1.5, mean_rps = 20, lasts_seconds = 6, repeat = true").unwrap();
    assert_eq!(found, [(1.0, 20.0), (2.0, 30.0), (2.0, 10.0), (1.0, 20.0)]);
    let error = trace("start_seconds = 3").unwrap_err();
    assert!(error.contains("workload.start_seconds: found 3, expected less than 3, the length"), "{error}");
}

#[test]
fn traces_that_would_be_walked_through_without_end_are_refused() {
    let error = trace("lasts_seconds = 0.0005, repeat = true").unwrap_err();
    assert!(error.contains("workload: found a repeated trace of 0.0005 seconds"), "{error}");
    let error = trace("scale = 1e-12, repeat = true").unwrap_err();
    assert!(error.contains("expected more than 0.000000001"), "{error}");
    let error = trace("scale = 1e12").unwrap_err();
    assert!(error.contains("expected at most 1000000000"), "{error}");
    let cap = |more: &str| format!("{}[power_cap]\nsteps = [[0, 100], [1, 200]]\n{more}\n", asked(POISSON));
    loaded(&cap("speed = 100\nafter_end = \"repeat\"\nhorizon_seconds = 60"));
    refused(
        &cap("speed = 1e5\nafter_end = \"repeat\""),
        &["power_cap: found a repeated trace of 0.00002 seconds"],
    );
    refused(&cap("horizon_seconds = 1e9"), &["power_cap.horizon_seconds: found 1000000000", "0 to 1000000"]);
}

#[test]
fn numbers_beyond_what_a_run_can_hold_are_refused() {
    refused(&asked("kind = \"poisson\", rate_rps = 1e10"), &["workload.rate_rps: found 10000000000"]);
    refused(
        &asked("kind = \"closed-loop\", clients = 1000001"),
        &["clients: found 1000001, expected 1 to 1000000"],
    );
    refused(&asked("kind = \"closed-loop\""), &["clients: found nothing, expected 1 to 1000000"]);
    let saturated = "max_batch_size = 1000000\nmax_queue_size = 4000000000\nbatch_size = 4\n\
                     workload = { kind = \"saturated\" }";
    refused(
        &format!("{HEAD}{}", model("m", saturated)),
        &["models.m.workload: found a model that takes 2000000"],
    );
    for points in ["0", "100001"] {
        refused(
            &format!("points = {points}\n{}", asked(POISSON)),
            &["points: found", "expected 1 to 100000"],
        );
    }
    refused(&format!("seeds = []\n{}", asked(POISSON)), &["seeds: found 0 seeds"]);
    let many = format!("{:?}", vec![1; 10_001]);
    refused(&format!("seeds = {many}\n{}", asked(POISSON)), &["seeds: found 10001 seeds"]);
    let sizes = format!("{:?}", (1..=1001).collect::<Vec<u32>>());
    refused(
        &format!(
            "{HEAD}[[devices]]\nname = \"gpu\"\nspec = \"nvidia-p40\"\n[[models]]\nname = \"m\"\n\
             network = \"resnet50\"\ngrid = {{ batch_sizes = {sizes}, instances = {sizes} }}\n\
             workload = {{ {POISSON} }}\n"
        ),
        &["models.m.grid: found 1002001 operating points, expected at most 1000000"],
    );
}

#[test]
fn a_span_has_the_same_bounds_on_the_command_line_and_in_the_file() {
    assert_eq!(check_span(1.5).unwrap(), Duration::from_millis(1500));
    for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e10] {
        let error = check_span(seconds).unwrap_err().to_string();
        assert_eq!(error, format!("found {seconds} seconds, expected more than 0, and less than 300 years"));
    }
    let text = asked(POISSON).replace("span_seconds = 10", "span_seconds = 1e10");
    refused(&text, &["span_seconds: found 10000000000, expected more than 0, and less than 300 years"]);
}

#[test]
fn keys_of_another_kind_of_workload_are_refused() {
    for (workload, key) in [
        ("kind = \"saturated\", rate_rps = 5", "rate_rps"),
        ("kind = \"poisson\", rate_rps = 5, clients = 5", "clients"),
        ("kind = \"constant\", rate_rps = 5, think_ms = 5", "think_ms"),
        ("kind = \"closed-loop\", clients = 5, repeat = true", "repeat"),
        ("kind = \"poisson\", rate_rps = 5, file = \"a\"", "file"),
        ("kind = \"poisson\", rate_rps = 5, even = false", "even"),
        ("kind = \"trace\", file = \"a\", format = \"rate-csv\", bin_seconds = 5", "bin_seconds"),
        ("kind = \"trace\", file = \"a\", format = \"timestamps\", repeat = true", "repeat"),
        ("kind = \"trace\", file = \"a\", format = \"timestamps\", peak_rps = 1", "peak_rps"),
    ] {
        let place = format!("models.m.workload.{key}: found a key that would be of no effect");
        refused(&asked(workload), &[&place, "expected it with the kind"]);
    }
}

#[test]
fn keys_of_another_kind_of_signal_are_refused() {
    let signal = |text: &str| format!("{}{text}\n", asked(POISSON));
    for key in ["start_seconds = 5", "speed = 2", "after_end = \"hold\"", "horizon_seconds = 5"] {
        let name = key.split(' ').next().unwrap();
        refused(&signal(&format!("[power_cap]\nconstant = 100\n{key}")), &[&format!("power_cap.{name}")]);
    }
    refused(
        &signal("[carbon_intensity]\nsteps = [[0, 100]]\nforecast = \"perfect\""),
        &["carbon_intensity.forecast", "it with a horizon_seconds over 0 alone"],
    );
    refused(
        &signal(
            "[carbon_intensity]\nsteps = [[0, 100]]\nhorizon_seconds = 90000\nforecast = \"seasonal-naive\"",
        ),
        &["carbon_intensity.horizon_seconds: found 90000", "0 to 86400"],
    );
    refused(
        &signal("[power_cap]\nsteps = [[0, 100]]\nhorizon_seconds = 5\nforecast = \"perfect\""),
        &["power_cap.forecast", "expected it under carbon_intensity alone"],
    );
}

#[test]
fn keys_that_would_be_of_no_effect_are_refused() {
    let with = |head: &str, keys: &str| {
        format!("{head}\n{HEAD}{}", model("m", &format!("{keys}\nworkload = {{ {POISSON} }}")))
    };
    loaded(&with("", ""));
    refused(
        &with("", "grid = { batch_sizes = [1], instances = [1] }"),
        &["models.m.grid: found grid without"],
    );
    refused(&with("seed = 1\nseeds = [1]", ""), &["test.toml, seed: found", "seeds alone"]);
    refused(&with("epoch_seconds = 5", ""), &["test.toml, epoch_seconds: found", "\"epoch\" alone"]);
    let epoch = "level = \"epoch\"";
    loaded(&with(epoch, ""));
    refused(&with(&format!("{epoch}\ntick_ms = 5"), ""), &["test.toml, tick_ms: found", "\"request\" alone"]);
    refused(&with(epoch, "spread = \"exponential\""), &["models.m.spread: found", "\"request\" alone"]);
    refused(&with(epoch, "timeout_ms = 5"), &["models.m.timeout_ms: found"]);
    let noisy = format!("{}[[devices]]\nname = \"d\"\nsensor_noise = 0.1\n", with(epoch, ""));
    refused(&noisy, &["devices.d.sensor_noise: found"]);
    let clients = with(epoch, "").replace(POISSON, "kind = \"closed-loop\", clients = 3");
    refused(&clients, &["models.m.workload: found closed-loop"]);
    refused(&with("", "max_instances = 2\ninstances = 3"), &["models.m.instances: found 3, expected 0 to 2"]);
}

#[test]
fn the_name_of_a_scenario_is_fit_for_a_path() {
    loaded(&format!("name = \"Évening, run 1.2_a-b\"\n{}", asked(POISSON)));
    for name in ["../up", "a/b", "a\\\\b", ".hidden", "", " ", "nul\\u0000", &"a".repeat(101)] {
        refused(
            &format!("name = \"{name}\"\n{}", asked(POISSON)),
            &["test.toml, name: found \"", "part of a path"],
        );
    }
}
