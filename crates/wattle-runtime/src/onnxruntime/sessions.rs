//! An instance's sessions: how it comes to run on another number of threads while it serves.
//!
//! ```text
//!              cores > 1 asked for              opened
//!   one only ─────────────────────▶ opening N ─────────▶ one and N
//!      ▲                               │  ▲                 │
//!      └───────── cores = 1 ───────────┘  └── other cores ──┘
//! ```
//!
//! The session of one thread is always there: it is what runs when fewer cores are granted than the
//! other session has, until one of the right size is open. So no batch waits for an opening, and none runs
//! on more threads than it may. A second session costs its activations and thread stacks, the weights
//! being mapped (see `model`).

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use ort::session::Session;

use super::model::SessionSource;
use super::{NAME, convert};
use crate::gather;
use crate::no_panic::no_panic;
use crate::runtime::{Instance, RuntimeError};
use crate::tensor::{BatchInput, Tensor};

pub(super) struct OrtInstance {
    source: Arc<SessionSource>,
    single: Session,
    /// The session of more threads, and their number.
    wide: Option<(u32, Session)>,
    opening: Option<Opening>,
    /// A thread count that could not be opened; not tried again until another one was.
    failed: Option<u32>,
}

/// A session being opened on a thread of its own.
struct Opening {
    threads: u32,
    thread: JoinHandle<Result<Session, RuntimeError>>,
}

impl OrtInstance {
    pub(super) fn new(source: Arc<SessionSource>) -> Result<Self, RuntimeError> {
        let single = source.open(1)?;
        Ok(Self { source, single, wide: None, opening: None, failed: None })
    }

    /// The widest session that is open and has no more than `cores` threads.
    fn session(&mut self, cores: u32) -> &mut Session {
        self.collect();
        let has = self.wide.as_ref().map_or(1, |(threads, _)| *threads);
        if cores == 1 {
            // Memory and threads go back; a policy that comes back to more pays one opening.
            self.wide = None;
        } else if cores != has && self.opening.is_none() && self.failed != Some(cores) {
            self.start_opening(cores);
        }
        match &mut self.wide {
            Some((threads, session)) if *threads <= cores => session,
            _ => &mut self.single,
        }
    }

    /// Takes over a session that is done opening. If it is no longer wanted, the next call opens another.
    fn collect(&mut self) {
        let Some(Opening { threads, thread }) = self.opening.take_if(|opening| opening.thread.is_finished())
        else {
            return;
        };
        match thread.join() {
            Ok(Ok(session)) => {
                self.wide = Some((threads, session));
                self.failed = None;
            }
            Ok(Err(error)) => self.note_failure(threads, &error.to_string()),
            Err(_) => self.note_failure(threads, "the thread that opened it panicked"),
        }
    }

    fn start_opening(&mut self, threads: u32) {
        let source = Arc::clone(&self.source);
        // Threads of the session are named after the one that opens it.
        let open = move || source.open(threads);
        match thread::Builder::new().name("onnxruntime".to_owned()).spawn(open) {
            Ok(thread) => self.opening = Some(Opening { threads, thread }),
            Err(error) => self.note_failure(threads, &error.to_string()),
        }
    }

    fn note_failure(&mut self, threads: u32, error: &str) {
        self.failed = Some(threads);
        tracing::warn!(model = %self.source.name, threads, error, "failed to open a session; fewer threads run");
    }
}

impl Drop for OrtInstance {
    fn drop(&mut self) {
        // A process that ends while the library opens a session ends in an abort, so it is waited for.
        if let Some(opening) = self.opening.take() {
            drop(opening.thread.join());
        }
    }
}

impl Instance for OrtInstance {
    fn infer(&mut self, inputs: Vec<BatchInput>, cores: u32) -> Result<Vec<Tensor>, RuntimeError> {
        let source = Arc::clone(&self.source);
        let inputs = gather::check(&source.inputs, inputs)?;
        let failed =
            |detail: String| RuntimeError::Run { runtime: NAME, model: source.name.to_string(), detail };

        let mut values = Vec::with_capacity(inputs.len());
        for input in &inputs {
            let value = no_panic(|| convert::input(input)).map_err(failed)??;
            values.push((input.name.as_str(), value));
        }
        let session = self.session(cores.max(1));
        no_panic(|| {
            let answers = session.run(values).map_err(|error| error.to_string())?;
            let mut outputs = Vec::with_capacity(source.outputs.len());
            for spec in &source.outputs {
                let value =
                    answers.get(&spec.name).ok_or_else(|| format!("output {} is missing", spec.name))?;
                outputs.push(convert::output(spec, value)?);
            }
            Ok(outputs)
        })
        .and_then(|result| result)
        .map_err(failed)
    }
}
