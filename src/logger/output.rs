//! Standard output as a place for lines: it never waits.
//!
//! Whoever reads the log may stop reading without closing, and must not stop the router with it. What is not taken at
//! once is lost, and counted; the next line that is taken is preceded by one that says how many were lost. A pipe is
//! made as large as it may be, so that a reader which is merely behind loses nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use log::{Level, Record};
use socket2::SockRef;

use crate::config::LogStyle;
use crate::limits::LOG_PIPE_BYTES;
use crate::sys;

/// Takes whole lines, one per write.
#[derive(Debug)]
pub(super) struct Output<W> {
    writer: W,
    style: LogStyle,
    /// What a terminal or a socket has not taken of the last line, and of the notice before it.
    rest: Vec<u8>,
    /// Lines that were not taken since the last one that was.
    lost: u64,
}

impl<W: Write> Output<W> {
    /// Lines go to `writer`, whose `WouldBlock` costs a line; `style` is that of the notices.
    pub(super) fn new(writer: W, style: LogStyle) -> Self {
        Self {
            writer,
            style,
            rest: Vec::new(),
            lost: 0,
        }
    }

    fn push(&mut self, line: &[u8]) {
        if !self.send_rest() {
            self.lost += 1;
            return;
        }
        let text = match self.lost {
            0 => line.to_vec(),
            lost => [self.notice(lost).as_bytes(), line].concat(),
        };
        match self.writer.write(&text) {
            Ok(len) => {
                self.lost = 0;
                self.rest = text.get(len..).unwrap_or_default().to_vec();
            }
            Err(_) => self.lost += 1,
        }
    }

    /// Whether nothing is left of the line before.
    fn send_rest(&mut self) -> bool {
        if !self.rest.is_empty()
            && let Ok(len) = self.writer.write(&self.rest)
        {
            self.rest.drain(..len.min(self.rest.len()));
        }
        self.rest.is_empty()
    }

    fn notice(&self, lost: u64) -> String {
        let args = format_args!("{lost} lines lost: nobody read this log");
        super::line_now(
            self.style,
            &Record::builder().level(Level::Warn).args(args).build(),
        )
    }
}

impl<W: Write> Write for Output<W> {
    /// Takes a whole line, or loses it; there is nothing the caller could do about that.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard output, which may not be made non-blocking itself: others share it.
#[derive(Debug)]
pub(super) enum Stdout {
    /// The same pipe or terminal, opened once more for us alone and without blocking; or a file, which does not
    /// block.
    Own(File),
    /// A pipe or terminal that may not be opened again. It is asked before each write.
    Shared(File),
    /// A socket, which is told with each line not to block.
    Socket(File),
    /// There is none.
    Closed,
}

impl Stdout {
    /// Finds out what standard output is.
    pub(super) fn open() -> Self {
        let Ok(stdout) = io::stdout().as_fd().try_clone_to_owned() else {
            return Self::Closed;
        };
        let stdout = File::from(stdout);
        let Ok(kind) = stdout.metadata().map(|metadata| metadata.file_type()) else {
            return Self::Closed;
        };
        if kind.is_socket() {
            return Self::Socket(stdout);
        }
        if !kind.is_fifo() && !kind.is_char_device() {
            return Self::Own(stdout);
        }
        // A smaller pipe only means that fewer lines can wait in it.
        let _ = sys::pipe::grow(stdout.as_fd(), LOG_PIPE_BYTES);
        let again = OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open("/proc/self/fd/1");
        again.map_or(Self::Shared(stdout), Self::Own)
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Own(file) => file.write(bytes),
            // Lines are shorter than `PIPE_BUF`, so what is writable takes one without waiting (pipe(7)).
            Self::Shared(file) if sys::pipe::is_writable(file.as_fd()) => file.write(bytes),
            Self::Shared(_) => Err(io::ErrorKind::WouldBlock.into()),
            Self::Socket(file) => SockRef::from(&*file)
                .send_with_flags(bytes, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL),
            Self::Closed => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes at each call; at 0 it would block.
    struct Reader {
        takes: Vec<usize>,
        taken: Vec<u8>,
    }

    impl Write for &mut Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let len = match self.takes.is_empty() {
                true => bytes.len(),
                false => self.takes.remove(0).min(bytes.len()),
            };
            if len == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.taken.extend(&bytes[..len]);
            Ok(len)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What a reader that takes so much gets of the lines `0` to `3`.
    fn taken(takes: &[usize]) -> String {
        let mut reader = Reader {
            takes: takes.to_vec(),
            taken: Vec::new(),
        };
        let mut output = Output::new(&mut reader, LogStyle::Plain);
        for line in ["0\n", "1\n", "2\n", "3\n"] {
            output.write_all(line.as_bytes()).expect("never fails");
        }
        String::from_utf8(reader.taken).expect("text")
    }

    #[test]
    fn reader_that_keeps_up_gets_every_line() {
        assert_eq!(taken(&[]), "0\n1\n2\n3\n");
    }

    #[test]
    fn lost_lines_are_counted() {
        let notice = |lost| format!("[Supervisor] {lost} lines lost: nobody read this log\n");
        assert_eq!(taken(&[2, 0, 0]), format!("0\n{}3\n", notice(2)));
        assert_eq!(
            taken(&[0, 99, 0]),
            format!("{}1\n{}3\n", notice(1), notice(1))
        );
    }

    #[test]
    fn line_that_was_begun_is_completed_before_the_next() {
        assert_eq!(taken(&[1]), "0\n1\n2\n3\n");
        let notice = "[Supervisor] 1 lines lost: nobody read this log\n";
        assert_eq!(taken(&[1, 0]), format!("0\n{notice}2\n3\n"));
    }
}
