//! Fake `/sys` and `/proc` trees for the tests of this driver.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::CpuRoots;

/// A folder with `sys` and `proc` in it, gone when dropped.
pub(crate) struct FakeTree(TempDir);

impl FakeTree {
    pub(crate) fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        tree.dir("sys");
        tree.dir("proc");
        tree
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub(crate) fn sys(&self) -> PathBuf {
        self.path("sys")
    }

    pub(crate) fn roots(&self) -> CpuRoots {
        CpuRoots { sys: self.sys(), proc: self.path("proc") }
    }

    pub(crate) fn dir(&self, path: &str) {
        fs::create_dir_all(self.path(path)).unwrap();
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// Makes `path` a file that nobody can read or write, root included.
    pub(crate) fn dir_in_place_of(&self, path: &str) {
        fs::remove_file(self.path(path)).unwrap();
        self.dir(path);
    }

    /// Two logical cores, with `busy` and `idle` ticks so far, `own` of the busy ones this process's.
    pub(crate) fn ticks(&self, busy: u64, idle: u64, own: u64) {
        let stat = format!("cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 0 0 0 0\ncpu1 0 0 0 0\nintr 1\n");
        self.write("proc/stat", &stat);
        self.write("proc/self/stat", &format!("7 (a b) c) R 1 7 7 0 -1 0 0 0 0 0 {own} 0 5 5 20 0"));
    }
}
