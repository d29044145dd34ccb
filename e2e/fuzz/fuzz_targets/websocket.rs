//! Any bytes as WebSocket frames: pieces are prefixes, and what they say does not depend on the cuts.
#![no_main]

use flowgate::proto::websocket::{CONTROL_BYTES_MAX, Decoder, FrameError, Piece};
use libfuzzer_sys::fuzz_target;

/// Data unmasked, messages and control frames in order, and how it ended.
type Outcome = (Vec<u8>, Vec<Piece>, Option<FrameError>);

fn decode(input: &[u8], step: usize, wants_mask: bool) -> Outcome {
    let mut decoder = Decoder::new(wants_mask);
    let (mut data, mut seen, mut at) = (Vec::new(), Vec::new(), 0);
    let ends = (0..input.len()).step_by(step.min(input.len().max(1)));
    for end in ends.skip(1).chain([input.len()]) {
        loop {
            match decoder.next(&input[at..end]) {
                Ok(None) => break,
                Ok(Some(piece)) => {
                    let bytes = &input[at..][..piece.bytes()];
                    at += bytes.len();
                    match piece {
                        Piece::Framing(_) => {}
                        Piece::Data { mask, .. } => {
                            let begin = data.len();
                            data.extend_from_slice(bytes);
                            if let Some(mut mask) = mask {
                                mask.apply(&mut data[begin..]);
                            }
                        }
                        Piece::MessageEnd { is_text, .. } => {
                            seen.push(Piece::MessageEnd { bytes: 0, is_text });
                        }
                        Piece::Control {
                            opcode, payload, ..
                        } => {
                            assert!(payload.len() <= CONTROL_BYTES_MAX);
                            seen.push(Piece::Control {
                                bytes: 0,
                                opcode,
                                payload,
                            });
                        }
                    }
                }
                Err(error) => return (data, seen, Some(error)),
            }
        }
    }
    (data, seen, None)
}

fuzz_target!(|input: (bool, &[u8])| {
    let (wants_mask, input) = input;
    let whole = decode(input, usize::MAX, wants_mask);
    for step in [1, 2, 3, 7, 50] {
        assert_eq!(decode(input, step, wants_mask), whole);
    }
});
