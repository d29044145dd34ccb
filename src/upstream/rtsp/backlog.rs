//! Media that was read and has no place in the pool yet.
//!
//! A frame may be larger than a buffer of a small pool, and media may come before or with the answer to PLAY, for which
//! no buffer is asked. Such media is kept here and handed on in pieces, whatever was to follow it comes behind, and
//! nothing is read meanwhile: so this holds no more than one frame, one read and what came before the answer.

use super::super::Outcome;

/// What waits for buffers, in order.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: Vec<u8>,
    /// So many of them were handed on.
    start: usize,
    /// How it ended for the client, which must not learn it before it has the media.
    conclusion: Option<Outcome>,
}

impl Backlog {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Adds media behind what waits.
    pub(super) fn push(&mut self, media: &[u8]) {
        self.bytes.extend_from_slice(media);
    }

    /// The media that is next, at most `bytes_max` bytes of it.
    pub(super) fn front(&self, bytes_max: usize) -> &[u8] {
        let waiting = self.bytes.get(self.start..).unwrap_or_default();
        waiting.get(..bytes_max).unwrap_or(waiting)
    }

    /// Forgets the first `count` bytes, which were handed on. Returns the conclusion once nothing else waits.
    pub(super) fn advance(&mut self, count: usize) -> Option<Outcome> {
        self.start = (self.start + count).min(self.bytes.len());
        if !self.is_empty() {
            return None;
        }
        // The memory goes too: most sessions never need it again.
        let Self { conclusion, .. } = std::mem::take(self);
        conclusion
    }

    /// Keeps `conclusion` until everything was handed on; gives it back if there is nothing to wait for.
    pub(super) fn conclude(&mut self, conclusion: Outcome) -> Option<Outcome> {
        if self.is_empty() {
            return Some(conclusion);
        }
        self.conclusion.get_or_insert(conclusion);
        None
    }

    /// Forgets everything: there is nobody to hand it to.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Ending;
    use super::*;

    #[test]
    fn conclusion_comes_behind_the_last_byte() {
        let mut backlog = Backlog::default();
        backlog.push(b"media");
        assert!(backlog.conclude(Outcome::End(Ending::Whole)).is_none());
        assert_eq!(backlog.front(3), b"med");
        assert!(backlog.advance(3).is_none());
        assert_eq!(backlog.front(3), b"ia");
        assert!(matches!(
            backlog.advance(2),
            Some(Outcome::End(Ending::Whole))
        ));
        assert!(backlog.is_empty() && backlog.advance(0).is_none());
    }

    #[test]
    fn nothing_is_kept_waiting_for_nothing() {
        let mut backlog = Backlog::default();
        assert!(backlog.conclude(Outcome::Starved).is_some());
        backlog.push(b"x");
        backlog.clear();
        assert!(backlog.is_empty() && backlog.front(9).is_empty());
    }
}
