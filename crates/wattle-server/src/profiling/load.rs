//! Keeps a model saturated from within the process: a closed loop of so many requests.
//!
//! Each request that is answered is followed by the next at once. One thread sends them all, as one
//! front end would; what it costs is part of what is measured.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::inputs::Inputs;
use crate::executor::ExecuteError;
use crate::model_repository::ServedModel;

/// So long is waited for the last answers. A runtime that takes longer hangs, and is left behind.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// How often it is looked whether they have come.
const DRAIN_POLL: Duration = Duration::from_millis(1);

/// Requests under way until this is dropped.
pub(super) struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    model: Arc<ServedModel>,
    inputs: Arc<Inputs>,
    stop: AtomicBool,
    failure: Mutex<Option<ExecuteError>>,
}

impl Load {
    /// Keeps `in_flight` of `inputs` under way.
    pub(super) fn start(
        model: Arc<ServedModel>,
        inputs: Arc<Inputs>,
        in_flight: usize,
    ) -> std::io::Result<Self> {
        let shared =
            Arc::new(Shared { model, inputs, stop: AtomicBool::new(false), failure: Mutex::default() });
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("profile/load".into()).spawn(move || {
            runtime.block_on(async {
                let mut askers = JoinSet::new();
                for first in 0..in_flight {
                    askers.spawn(ask(Arc::clone(&of_thread), first, in_flight));
                }
                while askers.join_next().await.is_some() {}
            });
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Why a request failed, once one did. No more are sent then.
    pub(super) fn failure(&self) -> Option<ExecuteError> {
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Load {
    /// Sends no more, and waits for the answers under way.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return };
        let start = Instant::now();
        while !thread.is_finished() {
            if start.elapsed() > DRAIN_LIMIT {
                tracing::error!(model = %self.shared.model.name, "requests are left behind: no answer came");
                return;
            }
            thread::sleep(DRAIN_POLL);
        }
        if thread.join().is_err() {
            tracing::error!("the thread that sends requests panicked; this is a bug in wattle");
        }
    }
}

/// Asks one request after another until told to stop or one fails.
async fn ask(shared: Arc<Shared>, first: usize, step: usize) {
    let mut number = first;
    while !shared.stop.load(Ordering::Relaxed) {
        let Some(submission) = shared.inputs.submission(number) else { return };
        let answer = match shared.model.executor.submit(submission) {
            Ok(receiver) => receiver.await.unwrap_or_else(|_| {
                let detail = "it lost a request".to_owned();
                Err(ExecuteError::Failed { model: shared.model.name.clone(), detail })
            }),
            Err(error) => Err(error),
        };
        if let Err(error) = answer {
            shared.stop.store(true, Ordering::Relaxed);
            shared.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            return;
        }
        number = number.wrapping_add(step);
    }
}
