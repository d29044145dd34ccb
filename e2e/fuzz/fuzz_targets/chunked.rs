//! Any bytes as a chunked body: pieces are prefixes, the end does not depend on the cuts, and what a relay
//! keeps of it is sound.
#![no_main]

use flowgate::proto::http::{ChunkError, Chunked, Piece};
use libfuzzer_sys::fuzz_target;

/// Data, the chunks without what is skipped, bytes taken, and how it ended.
type Outcome = (Vec<u8>, Vec<u8>, usize, Result<bool, ChunkError>);

fn decode(input: &[u8], step: usize) -> Outcome {
    let mut chunked = Chunked::new();
    let (mut data, mut kept, mut at) = (Vec::new(), Vec::new(), 0);
    for end in (0..input.len()).step_by(step).chain([input.len()]) {
        loop {
            let data_left = chunked.data_left();
            match chunked.next(&input[at..end]) {
                Ok(None) => break,
                Ok(Some(piece)) => {
                    assert!((1..=end - at).contains(&piece.bytes()));
                    let bytes = &input[at..at + piece.bytes()];
                    assert_eq!(data_left > 0, matches!(piece, Piece::Data(_)));
                    match piece {
                        Piece::Data(_) => data.extend_from_slice(bytes),
                        Piece::Framing(_) | Piece::Skipped(_) => {}
                    }
                    if !matches!(piece, Piece::Skipped(_)) {
                        kept.extend_from_slice(bytes);
                    }
                    at += bytes.len();
                }
                Err(error) => return (data, kept, at, Err(error)),
            }
        }
    }
    (data, kept, at, Ok(chunked.is_complete()))
}

fuzz_target!(|input: &[u8]| {
    let whole = decode(input, usize::MAX);
    for step in [1, 2, 3, 7] {
        assert_eq!(decode(input, step), whole);
    }
    let (data, kept, _, end) = whole;
    let again = decode(&kept, usize::MAX);
    assert_eq!((&again.0, &again.1), (&data, &kept));
    assert_eq!(again.3, Ok(end == Ok(true)));
});
