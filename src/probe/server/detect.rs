//! Which protocol a connection speaks, by its first bytes (probe spec B.5.1).

use crate::probe::wire::MAGIC;

/// Bytes that are looked at.
pub(super) const BYTES_MAX: usize = MAGIC.len();

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// The probe's own.
    Probe,
    /// HTTP/1.1, and what begins as it.
    Http,
    /// Something else: whatever comes is payload.
    Sink,
}

const HTTP: [&[u8]; 5] = [b"GET ", b"POST", b"PUT ", b"HEAD", b"OPTIONS "];

/// The protocol that `bytes` begin, or `None` while they may still become several.
pub(super) fn protocol(bytes: &[u8]) -> Option<Protocol> {
    let known = HTTP
        .iter()
        .map(|method| (*method, Protocol::Http))
        .chain([(MAGIC, Protocol::Probe)]);
    let mut may_become = false;
    for (prefix, protocol) in known {
        if bytes.starts_with(prefix) {
            return Some(protocol);
        }
        may_become |= prefix.starts_with(bytes);
    }
    (!may_become).then_some(Protocol::Sink)
}

/// Whether `bytes` begin a TLS handshake (RFC 8446 §5.1), or `None` while that is open.
pub(super) fn is_tls(bytes: &[u8]) -> Option<bool> {
    match bytes {
        [] | [0x16] => None,
        [first, second, ..] => Some((*first, *second) == (0x16, 3)),
        [_] => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell() {
        assert_eq!(protocol(b"GET / HT"), Some(Protocol::Http));
        assert_eq!(protocol(b"POST"), Some(Protocol::Http));
        assert_eq!(protocol(b"BPPROBE1 {"), Some(Protocol::Probe));
        assert_eq!(protocol(b"BPPROBE2 "), Some(Protocol::Sink));
        assert_eq!(protocol(b"\0"), Some(Protocol::Sink));
        for part in [&b""[..], b"G", b"PO", b"BPPROBE1"] {
            assert_eq!(protocol(part), None, "{part:?}");
        }
    }

    #[test]
    fn a_tls_handshake_begins_with_its_record() {
        assert_eq!(is_tls(b"\x16\x03\x01"), Some(true));
        assert_eq!(is_tls(b"\x16\x02"), Some(false));
        assert_eq!(is_tls(b"G"), Some(false));
        assert_eq!(is_tls(b"\x16"), None);
    }
}
