//! The PID file: says which process the program is, and is locked for as long as it lives (server spec §13).
//!
//! Owns the file, its lock and its removal. Which process writes it, and when, is decided elsewhere: after what is
//! listened on is open, before anything is served.

use std::fmt;
use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::limits::PID_FILE_ATTEMPTS_MAX;
use crate::sys::lock::{Lock, lock};

/// The exit status of a program that cannot take its PID file at the start (server spec §14.5).
pub const EXIT_STATUS: u8 = 255;

/// A PID file that is ours.
///
/// Dropped by the process that took it, it is removed, provided that the path still names this file. In a process
/// forked from that one a drop only closes the descriptor, and the lock stays where it is.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Open for the lock's sake: closing any descriptor of the file would give it up.
    file: File,
    /// Device and inode.
    identity: (u64, u64),
    process: u32,
}

impl PidFile {
    /// Creates the file or takes over one that nobody has locked, locks it, and writes the number of this process.
    ///
    /// # Errors
    ///
    /// [`PidFileError`]; what was in the file stays, unless writing itself failed.
    pub fn take(path: &Path) -> Result<PidFile, PidFileError> {
        let failed = |problem| PidFileError {
            path: path.to_owned(),
            problem,
        };
        let (file, identity) = open_locked(path).map_err(failed)?;
        // From here on the file is removed again if anything fails.
        let mut taken = PidFile {
            path: path.to_owned(),
            file,
            identity,
            process: std::process::id(),
        };
        taken
            .write()
            .map_err(|error| failed(Problem::Write(error)))?;
        Ok(taken)
    }

    /// What a reload is to do so that `wanted`, or none, is the PID file. Everything that can fail is done by then:
    /// a new file is there and locked. The old one is left alone until [`Change::commit`].
    ///
    /// A file that was removed or replaced behind our back is made anew.
    ///
    /// # Errors
    ///
    /// As [`PidFile::take`].
    pub fn prepare(held: Option<&PidFile>, wanted: Option<&Path>) -> Result<Change, PidFileError> {
        match (held, wanted) {
            (Some(held), Some(path)) if held.is_at(path) => Ok(Change::Keep),
            (_, Some(path)) => Ok(Change::Replace(Some(PidFile::take(path)?))),
            (_, None) => Ok(Change::Replace(None)),
        }
    }

    /// Whether `path` leads to this very file. Opens nothing, since closing would give the lock up.
    fn is_at(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|metadata| identity(&metadata) == self.identity)
    }

    fn write(&mut self) -> io::Result<()> {
        let file = &mut self.file;
        file.set_len(0)?;
        writeln!(file, "{}", self.process)?;
        file.sync_all()
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.process == std::process::id()
            && self.is_at(&self.path)
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!("PID file {} stays behind: {error}", self.path.display());
        }
    }
}

/// What [`PidFile::prepare`] has made ready. To drop it is to leave everything as it was.
#[derive(Debug)]
pub enum Change {
    /// The file in hand is the right one.
    Keep,
    /// From now on this one, or none.
    Replace(Option<PidFile>),
}

impl Change {
    /// Makes it so; a file that is not wanted any more is removed.
    pub fn commit(self, held: &mut Option<PidFile>) {
        match self {
            Self::Keep => {}
            Self::Replace(wanted) => *held = wanted,
        }
    }
}

/// Opens and locks the file that `path` names, and tells which one it is.
fn open_locked(path: &Path) -> Result<(File, (u64, u64)), Problem> {
    for _ in 0..PID_FILE_ATTEMPTS_MAX {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            // Not through a link that somebody has put there, and without waiting for the other end of a pipe.
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)
            .map_err(|error| match error.raw_os_error() {
                Some(libc::ELOOP) => Problem::Link,
                _ => Problem::Open(error),
            })?;
        let metadata = file.metadata().map_err(Problem::Open)?;
        if !metadata.is_file() {
            return Err(Problem::NotAFile(metadata.file_type()));
        }
        match lock(file.as_fd()).map_err(Problem::Lock)? {
            Lock::Taken => {}
            Lock::Held(process) => return Err(Problem::Locked(process)),
        }
        // Whoever had it may have removed it between the two calls.
        let identity = identity(&metadata);
        if fs::symlink_metadata(path).is_ok_and(|found| self::identity(&found) == identity) {
            return Ok((file, identity));
        }
    }
    Err(Problem::Changing)
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Why a PID file cannot be taken; shows itself with the path.
#[derive(Debug)]
pub struct PidFileError {
    path: PathBuf,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    Open(io::Error),
    Link,
    NotAFile(FileType),
    /// By this process, if that can be told.
    Locked(Option<u32>),
    Lock(io::Error),
    /// Each time it was opened, somebody removed it.
    Changing,
    Write(io::Error),
}

impl fmt::Display for PidFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failed to prepare PID file {}: ", self.path.display())?;
        match &self.problem {
            Problem::Open(error) => error.fmt(f),
            Problem::Link => f.write_str("it is a symbolic link, which is not followed"),
            Problem::NotAFile(kind) if kind.is_dir() => f.write_str("it is a directory"),
            Problem::NotAFile(_) => f.write_str("it is not a regular file"),
            Problem::Locked(Some(process)) => {
                write!(f, "process {process} has locked it and is running")
            }
            Problem::Locked(None) => f.write_str("another process has locked it and is running"),
            Problem::Lock(error) => write!(f, "it cannot be locked: {error}"),
            Problem::Changing => f.write_str("it is removed again and again"),
            Problem::Write(error) => write!(f, "it cannot be written: {error}"),
        }
    }
}

impl std::error::Error for PidFileError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::os::unix::fs::symlink;

    fn ours() -> String {
        format!("{}\n", std::process::id())
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path).expect("a PID file")
    }

    fn refused(path: &Path) -> String {
        PidFile::take(path).expect_err("refused").to_string()
    }

    #[test]
    fn number_of_the_process_replaces_whatever_is_in_a_file_nobody_has_locked() {
        let scratch = Scratch::new();
        let path = scratch.path("pid");
        fs::write(&path, "4194304 and more than that\n").expect("a stale one");
        let taken = PidFile::take(&path).expect("nobody has it");
        assert_eq!(text(&path), ours());
        drop(taken);
        assert!(!path.exists());
    }

    #[test]
    fn whatever_is_no_file_is_left_alone() {
        let scratch = Scratch::new();
        let target = scratch.path("target");
        fs::write(&target, "precious").expect("a file");
        let link = scratch.path("link");
        symlink(&target, &link).expect("a link");
        let error = refused(&link);
        assert!(error.starts_with("Failed to prepare PID file "), "{error}");
        assert!(error.contains("a symbolic link"), "{error}");
        assert_eq!(text(&target), "precious");

        let error = refused(scratch.directory());
        assert!(error.contains("directory"), "{error}");
        let error = refused(&scratch.path("nowhere/pid"));
        assert!(error.contains("No such file or directory"), "{error}");
        let error = refused(Path::new("/dev/null"));
        assert!(error.contains("not a regular file"), "{error}");
    }

    #[test]
    fn file_that_was_replaced_is_not_removed() {
        let scratch = Scratch::new();
        let path = scratch.path("pid");
        let taken = PidFile::take(&path).expect("a new one");
        fs::remove_file(&path).expect("removed");
        fs::write(&path, "somebody else").expect("another one");
        drop(taken);
        assert_eq!(text(&path), "somebody else");
    }

    #[test]
    fn reload_with_the_same_file_by_whatever_name_changes_nothing() {
        let scratch = Scratch::new();
        let path = scratch.path("pid");
        let held = PidFile::take(&path).expect("a new one");
        let directory = scratch.directory().file_name().expect("a name");
        let around = scratch.path("..").join(directory).join("pid");
        for name in [path, scratch.path("./pid"), around] {
            let change = PidFile::prepare(Some(&held), Some(&name)).expect("nothing to do");
            assert!(matches!(change, Change::Keep), "{}", name.display());
        }
    }

    #[test]
    fn reload_makes_a_file_anew_that_was_removed_or_replaced() {
        let scratch = Scratch::new();
        let path = scratch.path("pid");
        let mut held = Some(PidFile::take(&path).expect("a new one"));
        fs::remove_file(&path).expect("removed");
        let change = PidFile::prepare(held.as_ref(), Some(&path)).expect("prepared");
        change.commit(&mut held);
        assert_eq!(text(&path), ours());
        fs::remove_file(&path).expect("removed");
        fs::write(&path, "somebody else").expect("another one");
        let change = PidFile::prepare(held.as_ref(), Some(&path)).expect("prepared");
        change.commit(&mut held);
        assert_eq!(text(&path), ours());
        drop(held);
        assert!(!path.exists());
    }

    #[test]
    fn reload_moves_the_file_when_all_has_gone_well_and_not_before() {
        let scratch = Scratch::new();
        let (old, new) = (scratch.path("old"), scratch.path("new"));
        let mut held = Some(PidFile::take(&old).expect("a new one"));
        let change = PidFile::prepare(held.as_ref(), Some(&new)).expect("prepared");
        assert!(old.exists() && new.exists());
        drop(change);
        assert!(old.exists() && !new.exists());
        let change = PidFile::prepare(held.as_ref(), Some(&new)).expect("prepared");
        change.commit(&mut held);
        assert!(!old.exists() && new.exists());
        let change = PidFile::prepare(held.as_ref(), None).expect("prepared");
        assert!(new.exists());
        change.commit(&mut held);
        assert!(!new.exists() && held.is_none());
        let change = PidFile::prepare(None, None).expect("nothing to do");
        change.commit(&mut held);
        assert!(held.is_none());
    }
}
