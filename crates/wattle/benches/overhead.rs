//! What serving costs over the bare runtime, as ratios measured in one run.
//!
//! For each runtime that is there and for the smallest and a mid-size bundled model:
//! - throughput: a bare loop over the runtime at a batch size, on one core, against the server with
//!   one instance on one core and the same batch limit, at 32 requests in flight, each of some rows;
//! - latency: the median of one row served, one request at a time, less the median of one row bare.
//!
//! Bare and served rounds alternate, and the median of their ratios is told. The clients run on the
//! machine's other core, next to the server's front end. `benches/overhead` runs it.

#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring program, not a library"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use bytes::Bytes;
use wattle_runtime::choice::{Offer, RuntimeChoice, choose};
use wattle_runtime::onnxruntime::library::discover;
use wattle_runtime::runtime::{Instance, ModelSource};
use wattle_runtime::tensor::{BatchInput, Datatype};
use wattle_server::data_plane::proto;
use wattle_server::data_plane::proto::grpc_inference_service_client::GrpcInferenceServiceClient;

/// As the server has it: bare and served should differ in the serving alone.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROW_BYTES: usize = 64 * 4;
const BATCH: usize = 32;
const CONCURRENCY: usize = 32;
const ROUNDS: usize = 3;

fn main() {
    let round = env::var("WATTLE_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2.0);
    let round = Duration::from_secs_f64(round);
    wattle_runtime::onnxruntime::disable_telemetry();
    for choice in [RuntimeChoice::Rten, RuntimeChoice::OnnxRuntime] {
        let discovery = discover(None).unwrap();
        if choice == RuntimeChoice::OnnxRuntime && discovery.chosen.is_none() {
            println!("onnxruntime: not found, not measured (wattle runtimes install gets it)");
            continue;
        }
        let library = discovery.chosen.as_ref().map(|library| library.path.clone());
        let (runtime, _) = choose(choice, &Offer { discovery, ..Offer::default() }).unwrap();
        println!("{}", runtime.describe());
        let models = models();
        let server = Server::start(models.path(), choice, library.as_deref());
        for name in ["digits-xs", "digits-m"] {
            let path = models.path().join(name).join("1/model.onnx");
            let source = ModelSource { name: name.into(), version: 1, path };
            let mut bare = runtime.load(&source).unwrap().instance().unwrap();
            throughput(&server, bare.as_mut(), name, round);
            latency(&server, bare.as_mut(), name, round);
        }
    }
}

fn throughput(server: &Server, bare: &mut dyn Instance, name: &str, round: Duration) {
    for rows in [32, 8, 1] {
        for (protocol, serve) in
            [("http binary", http_round as fn(&Server, &str, usize, Duration) -> f64), ("grpc", grpc_round)]
        {
            let mut ratios = Vec::new();
            let (mut bare_rps, mut served_rps) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                bare_rps.push(bare_round(bare, BATCH, round).0);
                served_rps.push(serve(server, name, rows, round));
                ratios.push(served_rps[served_rps.len() - 1] / bare_rps[bare_rps.len() - 1]);
            }
            println!(
                "  {name:10} {protocol:11} {CONCURRENCY} requests of {rows:2} rows: served/bare {:.3} (bare {:.0} rows/s, served {:.0} rows/s = {:.0} requests/s)",
                median(&mut ratios),
                median(&mut bare_rps),
                median(&mut served_rps),
                median(&mut served_rps) / rows as f64,
            );
        }
    }
}

fn latency(server: &Server, bare: &mut dyn Instance, name: &str, round: Duration) {
    let mut added = [Vec::new(), Vec::new()];
    let mut bare_p50s = Vec::new();
    for _ in 0..ROUNDS {
        let bare_p50 = bare_round(bare, 1, round).1;
        added[0].push(http_latency(server, name, round) - bare_p50);
        added[1].push(grpc_latency(server, name, round) - bare_p50);
        bare_p50s.push(bare_p50);
    }
    let [http, grpc] = &mut added;
    println!(
        "  {name:10} one row, one at a time: p50 bare {:.0} us; added http binary {:.0} us, grpc {:.0} us",
        median(&mut bare_p50s) * 1e6,
        median(http) * 1e6,
        median(grpc) * 1e6,
    );
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn row() -> Bytes {
    (0..64_u32).flat_map(|pixel| ((pixel * 7 % 17) as f32).to_le_bytes()).collect()
}

/// Rows per second and median seconds of a batch, bare.
fn bare_round(bare: &mut dyn Instance, rows: usize, round: Duration) -> (f64, f64) {
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < round {
        let began = Instant::now();
        let input = BatchInput {
            name: "image".into(),
            datatype: Datatype::Fp32,
            shape: vec![rows, 1, 8, 8],
            parts: (0..rows).map(|_| row()).collect(),
        };
        bare.infer(vec![input], 1).unwrap();
        times.push(began.elapsed().as_secs_f64());
    }
    let rps = (times.len() * rows) as f64 / start.elapsed().as_secs_f64();
    (rps, median(&mut times))
}

// ---- server ---------------------------------------------------------------------------------------

struct Server {
    process: Child,
    http: String,
    grpc: String,
}

impl Server {
    fn start(models: &Path, runtime: RuntimeChoice, library: Option<&Path>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wattle"));
        command.args(["--log", "error", "serve", "--no-ledger", "--http-port", "0", "--grpc-port", "0"]);
        command.args(["--metrics-port", "0", "--runtime", runtime.name(), "--models"]).arg(models);
        if let (RuntimeChoice::OnnxRuntime, Some(library)) = (runtime, library) {
            command.arg("--ort-lib").arg(library);
        }
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (mut http, mut grpc) = (String::new(), String::new());
        for line in lines.map_while(Result::ok) {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("http"), Some(address)) => http = address.trim_start_matches("http://").to_owned(),
                (Some("grpc"), Some(address)) => grpc = address.to_owned(),
                (Some("dashboard"), _) => break,
                _ => {}
            }
        }
        Self { process, http, grpc }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The bundled models with one instance on one core each.
fn models() -> tempfile::TempDir {
    let bundled = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/models");
    let folder = tempfile::tempdir().unwrap();
    for name in ["digits-xs", "digits-m"] {
        let to = folder.path().join(name);
        fs::create_dir_all(to.join("1")).unwrap();
        fs::copy(bundled.join(name).join("1/model.onnx"), to.join("1/model.onnx")).unwrap();
        let toml = format!("[batching]\nmax_batch_size = {BATCH}\n[instances]\ncount = 1\ncores = 1\n");
        fs::write(to.join("model.toml"), toml).unwrap();
    }
    folder
}

// ---- clients --------------------------------------------------------------------------------------

/// A request over HTTP with the binary tensor extension, ready to send.
fn http_request(name: &str, rows: usize) -> Vec<u8> {
    let header = format!(
        r#"{{"inputs":[{{"name":"image","shape":[{rows},1,8,8],"datatype":"FP32","parameters":{{"binary_data_size":{}}}}}],"outputs":[{{"name":"logits","parameters":{{"binary_data":true}}}}]}}"#,
        rows * ROW_BYTES
    );
    let mut request = format!(
        "POST /v2/models/{name}/infer HTTP/1.1\r\nhost: wattle\r\ninference-header-content-length: {}\r\ncontent-length: {}\r\n\r\n{header}",
        header.len(),
        header.len() + rows * ROW_BYTES
    )
    .into_bytes();
    (0..rows).for_each(|_| request.extend_from_slice(&row()));
    request
}

/// Sends a request and reads its answer.
fn http_ask(stream: &mut TcpStream, request: &[u8], buffer: &mut Vec<u8>) {
    stream.write_all(request).unwrap();
    buffer.clear();
    let mut chunk = [0; 16 << 10];
    loop {
        let read = stream.read(&mut chunk).unwrap();
        assert!(read > 0, "the server closed the connection");
        buffer.extend_from_slice(&chunk[..read]);
        let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = str::from_utf8(&buffer[..end]).unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if buffer.len() == end + 4 + length.parse::<usize>().unwrap() {
            return;
        }
    }
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(&server.http).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Rows per second over HTTP, at [`CONCURRENCY`] connections.
fn http_round(server: &Server, name: &str, rows: usize, round: Duration) -> f64 {
    let request = http_request(name, rows);
    let (count, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..CONCURRENCY {
            scope.spawn(|| {
                let (mut stream, mut buffer) = (connect(server), Vec::new());
                while !is_over.load(Ordering::Relaxed) {
                    http_ask(&mut stream, &request, &mut buffer);
                    count.fetch_add(rows as u64, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(round);
        is_over.store(true, Ordering::Relaxed);
        count.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64()
    })
}

fn http_latency(server: &Server, name: &str, round: Duration) -> f64 {
    let request = http_request(name, 1);
    let (mut stream, mut buffer, mut times) = (connect(server), Vec::new(), Vec::new());
    let start = Instant::now();
    while start.elapsed() < round {
        let began = Instant::now();
        http_ask(&mut stream, &request, &mut buffer);
        times.push(began.elapsed().as_secs_f64());
    }
    median(&mut times)
}

fn grpc_request(name: &str, rows: usize) -> proto::ModelInferRequest {
    proto::ModelInferRequest {
        model_name: name.to_owned(),
        inputs: vec![proto::model_infer_request::InferInputTensor {
            name: "image".into(),
            datatype: "FP32".into(),
            shape: vec![rows as i64, 1, 8, 8],
            ..Default::default()
        }],
        raw_input_contents: vec![row().repeat(rows).into()],
        ..Default::default()
    }
}

fn client_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn grpc_connect(server: &Server) -> GrpcInferenceServiceClient<tonic::transport::Channel> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.grpc)).unwrap();
    GrpcInferenceServiceClient::new(endpoint.tcp_nodelay(true).connect().await.unwrap())
}

/// Rows per second over gRPC, at [`CONCURRENCY`] requests in flight over one connection.
fn grpc_round(server: &Server, name: &str, rows: usize, round: Duration) -> f64 {
    client_runtime().block_on(async {
        let client = grpc_connect(server).await;
        let start = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..CONCURRENCY {
            let (mut client, request) = (client.clone(), grpc_request(name, rows));
            tasks.spawn(async move {
                let mut count = 0;
                while start.elapsed() < round {
                    client.model_infer(request.clone()).await.unwrap();
                    count += request.inputs[0].shape[0] as u64;
                }
                count
            });
        }
        let counts = tasks.join_all().await;
        counts.iter().sum::<u64>() as f64 / start.elapsed().as_secs_f64()
    })
}

/// Asked with bare HTTP/2 frames, as a whole gRPC client would add its own time to the server's.
fn grpc_latency(server: &Server, name: &str, round: Duration) -> f64 {
    use prost::Message;
    use tonic::codegen::http;

    let message = grpc_request(name, 1).encode_to_vec();
    let length = (message.len() as u32).to_be_bytes();
    let framed: Bytes = [&[0][..], &length, &message].concat().into();
    let uri = format!("http://{}/inference.GRPCInferenceService/ModelInfer", server.grpc);
    client_runtime().block_on(async {
        let stream = tokio::net::TcpStream::connect(&server.grpc).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let (start, mut times) = (Instant::now(), Vec::new());
        while start.elapsed() < round {
            let request = http::Request::post(uri.as_str())
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(())
                .unwrap();
            sender = sender.ready().await.unwrap();
            let began = Instant::now();
            let (answer, mut body) = sender.send_request(request, false).unwrap();
            body.send_data(framed.clone(), true).unwrap();
            let mut answer = answer.await.unwrap().into_body();
            while let Some(data) = answer.data().await {
                answer.flow_control().release_capacity(data.unwrap().len()).unwrap();
            }
            let trailers = answer.trailers().await.unwrap().unwrap();
            times.push(began.elapsed().as_secs_f64());
            assert_eq!(trailers["grpc-status"], "0", "{trailers:?}");
        }
        median(&mut times)
    })
}
