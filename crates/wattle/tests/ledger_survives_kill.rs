//! A server that is killed outright loses no ledger entry it had written, and doubles none.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use wattle_ledger::check::{LedgerCheck, check_latest_run};

struct Server {
    process: Child,
    http: String,
}

impl Server {
    fn start(ledger: &Path) -> Self {
        let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/models");
        let mut process = Command::new(env!("CARGO_BIN_EXE_wattle"))
            .args([
                "--log",
                "error",
                "serve",
                "--models",
                models,
                "--runtime",
                "rten",
                "--carbon-intensity",
                "300",
            ])
            .args(["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0", "--ledger"])
            .arg(ledger)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut lines = lines.map_while(Result::ok);
        let http = lines.find_map(|line| Some(line.trim().strip_prefix("http ")?.trim().to_owned())).unwrap();
        Self { process, http: http.trim_start_matches("http://").to_owned() }
    }

    /// Sends requests without a pause for `duration`; gives how many were answered.
    fn load(&self, duration: Duration) -> i64 {
        let pixels = vec!["3"; 64].join(",");
        let body = format!(
            r#"{{"inputs":[{{"name":"image","shape":[1,1,8,8],"datatype":"FP32","data":[{pixels}]}}]}}"#
        );
        let request = format!(
            "POST /v2/models/digits-xs/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let stream = TcpStream::connect(&self.http).unwrap();
        let mut answers = BufReader::new(stream.try_clone().unwrap());
        let (start, mut answered) = (Instant::now(), 0);
        while start.elapsed() < duration {
            (&stream).write_all(request.as_bytes()).unwrap();
            let mut length = 0;
            loop {
                let mut line = String::new();
                answers.read_line(&mut line).unwrap();
                if let Some(found) = line.to_lowercase().strip_prefix("content-length:") {
                    length = found.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            std::io::Read::read_exact(&mut answers, &mut vec![0; length]).unwrap();
            answered += 1;
        }
        answered
    }
}

fn check(ledger: &Path) -> LedgerCheck {
    let check = check_latest_run(ledger).unwrap().expect("a run was begun");
    assert_eq!(check.last_number, check.entries - 1, "an entry is missing or doubled: {check:?}");
    assert_eq!(check.gaps, 0, "entries don't follow each other: {check:?}");
    let closure = check.attributed_joules + check.idle_joules - check.metered_joules;
    assert!(closure.abs() < 1e-6 * check.metered_joules, "the books don't close: {check:?}");
    check
}

#[test]
fn a_killed_server_loses_and_doubles_no_entry() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger.sqlite");
    // Killed while it works, at a moment that differs from run to run.
    for extra in [0, 370] {
        let mut server = Server::start(&ledger);
        let seen = Duration::from_millis(3400 + extra);
        let answered = server.load(seen);
        server.process.kill().unwrap();
        server.process.wait().unwrap();
        let check = check(&ledger);
        // An entry is a second long, so three are closed by now; only the open one is not there.
        assert!(check.entries >= 3, "{check:?}");
        assert!(check.requests > 0 && check.requests <= answered, "{check:?}, answered {answered}");
    }
}

#[test]
fn a_server_told_to_stop_books_everything_to_the_last_request() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger.sqlite");
    let mut server = Server::start(&ledger);
    let answered = server.load(Duration::from_millis(1500));
    let pid = server.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.process.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "the server did not stop");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(check(&ledger).requests, answered);
}
