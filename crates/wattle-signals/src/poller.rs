//! Asks one source, one time after another, and keeps what it said: in memory and on disk.
//!
//! Knows no thread and no clock: [`crate::live`] drives it with the time there is, tests with any.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wattle_core::signal::SignalHead;
use wattle_core::signal::series::{Series, StalenessRule};
use wattle_core::time::UnixTime;

use crate::cache::Cache;
use crate::outlook::{Outlook, Planner};
use crate::provider::Provider;
use crate::schedule::Pace;

/// How far back a source is asked at first: weeks, for last week's values and for forecasts.
const ASKED_BACK: Duration = Duration::from_secs(35 * 86_400);
/// The cache is written no more often than this, however often a source is asked.
const BETWEEN_WRITES: Duration = Duration::from_secs(300);
/// From here on it is told that the clocks of this machine and the source differ.
const CLOCKS_DIFFER_SECONDS: u64 = 120;

/// How a signal is kept up to date.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveOptions {
    /// Its name, for the log and the cache: `carbon_intensity`.
    pub name: String,
    /// Asked no more often than this; `None`: as often as the source has something new.
    pub interval: Option<Duration>,
    /// Requests that the source grants in a day; `None`: it sets no limit.
    pub max_requests_per_day: Option<u32>,
    /// When it is too old, and what then.
    pub rule: StalenessRule,
    /// The folder of the caches; `None`: nothing is kept on disk.
    pub cache_folder: Option<PathBuf>,
    /// Of the jitter of waits.
    pub seed: u64,
}

/// What is known of a signal and its source at one time.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What the source said.
    pub series: Series,
    /// What we forecast of it, where the source does not.
    pub outlook: Option<Arc<Outlook>>,
    /// Asks that ended without an answer.
    pub failures_total: u64,
    /// Why the last ask failed; `None` where it did not.
    pub last_error: Option<String>,
    /// When the source last answered this process; `None`: it has not, what is known is from the cache.
    pub answered_at: Option<UnixTime>,
    /// When the source is asked next.
    pub next_ask: UnixTime,
    /// By how much the source's clock is ahead of this machine's, in seconds, where it told.
    pub clock_ahead_seconds: Option<i64>,
}

/// Asks one source and keeps what it says.
pub struct Poller {
    provider: Box<dyn Provider>,
    options: LiveOptions,
    pace: Pace,
    cache: Option<Cache>,
    planner: Planner,
    known: Snapshot,
    failures_in_a_row: u32,
    written_at: Option<UnixTime>,
    /// What was told last of the answers and of the cache, so that the same is not told again.
    left_out: Vec<String>,
    cache_trouble: Option<String>,
    clocks_differ: bool,
}

impl Poller {
    /// Begins with what the cache holds. Asks nothing yet: the source is due at
    /// [`Snapshot::next_ask`], which is now, or later where it was asked a moment before a restart.
    pub fn new(provider: Box<dyn Provider>, options: LiveOptions, now: UnixTime) -> Self {
        let interval = provider.interval().max(options.interval.unwrap_or_default());
        let pace = Pace {
            interval,
            max_requests_per_day: options.max_requests_per_day,
            requests_each: provider.most_requests(),
            seed: options.seed,
        };
        let head = Arc::new(provider.head().clone());
        let cache = options.cache_folder.as_ref().map(|folder| Cache::new(folder, &options.name, &head));
        let known = Snapshot {
            series: Series::new(Arc::clone(&head), interval),
            outlook: None,
            failures_total: 0,
            last_error: None,
            answered_at: None,
            next_ask: now,
            clock_ahead_seconds: None,
        };
        let mut poller = Self {
            provider,
            options,
            pace,
            cache,
            planner: Planner::default(),
            known,
            failures_in_a_row: 0,
            written_at: None,
            left_out: Vec::new(),
            cache_trouble: None,
            clocks_differ: false,
        };
        poller.read_cache(&head, now);
        poller
    }

    /// What it is of, and from whom.
    pub fn head(&self) -> &Arc<SignalHead> {
        self.known.series.head()
    }

    /// How it is kept up to date.
    pub fn options(&self) -> &LiveOptions {
        &self.options
    }

    /// What is known.
    pub fn known(&self) -> &Snapshot {
        &self.known
    }

    fn read_cache(&mut self, head: &Arc<SignalHead>, now: UnixTime) {
        let Some(cache) = &self.cache else { return };
        match cache.read(head) {
            Ok(None) => {}
            Ok(Some(cached)) => {
                tracing::info!(
                    signal = self.options.name,
                    source = head.source,
                    values = cached.series.points().count(),
                    file = %cache.path().display(),
                    "signal goes on from its cache"
                );
                self.known.series = cached.series;
                // A clock that was wrong then or is now keeps nobody from asking for long.
                self.known.next_ask = cached.not_before.clamp(now, now + self.pace.shortest());
            }
            Err(error) => {
                tracing::warn!(signal = self.options.name, %error, "signal starts without its cache")
            }
        }
    }

    /// Asks the source now and takes in what it says; gives how long to wait until the next ask.
    pub fn ask(&mut self, now: UnixTime) -> Duration {
        let since = self.known.series.ask_since(now, ASKED_BACK);
        let outcome = self.provider.fetch(since, now);
        let (name, source) = (&self.options.name, &self.known.series.head().source);
        let error = match outcome {
            Ok(fetched) => {
                if self.known.last_error.take().is_some() {
                    tracing::info!(signal = name, source, "source of the signal answers again");
                }
                self.failures_in_a_row = 0;
                self.known.answered_at = Some(now);
                if !fetched.left_out.is_empty() && fetched.left_out != self.left_out {
                    let left_out = fetched.left_out.join("; ");
                    tracing::warn!(signal = name, source, left_out, "values of the signal were left out");
                }
                self.left_out = fetched.left_out;
                let ahead = fetched.clock_ahead_seconds;
                let differ = ahead.is_some_and(|ahead| ahead.unsigned_abs() > CLOCKS_DIFFER_SECONDS);
                if differ && !self.clocks_differ {
                    tracing::warn!(
                        signal = name,
                        source,
                        clock_ahead_seconds = ahead,
                        "the source's clock is not this machine's: set this machine's clock, values are taken by it"
                    );
                }
                (self.clocks_differ, self.known.clock_ahead_seconds) = (differ, ahead);
                let step = fetched.step.unwrap_or(self.pace.interval);
                self.known.series.merge(&fetched.points, Some(step), now);
                None
            }
            Err(error) => {
                self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
                self.known.failures_total += 1;
                let said = error.to_string();
                if self.known.last_error.as_ref() != Some(&said) {
                    tracing::warn!(signal = name, error = said, "source of the signal gave nothing");
                }
                self.known.last_error = Some(said);
                Some(error)
            }
        };
        let wait = self.pace.wait(error.as_ref(), self.failures_in_a_row);
        self.known.next_ask = now + wait;
        let is_due = self.written_at.is_none_or(|at| now.saturating_since(at) >= BETWEEN_WRITES);
        // A failure is kept, too: a server that starts over and over asks no more often for it.
        if is_due {
            self.write_cache(now);
        }
        wait
    }

    /// Keeps on disk what is known.
    pub fn write_cache(&mut self, now: UnixTime) {
        let Some(cache) = &self.cache else { return };
        let trouble =
            cache.write(&self.known.series, self.known.next_ask).err().map(|error| error.to_string());
        if let Some(error) = trouble.as_ref().filter(|error| self.cache_trouble.as_ref() != Some(error)) {
            tracing::warn!(signal = self.options.name, error, "signal is not kept on disk");
        }
        self.cache_trouble = trouble;
        self.written_at = Some(now);
    }

    /// Makes a forecast of our own, where the source makes none. Learning from years takes a while: what
    /// was asked is known before.
    pub fn plan(&mut self, now: UnixTime) {
        let series = &self.known.series;
        let day = Duration::from_secs(86_400);
        let tells_ahead = series.ahead(now, day, self.options.rule.give_up_after).len() >= 2;
        self.known.outlook = if tells_ahead { None } else { self.planner.outlook(series, now) };
    }
}
