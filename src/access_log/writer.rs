//! The file of the access log: a thread of its own writes it, so that a slow disk never stops the loop.
//!
//! The thread starts with the first line and sleeps between lines. At most [`ACCESS_LINES_WAITING_MAX`] wait for it;
//! what does not fit is lost, and counted. The file is opened with the first line, so that it does not exist before
//! there is something in it, and each line is one write: several processes may append to it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread;

use crate::limits::{ACCESS_CLOSE_WAIT, ACCESS_LINES_WAITING_MAX};

/// Permissions of a new file, before the umask (server spec §12).
const FILE_MODE: u32 = 0o644;

/// For the thread.
enum Message {
    Line(Place, Vec<u8>),
    /// Whatever is open may have been moved away.
    Close,
}

/// Where a line goes: the path, and how often it was to be opened anew by then.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    path: Arc<Path>,
    openings: u64,
}

/// The loop's end.
#[derive(Debug)]
pub(super) struct Writer {
    place: Place,
    thread: Option<Thread>,
    /// Lines that found no room since the last one that did.
    lost: u64,
}

#[derive(Debug)]
struct Thread {
    lines: SyncSender<Message>,
    /// Closed by the thread when it ends.
    ended: Receiver<()>,
}

impl Writer {
    /// Lines go to `path`, which is not looked at yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            place: Place {
                path: path.into(),
                openings: 0,
            },
            thread: None,
            lost: 0,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.place.path
    }

    /// From now on lines go to the file that has the path then: the one there was may have been moved away.
    pub(super) fn reopen(&mut self) {
        self.place.openings += 1;
        if let Some(thread) = &self.thread {
            // If there is no room, the next line says the same.
            let _ = thread.lines.try_send(Message::Close);
        }
    }

    /// Hands a line over, or loses it.
    pub(super) fn push(&mut self, line: Vec<u8>) {
        match self.hand_over(Message::Line(self.place.clone(), line)) {
            Ok(()) => {
                let lost = std::mem::take(&mut self.lost);
                if lost > 0 {
                    let path = self.place.path.display();
                    log::warn!(
                        "access log {path}: {lost} lines lost: they were not written in time"
                    );
                }
            }
            Err(error) => {
                if self.lost == 0 {
                    let path = self.place.path.display();
                    log::error!("access log {path}: losing lines: {error}");
                }
                self.lost += 1;
            }
        }
    }

    fn hand_over(&mut self, message: Message) -> io::Result<()> {
        let thread = match &self.thread {
            Some(thread) => thread,
            None => self.thread.insert(start()?),
        };
        let sent = thread.lines.try_send(message);
        sent.map_err(|error| match error {
            TrySendError::Full(_) => io::Error::other("the disk is too slow"),
            TrySendError::Disconnected(_) => {
                // A new one is started for the next line.
                self.thread = None;
                io::Error::other("the writer has ended")
            }
        })
    }
}

impl Drop for Writer {
    /// Lets what waits be written, for at most [`ACCESS_CLOSE_WAIT`].
    fn drop(&mut self) {
        if let Some(Thread { lines, ended }) = self.thread.take() {
            drop(lines);
            // It ends with an error in any case: nothing is ever sent.
            let _ = ended.recv_timeout(ACCESS_CLOSE_WAIT);
        }
    }
}

fn start() -> io::Result<Thread> {
    let (lines, waiting) = sync_channel(ACCESS_LINES_WAITING_MAX);
    let (end, ended) = channel();
    thread::Builder::new()
        .name("access-log".into())
        .spawn(move || write_all(&waiting, end))?;
    Ok(Thread { lines, ended })
}

/// Runs until the loop's end is gone; `_end` goes with it.
fn write_all(messages: &Receiver<Message>, _end: Sender<()>) {
    let mut target = Target::default();
    while let Ok(message) = messages.recv() {
        match message {
            Message::Line(place, line) => target.write(&place, &line),
            Message::Close => target.file = None,
        }
    }
}

/// What the thread has open.
#[derive(Default)]
struct Target {
    place: Option<Place>,
    file: Option<File>,
    /// Lines that were lost since the place could last be written, which has been said.
    lost: u64,
    /// The last of them is there in part.
    torn: bool,
}

impl Target {
    fn write(&mut self, place: &Place, line: &[u8]) {
        if self.place.as_ref() != Some(place) {
            *self = Self {
                place: Some(place.clone()),
                ..Self::default()
            };
        }
        match self.append(&place.path, line) {
            Ok(()) if self.lost == 0 => {}
            Ok(()) => {
                let path = place.path.display();
                let lost = std::mem::take(&mut self.lost);
                log::warn!("access log {path} is written again; {lost} lines are lost");
            }
            Err((trouble, error)) => {
                self.file = None;
                if self.lost == 0 {
                    let path = place.path.display();
                    log::error!("access log {path} cannot be {trouble}: {error}; lines are lost");
                }
                self.lost += 1;
            }
        }
    }

    /// Writes a line, as one that begins where a line begins.
    fn append(&mut self, path: &Path, line: &[u8]) -> Result<(), (&'static str, io::Error)> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self
                .file
                .insert(open(path).map_err(|error| ("opened", error))?),
        };
        let mut rest = line;
        if self.torn {
            file.write_all(b"\n").map_err(|error| ("written", error))?;
            self.torn = false;
        }
        while !rest.is_empty() {
            let written = match file.write(rest) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other,
            };
            let written = written.map_err(|error| {
                self.torn = rest.len() < line.len();
                ("written", error)
            })?;
            rest = rest.get(written..).unwrap_or_default();
        }
        Ok(())
    }
}

/// Opens for appending; not inherited by other programs, as everything that std opens.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .open(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::scratch::Scratch;

    fn text(scratch: &Scratch, name: &str) -> String {
        fs::read_to_string(scratch.path(name)).unwrap_or_default()
    }

    #[test]
    fn lines_are_written_in_order_by_the_time_it_is_dropped() {
        let scratch = Scratch::new();
        let mut writer = Writer::new(scratch.path("log"));
        assert!(!scratch.path("log").exists());
        for number in 0..500 {
            writer.push(format!("{number}\n").into_bytes());
        }
        drop(writer);
        let expected: String = (0..500).map(|number| format!("{number}\n")).collect();
        assert_eq!(text(&scratch, "log"), expected);
    }

    #[test]
    fn file_that_was_moved_away_is_let_go_when_asked() {
        let scratch = Scratch::new();
        let mut writer = Writer::new(scratch.path("log"));
        writer.push(b"1\n".to_vec());
        // The thread has it when the file is there.
        while text(&scratch, "log").is_empty() {
            thread::yield_now();
        }
        fs::rename(scratch.path("log"), scratch.path("old")).expect("ours");
        writer.push(b"2\n".to_vec());
        while text(&scratch, "old") != "1\n2\n" {
            thread::yield_now();
        }
        writer.reopen();
        writer.push(b"3\n".to_vec());
        drop(writer);
        assert_eq!(text(&scratch, "old"), "1\n2\n");
        assert_eq!(text(&scratch, "log"), "3\n");
    }

    #[test]
    fn place_that_cannot_be_opened_is_tried_again() {
        let scratch = Scratch::new();
        let path = scratch.path("later/log");
        let place = Place {
            path: path.as_path().into(),
            openings: 0,
        };
        let mut target = Target::default();
        target.write(&place, b"1\n");
        assert_eq!(target.lost, 1);
        fs::create_dir(scratch.path("later")).expect("ours");
        target.write(&place, b"2\n");
        assert_eq!(target.lost, 0);
        assert_eq!(text(&scratch, "later/log"), "2\n");
    }

    #[test]
    fn line_that_comes_after_a_reload_opens_the_file_anew() {
        let scratch = Scratch::new();
        let place = |openings| Place {
            path: scratch.path("log").into(),
            openings,
        };
        let mut target = Target::default();
        target.write(&place(0), b"1\n");
        fs::rename(scratch.path("log"), scratch.path("old")).expect("ours");
        target.write(&place(1), b"2\n");
        assert_eq!(
            (text(&scratch, "old"), text(&scratch, "log")),
            ("1\n".into(), "2\n".into())
        );
    }

    #[test]
    fn full_disk_costs_lines_and_is_tried_again() {
        let place = Place {
            path: Path::new("/dev/full").into(),
            openings: 0,
        };
        let mut target = Target::default();
        for lost in 1..4 {
            target.write(&place, b"1\n");
            assert!(target.file.is_none() && !target.torn);
            assert_eq!(target.lost, lost);
        }
    }

    #[test]
    fn line_after_half_a_line_begins_a_line() {
        let scratch = Scratch::new();
        let place = Place {
            path: scratch.path("log").into(),
            openings: 0,
        };
        let mut target = Target::default();
        target.write(&place, b"1\n");
        // As if the disk had been full behind two bytes of three.
        target.write(&place, b"2x");
        (target.torn, target.lost) = (true, 1);
        target.write(&place, b"3\n");
        assert_eq!(text(&scratch, "log"), "1\n2x\n3\n");
        assert!(!target.torn && target.lost == 0);
    }

    #[test]
    fn lines_that_nobody_takes_are_bounded_and_counted() {
        let (lines, _never_taken) = sync_channel(2);
        let (_end, ended) = channel();
        let mut writer = Writer::new(PathBuf::from("/nowhere"));
        writer.thread = Some(Thread { lines, ended });
        for _ in 0..5 {
            writer.push(b"x\n".to_vec());
        }
        assert_eq!(writer.lost, 3);
        // There is no room to say so now; the next line does.
        writer.reopen();
        assert_eq!(writer.place.openings, 1);
        writer.thread = None;
    }
}
