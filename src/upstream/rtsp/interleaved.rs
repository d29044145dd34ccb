//! What comes over the control connection: answers, and media between them.
//!
//! The media is brought as bodies, and stays unread while the client is full. Most of it is moved together in the buffer
//! that it was read into; what does not fit that goes by the [backlog](super::backlog).

use std::io;

use super::{Client, RtspUpstream};
use crate::limits::{UPSTREAM_BYTES_PER_TURN, UPSTREAM_READ_BYTES, UPSTREAM_READ_BYTES_FAST};
use crate::net::{Io, is_unannounced_end};
use crate::pool::PacketMut;
use crate::proto::rtsp::{Action, Buffer, Slice};
use crate::shared::Shared;
use crate::upstream::{Grant, Outcome, freeze};

impl RtspUpstream {
    /// Reads the control connection until it is empty, the room is used up, or the turn is over.
    pub(super) fn receive(
        &mut self,
        grant: Grant,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
    ) {
        if self.is_live() && self.control.can_read() {
            // What is said here may end the media: what arrived before that comes first.
            self.receive_last_datagrams(shared, outcomes);
        }
        let mut room = if self.is_live() {
            usize::MAX
        } else {
            grant.room
        };
        let mut budget = UPSTREAM_BYTES_PER_TURN;
        while room > 0 && budget > 0 {
            let brought = if !self.backlog.is_empty() {
                self.hand_on_backlog(shared, outcomes)
            } else if self.control.can_read() {
                let is_fast = grant.keeps_up && self.is_behind;
                self.read(room, is_fast, shared, outcomes)
            } else {
                None
            };
            let Some(brought) = brought else {
                return;
            };
            room = room.saturating_sub(brought.held);
            budget = budget.saturating_sub(brought.read);
        }
    }

    /// One read of at most `room` bytes; nothing when there is no more to be had now.
    fn read(
        &mut self,
        room: usize,
        is_fast: bool,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
    ) -> Option<Brought> {
        let small = UPSTREAM_READ_BYTES.min(shared.pool.buffer_bytes_max());
        if self.client == Client::Gone || self.is_live() {
            return self.read_answers(small.min(room), shared, outcomes);
        }
        // Room for what the session has kept: together with it, the media of this read finds place. Before PLAY is
        // answered hardly any of it is media, and an empty pool must hold no handshake up.
        let carried = self.session.carried_bytes();
        if carried > small / 2 || self.session.media_expected().is_none() {
            return self.read_aside(small.min(room), shared, outcomes);
        }
        let large = if is_fast {
            UPSTREAM_READ_BYTES_FAST.min(shared.pool.buffer_bytes_max())
        } else {
            small
        };
        let taken = [large, small]
            .into_iter()
            .find_map(|bytes| Some((bytes - carried, shared.pool.take_patient(bytes)?)));
        let Some((len, mut chunk)) = taken else {
            outcomes.push(Outcome::Starved);
            return None;
        };
        let len = len.min(room);
        let space = chunk.bytes_mut().get_mut(carried..carried + len)?;
        let result = self.control.read(space, shared);
        let count = self.note_read(result, len, shared, outcomes)?;
        let input = chunk.bytes().get(carried..carried + count)?;
        self.session.receive(shared.now, input, &mut self.actions);
        let filled = self.gather(&mut chunk, carried);
        self.announce(outcomes);
        let mut held = 0;
        if filled > 0 {
            let view = freeze(chunk, filled, &shared.pool);
            held = view.held_bytes();
            outcomes.push(Outcome::Body(view));
        }
        self.carry_out(shared, outcomes);
        Some(Brought { read: count, held })
    }

    /// As [`RtspUpstream::read`], in the middle of a frame that is large for a buffer, or before there is media: it
    /// goes to the backlog.
    fn read_aside(
        &mut self,
        len: usize,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
    ) -> Option<Brought> {
        let brought = self.read_scratch(len, shared, outcomes, Self::store)?;
        self.announce(outcomes);
        self.carry_out(shared, outcomes);
        Some(brought)
    }

    /// As [`RtspUpstream::read`], when nothing that is read can be media for the client.
    fn read_answers(
        &mut self,
        len: usize,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
    ) -> Option<Brought> {
        let brought = self.read_scratch(len, shared, outcomes, |this, _| {
            this.actions
                .retain(|action| !matches!(action, Action::Media(_)));
        });
        self.carry_out(shared, outcomes);
        brought
    }

    /// Reads without a buffer of the pool; `take_media` takes the media out of the actions, for which it is given
    /// the input.
    fn read_scratch(
        &mut self,
        len: usize,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
        take_media: impl FnOnce(&mut Self, &[u8]),
    ) -> Option<Brought> {
        let mut scratch = std::mem::take(&mut shared.scratch);
        scratch.resize(scratch.len().max(len), 0);
        let space = scratch.get_mut(..len).unwrap_or_default();
        let result = self.control.read(space, shared);
        let count = self.note_read(result, len, shared, outcomes);
        if let Some(input) = count.and_then(|count| scratch.get(..count)) {
            self.session.receive(shared.now, input, &mut self.actions);
            take_media(self, input);
        }
        shared.scratch = scratch;
        count.map(|read| Brought { read, held: 0 })
    }

    /// Puts the media of the last [`Session::receive`] into the backlog.
    fn store(&mut self, input: &[u8]) {
        let Self {
            session,
            actions,
            backlog,
            ..
        } = self;
        actions.retain(|action| {
            let Action::Media(Slice { buffer, range }) = action else {
                return true;
            };
            let bytes = match buffer {
                Buffer::Input => input,
                Buffer::Joined => session.joined(),
            };
            backlog.push(bytes.get(range.clone()).unwrap_or_default());
            false
        });
    }

    /// Brings a piece of the backlog.
    fn hand_on_backlog(
        &mut self,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
    ) -> Option<Brought> {
        let bytes_max = UPSTREAM_READ_BYTES.min(shared.pool.buffer_bytes_max());
        let piece = self.backlog.front(bytes_max);
        let Some(mut chunk) = shared.pool.take_patient(piece.len()) else {
            outcomes.push(Outcome::Starved);
            return None;
        };
        let count = piece.len();
        chunk.bytes_mut().get_mut(..count)?.copy_from_slice(piece);
        let view = chunk.freeze(count);
        let held = view.held_bytes();
        outcomes.push(Outcome::Body(view));
        outcomes.extend(self.backlog.advance(count));
        Some(Brought { read: count, held })
    }

    /// Acts on the end of the connection. Returns how many bytes were read, unless there are none.
    fn note_read(
        &mut self,
        result: io::Result<Io<usize>>,
        len: usize,
        shared: &mut Shared,
        outcomes: &mut Vec<Outcome>,
    ) -> Option<usize> {
        match result {
            Ok(Io::Done(0)) => self.end_of_input(false, shared, outcomes),
            Ok(Io::Done(count)) => {
                self.is_behind = count == len;
                return Some(count);
            }
            Ok(Io::Blocked) => {}
            Err(error) => {
                log::debug!("RTSP: reading failed: {error}");
                let is_end = is_unannounced_end(&error);
                self.end_of_input(!is_end, shared, outcomes);
            }
        }
        None
    }

    /// Moves the media of the last [`Session::receive`], whose input stands at `offset` of the chunk, together at
    /// its front. Returns how much that is.
    ///
    /// What is moved is never longer than what was consumed for it, so nothing is overwritten that is still needed.
    fn gather(&mut self, chunk: &mut PacketMut, offset: usize) -> usize {
        let Self {
            session, actions, ..
        } = self;
        let bytes = chunk.bytes_mut();
        let mut filled = 0;
        actions.retain(|action| {
            let Action::Media(Slice { buffer, range }) = action else {
                return true;
            };
            match buffer {
                Buffer::Input => {
                    bytes.copy_within(offset + range.start..offset + range.end, filled);
                }
                Buffer::Joined => {
                    let place = bytes.get_mut(filled..filled + range.len());
                    if let (Some(place), Some(media)) = (place, session.joined().get(range.clone()))
                    {
                        place.copy_from_slice(media);
                    }
                }
            }
            filled += range.len();
            false
        });
        filled
    }
}

/// What one read has brought.
struct Brought {
    /// Bytes read.
    read: usize,
    /// Bytes that the client's queue will hold for it.
    held: usize,
}
