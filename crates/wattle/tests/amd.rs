//! Runs the program as a user would on a machine with two AMD GPUs: libraries that play AMD SMI and ROCr
//! stand where the system looks for them.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]
#![cfg(target_os = "linux")] // reads a process's environment

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Folders of the libraries and of one model.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("lib")).unwrap();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wattle-device/tests/mock_amdsmi");
        for (source, library) in [("amdsmi.rs", "libamd_smi.so.26"), ("hsa.rs", "libhsa-runtime64.so.1")] {
            let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
            let built = Command::new(rustc)
                .args(["--edition=2024", "--crate-type=cdylib", "-Cdebuginfo=0", "-o"])
                .args([folder.path().join("lib").join(library), sources.join(source)])
                .output()
                .unwrap();
            assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        }
        let model = folder.path().join("models/digits-xs/1");
        fs::create_dir_all(&model).unwrap();
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models");
        fs::copy(examples.join("digits-xs/1/model.onnx"), model.join("model.onnx")).unwrap();
        Self(folder)
    }

    fn wattle(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wattle"));
        command.args(arguments).current_dir(self.0.path());
        command.env("LD_LIBRARY_PATH", self.0.path().join("lib")).env("WATTLE_MOCK_HSA", "mi50");
        command.env_remove("HSA_CU_MASK").env_remove("ROC_GLOBAL_CU_MASK");
        command
    }

    /// A server with 15 compute units of the second GPU, and more `arguments`.
    fn serve(&self, arguments: &[&str]) -> Command {
        let mut command = self.wattle(&["--log", "info", "serve", "--models", "models", "--runtime", "rten"]);
        command.args(["--no-ledger", "--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]);
        command.args(["--lease-folder", "leases", "--compute-units", "15"]).args(arguments);
        command
    }

    /// What a server that does not start says.
    fn refusal(&self, mut command: Command) -> String {
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }
}

/// A server that is killed when the test ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn devices_lists_amd_gpus_with_their_knobs() {
    let machine = Machine::new();
    let output = machine.wattle(&["devices", "--json"]).output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = told.to_string();
    for expected in
        ["amd:0000:c1:00.0", "amd:0000:c2:00.0", "AMD Instinct MI300X", "power_limit", "core_clock"]
    {
        assert!(text.contains(expected), "{expected}: {told:#}");
    }
}

#[test]
fn a_zeusd_that_was_asked_for_and_is_not_there_is_told() {
    let machine = Machine::new();
    let output = machine.wattle(&["devices", "--zeusd=none.sock"]).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("zeusd is to turn its knobs, but no zeusd listens: none.sock: "), "{told}");
}

#[test]
fn a_server_started_with_fewer_compute_units_has_them_masked_in_the_same_process() {
    let machine = Machine::new();
    let mut command = machine.serve(&["--device", "amd:0000:c2:00.0"]);
    let mut server = Server(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
    lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("dashboard"))).unwrap().unwrap();
    // The process that was started is the one that serves, and it has started itself anew.
    let environment = fs::read(format!("/proc/{}/environ", server.0.id())).unwrap();
    let variables = environment.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text));
    let masks: Vec<_> = variables.filter(|variable| variable.contains("CU_MASK")).collect();
    assert_eq!(masks, ["HSA_CU_MASK=1:0,4,8,12,16,20,24,28,32,36,40,44,48,52,56"]);
}

#[test]
fn a_server_does_not_start_with_other_units_than_were_asked_for() {
    let machine = Machine::new();
    let mut command = machine.serve(&["--device", "amd:0000:c2:00.0"]);
    command.env("WATTLE_MOCK_HSA", "mi50,rounds");
    let said = machine.refusal(command);
    assert!(said.contains("HSA_CU_MASK was set to 1:0,4,8,12,"), "{said}");
    assert!(said.contains("but queues use 1:0-59"), "{said}");
}

#[test]
fn compute_units_at_the_start_are_refused_on_other_devices() {
    let machine = Machine::new();
    for device in ["cpu", "simulated", "nvidia"] {
        let said = machine.refusal(machine.serve(&["--device", device]));
        let expected = format!("start_compute_units is 15 and device is \"{device}\", expected an AMD GPU");
        assert!(said.contains(&expected), "{said}");
    }
    let config = "models = \"models\"\ndevice = \"cpu\"\nstart_compute_units = 4\n";
    fs::write(machine.0.path().join("wattle.toml"), config).unwrap();
    let said = machine.refusal(machine.wattle(&["serve", "--config", "wattle.toml"]));
    assert!(said.contains("start_compute_units is 4 and device is \"cpu\""), "{said}");
}
