//! Runs the program as a user would, on a made-up `/sys`: whatever ends a server, the knobs it turned are
//! put back, and `wattle devices` tells what is here.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

#[path = "../../wattle-device/tests/mock_nvml/mod.rs"]
mod mock_nvml;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use mock_nvml::Mock;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::Value;
use tempfile::TempDir;

/// The clock as it is found, in kilohertz.
const AS_FOUND: &str = "2400000";
/// The lowest clock, at which the policy dvfs begins.
const LOWEST: &str = "800000";

/// A machine whose clock can be turned, and a folder of its leases.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let machine = Self(folder);
        let clocks = machine.clocks();
        fs::create_dir_all(&clocks).unwrap();
        for (file, khz) in
            [("cpuinfo_min_freq", LOWEST), ("cpuinfo_max_freq", AS_FOUND), ("scaling_max_freq", AS_FOUND)]
        {
            fs::write(clocks.join(file), khz).unwrap();
        }
        let model = machine.0.path().join("models/digits-xs/1");
        fs::create_dir_all(&model).unwrap();
        let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/models/digits-xs/1/model.onnx");
        fs::copy(examples, model.join("model.onnx")).unwrap();
        machine
    }

    fn clocks(&self) -> PathBuf {
        self.0.path().join("sys/devices/system/cpu/cpufreq/policy0")
    }

    fn clock(&self) -> String {
        fs::read_to_string(self.clocks().join("scaling_max_freq")).unwrap().trim().to_owned()
    }

    fn lease(&self) -> PathBuf {
        self.0.path().join("leases/cpu.lease.toml")
    }

    fn wattle(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wattle"));
        command.args(arguments).args(["--sys-root", "sys", "--lease-folder", "leases"]);
        command.current_dir(self.0.path());
        command
    }

    fn serve_command(&self, policy: &str) -> Command {
        let mut command = self.wattle(&["--log", "info", "serve", "--models", "models", "--runtime", "rten"]);
        command.args(["--no-ledger", "--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]);
        command.args(["--power-cap-watts", "0.1", "--policy", policy]);
        command
    }

    /// A server that is up.
    fn serve(&self, policy: &str) -> Server {
        let mut command = self.serve_command(policy);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("dashboard"))).unwrap().unwrap();
        Server(process)
    }

    /// A server that has turned the clock.
    fn serve_and_turn(&self) -> Server {
        let server = self.serve("dvfs");
        self.until("the clock is turned", || self.clock() == LOWEST);
        server
    }

    #[track_caller]
    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < Duration::from_secs(60), "never: {what}; clock at {}", self.clock());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A server that is killed when the test ends.
struct Server(Child);

impl Server {
    /// SIGKILL: the process has no say in it.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_next_server_puts_back_what_a_killed_one_had_turned() {
    let machine = Machine::new();
    let server = machine.serve_and_turn();
    let pid = server.0.id();
    server.kill();
    assert_eq!(machine.clock(), LOWEST);
    let lease = fs::read_to_string(machine.lease()).unwrap();
    assert!(lease.contains(&format!("pid = {pid}\n")), "{lease}");
    assert!(lease.contains(&format!("[knobs.core_clock]\npolicy0 = \"{AS_FOUND}\"")), "{lease}");

    let _next = machine.serve("fixed");
    assert_eq!(machine.clock(), AS_FOUND);
    assert!(!machine.lease().exists());
}

#[test]
fn devices_restore_puts_back_what_a_killed_server_had_turned_and_says_so() {
    let machine = Machine::new();
    let server = machine.serve_and_turn();
    let pid = server.0.id();
    server.kill();
    let shown = machine.wattle(&["devices"]).output().unwrap();
    assert!(
        text(&shown).contains(&format!("process {pid} was killed with its knobs turned")),
        "{}",
        text(&shown)
    );
    let restored = machine.wattle(&["devices", "--restore"]).output().unwrap();
    assert!(restored.status.success(), "{}", text(&restored));
    assert_eq!(
        text(&restored),
        format!(
            "cpu: put back core_clock from policy0 = {LOWEST} to policy0 = {AS_FOUND} (turned by process {pid})\n"
        )
    );
    assert_eq!(machine.clock(), AS_FOUND);
    let again = machine.wattle(&["devices", "--restore"]).output().unwrap();
    assert_eq!(text(&again), "nothing to put back: no lease in leases\n");
}

#[test]
fn what_can_not_be_put_back_is_an_error_that_keeps_the_lease() {
    let machine = Machine::new();
    machine.serve_and_turn().kill();
    let clocks = machine.clocks();
    fs::rename(&clocks, clocks.with_extension("gone")).unwrap();
    let failed = machine.wattle(&["devices", "--restore"]).output().unwrap();
    assert_eq!(failed.status.code(), Some(3), "{}", text(&failed));
    assert!(text(&failed).contains("core_clock was not put back"), "{}", text(&failed));
    let json = machine.wattle(&["devices", "--restore", "--json"]).output().unwrap();
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["leases"][0]["status"], "failed", "{json}");

    let refused = machine.serve_command("fixed").output().unwrap();
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
    assert!(text(&refused).contains("as a process that was killed left them"), "{}", text(&refused));
    assert!(machine.lease().exists());
    fs::rename(clocks.with_extension("gone"), &clocks).unwrap();
    let json = machine.wattle(&["devices", "--restore", "--json"]).output().unwrap();
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["leases"][0]["knobs"][0]["to"]["policy0"], AS_FOUND, "{json}");
    assert_eq!(machine.clock(), AS_FOUND);
}

#[test]
fn a_server_told_to_stop_puts_the_clock_back_and_leaves_no_lease() {
    let machine = Machine::new();
    let mut server = machine.serve_and_turn();
    let pid = server.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    server.0.wait().unwrap();
    assert_eq!((machine.clock(), machine.lease().exists()), (AS_FOUND.to_owned(), false));
}

#[test]
fn a_device_that_a_living_server_turns_is_left_to_it() {
    let machine = Machine::new();
    let server = machine.serve_and_turn();
    let pid = server.0.id();
    let second = machine.serve_command("dvfs").output().unwrap();
    assert_eq!(second.status.code(), Some(3));
    assert!(text(&second).contains(&format!("cpu is held by process {pid}")), "{}", text(&second));
    let restore = machine.wattle(&["devices", "--restore"]).output().unwrap();
    assert_eq!(text(&restore), format!("cpu: left alone, process {pid} turns it and lives\n"));
    let shown = machine.wattle(&["devices"]).output().unwrap();
    assert!(text(&shown).contains(&format!("its knobs are turned by process {pid}")), "{}", text(&shown));
    assert_eq!(machine.clock(), LOWEST);
}

#[test]
fn what_is_wrong_with_the_device_is_told() {
    let machine = Machine::new();
    let check = |arguments: &[&str], expected: &str| {
        let refused = machine.serve_command("fixed").args(arguments).output().unwrap();
        assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
        assert!(text(&refused).contains(expected), "{} without {expected}", text(&refused));
    };
    check(&["--device", "tpu:0"], "device \"tpu:0\" is of no driver there is; expected cpu");
    check(&["--device", "cpu:1"], "device \"cpu:1\" is not here; expected cpu");
    check(&["--device", "cpu:1"], "; or simulated, which is made of the models' profiles");
    check(&["--stall-timeout-ms", "1999"], "stall_timeout_ms is 1999, expected at least 2000");
    fs::write(machine.0.path().join("leases"), "").unwrap();
    check(&[], "leases can't be kept in leases: it is not a folder");
}

#[test]
fn devices_are_shown_as_text_as_json_and_line_by_line() {
    let machine = Machine::new();
    let shown = machine.wattle(&["devices"]).output().unwrap();
    assert!(shown.status.success(), "{}", text(&shown));
    assert!(text(&shown).starts_with("cpu  "), "{}", text(&shown));
    let json = machine.wattle(&["devices", "--json"]).output().unwrap();
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    let cpu = &json["devices"][0];
    assert_eq!((&cpu["id"], &cpu["power_watts"]["status"]), (&"cpu".into(), &"here".into()), "{json}");
    assert!(json["not_here"].is_array());

    let mut watch = machine.wattle(&["devices", "--watch", "0.1", "--nvml-lib", "none.so"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let line = lines.next().unwrap().unwrap();
        assert!(line.starts_with("cpu: draws "), "{line}");
    }
    drop(lines); // it ends when nobody reads it any more
    assert!(watch.wait().unwrap().success());
}

#[test]
fn a_signal_that_ends_the_live_view_leaves_the_terminal_as_it_was_found() {
    let machine = Machine::new();
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    let open = || fs::File::options().read(true).write(true).open(&name).unwrap();
    let terminal = open();
    let is_as_found =
        || tcgetattr(&terminal).unwrap().local_modes.contains(LocalModes::ICANON | LocalModes::ECHO);
    assert!(is_as_found());
    let mut watch = machine.wattle(&["devices", "--watch", "--nvml-lib", "none.so"]);
    let mut watch = Server(watch.stdin(open()).stdout(open()).stderr(open()).spawn().unwrap());
    // A terminal that nobody reads from is full at some time.
    let mut screen = fs::File::from(ours);
    std::thread::spawn(move || std::io::copy(&mut screen, &mut std::io::sink()));
    machine.until("the live view has the terminal", || !is_as_found());
    let pid = watch.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(watch.0.wait().unwrap().signal(), Some(15));
    assert!(is_as_found());
}

#[test]
fn a_gpu_is_found_by_the_library_that_is_named() {
    let (machine, gpu) = (Machine::new(), Mock::new());
    let library = gpu.path();
    let library = library.to_str().unwrap();
    let json = machine.wattle(&["devices", "--json", "--nvml-lib", library]).output().unwrap();
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    let found = json["devices"].as_array().unwrap().iter().find(|device| device["driver"] == "nvidia");
    let gpu = found.unwrap_or_else(|| panic!("no GPU in {json}"));
    assert_eq!(gpu["id"], "nvidia:GPU-00000000-0000-0000-0000-000000000001");
    let knobs: Vec<_> = gpu["knobs"].as_array().unwrap().iter().map(|knob| &knob["name"]).collect();
    assert_eq!(knobs, ["core_clock", "power_limit"]);
}
