//! What the program says when it ends, and the codes it ends with.

use std::io::Write;
use std::process::ExitCode;

/// Shown below `--help`.
pub(crate) const HELP: &str = "\
Exit codes: 0 done; 1 failed while it ran; 2 the command line is wrong (nothing was started); \
3 the configuration or a file it names is wrong.";

/// The configuration is wrong: mark an error with this context to end with code 3.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConfigError;

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the configuration is wrong")
    }
}

/// An error with its causes, but for those that the text before has told already.
fn told_once(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Prints an error with its causes and gives the code to end with.
pub(crate) fn code_of(outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    // Where nobody reads errors any more there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "error: {}", told_once(&error));
    if error.is::<ConfigError>() { ExitCode::from(3) } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_was_told_already_is_not_told_again() {
        let error =
            anyhow::anyhow!("no such file").context("failed to read a: no such file").context("no start");
        assert_eq!(told_once(&error), "no start: failed to read a: no such file");
    }
}
