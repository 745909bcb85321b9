//! The command line of Wattle: an inference server that follows the power there is.

mod commands;
mod exit;
mod logging;
mod profiles;
mod runtimes;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// Answers are made on one thread and freed on another: this allocator is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An inference server that follows the power there is.
#[derive(Parser)]
#[command(name = "wattle", version, arg_required_else_help = true, after_help = exit::HELP)]
struct Cli {
    #[command(flatten)]
    logging: logging::LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(Box<commands::serve::ServeArgs>),
    Demo(commands::demo::DemoArgs),
    Runtimes(commands::runtimes::RuntimesArgs),
}

fn main() -> std::process::ExitCode {
    // First of all: the environment can't be changed once there are threads.
    wattle_runtime::onnxruntime::disable_telemetry();
    let cli = parse();
    let started = logging::start(&cli.logging);
    exit::code_of(started.and_then(|()| match cli.command {
        Command::Serve(args) => commands::serve::run(*args),
        Command::Demo(args) => commands::demo::run(args),
        Command::Runtimes(args) => commands::runtimes::run(&args),
    }))
}

/// The command line. The demo prints lines of its own, so that it logs warnings only, unless asked.
fn parse() -> Cli {
    let is_demo = Cli::command().get_matches().subcommand_name() == Some("demo");
    let default = if is_demo { "warn" } else { "info" };
    let matches = Cli::command().mut_arg("log", |log| log.default_value(default)).get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}
