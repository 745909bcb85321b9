//! Keeps the ledger in an SQLite file that survives a killed server.
//!
//! Each entry has a number of its own within its run and is booked in one transaction, so that none is
//! half written or written twice. Writing has a thread of its own: a slow disk delays no decision. The
//! same thread rolls rows up that are due, by the time of the entries themselves.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};

use wattle_core::ledger::LedgerEntry;

use crate::error::LedgerError;
use crate::retention::Retention;
use crate::rollup::roll_up_one;
use crate::write::{self, Numbered, Writer};

pub use crate::write::RunInfo;

/// Entries kept in memory while the file can't be written: an hour of them.
const MAX_BACKLOG: usize = 3600;

/// Where a ledger is kept, and for how long which rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerOptions {
    /// The file.
    pub path: PathBuf,
    /// How long rows are kept before coarser ones stand for them. With a copy, minutes are kept for two
    /// hours at least: entries may come late.
    pub retention: Retention,
    /// The URL of a PostgreSQL database that gets a copy, if one does.
    pub replicate_to: Option<String>,
}

impl From<PathBuf> for LedgerOptions {
    /// The file with the retention that is usual.
    fn from(path: PathBuf) -> Self {
        Self { path, retention: Retention::default(), replicate_to: None }
    }
}

/// An open ledger file. Entries given to it are written in order, by its own thread.
pub struct LedgerStore {
    sender: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
    /// Dropped after all is written: it sends that too.
    #[cfg(feature = "postgres")]
    _replication: Option<crate::postgres::Replication>,
}

/// What the ledger's thread is told.
enum Message {
    /// Book it.
    Entry(LedgerEntry),
    /// Tell how many entries wait, once all is done that can be done.
    Flush(Sender<usize>),
}

impl LedgerStore {
    /// Opens or makes the file, brings it up to date and begins a run in it.
    ///
    /// # Errors
    ///
    /// When the file is in use by another server, is no ledger, is of a later Wattle, or can't be written.
    pub fn open(options: &LedgerOptions, info: &RunInfo) -> Result<Self, LedgerError> {
        let LedgerOptions { path, retention, replicate_to } = options;
        let writer = Writer::open(path, info, replicate_to.is_some())?;
        #[cfg(feature = "postgres")]
        let replication =
            replicate_to.as_ref().map(|url| crate::postgres::Replication::start(path, url)).transpose()?;
        #[cfg(not(feature = "postgres"))]
        if replicate_to.is_some() {
            let detail = "this Wattle was built without PostgreSQL (cargo feature `postgres`)".to_owned();
            return Err(LedgerError::Replica { detail });
        }
        let keeper = Keeper::new(writer, *retention);
        let (sender, receiver) = channel();
        let thread = thread::Builder::new()
            .name("ledger".into())
            .spawn(move || keeper.keep(&receiver))
            .map_err(|error| LedgerError::open(path, error))?;
        Ok(Self {
            sender: Some(sender),
            thread: Some(thread),
            #[cfg(feature = "postgres")]
            _replication: replication,
        })
    }

    /// Hands over an entry; returns at once.
    pub fn append(&self, entry: LedgerEntry) {
        if let Some(sender) = &self.sender {
            // The receiver lives until this store is dropped.
            let _ = sender.send(Message::Entry(entry));
        }
    }

    /// Waits until all entries handed over are in the file and all that is due is rolled up. Gives how
    /// many entries could not be written, and wait: 0 when all is well.
    pub fn flush(&self) -> usize {
        let (sender, receiver) = channel();
        if let Some(to_thread) = &self.sender {
            let _ = to_thread.send(Message::Flush(sender));
        }
        receiver.recv().unwrap_or_default()
    }
}

impl Drop for LedgerStore {
    /// Waits until every entry handed over is written.
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the ledger's thread panicked; its last entries may be missing");
        }
    }
}

/// What the ledger's thread holds.
struct Keeper {
    writer: Writer,
    retention: Retention,
    /// What is not in the file yet.
    backlog: Vec<Numbered>,
    /// Number of the next entry that comes.
    next: i64,
    /// Who waits for all to be done.
    waiting: Vec<Sender<usize>>,
}

impl Keeper {
    fn new(writer: Writer, retention: Retention) -> Self {
        Self { writer, retention, backlog: Vec::new(), next: 0, waiting: Vec::new() }
    }

    /// Writes what comes until nobody can send any more, and rolls up while nothing comes. What can't be
    /// written is kept and tried again.
    fn keep(mut self, receiver: &Receiver<Message>) {
        let mut may_be_due = false;
        loop {
            let message = if may_be_due {
                match receiver.try_recv() {
                    Ok(message) => message,
                    Err(TryRecvError::Disconnected) => break,
                    Err(TryRecvError::Empty) => {
                        may_be_due = self.roll_up();
                        if !may_be_due {
                            let waits = self.backlog.len();
                            // Who does not wait any longer need not be told.
                            self.waiting.drain(..).for_each(|sender| _ = sender.send(waits));
                        }
                        continue;
                    }
                }
            } else {
                let Ok(message) = receiver.recv() else { break };
                message
            };
            self.take(message);
            receiver.try_iter().for_each(|message| self.take(message));
            self.write();
            may_be_due = true;
        }
        self.write();
        if !self.backlog.is_empty() {
            tracing::error!(lost = self.backlog.len(), "ledger entries are lost");
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Flush(sender) => self.waiting.push(sender),
            Message::Entry(entry) => {
                if write::is_finite(&entry) {
                    self.backlog.push((self.next, entry));
                } else {
                    tracing::error!(?entry, "a ledger entry has a figure that is no number: it is lost");
                }
                self.next += 1;
            }
        }
    }

    fn write(&mut self) {
        if self.backlog.is_empty() {
            return;
        }
        match self.writer.book(&self.backlog) {
            Ok(()) => self.backlog.clear(),
            Err(error) => {
                tracing::error!(%error, waiting = self.backlog.len(), "ledger entries could not be written, will try again");
                if self.backlog.len() > MAX_BACKLOG {
                    tracing::error!("an hour of ledger entries waits: the oldest are dropped");
                    self.backlog.drain(..self.backlog.len() - MAX_BACKLOG);
                }
            }
        }
    }

    /// Rolls up what is due first; whether more may be due.
    fn roll_up(&mut self) -> bool {
        roll_up_one(&mut self.writer.connection, &self.retention, self.writer.now).unwrap_or_else(|error| {
            tracing::error!(%error, "rows of the ledger could not be rolled up, will try again");
            false
        })
    }
}

#[cfg(test)]
mod tests;
