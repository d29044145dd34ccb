//! How payload and control text lie on the wire: raw, chunked, or as WebSocket messages, in both directions.
//!
//! An [`Outlet`] makes the bytes to be written out; an [`Intake`] takes received bytes apart.

mod intake;
mod outlet;

pub use intake::{Intake, IntakeError, Item, Length};
pub use outlet::Outlet;

/// How payload is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Not at all.
    Raw,
    /// As chunks (RFC 9112 §7.1).
    Chunked,
    /// As binary messages, masked if the sender is the client (RFC 6455).
    WebSocket {
        /// Whether this end is the client.
        is_client: bool,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::probe::payload::Payload;
    use crate::probe::wire::{HELLO_BYTES_MAX, WireError};
    use crate::proto::http::Chunked;

    const TOTAL: u64 = 3000;

    fn outlet(framing: Framing, frame_bytes: u64) -> Outlet {
        let mut outlet = Outlet::new(framing, 99);
        outlet.push_text("hello");
        outlet.begin(Payload::new(1, 0), frame_bytes, TOTAL);
        outlet
    }

    /// Writes everything through a socket that takes `step` bytes of each `room`.
    fn write(outlet: &mut Outlet, room: usize, step: usize) -> Vec<u8> {
        let (mut wire, mut buffer) = (Vec::new(), vec![0; room]);
        loop {
            let filled = outlet.fill(&mut buffer);
            if filled == 0 {
                return wire;
            }
            let taken = filled.min(step);
            wire.extend_from_slice(&buffer[..taken]);
            outlet.advance(taken);
        }
    }

    /// Payload and texts as the other end sees them, and whether it ended.
    fn read(mut intake: Intake, wire: &[u8], step: usize) -> (Vec<u8>, Vec<Vec<u8>>, bool) {
        let (mut payload, mut texts, mut ended) = (Vec::new(), Vec::new(), false);
        let mut wire = wire.to_vec();
        for bytes in wire.chunks_mut(step) {
            let mut at = 0;
            while let Some((taken, item)) = intake.next(&mut bytes[at..]).expect("sound") {
                match item {
                    Item::Payload => payload.extend_from_slice(&bytes[at..at + taken]),
                    Item::Text(text) => texts.push(text),
                    Item::End => ended = true,
                    Item::Nothing | Item::MessageEnd | Item::Ping(_) => {}
                }
                at += taken;
            }
            assert_eq!(at, bytes.len());
        }
        (payload, texts, ended)
    }

    fn expected() -> Vec<u8> {
        let mut bytes = vec![0; TOTAL as usize];
        Payload::new(1, 0).fill(0, &mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out_however_it_is_cut(
            framing in prop::sample::select(vec![
                Framing::Raw, Framing::Chunked, Framing::WebSocket { is_client: true },
                Framing::WebSocket { is_client: false },
            ]),
            frame_bytes in 1..4000u64, room in 1..500usize, step in 1..500usize, read_step in 1..500usize,
        ) {
            let mut outlet = outlet(framing, frame_bytes);
            let mut wire = write(&mut outlet, room, step);
            prop_assert!(outlet.is_complete() && outlet.is_idle());
            prop_assert_eq!(outlet.payload_bytes(), TOTAL);
            outlet.finish();
            wire.extend(write(&mut outlet, room, step));
            let (intake, text_bytes) = match framing {
                Framing::Raw => (Intake::Raw, 6),
                Framing::Chunked => (Intake::Chunked(Chunked::new()), 6),
                Framing::WebSocket { is_client } => (Intake::websocket(is_client), 0),
            };
            prop_assert!(text_bytes == 0 || wire.starts_with(b"hello\n"));
            let (payload, texts, ended) = read(intake, &wire[text_bytes..], read_step);
            prop_assert_eq!(payload, expected());
            prop_assert_eq!(texts.len(), usize::from(text_bytes == 0));
            prop_assert_eq!(ended, framing != Framing::Raw);
        }

        #[test]
        fn no_bytes_make_an_intake_panic(
            kind in 0..5, bytes in proptest::collection::vec(any::<u8>(), 0..300), step in 1..50usize,
        ) {
            let mut intake = match kind {
                0 => Intake::Lines(Vec::new()),
                1 => Intake::Chunked(Chunked::new()),
                4 => Intake::Head(Vec::new()),
                _ => Intake::websocket(kind == 2),
            };
            let mut bytes = bytes;
            'all: for piece in bytes.chunks_mut(step) {
                let mut at = 0;
                loop {
                    match intake.next(&mut piece[at..]) {
                        Ok(Some((taken, _))) => at += taken,
                        Ok(None) => break,
                        Err(_) => break 'all,
                    }
                }
            }
        }
    }

    #[test]
    fn control_text_waits_for_the_end_of_a_frame() {
        let mut outlet = outlet(Framing::WebSocket { is_client: false }, 1000);
        let mut buffer = [0; 107];
        assert_eq!(outlet.fill(&mut buffer), 107);
        assert_eq!(outlet.advance(107), 96, "7 of text, 4 of header");
        outlet.push_text("later");
        let wire = write(&mut outlet, 4096, 4096);
        let text = [&b"\x81\x05"[..], b"later"].concat();
        let at = wire.windows(7).position(|window| window == text);
        assert_eq!(at, Some(1000 - 96));
    }

    #[test]
    fn a_limit_holds_back_whole_frames() {
        let mut outlet = outlet(Framing::Raw, 1000);
        outlet.set_limit(1999);
        assert_eq!(write(&mut outlet, 4096, 4096).len(), 6 + 1000);
        assert!(outlet.is_idle() && !outlet.has_payload() && !outlet.is_complete());
        outlet.set_limit(2000);
        assert_eq!(write(&mut outlet, 4096, 4096).len(), 1000);
    }

    #[test]
    fn a_head_ends_with_an_empty_line_wherever_it_is_cut() {
        let wire = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody";
        for cut in 1..wire.len() {
            let mut intake = Intake::Head(Vec::new());
            let (mut first, mut second) = (wire[..cut].to_vec(), wire[cut..].to_vec());
            let (taken, item) = intake.next(&mut first).expect("sound").expect("some");
            let (head, body_at) = match item {
                Item::Text(head) => (head, taken),
                _ => match intake.next(&mut second).expect("sound").expect("some") {
                    (taken, Item::Text(head)) => (head, cut + taken),
                    other => panic!("{other:?}"),
                },
            };
            assert_eq!(head, &wire[..wire.len() - 4]);
            assert_eq!(&wire[body_at..], b"body");
        }
    }

    #[test]
    fn a_text_without_end_is_refused() {
        let mut intake = Intake::Lines(Vec::new());
        let mut long = vec![b'x'; HELLO_BYTES_MAX + 1];
        let error = intake.next(&mut long).expect_err("refused");
        assert_eq!(error, IntakeError::Text(WireError::Length(HELLO_BYTES_MAX)));
    }
}
