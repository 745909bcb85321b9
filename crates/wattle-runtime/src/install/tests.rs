//! The wheel is checked, unpacked whole or not at all, and what fails says what to do.

#![cfg(unix)] // a shell script stands in for Python

use std::os::unix::fs::PermissionsExt;

use zip::write::SimpleFileOptions;

use super::*;

/// A wheel that holds `members`, and a Python that "downloads" it.
fn machine(dir: &Path, members: &[(&str, &str)]) -> Install {
    let wheel = dir.join("onnxruntime-1.27.0-any.whl");
    let mut archive = zip::ZipWriter::new(File::create(&wheel).unwrap());
    for (name, text) in members {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    archive.finish().unwrap();
    let script = format!("while [ \"$1\" != -d ]; do shift; done; cp '{}' \"$2\"", wheel.display());
    Install {
        data_dir: dir.join("data/wattle"),
        python: python(dir, &script),
        arch: "x86_64".to_owned(),
        sha256: Some(sha256(&wheel).unwrap()),
    }
}

fn python(dir: &Path, script: &str) -> PathBuf {
    let path = dir.join("python3");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

const LIBRARY: (&str, &str) = ("onnxruntime/capi/libonnxruntime.so.1.27.0", "machine code");

#[test]
fn library_of_the_wheel_is_installed_alone() {
    let dir = tempfile::tempdir().unwrap();
    let install = machine(dir.path(), &[("onnxruntime/__init__.py", ""), LIBRARY]);
    for _ in 0..2 {
        let installed = install.run().unwrap();
        assert_eq!(installed.library, install.data_dir.join("libonnxruntime.so.1.27.0"));
        assert_eq!((installed.bytes, installed.verified), (12, true));
        assert_eq!(fs::read_to_string(&installed.library).unwrap(), "machine code");
        assert_eq!(fs::read_dir(&install.data_dir).unwrap().count(), 1);
    }
}

#[test]
fn altered_wheel_installs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut install = machine(dir.path(), &[LIBRARY]);
    install.sha256 = Some(PINNED_WHEELS[0].1.to_owned());
    let says = install.run().unwrap_err().to_string();
    assert!(says.contains("expected 7c65a7438632"), "{says}");
    assert!(!install.data_dir.exists());
}

#[test]
fn failures_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let empty = machine(dir.path(), &[("onnxruntime/__init__.py", "")]);
    assert!(empty.run().unwrap_err().to_string().contains("holds no libonnxruntime.so"));

    let mut install = machine(dir.path(), &[LIBRARY]);
    install.python = python(dir.path(), "echo 'No module named pip' >&2; exit 1");
    let says = install.run().unwrap_err().to_string();
    assert!(says.contains("No module named pip") && says.contains("--ort-lib"), "{says}");

    install.python = dir.path().join("no-python");
    let says = install.run().unwrap_err().to_string();
    assert!(says.contains("install Python with pip"), "{says}");
}
