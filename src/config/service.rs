//! Names of TCP ports: `http-alt` is 8080.

use std::fs::File;
use std::io::Read;

use crate::limits::SERVICES_FILE_BYTES_MAX;

/// The system's list (services(5)).
const FILE: &str = "/etc/services";
/// What is known without a list, which small systems lack (IANA's registry of service names).
const WELL_KNOWN: &str =
    "http 80/tcp www\nhttps 443/tcp\nhttp-alt 8080/tcp webcache\nhttps-alt 8443/tcp";

/// The TCP port of a service, whose name begins with a letter. Reads the system's list, so only for the start and for
/// reloads.
pub(super) fn port(name: &str) -> Option<u16> {
    if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return None;
    }
    let mut list = Vec::new();
    // Without a list, or with half of it, the well-known names are still known.
    let _ =
        File::open(FILE).and_then(|file| file.take(SERVICES_FILE_BYTES_MAX).read_to_end(&mut list));
    in_list(&String::from_utf8_lossy(&list), name).or_else(|| in_list(WELL_KNOWN, name))
}

/// Looks a name or an alias up in text of the form of services(5).
fn in_list(list: &str, name: &str) -> Option<u16> {
    list.lines().find_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let first = words.next()?;
        let (port, protocol) = words.next()?.split_once('/')?;
        let is_named = first == name || words.any(|alias| alias == name);
        (is_named && protocol == "tcp").then(|| port.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases_are_found() {
        let list = "# x\nhttp 80/tcp www # web\nx 1/udp\nx 2/tcp\nbad\ny 99999/tcp\ny z/tcp\n";
        for (name, port) in [
            ("http", Some(80)),
            ("www", Some(80)),
            ("x", Some(2)),
            ("web", None),
            ("#", None),
            ("bad", None),
            ("y", None),
            ("", None),
        ] {
            assert_eq!(in_list(list, name), port, "{name}");
        }
    }

    #[test]
    fn well_known_names_need_no_list() {
        assert_eq!(port("http-alt"), Some(8080));
        assert_eq!(port("no-such-service"), None);
    }
}
