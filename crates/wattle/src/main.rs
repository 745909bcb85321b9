//! The command line of Wattle: an inference server that follows the power there is.

mod commands;
mod devices;
mod exit;
mod logging;
mod new_file;
mod output;
mod profiles;
mod progress;
mod runtimes;
mod table;

use clap::{Parser, Subcommand};

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
    Simulate(commands::simulate::SimulateArgs),
    Reproduce(commands::reproduce::ReproduceArgs),
    Import(Box<commands::import::ImportArgs>),
    Signals(commands::signals::SignalsArgs),
    Devices(commands::devices::DevicesArgs),
    Profile(Box<commands::profile::ProfileArgs>),
    Report(Box<commands::report::ReportArgs>),
    Runtimes(commands::runtimes::RuntimesArgs),
    Partition(commands::partition::PartitionArgs),
    Plan(commands::plan::PlanArgs),
}

impl Command {
    /// What is logged unless asked. The demo and the list of devices print lines of their own, how power is
    /// known among them; so does profiling, but for warnings.
    const fn default_log(&self) -> &'static str {
        match self {
            Self::Demo(_) | Self::Devices(_) => "error",
            Self::Profile(_) | Self::Report(_) | Self::Signals(_) => "warn",
            _ => "info",
        }
    }
}

fn main() -> std::process::ExitCode {
    // First of all: the environment can't be changed once there are threads.
    wattle_runtime::onnxruntime::disable_telemetry();
    let cli = Cli::parse();
    let started = logging::start(&cli.logging, cli.command.default_log());
    exit::code_of(started.and_then(|()| match cli.command {
        Command::Serve(args) => commands::serve::run(*args),
        Command::Demo(args) => commands::demo::run(args),
        Command::Simulate(args) => commands::simulate::run(args),
        Command::Reproduce(args) => commands::reproduce::run(&args),
        Command::Import(args) => commands::import::run(&args),
        Command::Signals(args) => commands::signals::run(&args),
        Command::Devices(args) => commands::devices::run(&args),
        Command::Profile(args) => commands::profile::run(*args),
        Command::Report(args) => commands::report::run(&args),
        Command::Runtimes(args) => commands::runtimes::run(&args),
        Command::Partition(args) => commands::partition::run(&args),
        Command::Plan(args) => commands::plan::run(&args),
    }))
}
