//! The twenty jobs of Table 2.

use std::time::Duration;

use wattle_core::operating_point::OperatingPoint;
use wattle_core::signal::Signal;
use wattle_sim::experiment::in_parallel;

use super::{DVFS_BATCH, Scale, is_at_top_clock, loaded, play, rows_where};
use crate::ReproduceError;

/// Networks of Table 2 in the order of the jobs: the first ten read ImageNet, the others Caltech 256.
pub(super) const NETWORKS: [&str; 10] = [
    "inception_v1",
    "inception_v2",
    "inception_v3",
    "mobilenet_v1",
    "mobilenet_v2",
    "nasnet_mobile",
    "pnasnet_mobile",
    "resnet_v2_50",
    "resnet_v2_101",
    "resnet_v2_152",
];

/// Power caps of Table 2 in watts, job by job.
const CAPS: [f64; 20] = [
    191.0, 123.0, 228.0, 195.0, 84.0, 159.0, 246.0, 143.0, 167.0, 218.0, 125.0, 192.0, 165.0, 98.0, 208.0,
    135.0, 136.0, 198.0, 236.0, 188.0,
];

/// What is run: the searches, the best that their own knob could do, and the best of both knobs.
const RUNS: [(&str, Knob); 5] = [
    ("batch-sizer", Knob::Batch),
    ("dvfs", Knob::Clock),
    ("oracle-under-cap", Knob::Batch),
    ("oracle-under-cap", Knob::Clock),
    ("oracle-under-cap", Knob::Both),
];

/// Which knobs a run may turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knob {
    Batch,
    Clock,
    Both,
}

impl Knob {
    fn allows(self, point: &OperatingPoint) -> bool {
        match self {
            Self::Batch => is_at_top_clock(point),
            Self::Clock => point.batch_size == DVFS_BATCH,
            Self::Both => true,
        }
    }
}

/// What one run of a job gives.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Of {
    /// Images per second.
    pub(super) rps: f64,
    /// Rows of a batch.
    pub(super) batch_mean: Option<f64>,
    /// Time over the cap, and when it was last so.
    pub(super) over_cap_seconds: f64,
    /// Energy above the cap.
    pub(super) over_cap_joules: f64,
}

/// One job.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Job {
    /// Its number, from 1.
    pub(super) number: usize,
    pub(super) network: &'static str,
    pub(super) dataset: &'static str,
    pub(super) cap_watts: f64,
    pub(super) seconds: f64,
    pub(super) batch_sizer: Of,
    pub(super) dvfs: Of,
    pub(super) best_batch: Of,
    pub(super) best_clock: Of,
    pub(super) best_both: Of,
    /// Power of the network at the top clock and batch 16, in watts: tells how tight the cap is.
    pub(super) full_watts: Option<f64>,
}

impl Job {
    /// Gain of BatchSizer over DVFS in percent.
    pub(super) fn gain(&self) -> Option<f64> {
        (self.dvfs.rps > 0.0).then(|| (self.batch_sizer.rps / self.dvfs.rps - 1.0) * 100.0)
    }
}

/// Runs the jobs.
pub(super) fn run(scale: &Scale, threads: usize) -> Result<Vec<Job>, ReproduceError> {
    in_parallel(threads, scale.jobs.min(CAPS.len()), |index| {
        let network = NETWORKS[index % NETWORKS.len()];
        let dataset = if index < NETWORKS.len() { "ImageNet" } else { "Caltech" };
        let mut loaded = loaded(network)?;
        loaded.plan.span = Duration::from_secs_f64(scale.job_seconds);
        loaded.plan.points = 1;
        let mut of = [Of::default(); RUNS.len()];
        for (of, (policy, knob)) in of.iter_mut().zip(RUNS) {
            let profiles = rows_where(&loaded, |point| knob.allows(point));
            let summary = play(&loaded.plan, policy, profiles, Signal::Constant(CAPS[index]))?.summary;
            *of = Of {
                rps: summary.throughput_rps_mean,
                batch_mean: summary.models.values().next().and_then(|model| model.batch_size_mean),
                over_cap_seconds: summary.cap_violation_seconds,
                over_cap_joules: summary.cap_violation_joules,
            };
        }
        let full = rows_where(&loaded, |point| is_at_top_clock(point) && point.batch_size == DVFS_BATCH);
        let full = full.values().flat_map(|profile| &profile.rows).find_map(|row| row.power_watts_mean);
        let [batch_sizer, dvfs, best_batch, best_clock, best_both] = of;
        Ok(Job {
            number: index + 1,
            network,
            dataset,
            cap_watts: CAPS[index],
            seconds: scale.job_seconds,
            batch_sizer,
            dvfs,
            best_batch,
            best_clock,
            best_both,
            full_watts: full.map(wattle_core::units::Watts::get),
        })
    })
}

/// Rank correlation (Spearman) of pairs; `None` where there are too few, or all are alike.
pub(super) fn rank_correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    let ranks = |of: &dyn Fn(&(f64, f64)) -> f64| -> Vec<f64> {
        // The mean rank of all that are alike.
        let rank = |value: f64| {
            let under = pairs.iter().filter(|pair| of(pair) < value).count() as f64;
            let alike = pairs.iter().filter(|pair| of(pair) == value).count() as f64;
            under + (alike - 1.0) / 2.0
        };
        pairs.iter().map(|pair| rank(of(pair))).collect()
    };
    let (a, b) = (ranks(&|pair| pair.0), ranks(&|pair| pair.1));
    let middle = (pairs.len() as f64 - 1.0) / 2.0;
    let product =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - middle) * (b - middle)).sum::<f64>();
    let spread = (product(&a, &a) * product(&b, &b)).sqrt();
    (pairs.len() > 2 && spread > 0.0).then(|| product(&a, &b) / spread)
}
