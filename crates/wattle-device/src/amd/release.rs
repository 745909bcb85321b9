//! Which releases of AMD SMI there are: where they lie, and what they call themselves.

use std::path::{Path, PathBuf};

/// How the structures of the library are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abi {
    V24,
    V25,
    V26,
}

/// One release of the library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Release {
    /// How its structures are laid out.
    pub(super) abi: Abi,
    /// Its version, for people.
    pub(super) version: String,
    /// Whether its calls may overlap. Before 26.2 (ROCm 7.2) it crashes or mixes up values when they do.
    pub(super) may_overlap: bool,
}

impl Release {
    /// The release that tells these words of its version: year, major, minor in ABI 24 and 25; major, minor,
    /// release in 26. `None` where it is not known how it lays out its structures.
    pub(super) fn of(words: [u32; 4]) -> Option<Self> {
        let release = |abi, version, may_overlap| Some(Self { abi, version, may_overlap });
        match words {
            // 24.6, of ROCm 6.2, has another clock structure, and no limits of clocks.
            [24, minor, patch, _] if minor >= 7 => release(Abi::V24, format!("24.{minor}.{patch}"), false),
            [25, 25, minor, patch] => release(Abi::V25, format!("25.{minor}.{patch}"), false),
            [26, minor, patch, _] => release(Abi::V26, format!("26.{minor}.{patch}"), minor >= 2),
            _ => None,
        }
    }
}

/// Where the library may be, newest first: where the system looks (`LD_LIBRARY_PATH` goes first there),
/// then where ROCm puts it.
pub(super) fn candidates() -> Vec<PathBuf> {
    let names = ["libamd_smi.so.26", "libamd_smi.so.25", "libamd_smi.so.24", "libamd_smi.so"];
    let folder = Path::new("/opt/rocm/lib");
    names.iter().map(PathBuf::from).chain(names.iter().map(|name| folder.join(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_abi_is_what_the_library_says_and_an_unknown_one_is_refused() {
        let found = |words| Release::of(words).map(|it| (it.abi, it.version, it.may_overlap));
        assert_eq!(found([24, 7, 1, 0]), Some((Abi::V24, "24.7.1".into(), false)));
        assert_eq!(found([24, 6, 2, 0]), None);
        assert_eq!(found([25, 25, 3, 0]), Some((Abi::V25, "25.3.0".into(), false)));
        assert_eq!(found([26, 1, 0, 0]), Some((Abi::V26, "26.1.0".into(), false)));
        assert_eq!(found([26, 2, 0, 0]), Some((Abi::V26, "26.2.0".into(), true)));
        assert_eq!(found([27, 0, 0, 0]), None);
    }
}
