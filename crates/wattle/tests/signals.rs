//! Runs `wattle serve` and `wattle signals` on a source that answers, dies and stays dead: what is told of
//! the signal, what takes its place, and what a restart knows without it.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;

/// A secret that nobody may ever see.
const TOKEN: &str = "s3cr3t-of-the-test";

/// A source of carbon intensity on a port of its own, until it is told to die.
struct Source {
    url: String,
    dies: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Source {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (dies, asked) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (stop, noted) = (Arc::clone(&dies), Arc::clone(&asked));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                answer(&stream.unwrap(), &noted);
            }
        });
        Self { url: format!("http://{address}"), dies, thread: Some(thread), asked }
    }

    fn die(&mut self) {
        self.dies.store(true, Ordering::Release);
        // A last caller, so that it sees it.
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.die();
    }
}

/// Answers 250 g/kWh as of now.
fn answer(mut stream: &TcpStream, asked: &Mutex<Vec<String>>) {
    let head: Vec<String> =
        BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    asked.lock().unwrap().push(head.join("\n"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let body = format!("{{\"now\":{{\"value\":250.0,\"at\":{now}}}}}");
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
}

/// A repository of one model with a made-up profile, and a configuration that asks `url`.
fn folder(url: &str, limits: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("models/digits-s");
    fs::create_dir_all(model.join("1")).unwrap();
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models/digits-s/1/model.onnx");
    fs::copy(bundled, model.join("1/model.onnx")).unwrap();
    let profile = "# wattle_profile = 1\n# model = \"digits-s\"\n# device = \"made up\"\n# runtime = \"made up\"\n\
                   # idle_power_watts = 50.0\n# power_source = \"made up for a test\"\n\
                   batch_size,instances,core_clock_mhz,throughput_rps,latency_ms_mean,power_watts_mean,basis,\
                   power_basis,samples\n1,1,1000,500,2,100,modelled,modelled,1\n";
    fs::write(model.join("profile.csv"), profile).unwrap();
    configure(&folder, url, limits);
    folder
}

fn configure(folder: &TempDir, url: &str, limits: &str) {
    let config = format!(
        "models = \"models\"\ndevice = \"simulated\"\nno_ledger = true\n\
         [signals]\ncache_folder = \"cache\"\n\
         [signals.carbon_intensity]\nsource = \"http-json\"\nurl = \"{url}/now\"\nvalue_path = \"now.value\"\n\
         time_path = \"now.at\"\nunit = \"g/kWh\"\nstep_seconds = 1\ninterval_seconds = 1\nzone = \"here\"\n\
         kind = \"average\"\ntoken_env = \"WATTLE_TEST_TOKEN\"\n{limits}\n"
    );
    fs::write(folder.path().join("wattle.toml"), config).unwrap();
}

fn wattle(folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattle"));
    command.args(args).env("WATTLE_TEST_TOKEN", TOKEN).current_dir(folder.path());
    command
}

/// A server that is killed when the test ends, and its log.
struct Server {
    child: Child,
    admin: String,
    log: Option<JoinHandle<String>>,
}

impl Server {
    fn start(folder: &TempDir) -> Self {
        let ports = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"];
        let mut command = wattle(folder, &["--log", "trace", "serve", "--config", "wattle.toml"]);
        command.args(ports).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let metrics = lines.map_while(Result::ok).find_map(|line| {
            let url = line.trim().strip_prefix("metrics")?.trim().strip_prefix("http://")?.to_owned();
            Some(url.trim_end_matches("/metrics").to_owned())
        });
        Self { child, admin: metrics.unwrap(), log: Some(log) }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.admin).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// The carbon intensity, once it is in `state`.
    #[track_caller]
    fn wait_for(&self, state: &str) -> Value {
        let start = Instant::now();
        loop {
            let status: Value = serde_json::from_str(&self.get("/wattle/v1/status")).unwrap();
            let signal = status["status"]["signals"][0].clone();
            if signal["state"] == state {
                assert_eq!(status["status"]["carbon_intensity_g_per_kwh"], signal["value"]);
                return signal;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "never {state}: {signal}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn stop(mut self) -> String {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.log.take().unwrap().join().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn check_secret(of: &Output) -> (String, String) {
    let texts = [&of.stdout, &of.stderr].map(|text| String::from_utf8(text.clone()).unwrap());
    assert!(texts.iter().all(|text| !text.contains(TOKEN)), "{texts:?}");
    texts.into()
}

#[test]
fn a_source_that_dies_is_told_replaced_and_remembered_and_its_token_never_shown() {
    let mut source = Source::start();
    let limits = "stale_after_seconds = 1\ngive_up_after_seconds = 3\nfallback = { constant = 123.0 }";
    let folder = folder(&source.url, limits);
    let server = Server::start(&folder);

    let fresh = server.wait_for("fresh");
    assert_eq!((&fresh["value"], &fresh["unit"]), (&250.0.into(), &"gCO2e/kWh".into()));
    assert_eq!(
        (&fresh["zone"], &fresh["kind"], &fresh["scope"]),
        (&"here".into(), &"average".into(), &"unknown".into())
    );
    assert_eq!(fresh["asking"]["last_error"], Value::Null);
    assert!(source.asked.lock().unwrap()[0].contains(TOKEN), "the source itself is shown the token");

    source.die();
    let stale = server.wait_for("stale");
    assert_eq!(stale["value"], 250.0);
    assert!(stale["age_seconds"].as_f64().unwrap() > 1.0, "{stale}");
    let replaced = server.wait_for("constant");
    assert_eq!((&replaced["value"], &replaced["age_seconds"]), (&123.0.into(), &Value::Null));
    assert!(replaced["asking"]["failures_total"].as_u64() >= Some(1), "{replaced}");
    assert!(replaced["asking"]["last_error"].is_string(), "{replaced}");
    let metrics = server.get("/metrics");
    for line in [
        "wattle_signal_state{signal=\"carbon_intensity\",state=\"constant\"} 1",
        "wattle_signal_state{signal=\"carbon_intensity\",state=\"fresh\"} 0",
        "wattle_signal_fetch_failures_total{signal=\"carbon_intensity\"} ",
    ] {
        assert!(metrics.contains(line), "{metrics}\nwithout {line}");
    }
    assert!(!metrics.contains("wattle_signal_age_seconds{"), "a constant is of no time");
    assert!(!metrics.contains(TOKEN));
    let log = server.stop();
    assert!(!log.contains(TOKEN), "{log}");
    for told in ["signal is known", "signal is stale, still used", "its fallback is used"] {
        assert_eq!(log.matches(told).count(), 1, "{told:?}, once: {log}");
    }

    // Another start, the source still dead: what is known comes from the cache.
    configure(&folder, &source.url, "stale_after_seconds = 1\ngive_up_after_seconds = 3600");
    let server = Server::start(&folder);
    let cached = server.wait_for("stale");
    assert_eq!(
        (&cached["value"], &cached["asking"]["answered_at_unix_seconds"]),
        (&250.0.into(), &Value::Null)
    );
    assert!(!server.stop().contains(TOKEN));

    let offline = wattle(&folder, &["signals", "--offline", "--json"]).output().unwrap();
    let (said, errors) = check_secret(&offline);
    assert!(offline.status.success(), "{errors}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&said["signals"][0]["value"], &said["signals"][0]["state"]),
        (&250.0.into(), &"stale".into())
    );
    let online = wattle(&folder, &["signals"]).output().unwrap();
    let (said, errors) = check_secret(&online);
    assert_eq!(online.status.code(), Some(1), "{errors}");
    assert!(said.contains("now       250.0 gCO2e/kWh  (kind average,") && said.contains("stale"), "{said}");
}

#[test]
fn a_cache_that_makes_no_sense_keeps_no_server_from_starting() {
    let source = Source::start();
    let folder = folder(&source.url, "");
    let online = wattle(&folder, &["signals", "--json"]).output().unwrap();
    let (said, errors) = check_secret(&online);
    assert!(online.status.success(), "{errors}");
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["signals"][0]["state"], "fresh");
    let cache = fs::read_dir(folder.path().join("cache")).unwrap().next().unwrap().unwrap().path();
    assert!(!fs::read_to_string(&cache).unwrap().contains(TOKEN));
    fs::write(&cache, "{\"half\":").unwrap();
    let server = Server::start(&folder);
    assert_eq!(server.wait_for("fresh")["value"], 250.0);
    let log = server.stop();
    assert!(log.contains("it was put aside as"), "{log}");
}

#[track_caller]
fn check_refused(config: &str, args: &[&str], expected: &str) {
    let folder = folder("http://127.0.0.1:9", "");
    let config = format!("models = \"models\"\ndevice = \"simulated\"\nno_ledger = true\n{config}");
    fs::write(folder.path().join("wattle.toml"), config).unwrap();
    let refused = wattle(&folder, args).output().unwrap();
    let (_, errors) = check_secret(&refused);
    assert_eq!(refused.status.code(), Some(3), "{errors}");
    assert!(errors.contains(expected), "{errors:?} without {expected:?}");
}

#[test]
fn two_ways_to_name_a_signal_are_one_too_many() {
    let constant = "source = \"constant\"\nvalue = 9\n";
    let serve = ["serve", "--config", "wattle.toml"];
    check_refused(
        &format!(
            "power_cap_watts = 9\n[signals]\nno_cache = true\n[signals.power_cap]\n{constant}unit = \"W\"\n"
        ),
        &serve,
        "found power_cap_watts or power_cap_trace and the table [signals.power_cap], expected one of them",
    );
    check_refused(
        &format!("[signals]\nno_cache = true\n[signals.carbon_intensity]\n{constant}unit = \"g/kWh\"\n"),
        &[&serve[..], &["--carbon-intensity", "5"]].concat(),
        "found carbon_intensity or carbon_trace and the table [signals.carbon_intensity]",
    );
    check_refused("[signals.carbon]\n", &serve, "unknown field `carbon`");
    check_refused("", &["signals"], "found no signal, expected [signals.carbon_intensity]");
    check_refused("", &["signals", "--config", "none.toml"], "failed to read none.toml");
}

#[test]
fn a_trace_is_forecast_and_back_tested() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..60 * 24)
        .map(|hour| format!("{},{}\n", hour * 3600, 200 + (hour % 24) * 5 + (hour / 24) % 7))
        .collect();
    let text = format!(
        "# start: 2026-01-05T00:00:00Z; seconds count from there\nseconds,carbon_intensity_g_per_kwh\n{rows}"
    );
    fs::write(folder.path().join("day.csv"), text).unwrap();
    let shown = wattle(&folder, &["signals", "--trace", "day.csv", "--json"]).output().unwrap();
    let (said, errors) = check_secret(&shown);
    assert!(shown.status.success(), "{errors}");
    let said: Value = serde_json::from_str(&said).unwrap();
    let signal = &said["signals"][0];
    assert_eq!(signal["at"], "2026-03-05T23:00Z");
    assert_eq!(signal["forecast"]["points"].as_array().unwrap().len(), 24);
    assert_eq!(signal["forecast"]["points"][0]["at"], "2026-03-06T00:00Z");
    // The regression needs more than was known before the first forecast.
    let models: Vec<_> =
        signal["back_test"].as_array().unwrap().iter().map(|of| of["model"].as_str().unwrap()).collect();
    assert_eq!(models, ["persistence", "seasonal-naive-day", "seasonal-naive-week"]);
    assert_eq!(signal["back_test"][2]["mean_absolute_error"], 0.0, "each week is as the one before");
    let text = wattle(&folder, &["signals", "--trace", "day.csv"]).output().unwrap();
    let (said, _) = check_secret(&text);
    assert!(said.contains("back-test") && said.contains("seasonal-naive-week"), "{said}");

    let iso = "time,power_cap_watts\n2026-01-01T00:00:00Z,5\n2026-01-01T01:00:00Z,6\n";
    fs::write(folder.path().join("iso.csv"), iso).unwrap();
    let shown = wattle(&folder, &["signals", "--trace", "iso.csv"]).output().unwrap();
    let (said, errors) = check_secret(&shown);
    assert!(said.contains("now       6.00 W") && said.contains("three weeks are needed"), "{said}{errors}");
    fs::write(folder.path().join("odd.csv"), "a,b\n1,2\n").unwrap();
    let refused = wattle(&folder, &["signals", "--trace", "odd.csv"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(3));
    assert!(check_secret(&refused).1.contains("found the columns \"a,b\""));
}

#[test]
fn a_trace_of_times_to_come_is_read_whatever_the_clock_says_and_wherever_it_lies() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = tempfile::tempdir().unwrap();
    let text = "time,power_cap_watts\n2199-01-01T00:00:00Z,5\n2199-01-01T01:00:00Z,6\n";
    // No name in UTF-8.
    let name = std::ffi::OsStr::from_bytes(b"to-come-\xff.csv");
    fs::write(folder.path().join(name), text).unwrap();
    let shown = wattle(&folder, &["signals", "--trace"]).arg(name).output().unwrap();
    let (said, errors) = check_secret(&shown);
    assert!(shown.status.success(), "{errors}");
    assert!(said.contains("now       6.00 W") && said.contains("of 2199-01-01T01:00Z, 0 s old"), "{said}");
}

#[test]
fn what_was_seen_beside_a_trace_helps_to_forecast_it_and_a_column_that_is_not_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    // Each day has a level of its own, which the column wind tells the day before.
    let level = |day: u64| 200 + (day.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % 200;
    let first: jiff::Timestamp = "2026-01-05T00:00:00Z".parse().unwrap();
    let rows: String = (0..120 * 24)
        .map(|hour: u64| {
            let time = first + Duration::from_secs(hour * 3600);
            format!("{time},{},{}\n", level(hour / 24), level(hour / 24 + 1))
        })
        .collect();
    fs::write(folder.path().join("mix.csv"), format!("time,zone_g_per_kwh,wind\n{rows}")).unwrap();
    let off = |seen: &[&str]| {
        let args = [&["signals", "--trace", "mix.csv", "--json"][..], seen].concat();
        let shown = wattle(&folder, &args).output().unwrap();
        let (said, errors) = check_secret(&shown);
        assert!(shown.status.success(), "{errors}");
        let said: Value = serde_json::from_str(&said).unwrap();
        let of_regression = said["signals"][0]["back_test"][3].clone();
        assert_eq!(of_regression["model"], "regression");
        (of_regression["mean_absolute_error"].as_f64().unwrap(), said["signals"][0]["source"].to_string())
    };
    let ((without, _), (with, source)) = (off(&[]), off(&["--seen", "wind"]));
    assert!(with < 0.8 * without, "{with} {without}");
    assert!(source.contains("seen with wind"), "{source}");
    for (trace, seen, told) in [
        ("mix.csv", "wimd", "did you mean \"wind\"?"),
        ("seconds.csv", "wind", "expected a column `time`"),
        ("late.csv", "wind", "--seen wind: history, the first time of a series beside it"),
    ] {
        fs::write(folder.path().join("seconds.csv"), "seconds,a_watts\n0,5\n").unwrap();
        let late = "time,a_watts,wind\n2026-01-01T00:00:00Z,5,\n2026-01-01T01:00:00Z,5,6\n";
        fs::write(folder.path().join("late.csv"), late).unwrap();
        let refused = wattle(&folder, &["signals", "--trace", trace, "--seen", seen]).output().unwrap();
        let (_, errors) = check_secret(&refused);
        assert_eq!(refused.status.code(), Some(3), "{errors}");
        assert!(errors.contains(told), "{errors}");
    }
}
