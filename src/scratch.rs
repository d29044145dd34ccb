//! A directory for a test that needs files of its own.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A directory that nobody else uses and that disappears with the value.
pub(crate) struct Scratch(TempDir);

impl Scratch {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self(TempDir::new().expect("a directory"))
    }

    /// Where it is.
    pub(crate) fn directory(&self) -> &Path {
        self.0.path()
    }

    /// What is called `name` in it, or would be.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }
}
