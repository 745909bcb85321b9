//! Whether this process may turn the knobs of an NVIDIA GPU, told without turning one.
//!
//! NVIDIA's kernel module asks the kernel for `CAP_SYS_ADMIN` in the first user namespace before it
//! changes anything. Both can be seen in `/proc`.

use std::fs;
use std::path::Path;

use super::error::GRANT;
use crate::device::Access;

/// The bit of `CAP_SYS_ADMIN` in a capability mask (`linux/capability.h`).
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// The link of `/proc/self/ns/pid` in the first PID namespace (`PROC_PID_INIT_INO` in `linux/proc_ns.h`).
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Whether this process may write to the driver, by what stands in `proc`, usually `/proc`.
pub(super) fn may_write(proc: &Path) -> Access<()> {
    let status = proc.join("self/status");
    let text = match fs::read_to_string(&status) {
        Ok(text) => text,
        Err(error) => {
            return Access::Failed { because: format!("failed to read {}: {error}", status.display()) };
        }
    };
    let mask = text.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(mask) = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()) else {
        let because = format!("{} has no line CapEff with a hexadecimal mask", status.display());
        return Access::Failed { because };
    };
    if mask & CAP_SYS_ADMIN == 0 {
        let because = "this process lacks CAP_SYS_ADMIN, which NVIDIA's driver asks for".into();
        return Access::Denied { because, fix: GRANT.into() };
    }
    // A map that is missing (a kernel without user namespaces) keeps nothing from us.
    let map = fs::read_to_string(proc.join("self/uid_map")).unwrap_or_default();
    let fields: Vec<_> = map.split_whitespace().collect();
    if fields.is_empty() || fields == ["0", "0", "4294967295"] {
        return Access::Here(());
    }
    Access::Denied {
        because: "CAP_SYS_ADMIN holds in this user namespace only, and NVIDIA's driver asks the first one"
            .into(),
        fix: format!("leave the user namespace (rootless container), then {GRANT}"),
    }
}

/// Whether processes have the same numbers here as for the driver, which tells those of the first PID
/// namespace.
pub(super) fn sees_driver_pids(proc: &Path) -> bool {
    fs::read_link(proc.join("self/ns/pid")).is_ok_and(|link| link == Path::new(FIRST_PID_NAMESPACE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proc_with(status: &str, uid_map: &str) -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        fs::create_dir(proc.path().join("self")).unwrap();
        fs::write(proc.path().join("self/status"), status).unwrap();
        fs::write(proc.path().join("self/uid_map"), uid_map).unwrap();
        proc
    }

    #[test]
    fn root_may_write_and_others_are_told_what_they_lack() {
        let first = "         0          0 4294967295\n";
        let root = proc_with("Name:\tx\nCapEff:\t000001ffffffffff\n", first);
        assert_eq!(may_write(root.path()), Access::Here(()));
        // Docker's default set, which lacks CAP_SYS_ADMIN.
        let container = proc_with("CapEff:\t00000000a80425fb\n", first);
        let Access::Denied { because, fix } = may_write(container.path()) else { panic!("may not write") };
        assert!(because.contains("CAP_SYS_ADMIN") && fix.contains("--cap-add SYS_ADMIN"), "{because} {fix}");
        let rootless = proc_with("CapEff:\t000001ffffffffff\n", "0 1000 1\n");
        assert!(matches!(may_write(rootless.path()), Access::Denied { .. }));
        let odd = proc_with("CapEff:\tx\n", first);
        assert!(matches!(may_write(odd.path()), Access::Failed { .. }));
        assert!(matches!(may_write(&odd.path().join("none")), Access::Failed { .. }));
    }
}
