//! Leases are kept whole, and by one process at a time.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn lease() -> Lease {
    let state = KnobState([("policy0".to_owned(), "2400000".to_owned())].into());
    Lease::new("gpu:0/1".into(), "made \"up\"".into(), [(DeviceKnob::CoreClock, state)].into())
}

fn folder() -> (tempfile::TempDir, LeaseFolder) {
    let temp = tempfile::tempdir().unwrap();
    let folder = LeaseFolder::open(temp.path().join("a/b")).unwrap();
    (temp, folder)
}

#[test]
fn a_lease_is_written_read_and_removed() {
    let (_temp, folder) = folder();
    let hold = folder.hold(&"gpu:0/1".into()).unwrap();
    hold.write(&lease()).unwrap();
    assert_eq!(folder.files().unwrap(), [folder.path().join("gpu:0_1.lease.toml")]);
    assert_eq!(Lease::read(hold.file()).unwrap(), lease());
    let of = || folder.of(&"gpu:0/1".into()).unwrap();
    assert_eq!(of(), Some((lease(), true)));
    assert!(!lease().is_of_earlier_boot());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(folder.path()), mode(hold.file())), (0o700, 0o600));
    drop(hold);
    assert_eq!(of(), Some((lease(), false)));
    let hold = folder.hold(&"gpu:0/1".into()).unwrap();
    hold.remove().unwrap();
    hold.remove().unwrap();
    assert_eq!(of(), None);
    assert!(folder.files().unwrap().is_empty());
}

#[test]
fn a_device_that_is_held_names_who_holds_it_and_is_free_afterwards() {
    let (_temp, folder) = folder();
    let device = "cpu".into();
    let hold = folder.hold(&device).unwrap();
    let error = folder.hold(&device).unwrap_err().to_string();
    let pid = std::process::id();
    assert!(error.starts_with(&format!("cpu is held by process {pid}, and one process")), "{error}");
    folder.hold(&"other".into()).unwrap();
    drop(hold);
    folder.hold(&device).unwrap();
}

#[test]
fn what_is_no_lease_names_the_file_and_what_was_found() {
    let (_temp, folder) = folder();
    let hold = folder.hold(&"cpu".into()).unwrap();
    let good = toml::to_string(&lease()).unwrap();
    for (text, expected) in [
        (String::new(), "missing field `wattle_lease`"),
        (good.replace("wattle_lease = 1", "wattle_lease = 7"), "wattle_lease = 7, expected 1"),
        (good.replace("pid =", "pit ="), "unknown field `pit`"),
        (good.replace("core_clock", "core_cluck"), "unknown variant `core_cluck`"),
        (good.chars().take(40).collect(), "TOML parse error"),
    ] {
        fs::write(hold.file(), &text).unwrap();
        let error = Lease::read(hold.file()).unwrap_err().to_string();
        assert!(error.contains("cpu.lease.toml is no lease: "), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    fs::write(hold.file(), [0xff, 0xfe]).unwrap();
    assert!(matches!(Lease::read(hold.file()), Err(LeaseError::Corrupt { .. })));
}

#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    let (_temp, folder) = folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o770)).unwrap();
    let error = LeaseFolder::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("others may write to it (mode 770, expected 700)"), "{error}");
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = LeaseFolder::open(file).unwrap_err().to_string();
    assert!(error.contains("it is not a folder"), "{error}");
}
