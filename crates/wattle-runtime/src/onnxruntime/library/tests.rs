//! The library is looked for in order, and each place says why it was taken or passed over.

use std::fs;

use super::*;

fn touch(dir: &Path, name: &str) -> PathBuf {
    fs::create_dir_all(dir).unwrap();
    let path = dir.join(name);
    fs::write(&path, "").unwrap();
    path.canonicalize().unwrap()
}

#[test]
fn named_file_is_taken_or_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let good = touch(dir.path(), "libonnxruntime.so.1.27.0");
    let other = touch(dir.path(), "libonnxruntime.so.1.24.4");
    let places =
        Places { explicit: Some(good.clone()), environment: Some(other.clone()), ..Places::default() };
    let chosen = discover_in(&places).unwrap().chosen.unwrap();
    assert_eq!((chosen.path, chosen.how_found.as_str()), (good, "--ort-lib"));

    let chosen = discover_in(&Places { explicit: None, ..places.clone() }).unwrap().chosen.unwrap();
    assert_eq!((chosen.path, chosen.how_found.as_str()), (other, "ORT_DYLIB_PATH"));

    let lost = Places { explicit: Some("/nowhere/libonnxruntime.so".into()), ..places.clone() };
    let says = discover_in(&lost).unwrap_err().to_string();
    assert!(says.contains("--ort-lib names /nowhere/libonnxruntime.so"), "{says}");

    let old = touch(dir.path(), "libonnxruntime.so.1.19.2");
    let says =
        discover_in(&Places { explicit: None, environment: Some(old), ..places }).unwrap_err().to_string();
    assert!(says.contains("ORT_DYLIB_PATH") && says.contains("older than the oldest"), "{says}");
}

#[test]
fn pinned_version_is_preferred_and_old_ones_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let system = dir.path().join("lib");
    touch(&data, "libonnxruntime.so.1.19.2");
    touch(&data, "libonnxruntime_providers_shared.so");
    let newest = touch(&system, "libonnxruntime.so.1.31.1");
    let places =
        Places { data_dir: Some(data.clone()), loader_dirs: vec![system.clone()], ..Places::default() };

    let found = discover_in(&places).unwrap();
    assert_eq!(found.chosen.unwrap().path, newest);
    assert!(found.considered.iter().any(|(_, why)| why.contains("version 1.19.2, older")));

    let pinned = touch(&system, "libonnxruntime.so.1.27.0");
    assert_eq!(discover_in(&places).unwrap().chosen.unwrap().path, pinned);

    let mine = touch(&data, "libonnxruntime.so.1.24.4");
    assert_eq!(discover_in(&places).unwrap().chosen.unwrap().path, mine);
}

#[test]
fn nothing_found_says_where_it_looked() {
    let dir = tempfile::tempdir().unwrap();
    let places = Places {
        data_dir: Some(dir.path().join("none")),
        python: Some(dir.path().join("python3")),
        loader_dirs: vec![dir.path().to_owned()],
        ..Places::default()
    };
    let found = discover_in(&places).unwrap();
    assert_eq!(found.chosen, None);
    assert_eq!(found.considered.len(), 5);
}

#[test]
fn versions_are_read_from_file_names() {
    let version = |name| version_in_name(name).map(|version| version.to_string());
    assert_eq!(version("libonnxruntime.so.1.27.0").as_deref(), Some("1.27.0"));
    assert_eq!(version("libonnxruntime.1.27.1.dylib").as_deref(), Some("1.27.1"));
    assert_eq!(version("libonnxruntime.so"), None);
    assert!(Version::parse("1.29.0").unwrap().may_carry_telemetry());
    assert!(!Version::parse("1.28.3").unwrap().may_carry_telemetry());
}
