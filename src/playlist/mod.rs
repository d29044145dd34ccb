//! Channel lists in M3U form: what they say, the services that come of it, and the one playlist that leads to these
//! services (playlist spec).
//!
//! | File | Is |
//! |---|---|
//! | `text` | the text of a list in whatever encoding |
//! | `tags` | the lines that mean something, and their attributes |
//! | `users` | whom the URLs of services name, and where else they are to be named |
//! | `source` | the URL of an entry: what it wraps, its label, and the query of a request merged into it |
//! | `carrier` | the parameter of a link to a recording |
//! | `catalogue` | lines in, services and playlist out |
//! | `combined` | the playlist without the base of its links, and with it |
//! | `address` | where a list or a guide is fetched from |
//! | `schedule` | when |
//! | `download` | what an HTTP server is asked, and what its answers mean |
//!
//! Pure: nothing is resolved, fetched or logged here. When lists are read and how documents come is the router's
//! business.

mod address;
mod carrier;
mod catalogue;
mod combined;
pub mod download;
mod schedule;
pub mod source;
mod tags;
pub mod text;
mod users;

pub use address::DocumentAddress;
pub use catalogue::{Builder, Catalogue, Fault, Guide, Naming, Origin, Service};
pub use combined::Combined;
pub use schedule::{Plan, Refresh, Schedule};
pub use source::{MergeError, Source};

/// Whether a text can be a channel list at all: it has a header or an entry. An error page has neither.
pub fn is_list(text: &str) -> bool {
    text.lines()
        .map(trimmed)
        .any(|line| line.starts_with(tags::HEADER) || line.starts_with(tags::ENTRY))
}

/// A line without blanks at its ends, and without the mark that files may begin with.
fn trimmed(line: &str) -> &str {
    line.trim_start_matches('\u{feff}').trim()
}

#[cfg(test)]
mod tests {
    use super::is_list;

    #[test]
    fn lists_are_told_from_pages() {
        for text in ["#EXTM3U", "\u{feff}#EXTM3U x=y\r\n", "\n  #EXTINF:-1,A"] {
            assert!(is_list(text), "{text:?}");
        }
        for text in ["", "<!doctype html>\n# x", "#EXT", "a #EXTM3U"] {
            assert!(!is_list(text), "{text:?}");
        }
    }
}
