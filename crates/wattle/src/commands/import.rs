//! `wattle import`: measured files of others into profile and signal files.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use wattle_import::{CarbonKind, Format, Gaps, Imported, Input, Options, TimeZone};

use crate::exit::ConfigError;
use crate::new_file;
use crate::output::say;

/// Largest file that is read: measurements are far smaller.
const LARGEST_FILE_BYTES: u64 = 1 << 30;
/// Folders within folders, at most: enough for a result folder, and an end to a loop of links.
const DEEPEST: usize = 16;

/// What each format expects, with an example.
const FORMATS: &str = "\
Formats:
  enertune          CSV of batch size, MIG slices and clock (model,batch_size,mig_slices,frequency,…)
                      wattle import enertune resnet50-perf-power-profile.csv --device \"A100-80GB\"
  model-analyzer    Triton Model Analyzer's checkpoint (*.ckpt), or its metrics-*.csv, together
                      wattle import model-analyzer 0.ckpt --concurrency 16
  parvagpu          CSV of MIG slice, batch size and MPS processes (Mig instance,Batch size,Workload Number,…)
                      wattle import parvagpu bert.csv --device \"A100\"
  batchdvfs         step logs of a BatchDVFS run, nvidia-smi logs of one, or a ZIP of both
                      wattle import batchdvfs Sens_InceptionV4_BatchDVFS.csv --model inception-v4
  mlperf-power      result folder of MLPerf Inference with power (spl.txt), and the folder of systems
                      wattle import mlperf-power closed/results closed/systems
  dacf              DACF's hourly generation by source, or its direct emissions (UTC time,coal,nat_gas,…)
                      wattle import dacf CISO.csv --source solar
  electricity-maps  CSV of the Electricity Maps portal, or a raw export of the mix
                      wattle import electricity-maps NO_2022_hourly.csv --kind life-cycle
  uk                half-hourly carbon intensity: Great Britain's CSV or JSON, or any time and value
                      wattle import uk fr_ci.csv
  clover            carbon intensities without times, one an hour
                      wattle import clover carbon_intensity.csv --kind life-cycle";

/// Turns measured files of others into profile and signal files
///
/// All that is odd in a file (rows that are missing, double, zero or malformed) is counted and told on
/// standard error, with what was done about it. A file that is not of the format is an error; then nothing
/// is written. Run `wattle import --help` for what each format expects.
///
/// Example: wattle import dacf CISO.csv --out signals
#[derive(Args)]
#[command(after_long_help = FORMATS)]
pub(crate) struct ImportArgs {
    /// enertune, model-analyzer, parvagpu, batchdvfs, mlperf-power, dacf, electricity-maps, uk or clover
    #[arg(value_name = "FORMAT")]
    format: Format,
    /// The files (for mlperf-power, folders); a ZIP archive is unpacked
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Folder that receives the files made
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Replace files that are there already
    #[arg(long)]
    force: bool,
    /// Print one JSON object: the files made and what was odd
    #[arg(long)]
    json: bool,
    /// Name of the model [default: what the file, or its name, says]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// The device, in words, where the file does not say
    #[arg(long, value_name = "TEXT")]
    device: Option<String>,
    /// What executed the model, with its version, where the file does not say
    #[arg(long, value_name = "TEXT")]
    runtime: Option<String>,
    /// model-analyzer: rows of this many requests in flight [default: the highest up to 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: Option<u32>,
    /// electricity-maps, clover: which emissions, direct or life-cycle [default: life-cycle; clover: unknown]
    #[arg(long, value_name = "KIND")]
    kind: Option<CarbonKind>,
    /// dacf, electricity-maps: the generation of this source in MW, instead of the carbon intensity
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// uk: the zone of times that say none, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE", value_parser = time_zone)]
    time_zone: Option<TimeZone>,
    /// What to do with gaps: hold or interpolate [default: interpolate up to 3 hours, else an error]
    #[arg(long, value_name = "WAY")]
    gaps: Option<Gaps>,
}

fn time_zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name)
        .map_err(|error| format!("{error}; expected a zone this machine knows, such as Europe/Berlin"))
}

/// A file to write.
struct Made {
    path: PathBuf,
    text: String,
    /// What `--json` says of it.
    report: serde_json::Value,
    /// What is said of it otherwise.
    said: String,
}

/// Runs the command.
pub(crate) fn run(args: &ImportArgs) -> Result<()> {
    let mut inputs = Vec::new();
    for file in &args.files {
        read(file, args.format, &mut inputs).context(ConfigError)?;
    }
    let options = Options {
        model: args.model.clone(),
        device: args.device.clone(),
        runtime: args.runtime.clone(),
        concurrency: args.concurrency,
        kind: args.kind,
        source: args.source.clone(),
        time_zone: args.time_zone.clone(),
        gaps: args.gaps,
    };
    let imported = wattle_import::import(args.format, &inputs, &options).context(ConfigError)?;
    let made = made(&imported, &args.out);
    // All files, or none where one is there already.
    made.iter().try_for_each(|made| new_file::check(&made.path, args.force))?;
    made.iter().try_for_each(|made| new_file::write(&made.path, made.text.as_bytes(), args.force))?;
    for oddity in &imported.oddities {
        let line = oddity.first_line.map(|line| format!(", first on line {line}")).unwrap_or_default();
        // Where nobody reads them any more there is nobody to tell.
        let _ = writeln!(
            std::io::stderr(),
            "{}: {} {}{line}: {}",
            oddity.file,
            oddity.count,
            oddity.what,
            oddity.done
        );
    }
    if args.json {
        let files: Vec<_> = made.iter().map(|made| &made.report).collect();
        say(serde_json::json!({ "files": files, "oddities": imported.oddities }));
    } else {
        for made in &made {
            say(format_args!("wrote {} ({})", made.path.display(), made.said));
        }
    }
    Ok(())
}

/// Reads `path`, or every file in it where the format takes folders.
fn read(path: &Path, format: Format, inputs: &mut Vec<Input>) -> Result<()> {
    if !path.is_dir() {
        inputs.push(read_file(path)?);
        return Ok(());
    }
    if !format.takes_folders() {
        return Err(anyhow!("{} is a folder, expected a file; name the files of {format}", path.display()));
    }
    // The folders above tell where a file belongs, also where only `.` was given.
    let whole = path.canonicalize().with_context(|| format!("failed to read {}", path.display()))?;
    let before = inputs.len();
    read_folder(&whole, inputs, DEEPEST)?;
    if inputs.len() == before {
        return Err(anyhow!(
            "{} holds no .txt or .json file, expected the files of {format}",
            path.display()
        ));
    }
    Ok(())
}

fn read_folder(folder: &Path, inputs: &mut Vec<Input>, deeper: usize) -> Result<()> {
    let failed = || format!("failed to read the folder {}", folder.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(failed)? {
        paths.push(entry.with_context(failed)?.path());
    }
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if deeper > 0 {
                read_folder(&path, inputs, deeper - 1)?;
            }
        } else if path.extension().is_some_and(|ending| ending == "txt" || ending == "json") {
            inputs.push(read_file(&path)?);
        }
    }
    Ok(())
}

fn read_file(path: &Path) -> Result<Input> {
    let failed = || format!("failed to read {}", path.display());
    let bytes = std::fs::metadata(path).with_context(failed)?.len();
    if bytes > LARGEST_FILE_BYTES {
        return Err(anyhow!("{} has {bytes} bytes, expected at most {LARGEST_FILE_BYTES}", path.display()));
    }
    let bytes = std::fs::read(path).with_context(failed)?;
    Ok(Input { name: path.display().to_string(), bytes })
}

/// The files that an import makes.
fn made(imported: &Imported, out: &Path) -> Vec<Made> {
    let profiles = imported.profiles.iter().map(|one| {
        let path = out.join(format!("{}.profile.csv", one.file_stem));
        let rows = one.profile.rows.len();
        Made {
            report: serde_json::json!({
                "path": path, "kind": "profile", "model": one.profile.head.model, "rows": rows,
                "request_overhead_ms": one.profile.head.request_overhead_ms,
                "quality": one.profile.head.quality,
            }),
            said: format!("profile of {}, {rows} rows", one.profile.head.model),
            text: one.profile.to_text(),
            path,
        }
    });
    let signals = imported.signals.iter().map(|one| {
        let path = out.join(format!("{}.csv", one.file_stem));
        let values = one.points.len();
        Made {
            report: serde_json::json!({
                "path": path, "kind": "signal", "column": one.column, "values": values,
            }),
            said: format!("{}, {values} values", one.column),
            text: one.to_text(),
            path,
        }
    });
    profiles.chain(signals).collect()
}
