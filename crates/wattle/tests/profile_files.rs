//! Runs `wattle profile show`, `merge`, `diff` and `plot` as a user would, on small files.

#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const HEAD: &str = "\
# wattle_profile = 1
# model = \"digits\"
# device = \"2 cores\"
# runtime = \"rten 0.27\"
# idle_power_watts = 5
# power_source = \"RAPL package-0\"
# created = \"2026-05-31T12:00:00Z\"
";
const COLUMNS: &str = "\
batch_size,instances,throughput_rps,latency_ms_mean,latency_ms_p99,power_watts_mean,power_watts_max,basis,power_basis,\
samples,windows,throughput_rps_ci95,power_watts_ci95
";
const ROWS: &str = "\
1,1,100,10,12,10,11,measured,measured,300,3,1,0.1
2,1,160,12.5,15,12,13,measured,measured,240,3,2,0.1
4,1,250,16,20,15,16,measured,measured,190,3,2,0.2
1,2,190,10.5,14,16,18,measured,measured,570,3,2,0.2
4,2,480,16.6,22,,,measured,assumed,360,3,4,
";

/// A folder with `a.csv`, and `b.csv` of what `change` makes of it.
fn folder(change: impl Fn(&str) -> String) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{HEAD}{COLUMNS}{ROWS}");
    std::fs::write(folder.path().join("a.csv"), &text).unwrap();
    std::fs::write(folder.path().join("b.csv"), change(&text)).unwrap();
    folder
}

fn profile(folder: &tempfile::TempDir, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wattle"));
    command.arg("profile").args(args).current_dir(folder.path()).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", refused(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

const SHOWN: &str = "\
a.csv
  model             digits
  device            2 cores
  runtime           rten 0.27
  power             RAPL package-0
  idle power        5.000 W
  created           2026-05-31T12:00:00Z

5 rows: time figures 5 measured; power figures 4 measured, 1 unknown
  batch_size        1, 2, 4
  instances         1, 2

Best points (highest power counts, latency up to 20 ms)
for                        rows/s  latency ms  W mean  W max    J/row  known     point
most throughput             250.0       20.00   15.00  16.00  0.06000  measured  batch_size=4 instances=1
least energy per row        250.0       20.00   15.00  16.00  0.06000  measured  batch_size=4 instances=1
least power                 100.0       12.00   10.00  11.00   0.1000  measured  batch_size=1 instances=1
shortest latency            100.0       12.00   10.00  11.00   0.1000  measured  batch_size=1 instances=1
most under 14 W             160.0       15.00   12.00  13.00  0.07500  measured  batch_size=2 instances=1
least power at 150 rows/s   250.0       20.00   11.00  16.00  0.07333  measured  batch_size=4 instances=1
At 150 rows/s, W mean and J/row are modelled: idle in between

Pareto front of power and throughput: 3 of 5 rows
#  rows/s  latency ms  W mean  W max    J/row  known     point
1   100.0       12.00   10.00  11.00   0.1000  measured  batch_size=1 instances=1
2   160.0       15.00   12.00  13.00  0.07500  measured  batch_size=2 instances=1
3   250.0       20.00   15.00  16.00  0.06000  measured  batch_size=4 instances=1

Predicted from the others: 1 of 5 rows; 4 lie at the border, beyond which nothing is predicted
off by        rows  median %  p90 %  worst %
throughput       1     1.179  1.179    1.179
power            1     2.050  2.050    2.050
mean latency     1     1.193  1.193    1.193
";

#[test]
fn show_tells_the_head_the_ranges_the_best_points_and_the_front() {
    let folder = folder(str::to_owned);
    let args = ["show", "a.csv", "--cap", "14", "--load", "150", "--latency-ms", "20"];
    assert_eq!(said(&profile(&folder, &args)), SHOWN);
}

#[test]
fn show_as_json_has_the_same_figures() {
    let folder = folder(str::to_owned);
    let args = ["show", "a.csv", "b.csv", "--cap", "14", "--power", "mean", "--json"];
    let told: Value = serde_json::from_str(&said(&profile(&folder, &args))).unwrap();
    assert_eq!(told["profiles"].as_array().unwrap().len(), 2);
    let one = &told["profiles"][0];
    assert_eq!((&one["rows"], &one["power_figures"]["unknown"]), (&5.into(), &1.into()));
    assert_eq!(one["knobs"]["batch_size"], serde_json::json!([1.0, 2.0, 4.0]));
    assert_eq!(one["head"]["driver"], Value::Null);
    let best = one["best"].as_array().unwrap();
    let capped = best.iter().find(|best| best["question"] == "most under 14 W").unwrap();
    assert_eq!(capped["row"]["point"]["batch_size"], 2);
    assert_eq!(one["leave_one_out"]["predicted"], 1);
}

#[test]
fn power_at_a_load_is_not_told_as_a_mean_where_no_mean_is_known() {
    let folder = folder(|text| text.replace("4,1,250,16,20,15,16,", "4,1,250,16,20,,16,"));
    let told = said(&profile(&folder, &["show", "b.csv", "--load", "240"]));
    let line = "At 240 rows/s, W mean and J/row are at most so much: a higher figure stands in for the mean";
    assert!(told.contains(line), "{told}");
}

#[test]
fn diff_tells_what_differs_without_a_ratio() {
    let folder = folder(|text| text.replace("4,2,480,16.6,22,,,measured", "4,2,480,16.6,22,,17,modelled"));
    let told = said(&profile(&folder, &["diff", "a.csv", "b.csv"]));
    let line = "other columns differ at 1 of the points: basis, power_watts_max; --json tells where";
    assert!(told.contains(line), "{told}");
}

const DIFFERENT: &str = "\
A a.csv
B b.csv

head     A          B
runtime  rten 0.27  rten 0.28

B/A at                    throughput_rps  latency_ms_mean  latency_ms_p99  power_watts_mean  power_watts_max  energy_joules_per_row
batch_size=1 instances=1  0.900*          1.100            1.083           1.010~            1.000            1.122*
batch_size=4 instances=1  1.004~          1.000            0.950           1.000~            1.000            0.996~
batch_size=1 instances=2  1.000~          1.000            1.000           1.000~            1.000            1.000~
batch_size=4 instances=2  1.000~          1.000            1.000                          -                -                      -

only in A: batch_size=2 instances=1

only in B: batch_size=8 instances=1

figure                 points  median B/A  worst B/A  beyond chance  worst at
throughput_rps              4       1.000      0.900  1 of 4         batch_size=1 instances=1
latency_ms_mean             4       1.000      1.100  unknown        batch_size=1 instances=1
latency_ms_p99              4       1.000      1.083  unknown        batch_size=1 instances=1
power_watts_mean            3       1.000      1.010  0 of 3         batch_size=1 instances=1
power_watts_max             3       1.000      1.000  unknown        batch_size=1 instances=1
energy_joules_per_row       3       1.000      1.122  1 of 3         batch_size=1 instances=1
";

#[test]
fn diff_tells_heads_ratios_and_what_chance_explains() {
    let folder = folder(|text| {
        let text = text.replace("rten 0.27", "rten 0.28").replace("1,1,100,10,12,10,", "1,1,90,11,13,10.1,");
        text.replace("4,1,250,16,20,15,", "4,1,251,16,19,15,").replace("2,1,160", "8,1,160")
    });
    assert_eq!(said(&profile(&folder, &["diff", "a.csv", "b.csv"])), DIFFERENT);
    let told: Value =
        serde_json::from_str(&said(&profile(&folder, &["diff", "a.csv", "b.csv", "--json"]))).unwrap();
    assert_eq!(told["diff"]["summary"][0]["worst_ratio"], 0.9);
}

#[test]
fn a_profile_does_not_differ_from_itself() {
    let folder = folder(str::to_owned);
    let args = ["diff", "a.csv", "b.csv", "--fail-over", "0.001"];
    assert_eq!(said(&profile(&folder, &args)), "A a.csv\nB b.csv\nno difference\n");
}

#[test]
fn diff_fails_over_a_bound_only_where_it_is_worse_and_more_than_chance() {
    let folder = folder(|text| text.replace("1,1,100,10,12", "1,1,90,10,12"));
    let worse = profile(&folder, &["diff", "a.csv", "b.csv", "--fail-over", "5"]);
    assert_eq!(worse.status.code(), Some(1));
    assert!(
        refused(&worse).contains(
            "2 figures are worse by more than 5 %: the worst is energy_joules_per_row at batch_size=1 instances=1, \
             0.1000 in a.csv and 0.1111 in b.csv"
        ),
        "{}",
        refused(&worse)
    );
    assert!(profile(&folder, &["diff", "a.csv", "b.csv", "--fail-over", "12"]).status.success());
    assert!(profile(&folder, &["diff", "b.csv", "a.csv", "--fail-over", "5"]).status.success(), "better");
    // Within the confidence intervals it is no difference.
    std::fs::write(
        folder.path().join("c.csv"),
        read(folder.path().join("a.csv")).replace("250,16", "249,16"),
    )
    .unwrap();
    assert!(profile(&folder, &["diff", "a.csv", "c.csv", "--fail-over", "0.3"]).status.success());
}

#[test]
fn diff_does_not_pass_where_there_was_nothing_to_compare() {
    let folder =
        folder(|text| format!("{HEAD}{COLUMNS}{}", text.lines().last().unwrap().replace("4,2,", "9,9,")));
    let nothing = profile(&folder, &["diff", "a.csv", "b.csv", "--fail-over", "5"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(refused(&nothing).contains("no figure of a point in common"), "{}", refused(&nothing));
    std::fs::write(
        folder.path().join("c.csv"),
        read(folder.path().join("a.csv")).replace("digits", "letters"),
    )
    .unwrap();
    let other = profile(&folder, &["diff", "a.csv", "c.csv", "--fail-over", "5"]);
    assert_eq!(other.status.code(), Some(3));
    assert!(refused(&other).contains("expected the same model"), "{}", refused(&other));
}

#[test]
fn merge_writes_all_points_and_never_over_a_file_unasked() {
    let folder = folder(|text| text.replace("2,1,160,", "8,1,400,").replace("05-31", "06-01"));
    let told = said(&profile(&folder, &["merge", "a.csv", "b.csv", "-o", "made/m.csv"]));
    assert!(told.starts_with("wrote made/m.csv (6 rows; 0 in several files"), "{told}");
    let made = read(folder.path().join("made/m.csv"));
    assert!(made.contains("# created = \"2026-06-01T12:00:00Z\""), "{made}");
    assert!(
        made.contains(
            "Merged from a.csv (created 2026-05-31T12:00:00Z), b.csv (created 2026-06-01T12:00:00Z)."
        )
    );
    assert!(
        said(&profile(&folder, &["diff", "made/m.csv", "a.csv"]))
            .contains("only in A: batch_size=8 instances=1")
    );

    let again = profile(&folder, &["merge", "a.csv", "-o", "made/m.csv"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(refused(&again).contains("is there already") && refused(&again).contains("--force"));
    assert_eq!(read(folder.path().join("made/m.csv")), made);
    let told = said(&profile(&folder, &["merge", "a.csv", "a.csv", "-o", "made/m.csv", "--force", "--json"]));
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["rows"], &told["shared_points"]), (&5.into(), &0.into()));
    assert!(said(&profile(&folder, &["diff", "made/m.csv", "a.csv"])).contains("no difference"));
}

#[test]
fn merge_refuses_what_is_not_comparable_unless_told_to_go_on() {
    let folder = folder(|text| text.replace("2 cores", "4 cores").replace("4,1,250,", "4,1,260,"));
    let other = profile(&folder, &["merge", "a.csv", "b.csv", "-o", "m.csv"]);
    assert_eq!(other.status.code(), Some(3));
    assert!(
        refused(&other)
            .contains("b.csv, key \"device\": found \"4 cores\", expected \"2 cores\" as in a.csv"),
        "{}",
        refused(&other)
    );
    assert!(!folder.path().join("m.csv").exists());
    let told = said(&profile(&folder, &["merge", "a.csv", "b.csv", "-o", "m.csv", "--anyway"]));
    assert!(
        told.starts_with("merged although device is \"2 cores\" in a.csv and \"4 cores\" in b.csv."),
        "{told}"
    );
    let made = read(folder.path().join("m.csv"));
    assert!(
        made.contains("# device = \"2 cores; 4 cores\"") && made.contains("Merged although they differ"),
        "{made}"
    );
    assert!(made.contains("\n4,1,,,,,,,255,"), "{made}");

    let first = said(&profile(
        &folder,
        &["merge", "b.csv", "a.csv", "-o", "f.csv", "--anyway", "--prefer", "first", "--json"],
    ));
    assert!(first.contains("\"shared_points\":1"), "{first}");
    assert!(read(folder.path().join("f.csv")).contains("\n4,1,,,,,,,260,"));
    let undated = read(folder.path().join("a.csv")).replace("# created = \"2026-05-31T12:00:00Z\"\n", "");
    std::fs::write(folder.path().join("u.csv"), undated).unwrap();
    let newest = profile(&folder, &["merge", "a.csv", "u.csv", "-o", "n.csv", "--prefer", "newest"]);
    assert_eq!(newest.status.code(), Some(3));
    assert!(
        refused(&newest).contains("u.csv, key \"created\": found nothing (unknown)"),
        "{}",
        refused(&newest)
    );
}

#[test]
fn plot_writes_one_page_and_each_plot_on_its_own() {
    let folder = folder(str::to_owned);
    let told = said(&profile(&folder, &["plot", "a.csv", "-o", "p.html", "--svg", "svg", "--cap", "14"]));
    assert!(told.starts_with("wrote p.html ("), "{told}");
    let page = read(folder.path().join("p.html"));
    for outside in ["http://", "https://", "<script", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let plots = std::fs::read_dir(folder.path().join("svg")).unwrap().count();
    assert_eq!(page.matches("<svg").count(), plots);
    assert!(read(folder.path().join("svg/front.svg")).contains("14 W"));
    let again = profile(&folder, &["plot", "a.csv", "-o", "p.html"]);
    assert!(refused(&again).contains("p.html is there already"), "{}", refused(&again));
    let again = profile(&folder, &["plot", "a.csv", "-o", "q.html", "--svg", "svg"]);
    assert!(refused(&again).contains("is there already") && !folder.path().join("q.html").exists());
}

#[test]
fn plot_refuses_knobs_and_values_that_are_not_there() {
    let folder = folder(str::to_owned);
    let fails = |args: &[&str], code: i32, expected: &str| {
        let output = profile(&folder, &[&["plot", "a.csv", "-o", "p.html"], args].concat());
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert!(refused(&output).contains(expected), "{args:?}: {}", refused(&output));
    };
    fails(&["--x", "batchsize"], 2, "did you mean \"batch_size\"?");
    fails(&["--at", "instances"], 2, "expected KNOB=VALUE");
    fails(&["--at", "instances=many"], 2, "expected a number for instances");
    fails(&["--cap", "0"], 2, "expected a number over 0");
    fails(&["--x", "instances", "--y", "instances"], 3, "found instances both along and up");
    fails(&["--x", "partition"], 3, "those with several are: batch_size, instances");
    fails(&["--at", "instances=3"], 3, "found no row at instances=3, expected one of: 1, 2");
    assert!(!folder.path().join("p.html").exists());
}

#[test]
fn a_file_that_is_no_profile_is_refused_by_every_one() {
    let folder = folder(|_| "no profile".into());
    for args in [
        &["show", "b.csv"][..],
        &["merge", "a.csv", "b.csv", "-o", "m.csv"],
        &["diff", "a.csv", "b.csv"],
        &["plot", "b.csv", "-o", "p.html"],
    ] {
        let output = profile(&folder, args);
        assert_eq!(output.status.code(), Some(3), "{args:?}");
        assert!(
            refused(&output).contains("b.csv, line 1, key \"wattle_profile\": found no such key"),
            "{args:?}"
        );
    }
    let missing = profile(&folder, &["show", "nowhere.csv"]);
    assert!(refused(&missing).contains("failed to read the profile nowhere.csv"), "{}", refused(&missing));
}
