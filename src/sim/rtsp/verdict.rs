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
    /// More clients than may be served at a time, so that it may be turned away …
    pub(in crate::sim) is_crowded: bool,
    /// … or have to give way later, since it has closed its side.
    pub(in crate::sim) gives_way: bool,
    /// It has closed its side, and nothing came for so long that it may be taken to have left.
    pub(in crate::sim) is_let_go: bool,
    /// A pool so small that anything may be refused.
    pub(in crate::sim) is_cramped: bool,
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
        Some(200) => assert!(
            play.log.heard != Some(false),
            "a stream before its media: {}",
            context()
        ),
        Some(503) => {
            let is_due = is_failure_due(play, sent, watched);
            assert!(is_due, "no stream: {}", context());
            return "no stream";
        }
        status => panic!("{status:?}: {}", context()),
    }
    assert!(!play.fails(), "a stream from nowhere: {}", context());
    if !play.log.complete {
        // Nobody but the server ends a stream.
        let may = play.finale == Finale::Resets || watched.is_let_go;
        assert!(may, "given up: {}", context());
        return "stream broken";
    }
    if play.finale == Finale::Announces {
        assert_eq!(play.log.unanswered, 0, "unanswered: {}", context());
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

/// Whether a client that stays has to be told that there is no stream, or may be.
fn is_failure_due(play: &Play, sent: &[Sent], watched: Watched) -> bool {
    let turned_away = watched.is_crowded && (play.log.connections == 0 || watched.gives_way);
    // So much is lost only where few packets come in the time that is waited for the first.
    let all_lost = play.loss_percent > 0
        && !sent.is_empty()
        && sent.iter().all(|packet| packet.arrived.is_none());
    let unheard = play.finale == Finale::Resets && play.log.over && play.log.heard != Some(true);
    play.fails() || watched.is_cramped || turned_away || all_lost || unheard
}
