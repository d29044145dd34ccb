//! Whether a stream was played, and ended at its server, as it had to be.

use super::super::media::{Sent, Viewer};
use super::play::{Finale, Play, Transports};

/// What is known of a client besides what it has read.
#[derive(Debug, Clone, Copy)]
pub(in crate::sim) struct Watched {
    /// It has stayed to the end.
    pub(in crate::sim) stays: bool,
    /// Bytes counted as dropped, unless its accounts cannot be seen any more.
    pub(in crate::sim) dropped_bytes: Option<u64>,
    /// Too many clients, or a pool so small that requests are refused.
    pub(in crate::sim) refuses: bool,
    /// Nothing was lost for want of a buffer.
    pub(in crate::sim) roomy: bool,
}

/// Judges a stream; returns what is worth counting.
///
/// # Panics
///
/// If something is not as it must be.
pub(in crate::sim) fn judge_play(
    play: &Play,
    sent: &[Sent],
    viewer: &Viewer,
    watched: Watched,
) -> &'static str {
    let context = || format!("{play:?} {viewer:?} {watched:?}");
    assert!(
        !play.log.has_session || play.log.over,
        "a session is left at the server: {}",
        context()
    );
    let is_tcp = play.transports == Transports::Tcp;
    let dropped = watched.dropped_bytes.unwrap_or(0);
    if is_tcp {
        assert_eq!(
            dropped,
            0,
            "dropped from a session that waits: {}",
            context()
        );
        assert_eq!(viewer.missing, 0, "a hole: {}", context());
        assert!(
            viewer.first.is_none_or(|first| first == 0),
            "the beginning: {}",
            context()
        );
    }
    if !watched.stays {
        return "stream left";
    }
    match viewer.status {
        Some(200) => {}
        Some(503) => {
            let nothing = sent.iter().all(|packet| packet.arrived.is_none());
            let may = play.fails() || watched.refuses || nothing || play.finale == Finale::Resets;
            assert!(may, "no stream: {}", context());
            return "no stream";
        }
        status => panic!("{status:?}: {}", context()),
    }
    assert!(!play.fails(), "a stream from nowhere: {}", context());
    if !play.log.complete {
        // Who falls silent is given up; otherwise nobody but the server ends a stream.
        let may = matches!(play.finale, Finale::Resets | Finale::Silence);
        assert!(may, "given up: {}", context());
        return "stream broken";
    }
    assert!(viewer.is_whole(), "the end is cut: {}", context());
    if is_tcp {
        let last = viewer.last.map(|(number, ..)| number + 1);
        assert_eq!(last, Some(sent.len() as u64), "the end: {}", context());
        return "stream complete";
    }
    let arrived = sent.iter().filter(|packet| packet.arrived.is_some());
    let arrived: u64 = arrived.map(|packet| packet.payload.len() as u64).sum();
    if watched.roomy && watched.dropped_bytes.is_some() {
        assert_eq!(viewer.body_bytes + dropped, arrived, "books: {}", context());
    }
    if dropped > 0 {
        return "datagrams dropped";
    }
    "datagrams complete"
}
