//! The progress bar of commands that take a while: on stderr, and only where somebody looks at it.

use indicatif::{ProgressBar, ProgressStyle};

/// Steps of the bar.
const STEPS: u64 = 1000;

/// A bar that is told the share done.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A bar for `what`; it hides itself where stderr is no terminal.
    pub(crate) fn new(what: &str) -> Self {
        let bar = ProgressBar::new(STEPS);
        if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:40}] {percent} % {eta} left") {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        Self(bar)
    }

    /// What it is about now.
    pub(crate) fn say(&self, what: String) {
        self.0.set_message(what);
    }

    /// So much is done, of 1.
    pub(crate) fn tell(&self, share: f64) {
        self.0.set_position((share.clamp(0.0, 1.0) * STEPS as f64) as u64);
    }

    /// So much was done before, of 1: it tells nothing of the time that the rest takes.
    pub(crate) fn go_on_from(&self, share: f64) {
        self.tell(share);
        self.0.reset_eta();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
