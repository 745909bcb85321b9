//! Logs on standard error, as text or JSON.

use std::io::IsTerminal;

use anyhow::Context;
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How much is logged, and in what form.
#[derive(Args)]
pub(crate) struct LogArgs {
    /// What is logged: error, warn, info, debug, trace, or a filter such as `info,wattle_server=debug`
    #[arg(long, global = true, value_name = "FILTER", env = "WATTLE_LOG")]
    log: Option<String>,
    /// Form of the log
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// Lines to read.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging, at `default` unless asked otherwise. ONNX Runtime's own chatter is kept to warnings.
pub(crate) fn start(args: &LogArgs, default: &str) -> anyhow::Result<()> {
    let wanted = args.log.as_deref().unwrap_or(default);
    let filter = EnvFilter::builder()
        .parse(format!("ort=warn,{wanted}"))
        .with_context(|| format!("--log is {wanted:?}, expected a level such as info, or a filter"))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A log that nobody reads any more stops no server.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    match args.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
