//! What the program says when it ends, and the codes it ends with.

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

/// Prints an error with its causes and gives the code to end with.
pub(crate) fn code_of(outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    #[expect(clippy::print_stderr, reason = "this is where errors reach the user")]
    {
        eprintln!("error: {error:#}");
    }
    if error.is::<ConfigError>() { ExitCode::from(3) } else { ExitCode::FAILURE }
}
