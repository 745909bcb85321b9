//! A server on a port of its own that answers as it is told and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    /// Decoded.
    pub(crate) query: Vec<(String, String)>,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// How a body goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Whole,
    Chunked,
    /// A byte at a time, for ever as far as a test goes.
    Slow,
    /// Half of it, then the connection is closed.
    Dropped,
    /// Closed without a word.
    Shut,
}

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) manner: Manner,
}

impl Reply {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), body: body.into(), manner: Manner::Whole }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::ok("{\"message\":\"no\"}") }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn sent(mut self, manner: Manner) -> Self {
        self.manner = manner;
        self
    }
}

type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

/// Listens until dropped.
pub(crate) struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let handler: Arc<Handler> = Arc::new(handler);
        let (all, is_over) = (Arc::clone(&seen), Arc::clone(&over));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let (all, handler, over) = (Arc::clone(&all), Arc::clone(&handler), Arc::clone(&is_over));
                // What fails here is the client hanging up, which some tests are about.
                thread::spawn(move || drop(serve(stream.unwrap(), &all, &*handler, &over)));
            }
        });
        Self { address, seen, over, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.path).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(self.address));
        self.thread.take().unwrap().join().unwrap();
    }
}

fn serve(
    mut stream: TcpStream,
    all: &Mutex<Vec<Seen>>,
    handler: &Handler,
    over: &AtomicBool,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?).take(1 << 20);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let target = first.strip_prefix("GET ").and_then(|rest| rest.split(' ').next()).unwrap_or("").to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect();
    let seen = Seen { path: decoded(path), query, headers };
    all.lock().unwrap().push(seen.clone());
    let reply = handler(&seen);
    if reply.manner == Manner::Shut {
        return Ok(());
    }
    write!(stream, "HTTP/1.1 {} Scripted\r\nConnection: close\r\n", reply.status)?;
    for (name, value) in &reply.headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    if reply.manner == Manner::Chunked {
        write!(stream, "Transfer-Encoding: chunked\r\n\r\n")?;
        for part in reply.body.chunks(7) {
            write!(stream, "{:x}\r\n", part.len())?;
            stream.write_all(part)?;
            write!(stream, "\r\n")?;
        }
        return write!(stream, "0\r\n\r\n");
    }
    write!(stream, "Content-Length: {}\r\n\r\n", reply.body.len())?;
    match reply.manner {
        Manner::Dropped => stream.write_all(&reply.body[..reply.body.len() / 2]),
        Manner::Slow => {
            for byte in reply.body {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                stream.write_all(&[byte])?;
                thread::sleep(Duration::from_millis(50));
            }
            Ok(())
        }
        _ => stream.write_all(&reply.body),
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            b'+' => b' ',
            byte => byte,
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).unwrap()
}
