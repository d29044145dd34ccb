//! Files that are read whole, each by a thread of its own, so that no disk and no network file system ever stops the
//! loop. How many at a time is the caller's business.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use mio::Waker;

use super::{Event, ReadId};

type Answer = (ReadId, Result<Vec<u8>, String>);

/// The loop's end.
#[derive(Debug)]
pub(super) struct Reader {
    waker: Arc<Waker>,
    answers: (Sender<Answer>, Receiver<Answer>),
}

impl Reader {
    /// A reader that wakes the poll through `waker` when it has something.
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        Self {
            waker,
            answers: channel(),
        }
    }

    /// Starts reading a file.
    pub(super) fn read(&mut self, read: ReadId, path: PathBuf, bytes_max: usize) -> io::Result<()> {
        let (answers, waker) = (self.answers.0.clone(), Arc::clone(&self.waker));
        thread::Builder::new()
            .name("reader".into())
            .spawn(move || {
                let result = read_whole(&path, bytes_max).map_err(|error| error.to_string());
                // The loop may be gone by now.
                let _ = answers.send((read, result));
                let _ = waker.wake();
            })?;
        Ok(())
    }

    /// Appends what has been read since the last call.
    pub(super) fn take_answers(&mut self, events: &mut Vec<Event>) {
        let answers = self.answers.1.try_iter();
        events.extend(answers.map(|(read, result)| Event::FileRead { read, result }));
    }
}

fn read_whole(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for its writer.
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        let text = "not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let limit = u64::try_from(bytes_max)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        let text = format!("longer than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_files_are_read_up_to_the_limit() {
        let path = std::env::temp_dir().join(format!("flowgate-reader-{}", std::process::id()));
        std::fs::write(&path, "12345").expect("written");
        assert_eq!(read_whole(&path, 5).expect("read"), b"12345");
        let error = read_whole(&path, 4).expect_err("too long");
        assert_eq!(error.to_string(), "longer than 4 bytes");
        std::fs::remove_file(&path).expect("removed");
        assert!(read_whole(&path, 5).is_err());
        let error = read_whole(Path::new("/dev/zero"), 5).expect_err("a device");
        assert_eq!(error.to_string(), "not a regular file");
    }
}
