//! `wattle profile merge`: one profile out of several of the same model under the same conditions.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde_json::json;
use wattle_core::profile::merge::{MergeOptions, Prefer, merge};

use crate::exit::ConfigError;
use crate::new_file;
use crate::output::say;
use crate::profiles;

/// Merge profiles of one model, measured under the same conditions, into one
///
/// Examples:
///   wattle profile merge monday.csv tuesday.csv -o profile.csv
///   wattle profile merge old.csv new.csv -o profile.csv --prefer newest
///
/// A point that stands in several is pooled: means are weighted by the windows (else batches, for power its
/// samples) they rest on, the highest power is the highest of all, and the confidence interval reaches to
/// every mean that went into it, so disagreement shows. Measured figures are never pooled with modelled or
/// assumed ones: the best known are kept. Rows that are the same to the last digit count once.
///
/// Model, device, runtime, power_source, driver, model_sha256 and quality have to be the same.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct MergeArgs {
    /// The profiles
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The profile to write
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Of a point that stands in several, keep the row of one file instead of pooling
    #[arg(long, value_enum, value_name = "WHICH")]
    prefer: Option<PreferArg>,
    /// Merge profiles that are not comparable too; the notes then say in what they differ
    #[arg(long)]
    anyway: bool,
    /// Replace a file that is there already
    #[arg(long)]
    force: bool,
    /// Print one JSON object: the file and what became of the rows
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PreferArg {
    /// Of the file that was made last, by its key `created`
    Newest,
    /// Of the file that is named first
    First,
}

/// Runs the command.
pub(super) fn run(args: &MergeArgs) -> Result<()> {
    new_file::check(&args.out, args.force)?;
    let mut all = Vec::new();
    for path in &args.files {
        all.push((path.display().to_string(), profiles::read(path)?));
    }
    let parts: Vec<_> = all.iter().map(|(name, profile)| (name.as_str(), profile)).collect();
    let prefer = match args.prefer {
        None => Prefer::Pooled,
        Some(PreferArg::Newest) => Prefer::Newest,
        Some(PreferArg::First) => Prefer::First,
    };
    let merged = merge(&parts, MergeOptions { prefer, anyway: args.anyway }).context(ConfigError)?;
    new_file::write(&args.out, merged.profile.to_text().as_bytes(), args.force)?;
    let rows = merged.profile.rows.len();
    if args.json {
        say(json!({
            "path": args.out, "rows": rows, "shared_points": merged.shared_points,
            "outranked_points": merged.outranked_points, "differences": merged.differences,
        }));
        return Ok(());
    }
    for difference in &merged.differences {
        say(format_args!("merged although {difference}"));
    }
    let shared = match prefer {
        Prefer::Pooled => "pooled",
        Prefer::First => "kept as in the first file",
        Prefer::Newest => "kept as in the newest file",
    };
    say(format_args!(
        "wrote {} ({rows} rows; {} in several files with other figures, {shared}; at {} of them measured \
         figures went before modelled or assumed ones)",
        args.out.display(),
        merged.shared_points,
        merged.outranked_points
    ));
    Ok(())
}
