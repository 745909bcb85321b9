//! The figures of the experiment, published and ours.

use wattle_core::provenance::Basis;

use super::falling::{CAPS_WATTS, POLICIES, Recovery};
use super::jobs::{Job, Of, rank_correlation};
use super::logged::Agreement;
use crate::Row;
use crate::row::rest_on;

/// Section 5.2: gains over DVFS in percent, by the number of the job.
const PUBLISHED_GAINS: [(usize, f64); 2] = [(5, -8.0), (19, 29.0)];

const PROFILES: &str = "analytic profiles of a Tesla P40, request level, saturated";
const WHY: &str = "profiles are modelled from datasheets and know no dataset. In the model a small batch at the top \
                   clock already draws much of the board's power, so that a tight cap leaves sizes of 1 or 2, \
                   while a lower clock saves power at little cost; on the paper's server the device waits while a batch is \
                   prepared (its Fig. 2), which the model has no part for";

/// What a reader has to know.
pub(super) fn notes() -> Vec<String> {
    vec![
        "Throughput, power and batch size are of the whole run, the search included. The modelled power of a \
         batch is steady: no sensor noise, no spread of batch times."
            .to_owned(),
        "Fig. 5 and 6 give numbers for jobs 5 and 19 alone; other published figures are in words: most jobs \
         won, short violations while searching."
            .to_owned(),
    ]
}

/// All rows; the profiles of all but the logs are known by `basis`.
pub(super) fn all(basis: Basis, jobs: &[Job], falling: &[Recovery], logged: &[Agreement]) -> Vec<Row> {
    let mut rows = Vec::new();
    of_jobs(jobs, &mut rows);
    of_falling(falling, &mut rows);
    rest_on(basis, &mut rows);
    of_logs(logged, &mut rows);
    rows
}

/// What the paper tells of a job's gain over DVFS, in percent.
pub(super) fn published_gain(number: usize) -> Option<f64> {
    PUBLISHED_GAINS.iter().find(|(job, _)| *job == number).map(|(_, gain)| *gain)
}

fn row(figure: String, published: Option<f64>, ours: Option<f64>, unit: &str) -> Row {
    let ours = ours.filter(|value| value.is_finite());
    let (rests_on, why) = (PROFILES.to_owned(), String::new());
    Row { figure, published, ours, unit: unit.to_owned(), basis: Basis::Modelled, rests_on, why }
}

fn of_jobs(jobs: &[Job], rows: &mut Vec<Row>) {
    for job in jobs {
        let about = format!("job {} ({}, {}, {} W)", job.number, job.network, job.dataset, job.cap_watts);
        rows.push(Row {
            why: WHY.to_owned(),
            ..row(
                format!("Fig. 5, {about}: throughput of BatchSizer over DVFS"),
                published_gain(job.number),
                job.gain(),
                "%",
            )
        });
        let figure = format!("Fig. 6, {about}: mean batch size of BatchSizer");
        rows.push(row(figure, None, job.batch_sizer.batch_mean, "images"));
    }
    let won = jobs.iter().filter(|job| job.gain().is_some_and(|gain| gain > 0.0)).count();
    rows.push(row(format!("Jobs of {} that BatchSizer wins", jobs.len()), None, Some(won as f64), "jobs"));
    let gains: Vec<f64> = jobs.iter().filter_map(Job::gain).collect();
    let mean = (!gains.is_empty()).then(|| crate::traces::mean(&gains));
    rows.push(row("Gain of BatchSizer over DVFS, mean of the jobs".to_owned(), None, mean, "%"));

    let total = jobs.iter().map(|job| job.seconds).sum::<f64>();
    type Run = (&'static str, fn(&Job) -> &Of);
    let runs: [Run; 2] = [("BatchSizer", |job| &job.batch_sizer), ("DVFS", |job| &job.dvfs)];
    for (name, of) in runs {
        let over: f64 = jobs.iter().map(|job| of(job).over_cap_seconds).sum();
        let most = jobs.iter().map(|job| of(job).over_cap_seconds).fold(0.0, f64::max);
        let joules: f64 = jobs.iter().map(|job| of(job).over_cap_joules).sum();
        for (what, ours, unit) in [
            ("time over the cap, share of all jobs", over / total * 100.0, "%"),
            ("time over the cap, the longest of a job", most, "s"),
            ("energy above the cap, all jobs", joules, "J"),
        ] {
            rows.push(Row {
                why: "the paper says in words: rare, slight and short, while the search is on".to_owned(),
                ..row(format!("Fig. 7, {name}: {what}"), None, Some(ours), unit)
            });
        }
    }
    type Best = (&'static str, fn(&Job) -> &Of, fn(&Job) -> &Of);
    let bests: [Best; 3] = [
        ("BatchSizer over the best batch size", |job| &job.batch_sizer, |job| &job.best_batch),
        ("DVFS over the best clock", |job| &job.dvfs, |job| &job.best_clock),
        ("BatchSizer over the best of both knobs", |job| &job.batch_sizer, |job| &job.best_both),
    ];
    for (name, ours, best) in bests {
        let ratios = jobs.iter().map(|job| ours(job).rps / best(job).rps).filter(|ratio| ratio.is_finite());
        let ratios: Vec<f64> = ratios.collect();
        let mean = (!ratios.is_empty()).then(|| crate::traces::mean(&ratios));
        rows.push(row(format!("Throughput of {name}, mean of the jobs"), None, mean, "ratio"));
    }
    let pairs = jobs.iter().filter_map(|job| Some((job.cap_watts / job.full_watts?, job.gain()?)));
    let figure =
        "Section 5.2: rank correlation of the gain with the cap over the network's power at batch 16";
    rows.push(Row {
        why: "the paper says in words: tight caps lead to small batches and little gain".to_owned(),
        ..row(figure.to_owned(), None, rank_correlation(&pairs.collect::<Vec<_>>()), "")
    });
}

fn of_falling(falling: &[Recovery], rows: &mut Vec<Row>) {
    let [high, low, again] = CAPS_WATTS;
    for (index, policy) in POLICIES.iter().enumerate().take(2) {
        for (phase, of) in
            [("before", (|r| &r.before) as fn(&Recovery) -> &[f64; 3]), ("after", |recovery| &recovery.after)]
        {
            let ratios = falling.iter().map(|recovery| of(recovery)[index] / of(recovery)[2]);
            let ratios: Vec<f64> = ratios.filter(|ratio| ratio.is_finite()).collect();
            let mean = (!ratios.is_empty()).then(|| crate::traces::mean(&ratios));
            let least = ratios.iter().copied().reduce(f64::min);
            let about = format!("Cap {high}/{low}/{again} W, {policy}: throughput {phase} over the oracle's");
            rows.push(row(format!("{about}, mean of the networks"), None, mean, "ratio"));
            rows.push(row(format!("{about}, least of the networks"), None, least, "ratio"));
        }
    }
}

fn of_logs(logged: &[Agreement], rows: &mut Vec<Row>) {
    for log in logged {
        let name = log.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let share = |of: u32, all: u32| (all > 0).then(|| f64::from(of) / f64::from(all) * 100.0);
        let band = "the log's controller climbs up to a higher share of the cap than the paper's 80 %, \
                    and its reading lags: a row's power is the largest since its last decision";
        let mut add = |what: &str, ours: Option<f64>, unit: &str, why: &str| {
            rows.push(Row {
                basis: Basis::Measured,
                rests_on: format!(
                    "step log {name}, Tesla P40; each decision put to batch-sizer in the logged state"
                ),
                why: why.to_owned(),
                ..row(format!("Log {name}: {what}"), None, ours, unit)
            });
        };
        add("decisions that moved the batch size", Some(f64::from(log.moves)), "decisions", "");
        add("of these, ours goes the same way", share(log.same_direction, log.moves), "%", band);
        add("of these, ours goes to the same size (within 1)", share(log.same_size, log.moves), "%", band);
        let differing = f64::from(log.moves - log.same_direction);
        add("of these, ours goes another way", Some(differing), "decisions", band);
        let within = f64::from(log.up_within_band);
        add("of these, up from 80 % of the cap or more, where ours holds", Some(within), "decisions", band);
        let highest = log.highest_up.map(|share| share * 100.0);
        add("highest share of the cap from which the log went up", highest, "%", "");
        add("rows at which the log held", Some(f64::from(log.holds)), "rows", "");
        add(
            "of these, ours holds too",
            share(log.same_holds, log.holds),
            "%",
            "it holds where it has no larger size left or turns the clock instead; ours tries a larger size",
        );
        let turns = f64::from(log.clock_turns);
        add("decisions that turned the clock", Some(turns), "decisions", "ours has no such knob: left out");
    }
}
