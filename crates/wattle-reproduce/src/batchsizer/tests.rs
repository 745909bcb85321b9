//! Claims about the experiment.

use super::jobs::rank_correlation;
use super::*;

#[test]
fn a_small_run_gives_every_row_once_and_the_same_each_time() {
    let scale = Scale { jobs: 5, job_seconds: 3.0, networks: 3, cap_seconds: 4.0 };
    let options = Options { data: None, threads: 2 };
    let run = || run_at(&scale, &options, &|_| ()).unwrap();
    let first = run();
    assert_eq!(first, run());
    let mut figures: Vec<&str> = first.rows.iter().map(|row| row.figure.as_str()).collect();
    figures.sort_unstable();
    let all = figures.len();
    figures.dedup();
    assert_eq!(figures.len(), all, "a figure twice");
    let of_jobs = figures.iter().filter(|figure| figure.starts_with("Fig. 5, job")).count();
    assert_eq!(of_jobs, 5);
    let fifth = first.rows.iter().find(|row| row.figure.starts_with("Fig. 5, job 5"));
    assert_eq!(fifth.and_then(|row| row.published), Some(-8.0));
    assert!(first.rows.iter().all(|row| row.ours.is_some()));
    assert_eq!(first.plots.len(), 2);
}

#[test]
fn the_printed_search_stays_below_the_recovering_one_once_the_cap_rose() {
    let scale = Scale { networks: 3, cap_seconds: 10.0, ..Scale::FULL };
    for recovery in falling::run(&scale, 2).unwrap() {
        let [printed, ours, best] = recovery.after;
        assert!(printed < 0.8 * ours, "{}: {printed} {ours}", recovery.network);
        // A search that is over the cap for a moment serves a little more than the best within it.
        assert!(ours <= best * 1.01, "{}: {ours} {best}", recovery.network);
        assert!(ours >= 0.99 * recovery.before[1], "{}: it doesn't come back", recovery.network);
    }
}

#[test]
fn a_folder_without_logs_is_noted_and_a_log_that_is_none_is_an_error() {
    let mut notes = Vec::new();
    let folder = std::env::temp_dir().join(format!("wattle-no-logs-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("within")).unwrap();
    assert_eq!(logged::run(&folder, &mut notes).unwrap(), Vec::new());
    assert!(notes[0].contains("_BatchDVFS.csv"), "{notes:?}");
    std::fs::write(folder.join("within/a_BatchDVFS.csv"), "no log").unwrap();
    let error = logged::run(&folder, &mut notes).unwrap_err().to_string();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(error.contains("a_BatchDVFS.csv") && error.contains("expected"), "{error}");
}

#[test]
fn logged_decisions_and_ours_mostly_agree_and_the_band_explains_most_of_the_rest() {
    let Some(folder) = std::env::var_os("WATTLE_DATA") else {
        println!("passed over: WATTLE_DATA names no folder of published files");
        return;
    };
    for log in logged::run(std::path::Path::new(&folder), &mut Vec::new()).unwrap() {
        assert!(log.moves >= 20 && log.same_direction * 10 >= log.moves * 7, "{log:?}");
        assert!(log.moves - log.same_direction - log.up_within_band <= 2, "{log:?}");
    }
}

#[test]
fn ranks_correlate_fully_in_one_order_and_not_at_all_where_all_are_alike() {
    assert_eq!(rank_correlation(&[(1.0, 10.0), (2.0, 100.0), (3.0, 101.0)]), Some(1.0));
    assert_eq!(rank_correlation(&[(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]), Some(-1.0));
    assert_eq!(rank_correlation(&[(1.0, 3.0), (2.0, 3.0), (3.0, 3.0)]), None);
    assert_eq!(rank_correlation(&[(1.0, 3.0)]), None);
}
