//! Layout, sameness, and what is left alone.

use super::*;
use crate::report::example::written;

/// All files below `folder` with what is in them, by name.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().replace('\\', "/");
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn names(folder: &Path) -> Vec<String> {
    files(folder).into_iter().map(|file| file.0).collect()
}

fn text<'a>(files: &'a [(String, String)], name: &str) -> &'a str {
    &files.iter().find(|file| file.0 == name).unwrap().1
}

#[test]
fn a_folder_has_its_files_and_those_of_each_run_the_same_each_time() {
    let place = tempfile::tempdir().unwrap();
    let (first, second) = (place.path().join("new/one"), place.path().join("two"));
    fs::create_dir(&second).unwrap();
    write(&first, &written(&["fixed", "combination"], &[1, 2]), false).unwrap();
    write(&second, &written(&["fixed", "combination"], &[1, 2]), false).unwrap();
    let found = files(&first);
    assert!(found == files(&second));
    assert_eq!(names(place.path()).len(), 2 * (3 + 4 * 3), "nothing is left beside the folders");
    for name in ["metadata.json", "summary.json", "report.html", "runs/combination-seed2/decisions.jsonl"] {
        assert!(!text(&found, name).is_empty(), "{name}");
    }
    let rows = text(&found, "runs/fixed-seed1/timeseries.csv");
    assert!(rows.starts_with("seconds,power_watts,power_watts_max,power_cap_watts,"), "{rows}");
    assert_eq!(rows.lines().count(), 241);
    let runs: serde_json::Value = serde_json::from_str(text(&found, "summary.json")).unwrap();
    let one: serde_json::Value = serde_json::from_str(text(&found, "runs/fixed-seed1/summary.json")).unwrap();
    assert_eq!(runs["runs"][0], one);
    assert_eq!(runs["runs"].as_array().unwrap().len(), 4);
    for line in text(&found, "runs/combination-seed1/decisions.jsonl").lines() {
        let told: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(told["because"].is_array(), "{line}");
    }
}

#[test]
fn the_metadata_names_what_was_run_and_no_folder_of_the_machine() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("run");
    let mut run = written(&["fixed", "combination"], &[7]);
    let hash = run.inputs[0].sha256.clone();
    for path in ["traces/cap.csv", "/home/someone/profile.csv"] {
        run.inputs.push(InputFile { path: path.into(), sha256: "00".into() });
    }
    write(&folder, &run, false).unwrap();
    let found = files(&folder);
    let metadata: serde_json::Value = serde_json::from_str(text(&found, "metadata.json")).unwrap();
    assert_eq!(metadata["format_version"], 1);
    assert_eq!(metadata["wattle_version"], "0.0.0-test");
    assert_eq!(metadata["policies"], serde_json::json!(["fixed", "combination"]));
    assert_eq!(metadata["seeds"], serde_json::json!([7]));
    assert_eq!(metadata["inputs"][0], serde_json::json!({"path": "scenario.toml", "sha256": hash}));
    assert_eq!(metadata["inputs"][1]["path"], "traces/cap.csv");
    assert_eq!(metadata["inputs"][2]["path"], "profile.csv");
    let machine = place.path().display().to_string();
    for (name, text) in &found {
        let tells = ["/home/someone", "some/where", &machine].iter().any(|told| text.contains(told));
        assert!(!tells, "{name}");
    }
}

#[test]
fn a_folder_that_is_not_empty_is_refused_unless_told() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("run");
    write(&folder, &written(&["fixed", "combination"], &[1]), false).unwrap();
    fs::write(folder.join("notes.txt"), "mine").unwrap();
    fs::write(folder.join("runs/fixed-seed1/notes.txt"), "mine too").unwrap();
    let before = files(&folder);
    let error = write(&folder, &written(&["combination"], &[2]), false).unwrap_err();
    assert!(matches!(error, RunFolderError::NotEmpty { .. }), "{error}");
    assert!(error.to_string().contains("is not empty; name another folder"), "{error}");
    assert!(files(&folder) == before);
    write(&folder, &written(&["combination"], &[2]), true).unwrap();
    let mine = ["notes.txt", "runs/fixed-seed1/notes.txt"].map(str::to_owned);
    let run = |file: &str| format!("runs/combination-seed2/{file}");
    let mut expected: Vec<String> = mine.to_vec();
    expected.extend(FILES.map(String::from));
    expected.extend(RUN_FILES.map(run));
    expected.sort();
    assert_eq!(names(&folder), expected);
    assert_eq!(text(&files(&folder), "notes.txt"), "mine");
    assert!(!folder.join("runs/combination-seed1").exists());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn a_file_in_the_way_is_an_error_that_names_it() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("run");
    fs::write(&file, "mine").unwrap();
    let error = write(&file, &written(&["fixed"], &[1]), true).unwrap_err().to_string();
    assert!(error.contains("run: "), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn labels_become_names_that_any_system_takes_and_no_two_are_one() {
    let mut run = written(&["fixed"], &[1]).runs.remove(0);
    let labels = ["fixed", "Fixed", "../../etc/passwd", "a b:c", "...", "", "fixed", "größe"];
    let runs: Vec<Outcome> = labels
        .map(|label| {
            run.summary.label = label.into();
            run.clone()
        })
        .to_vec();
    let expected = [
        "fixed-seed1",
        "Fixed-seed1-2",
        "etc-passwd-seed1",
        "a-b-c-seed1",
        "run-seed1",
        "run-seed1-2",
        "fixed-seed1-3",
        "gr--e-seed1",
    ];
    assert_eq!(folder_names(&runs), expected);
    let place = tempfile::tempdir().unwrap();
    write(place.path(), &Written { runs, ..written(&[], &[]) }, false).unwrap();
    assert_eq!(fs::read_dir(place.path().join("runs")).unwrap().count(), expected.len());
}

#[test]
fn what_is_unknown_or_no_number_is_an_empty_cell() {
    let mut point = written(&["fixed"], &[1]).runs[0].points[0].clone();
    point.seconds = 0.25;
    point.power_watts = f64::NAN;
    point.offered_rps = f64::INFINITY;
    point.power_cap_watts = None;
    point.variant = Some("nan".into());
    let rows = timeseries(&[point]).unwrap();
    let cells: Vec<&str> = rows.lines().nth(1).unwrap().split(',').collect();
    assert_eq!([cells[0], cells[1], cells[3], cells[5]], ["0.25", "", "", ""]);
    assert_eq!(cells.last(), Some(&"nan"));
    assert_eq!(timeseries(&[]).unwrap(), "");
}

#[test]
fn a_failure_while_replacing_loses_no_earlier_run() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("run");
    write(&folder, &written(&["fixed"], &[1]), false).unwrap();
    let before = files(&folder);
    // A folder in the way of the new report.
    fs::remove_file(folder.join("report.html")).unwrap();
    fs::create_dir_all(folder.join("report.html/mine")).unwrap();
    assert!(write(&folder, &written(&["combination"], &[2]), true).is_err());
    for name in RUN_FILES.map(|file| format!("runs/fixed-seed1/{file}")) {
        assert_eq!(text(&files(&folder), &name), text(&before, &name));
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn the_same_run_again_replaces_itself() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("run");
    write(&folder, &written(&["fixed"], &[1]), false).unwrap();
    let before = files(&folder);
    fs::write(folder.join("runs/fixed-seed1/summary.json"), "old").unwrap();
    write(&folder, &written(&["fixed"], &[1]), true).unwrap();
    assert!(files(&folder) == before);
}

#[test]
fn files_are_written_beside_their_place_and_leave_others_alone() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("new");
    write_files(&folder, &[("a.json", "1".into()), ("b.html", "2".into())]).unwrap();
    fs::write(folder.join("notes.txt"), "mine").unwrap();
    write_files(&folder, &[("a.json", "3".into())]).unwrap();
    assert_eq!(names(&folder), ["a.json", "b.html", "notes.txt"]);
    assert_eq!(text(&files(&folder), "a.json"), "3");
    fs::create_dir_all(folder.join("c.json/mine")).unwrap();
    assert!(write_files(&folder, &[("c.json", "4".into())]).is_err());
    assert!(!names(&folder).iter().any(|name| name.contains("partial")));
}
