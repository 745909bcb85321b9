//! `wattle partition`: the partitions of an NVIDIA GPU (MIG), and making and destroying them by hand.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};
use wattle_core::nearest::nearest;
use wattle_device::device::{Access, Device};
use wattle_device::nvidia::mig::{GpuInstance, MigLayout, MigMode, MigProfile, WantedPartition};
use wattle_device::nvidia::{NvidiaDevice, NvidiaRoots, open_all};

use crate::output::say;
use crate::table::Table;

/// Shows, makes and destroys partitions of an NVIDIA GPU (MIG)
///
/// A partition is a GPU instance with one compute instance that fills it. Partitions of a GPU have memory and
/// multiprocessors of their own; they share its clock and its power. Making and destroying them needs root
/// (or CAP_SYS_ADMIN) and a GPU in MIG mode; the server never does it.
///
/// Example: wattle partition list
#[derive(Args)]
pub(crate) struct PartitionArgs {
    #[command(subcommand)]
    action: Action,
    /// NVIDIA's management library [default: libnvidia-ml.so.1, wherever the loader finds it]
    #[arg(long, value_name = "FILE", global = true)]
    nvml_lib: Option<PathBuf>,
    /// Print JSON: an object a line for each GPU
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Action {
    /// Shows the partitions there are and those that fit
    List {
        /// Only this GPU, such as nvidia:GPU-…
        #[arg(long, value_name = "ID")]
        device: Option<String>,
    },
    /// Makes partitions: those with a place first, then the largest
    ///
    /// Where one can't be made, those made before it are destroyed again.
    ///
    /// Example: wattle partition create --device nvidia:GPU-… --profile 3g.20gb --profile 2g.10gb@4
    /// --allow-repartition
    Create {
        #[command(flatten)]
        target: Target,
        /// Profile by name or number, as `list` shows it; with @SLICE to start at this slice of memory. Once
        /// for each partition
        #[arg(long = "profile", value_name = "PROFILE[@SLICE]", required = true)]
        profiles: Vec<String>,
    },
    /// Destroys partitions: first what runs work in them, then they themselves
    Destroy {
        #[command(flatten)]
        target: Target,
        /// The partition's number, as `list` shows it. Once for each partition
        #[arg(long = "instance", value_name = "N", required_unless_present = "all")]
        instances: Vec<u32>,
        /// Every partition of the GPU
        #[arg(long, conflicts_with = "instances")]
        all: bool,
    },
}

#[derive(Args)]
struct Target {
    /// The GPU, such as nvidia:GPU-…
    #[arg(long, value_name = "ID")]
    device: String,
    /// Required: repartitioning takes the GPU from whoever else uses it
    #[arg(long, required = true)]
    allow_repartition: bool,
}

/// Runs the command.
pub(crate) fn run(args: &PartitionArgs) -> Result<()> {
    let mut roots = NvidiaRoots::default();
    if let Some(library) = &args.nvml_lib {
        roots.library.clone_from(library);
    }
    let devices = match open_all(&roots) {
        Access::Here(devices) => devices,
        Access::Absent { because } => bail!("no NVIDIA GPU here: {because}"),
        Access::Denied { because, fix } => bail!("the NVIDIA GPUs are kept from this user: {because}; {fix}"),
        Access::Failed { because } => bail!("the NVIDIA GPUs can't be opened: {because}"),
    };
    match &args.action {
        Action::List { device: None } => {
            for device in &devices {
                show(device, args.json)?;
            }
        }
        Action::List { device: Some(device) } => show(find(&devices, device)?, args.json)?,
        Action::Create { target, profiles } => {
            let device = find(&devices, &target.device)?;
            let layout = device.mig()?.layout()?;
            if layout.mode != MigMode::Enabled {
                device.mig()?.create(&[])?; // tells what to do about it
            }
            let wanted = profiles.iter().map(|text| wanted(&layout, text)).collect::<Result<Vec<_>>>()?;
            let made = device.mig()?.create(&wanted)?;
            for instance in &made {
                tracing::info!(device = target.device, instance = instance.id, "made a partition");
            }
            show(device, args.json)?;
        }
        Action::Destroy { target, instances, all } => {
            let device = find(&devices, &target.device)?;
            let mig = device.mig()?;
            if *all {
                let there: Vec<_> = mig.layout()?.gpu_instances.iter().map(|instance| instance.id).collect();
                mig.destroy(&there)?;
            } else {
                mig.destroy(instances)?;
            }
            show(device, args.json)?;
        }
    }
    Ok(())
}

fn find<'a>(devices: &'a [NvidiaDevice], id: &str) -> Result<&'a NvidiaDevice> {
    devices.iter().find(|device| device.info().id.to_string() == id).ok_or_else(|| {
        let there: Vec<_> = devices.iter().map(|device| device.info().id.to_string()).collect();
        anyhow!("there is no device {id:?}; there are {}", there.join(", "))
    })
}

/// The partition that `text`, such as `3g.20gb@4`, asks for.
fn wanted(layout: &MigLayout, text: &str) -> Result<WantedPartition> {
    let (profile, start) = match text.split_once('@') {
        None => (text, None),
        Some((profile, start)) => {
            let start = start.parse();
            let start =
                start.with_context(|| format!("--profile {text:?}: expected a slice's number after @"))?;
            (profile, Some(start))
        }
    };
    let is_meant = |found: &&MigProfile| found.name == profile || found.id.to_string() == profile;
    let found = layout.profiles.iter().find(is_meant).ok_or_else(|| {
        let names = layout.profiles.iter().map(|profile| profile.name.as_str());
        match nearest(profile, names) {
            Some(name) => anyhow!("this GPU has no profile {profile:?}; did you mean {name}?"),
            None => anyhow!("this GPU has no profile {profile:?}: it tells none"),
        }
    })?;
    Ok(WantedPartition { profile_id: found.id, start })
}

fn show(device: &NvidiaDevice, json: bool) -> Result<()> {
    let layout = device.mig()?.layout()?;
    let info = device.info();
    if json {
        say(format_args!("{}", serde_json::json!({ "device": info.id, "layout": layout })));
        return Ok(());
    }
    let mode = match layout.mode {
        MigMode::Unsupported => "can't be partitioned",
        MigMode::Disabled => "MIG mode is off",
        MigMode::Enabled => "MIG mode is on",
    };
    let after = match layout.mode_after_reset {
        Some(MigMode::Enabled) => ", on after the next reset",
        Some(_) => ", off after the next reset",
        None => "",
    };
    say(format_args!("{} ({}): {mode}{after}", info.id, info.description));
    if layout.mode != MigMode::Enabled {
        return Ok(());
    }
    let mut table = Table::new(&["partition", "profile", "slices", "UUID"]);
    for instance in &layout.gpu_instances {
        table.row(row(instance));
    }
    say(if layout.gpu_instances.is_empty() { "no partitions".to_owned() } else { table.to_string() });
    if !layout.is_complete {
        say("there may be more: the driver tells all to root only (or with CAP_SYS_ADMIN)");
    }
    let mut table = Table::new(&["profile", "number", "fit now", "of", "SMs", "MiB", "may start at"]);
    for profile in &layout.profiles {
        let starts: Vec<_> = profile.starts.iter().flatten().map(u32::to_string).collect();
        table.row([
            profile.name.clone(),
            profile.id.to_string(),
            profile.remaining.map_or("-".into(), |remaining| remaining.to_string()),
            profile.most.to_string(),
            profile.multiprocessors.to_string(),
            profile.memory_mib.to_string(),
            if starts.is_empty() { "-".into() } else { starts.join(" ") },
        ]);
    }
    say(table);
    Ok(())
}

fn row(instance: &GpuInstance) -> [String; 4] {
    let uuids: Vec<_> =
        instance.compute_instances.iter().map(|one| one.uuid.as_deref().unwrap_or("-")).collect();
    [
        instance.id.to_string(),
        instance.profile.clone().unwrap_or("-".into()),
        instance.slices().unwrap_or("-".into()),
        uuids.join(" "),
    ]
}
