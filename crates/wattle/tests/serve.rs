//! Runs `wattle serve` as a user would: policies that need a family, a latency objective or figures of a
//! device are set up by files, and what is missing is told.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const FAMILY: &str = "active = \"digits-s\"\n[[variants]]\nmodel = \"digits-s\"\nquality = 0.97\n\
                      [[variants]]\nmodel = \"digits-m\"\nquality = 0.99\n";

/// A repository of two digit models with a profile each, `family.toml` and this `wattle.toml`.
fn folder(config: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models");
    for (model, watts) in [("digits-s", 100), ("digits-m", 200)] {
        let of_model = folder.path().join("models").join(model);
        fs::create_dir_all(of_model.join("1")).unwrap();
        fs::copy(examples.join(model).join("1/model.onnx"), of_model.join("1/model.onnx")).unwrap();
        fs::write(
            of_model.join("model.toml"),
            "[batching]\nmax_batch_size = 4\n[objective]\nlatency_ms = 50\n",
        )
        .unwrap();
        let profile = format!(
            "# wattle_profile = 1\n# model = \"{model}\"\n# device = \"made up\"\n# runtime = \"made up\"\n\
             # idle_power_watts = 50.0\n# power_source = \"made up for a test\"\n\
             batch_size,instances,core_clock_mhz,throughput_rps,latency_ms_mean,power_watts_mean,basis,\
             power_basis,samples\n\
             1,1,1000,500,2,{watts},modelled,modelled,1\n4,1,1000,1000,4,{watts},modelled,modelled,1\n"
        );
        fs::write(of_model.join("profile.csv"), profile).unwrap();
    }
    fs::create_dir(folder.path().join("models/digits")).unwrap();
    fs::write(folder.path().join("models/digits/family.toml"), FAMILY).unwrap();
    let config = format!("models = \"models\"\ndevice = \"simulated\"\nno_ledger = true\n{config}");
    fs::write(folder.path().join("wattle.toml"), config).unwrap();
    folder
}

fn serve(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattle"));
    let ports = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"];
    command.args(["--log", "error", "serve", "--config", "wattle.toml"]).args(ports);
    command.current_dir(folder.path());
    command
}

/// A server that is killed when the test ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn status(address: &str) -> Value {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /wattle/v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn carbon_adaptive_is_set_up_by_files_and_switches_the_variant() {
    let folder = folder(
        "policy = \"carbon-adaptive\"\ncarbon_trace = \"carbon.csv\"\n[carbon_adaptive]\ninterval_seconds = 0.1\n",
    );
    fs::write(folder.path().join("carbon.csv"), "seconds,carbon_intensity_g_per_kwh\n0,300\n0.5,100\n")
        .unwrap();
    let mut server = Server(serve(&folder).stdout(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
    let metrics = lines.map_while(Result::ok).find_map(|line| {
        let url = line.trim().strip_prefix("metrics")?.trim().strip_prefix("http://")?.to_owned();
        Some(url.trim_end_matches("/metrics").to_owned())
    });
    let admin = metrics.unwrap();
    let start = Instant::now();
    loop {
        let family = &status(&admin)["status"]["families"][0];
        if family["switches"].as_u64() >= Some(2) {
            assert_eq!(family["name"], "digits");
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "never switched: {family}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[track_caller]
fn check_refused(folder: &TempDir, expected: &str) {
    let mut server = Server(serve(folder).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut said = String::new();
    server.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(server.0.wait().unwrap().code(), Some(3), "{said}");
    assert!(said.contains(expected), "{said:?} without {expected:?}");
}

#[test]
fn what_a_policy_lacks_is_told_with_what_to_do() {
    let cofris = "policy = \"cofris-cu\"\n";
    check_refused(
        &folder(cofris),
        "policy cofris-cu plans with unused units gated and needs the device's figures: found no device_spec, \
         expected one of amd-mi50, ",
    );
    check_refused(&folder(&format!("{cofris}device_spec = \"amd-mi5\"\n")), "\"amd-mi50\"");
    check_refused(
        &folder(&format!("{cofris}device_spec = \"amd-mi50\"\n")),
        "the profile of digits-m can't be gated for policy cofris-cu: row 1: found no compute_units",
    );
    check_refused(&folder(&format!("{cofris}device_spec = \"mine.toml\"\n")), "failed to read mine.toml");
    check_refused(&folder("policy = \"oracle-carbon\"\n"), "which only a replay knows");
    check_refused(
        &folder("policy = \"carbon-adaptive\"\n[carbon_adaptive]\nwindow = \"whole\"\n"),
        "needs the whole trace of carbon intensity",
    );
    check_refused(
        &folder("policy = \"carbon-budget\"\n"),
        "carbon_budget.quality_floor is not set, expected a mean quality, or carbon_budget_grams_per_day",
    );
    check_refused(
        &folder("policy = \"carbon-budget\"\n[carbon_budget]\nquality_flor = 0.9\n"),
        "unknown field `quality_flor`",
    );
    check_refused(
        &folder("[least_power]\nslo_factor = 0.5\n"),
        "slo_factor is 0.5, expected a number of at least 1",
    );
    check_refused(&folder("[least_power]\nslofactor = 2\n"), "unknown field `slofactor`");
    check_refused(
        &folder("[refinement]\nhalf_life_seconds = 0\n"),
        "option refinement.half_life_seconds is 0, expected seconds as a number over 0",
    );
    check_refused(&folder("[refinement]\nhalf_life = 9\n"), "unknown field `half_life`");

    let wrong = folder("");
    let family = FAMILY.replace("0.97", "97");
    fs::write(wrong.path().join("models/digits/family.toml"), family).unwrap();
    check_refused(&wrong, "models/digits/family.toml: quality of variant digits-s is 97");
}

#[test]
fn a_variant_of_unknown_energy_is_told_where_a_policy_needs_it() {
    let folder = folder("policy = \"carbon-adaptive\"\n");
    let profile = folder.path().join("models/digits-m/profile.csv");
    let two_instances =
        fs::read_to_string(&profile).unwrap().replace("\n1,1,", "\n1,2,").replace("\n4,1,", "\n4,2,");
    fs::write(&profile, two_instances).unwrap();
    check_refused(&folder, "family digits: the energy of an answer of digits-m is unknown");
}
