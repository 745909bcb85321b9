//! What commands print on standard output.

use std::fmt::Display;
use std::io::Write;

/// Prints a line. A reader that went away, as `head` does, ends nothing: a server goes on serving.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
