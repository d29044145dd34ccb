//! Media frames and messages on one connection (RFC 2326 §10.12).
//!
//! [`decode`] says what is at the front of the input; [`Splitter`] does so for bytes that arrive in pieces. It
//! copies only an item that is not whole in one piece, so media that arrives whole is never copied. What is
//! neither frame nor message is skipped up to the next place where one may start.

use std::ops::Range;

use super::message::{self, BODY_BYTES_MAX, HEAD_BYTES_MAX, MessageError, Start};

/// Length in bytes of what precedes the payload of a frame: `$`, channel, 16-bit big-endian length.
pub const FRAME_HEADER_BYTES: usize = 4;
/// Longest payload of a frame in bytes.
pub const PAYLOAD_BYTES_MAX: usize = u16::MAX as usize;
/// Most bytes that are kept of an item that is not whole yet.
pub const CARRY_BYTES_MAX: usize = HEAD_BYTES_MAX + BODY_BYTES_MAX;

const _: () = assert!(FRAME_HEADER_BYTES + PAYLOAD_BYTES_MAX <= CARRY_BYTES_MAX);

/// First byte of a frame.
const DOLLAR: u8 = b'$';

/// The channels of a session. Others are taken for frames too, but not when looking for the next frame in
/// what makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    /// Carries media.
    pub media: u8,
    /// Carries RTCP.
    pub control: u8,
}

impl Default for Channels {
    /// What every offer of ours asks for.
    fn default() -> Self {
        Self {
            media: 0,
            control: 1,
        }
    }
}

/// What stands at the front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A frame.
    Frame {
        /// Its channel.
        channel: u8,
        /// Where its payload is, at most [`PAYLOAD_BYTES_MAX`] bytes.
        payload: Range<usize>,
    },
    /// A message with its body; [`message::decode`] takes it apart, and may find its headers wrong.
    Message(Range<usize>),
    /// Neither. How much of it is reported at a time depends on how it arrives.
    Junk(Range<usize>),
}

/// Decodes what stands at the front of `input`; the `usize` is its length in bytes. `Ok(None)` asks for more.
///
/// # Errors
///
/// `HeadTooLong` and `BodyTooLong` of a message: there is no telling where the next item starts.
pub fn decode(input: &[u8], channels: Channels) -> Result<Option<(Item, usize)>, MessageError> {
    decode_behind(None, input, channels)
}

/// As [`decode`]; `lost` is the byte before `input` if what came before made no sense, so that an item need
/// not start here.
fn decode_behind(
    lost: Option<u8>,
    input: &[u8],
    channels: Channels,
) -> Result<Option<(Item, usize)>, MessageError> {
    Ok(match measure(lost, input, channels)? {
        Measure::Frame { channel, bytes } if bytes <= input.len() => Some((
            Item::Frame {
                channel,
                payload: FRAME_HEADER_BYTES..bytes,
            },
            bytes,
        )),
        Measure::Message(bytes) if bytes <= input.len() => Some((Item::Message(0..bytes), bytes)),
        Measure::Junk(bytes) => Some((Item::Junk(0..bytes), bytes)),
        _ => None,
    })
}

/// How long the item at the front is, whether or not all of it is there.
enum Measure {
    Frame {
        channel: u8,
        bytes: usize,
    },
    Message(usize),
    /// Never more than there is, and never nothing.
    Junk(usize),
    Unknown,
}

fn measure(lost: Option<u8>, input: &[u8], channels: Channels) -> Result<Measure, MessageError> {
    if let Some(previous) = lost {
        match find_start(previous, input, channels) {
            Found { at: 0, certain } if certain => {}
            Found { at: 0, .. } => return Ok(Measure::Unknown),
            Found { at, .. } => return Ok(Measure::Junk(at)),
        }
    }
    match input {
        [DOLLAR, channel, high, low, ..] => Ok(Measure::Frame {
            channel: *channel,
            bytes: FRAME_HEADER_BYTES + usize::from(u16::from_be_bytes([*high, *low])),
        }),
        [] | [DOLLAR, ..] => Ok(Measure::Unknown),
        [first, behind @ ..] => match message::check_start(input) {
            Start::Unknown => Ok(Measure::Unknown),
            Start::Message => {
                Ok(message::extent(input)?.map_or(Measure::Unknown, Measure::Message))
            }
            Start::Other => Ok(Measure::Junk(1 + find_start(*first, behind, channels).at)),
        },
    }
}

/// The first place where an item may start; the end of the input if there is none.
struct Found {
    at: usize,
    /// Whether enough bytes are there to say so.
    certain: bool,
}

/// Looks for `$` with a channel of ours, `RTSP/`, or a capital behind a line feed.
fn find_start(previous: u8, input: &[u8], channels: Channels) -> Found {
    let mut previous = previous;
    for (at, &byte) in input.iter().enumerate() {
        let behind = input.get(at + 1..).unwrap_or_default();
        let certain = match byte {
            b'A'..=b'Z' if previous == b'\n' => Some(true),
            DOLLAR => match behind.first() {
                Some(channel) if [channels.media, channels.control].contains(channel) => Some(true),
                Some(_) => None,
                None => Some(false),
            },
            b'R' if behind.starts_with(b"TSP/") => Some(true),
            b'R' if b"TSP/".starts_with(behind) => Some(false),
            _ => None,
        };
        if let Some(certain) = certain {
            return Found { at, certain };
        }
        previous = byte;
    }
    Found {
        at: input.len(),
        certain: false,
    }
}

/// Where the bytes of a [`Slice`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffer {
    /// In the bytes given to this call.
    Input,
    /// In what was joined from several calls ([`Splitter::joined`]).
    Joined,
}

/// A part of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Which buffer.
    pub buffer: Buffer,
    /// Which part of it.
    pub range: Range<usize>,
}

impl Slice {
    /// The part `inner` of this part.
    pub fn part(&self, inner: Range<usize>) -> Slice {
        let start = self.range.start.saturating_add(inner.start);
        Slice {
            buffer: self.buffer,
            range: start..start.saturating_add(inner.len()),
        }
    }
}

/// What [`Splitter::next`] found; the slice is the payload of a frame or a whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A frame.
    Frame {
        /// Its channel.
        channel: u8,
        /// Its payload.
        payload: Slice,
    },
    /// A message.
    Message(Slice),
    /// That many bytes made no sense.
    Junk(usize),
}

/// Splits a stream of bytes into frames and messages.
#[derive(Debug, Default)]
pub struct Splitter {
    /// The beginning of an item whose end has not arrived. At most [`CARRY_BYTES_MAX`] bytes.
    carry: Vec<u8>,
    /// Items that were put together during this round, no longer than the carry plus one item, and what was
    /// adopted.
    joined: Vec<u8>,
    /// The last byte, if it belonged to nothing.
    lost: Option<u8>,
}

impl Splitter {
    /// Starts with new input: forgets what was joined before.
    pub fn begin(&mut self) {
        self.joined.clear();
    }

    /// Puts `bytes` behind what was joined.
    pub fn adopt(&mut self, bytes: &[u8]) -> Slice {
        let start = self.joined.len();
        self.joined.extend_from_slice(bytes);
        Slice {
            buffer: Buffer::Joined,
            range: start..self.joined.len(),
        }
    }

    /// Forgets an unfinished item: the connection is a new one. What was joined stays good.
    pub fn reset(&mut self) {
        self.carry.clear();
        self.lost = None;
    }

    /// Bytes kept of an item that is not whole yet.
    pub fn carried_bytes(&self) -> usize {
        self.carry.len()
    }

    /// The bytes behind [`Buffer::Joined`], until the next [`Splitter::begin`].
    pub fn joined(&self) -> &[u8] {
        &self.joined
    }

    /// The next item of `input` from `at` on, which is moved behind what was used. `None` once all is used.
    ///
    /// # Errors
    ///
    /// As [`decode`]; the stream is then of no more use.
    pub fn next(
        &mut self,
        input: &[u8],
        at: &mut usize,
        channels: Channels,
    ) -> Result<Option<Piece>, MessageError> {
        while !self.carry.is_empty() {
            if let Some((item, bytes)) = decode_behind(self.lost, &self.carry, channels)? {
                self.note(&item, self.carry.get(bytes.wrapping_sub(1)).copied());
                return Ok(Some(self.join(item, bytes)));
            }
            let rest = input.get(*at..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(None);
            }
            let bytes = self.missing(rest, channels)?.clamp(1, rest.len());
            self.carry
                .extend_from_slice(rest.get(..bytes).unwrap_or(rest));
            *at += bytes;
        }
        let rest = input.get(*at..).unwrap_or_default();
        let Some((item, bytes)) = decode_behind(self.lost, rest, channels)? else {
            self.carry.extend_from_slice(rest);
            *at = input.len();
            return Ok(None);
        };
        self.note(&item, rest.get(bytes.wrapping_sub(1)).copied());
        let piece = piece(item, Buffer::Input, *at);
        *at += bytes;
        Ok(Some(piece))
    }

    fn note(&mut self, item: &Item, last: Option<u8>) {
        self.lost = last.filter(|_| matches!(item, Item::Junk(_)));
    }

    /// How many bytes the unfinished item needs at least to go on; all that follows stays where it is.
    fn missing(&self, rest: &[u8], channels: Channels) -> Result<usize, MessageError> {
        Ok(match measure(self.lost, &self.carry, channels)? {
            Measure::Frame { bytes, .. } | Measure::Message(bytes) => {
                bytes.saturating_sub(self.carry.len())
            }
            Measure::Unknown if self.carry.first() == Some(&DOLLAR) => {
                FRAME_HEADER_BYTES.saturating_sub(self.carry.len())
            }
            Measure::Unknown | Measure::Junk(_) => rest
                .iter()
                .position(|&byte| byte == b'\n')
                .map_or(rest.len(), |end| end + 1),
        })
    }

    /// Moves the first `bytes` of the carry to what was joined.
    fn join(&mut self, item: Item, bytes: usize) -> Piece {
        let start = self.joined.len();
        if start == 0 && bytes == self.carry.len() {
            std::mem::swap(&mut self.carry, &mut self.joined);
        } else if !matches!(item, Item::Junk(_)) {
            self.joined.extend(self.carry.drain(..bytes));
        } else {
            self.carry.drain(..bytes);
        }
        piece(item, Buffer::Joined, start)
    }
}

fn piece(item: Item, buffer: Buffer, start: usize) -> Piece {
    let slice = |range: Range<usize>| Slice {
        buffer,
        range: start + range.start..start + range.end,
    };
    match item {
        Item::Frame { channel, payload } => Piece::Frame {
            channel,
            payload: slice(payload),
        },
        Item::Message(range) => Piece::Message(slice(range)),
        Item::Junk(range) => Piece::Junk(range.len()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What came out of a stream, junk apart.
    #[derive(Debug, PartialEq, Eq)]
    enum Found {
        Frame(u8, Vec<u8>),
        Message(Vec<u8>),
    }

    /// Feeds `input` in pieces that end at `cuts`; the `usize` counts bytes of junk.
    fn split(input: &[u8], cuts: &[usize]) -> (Result<Vec<Found>, MessageError>, usize) {
        let mut splitter = Splitter::default();
        let (mut found, mut junk, mut start) = (Vec::new(), 0, 0);
        let ends = cuts.iter().copied().filter(|&cut| cut <= input.len());
        for end in ends.chain([input.len()]) {
            let Some(bytes) = input.get(start..end) else {
                continue;
            };
            start = end;
            splitter.begin();
            let mut at = 0;
            loop {
                let piece = match splitter.next(bytes, &mut at, Channels::default()) {
                    Ok(Some(piece)) => piece,
                    Ok(None) => break,
                    Err(error) => return (Err(error), junk),
                };
                let text = |slice: &Slice| match slice.buffer {
                    Buffer::Input => bytes[slice.range.clone()].to_vec(),
                    Buffer::Joined => splitter.joined()[slice.range.clone()].to_vec(),
                };
                match &piece {
                    Piece::Frame { channel, payload } => {
                        found.push(Found::Frame(*channel, text(payload)));
                    }
                    Piece::Message(slice) => found.push(Found::Message(text(slice))),
                    Piece::Junk(bytes) => junk += bytes,
                }
            }
            assert!(at == bytes.len());
            assert!(splitter.carry.len() <= CARRY_BYTES_MAX);
        }
        (Ok(found), junk)
    }

    fn frame(channel: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![DOLLAR, channel];
        bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    const REPLY: &[u8] = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 4\r\n\r\n$\0\0\x01";

    #[test]
    fn frames_and_messages_are_told_apart() {
        let input = [
            &frame(0, b"one")[..],
            REPLY,
            &frame(7, b""),
            &frame(1, b"two"),
        ]
        .concat();
        let (found, junk) = split(&input, &[]);
        let expected = vec![
            Found::Frame(0, b"one".to_vec()),
            Found::Message(REPLY.to_vec()),
            Found::Frame(7, vec![]),
            Found::Frame(1, b"two".to_vec()),
        ];
        assert_eq!((found, junk), (Ok(expected), 0));
    }

    #[test]
    fn longest_frame_passes() {
        let payload = vec![0x47; PAYLOAD_BYTES_MAX];
        let input = frame(0, &payload);
        for cuts in [&[][..], &[1], &[3, 4, 5], &[20_000, 40_000]] {
            assert_eq!(
                split(&input, cuts).0,
                Ok(vec![Found::Frame(0, payload.clone())])
            );
        }
    }

    #[test]
    fn whole_frames_are_not_copied() {
        let mut splitter = Splitter::default();
        let input = [frame(0, b"one"), frame(0, b"two"), frame(0, b"three")].concat();
        let (front, behind) = input.split_at(10);
        for (bytes, buffers) in [
            (front, &[Buffer::Input][..]),
            (behind, &[Buffer::Joined, Buffer::Input]),
        ] {
            splitter.begin();
            let mut at = 0;
            for buffer in buffers {
                let piece = splitter.next(bytes, &mut at, Channels::default());
                let Ok(Some(Piece::Frame { payload, .. })) = piece else {
                    panic!("{piece:?}");
                };
                assert_eq!(payload.buffer, *buffer);
            }
            assert_eq!(splitter.next(bytes, &mut at, Channels::default()), Ok(None));
        }
        assert_eq!(splitter.joined(), frame(0, b"two"));
    }

    #[test]
    fn junk_is_skipped_up_to_the_next_item() {
        for (junk, next) in [
            (&b"\r\n"[..], frame(0, b"x")),
            (b"\0\x01$\x09garbage", frame(1, b"x")),
            (b"garbage", REPLY.to_vec()),
            (b"RTSP/2.0 200 OK\r\n", REPLY.to_vec()),
            (b"a line\n", b"OPTIONS * RTSP/1.0\r\n\r\n".to_vec()),
            (&[0x47; 188], frame(0, b"x")),
        ] {
            let input = [junk, &next].concat();
            let (found, bytes) = split(&input, &[]);
            assert_eq!((found.unwrap().len(), bytes), (1, junk.len()), "{junk:?}");
        }
    }

    #[test]
    fn message_that_never_ends_is_an_error() {
        let input = [b"RTSP/1.0 200 OK\r\n".to_vec(), b"a: b\r\n".repeat(4000)].concat();
        let (found, _) = split(&input, &[100]);
        assert_eq!(
            found,
            Err(MessageError::HeadTooLong {
                limit: HEAD_BYTES_MAX
            })
        );
    }

    fn any_item() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => (0u8..3, prop::collection::vec(any::<u8>(), 0..40))
                .prop_map(|(channel, payload)| frame(channel, &payload)),
            2 => Just(REPLY.to_vec()),
            1 => Just(b"ANNOUNCE rtsp://h/ RTSP/1.0\nCSeq: 3\n\n".to_vec()),
            1 => Just(b"RTSP/1.0 200 OK\r\nbroken header\r\n\r\n".to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..12),
            1 => "[RTSP/1.0 $\\r\\nA]{0,12}".prop_map(String::into_bytes),
        ]
    }

    proptest! {
        #[test]
        fn cutting_the_stream_changes_nothing(
            items in prop::collection::vec(any_item(), 0..8),
            mut cuts in prop::collection::vec(0usize..200, 0..12),
        ) {
            let input = items.concat();
            let whole = split(&input, &[]);
            cuts.sort_unstable();
            prop_assert_eq!(&split(&input, &cuts), &whole);
            let every: Vec<usize> = (0..input.len()).collect();
            prop_assert_eq!(&split(&input, &every), &whole);
        }

        #[test]
        fn any_bytes_are_survived(input in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = split(&input, &[]);
        }
    }
}
