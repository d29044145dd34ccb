//! Lines for people and programs, written by a thread of their own, so that a terminal or a pipe that nobody reads
//! cannot hold up a measurement.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use crate::limits::PROBE_LINES_WAITING_MAX;

/// One file, standard output or standard error.
#[derive(Debug)]
pub struct Output {
    lines: Option<SyncSender<String>>,
    thread: Option<JoinHandle<()>>,
    dropped: u64,
}

impl Output {
    /// Writes to `file`.
    ///
    /// # Errors
    ///
    /// When there can be no thread.
    pub fn to(file: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, written) = sync_channel(PROBE_LINES_WAITING_MAX);
        let thread = thread::Builder::new()
            .name("output".into())
            .spawn(move || write_all(file, &written))?;
        Ok(Self {
            lines: Some(lines),
            thread: Some(thread),
            dropped: 0,
        })
    }

    /// Writes nothing.
    pub fn nowhere() -> Self {
        Self {
            lines: None,
            thread: None,
            dropped: 0,
        }
    }

    /// Whether anything is written.
    pub fn is_wanted(&self) -> bool {
        self.lines.is_some()
    }

    /// Lines that were given up because they were not taken in time.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Writes text as it is; drops it if too much waits.
    pub fn write(&mut self, text: String) {
        if let Some(lines) = &self.lines
            && let Err(TrySendError::Full(_)) = lines.try_send(text)
        {
            self.dropped += 1;
        }
    }

    /// Writes the last text and waits until everything is written, which whoever reads may delay.
    pub fn finish(&mut self, text: String) {
        if let Some(lines) = self.lines.take() {
            let _ = lines.send(text);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Runs until the other end is gone. A reader that has gone away is no reason to fail.
fn write_all(mut file: impl Write, lines: &Receiver<String>) {
    while let Ok(line) = lines.recv() {
        let written = file.write_all(line.as_bytes()).and_then(|()| file.flush());
        if written.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// A file that takes nothing until it is told to, and then everything.
    struct Stuck(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            let _ = self.1.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_reader_costs_lines_and_no_time() {
        let (go, stuck) = channel();
        let (write, written) = channel();
        let mut output = Output::to(Stuck(stuck, write)).expect("a thread");
        for line in 0..PROBE_LINES_WAITING_MAX + 100 {
            output.write(format!("{line}\n"));
        }
        assert!(output.dropped() >= 98, "{}", output.dropped());
        drop(go);
        output.finish("last\n".into());
        assert_eq!(written.iter().last(), Some(b"last\n".to_vec()));
    }
}
