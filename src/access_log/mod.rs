//! The access log: one line per media request, in a file and a form of the user's choice (server spec §12).
//!
//! **When a line is written** follows from the format. One that tells how a request ended (`$status`, `$bytes_sent`
//! and so on) gives the line of a media request when it is over. Any other, the default one too, gives it when the
//! client is taken on, as the compatible router does. A request that is refused has its line then, whatever the format.
//!
//! Owns the format and the file. What is known of a request is the caller's to find out. Without `--access-log`
//! nothing is gathered.

mod entry;
mod format;
mod writer;

use std::path::Path;
use std::time::Duration;

pub use entry::{End, Entry, Moment, Outcome};
pub use format::{FORMAT_DEFAULT, Format};

use crate::sys;
use writer::Writer;

/// Where lines go, and in which form; nothing if there is no access log.
#[derive(Debug, Default)]
pub struct AccessLog {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    format_text: String,
    format: Format,
    writer: Writer,
}

impl AccessLog {
    /// Takes over what the configuration says: the path, if there is to be a log, and the format, or an empty text for
    /// that of the compatible router. What has not changed goes on.
    pub fn configure(&mut self, path: Option<&Path>, format: &str) {
        let Some(path) = path else {
            self.open = None;
            return;
        };
        match &mut self.open {
            Some(open) if open.writer.path() == path => {
                if open.format_text != format {
                    open.format = parse(format);
                    format.clone_into(&mut open.format_text);
                }
            }
            _ => {
                self.open = Some(Open {
                    format_text: format.to_owned(),
                    format: parse(format),
                    writer: Writer::new(path.to_owned()),
                });
            }
        }
    }

    /// Whether anything is logged.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Opens the file anew with the next line, so that it can be moved away: `mv`, then reload.
    pub fn reopen(&mut self) {
        if let Some(open) = &mut self.open {
            open.writer.reopen();
        }
    }

    /// A client was taken on, `now` since 1970. Gives the entry back if its line is written at the end.
    pub fn note_admitted(&mut self, entry: Entry, now: Duration) -> Option<Entry> {
        let open = self.open.as_mut()?;
        if open.format.tells_the_end() {
            return Some(entry);
        }
        open.write(&entry, now, None);
        None
    }

    /// A request is over, `now` since 1970, and it was not written at its admission.
    pub fn note_end(&mut self, entry: &Entry, now: Duration, end: &End) {
        if let Some(open) = &mut self.open {
            open.write(entry, now, Some(end));
        }
    }
}

impl Open {
    fn write(&mut self, entry: &Entry, now: Duration, end: Option<&End>) {
        let offset_seconds = sys::time::local_offset_seconds(now.as_secs());
        let moment = Moment::at(now, offset_seconds);
        self.writer.push(self.format.line(entry, &moment, end));
    }
}

fn parse(format: &str) -> Format {
    match format {
        "" => Format::default(),
        format => Format::parse(format),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(format: &str) -> AccessLog {
        let mut log = AccessLog::default();
        log.configure(Some(Path::new("/dev/null")), format);
        log
    }

    #[test]
    fn format_decides_when_a_line_is_written() {
        let entry = Entry::default();
        let mut at_admission = open("");
        assert_eq!(
            at_admission.note_admitted(entry.clone(), Duration::ZERO),
            None
        );
        let mut at_the_end = open("$service_url $status");
        let kept = at_the_end.note_admitted(entry.clone(), Duration::ZERO);
        assert_eq!(kept, Some(entry));
    }

    #[test]
    fn configuration_that_stays_the_same_changes_nothing() {
        let mut log = open("$status");
        log.configure(Some(Path::new("/dev/null")), "$status");
        assert!(log.is_open());
        log.configure(Some(Path::new("/dev/null")), "$host");
        assert!(
            log.open
                .as_ref()
                .is_some_and(|open| !open.format.tells_the_end())
        );
        log.configure(None, "$host");
        assert!(!log.is_open());
        let entry = Entry::default();
        assert_eq!(log.note_admitted(entry, Duration::ZERO), None);
    }
}
