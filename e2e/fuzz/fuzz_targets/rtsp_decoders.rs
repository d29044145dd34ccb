//! Any bytes to every decoder of RTSP: ranges stay inside, prefixes ask for more or agree.
#![no_main]

use flowgate::proto::rtsp::auth::Challenge;
use flowgate::proto::rtsp::interleaved::{self, Channels, Piece, Splitter};
use flowgate::proto::rtsp::{message, sdp, stun, transport, url};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let whole = message::decode(input);
    if let Ok(Some((decoded, bytes))) = &whole {
        assert!(*bytes <= input.len() && decoded.body.len() <= message::BODY_BYTES_MAX);
    }
    for end in (0..input.len()).step_by(1 + input.len() / 256) {
        match (message::decode(&input[..end]), &whole) {
            (Ok(None), _) | (Err(_), Err(_)) => {}
            (early, whole) => assert_eq!(&early, whole),
        }
    }
    let middle = input.len() / 2;
    let (front, behind) = input.split_at(middle);
    assert_eq!(split(&[input]), split(&[front, behind]));
    let _ = interleaved::decode(input, Channels::default());
    sdp::decode(input);
    let _ = stun::decode_response(input, [0; 12]);
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let _ = transport::decode(text);
    Challenge::choose([text].into_iter());
    let (base, reference) = text.split_once('\n').unwrap_or((text, text));
    for candidate in [text, &url::resolve(base, reference)] {
        let (candidate, _) = url::take_parameter(candidate, "r2h-start");
        if let Ok(parsed) = url::Url::parse(&candidate) {
            let request = parsed.request.as_str();
            assert!(!request.contains(|c: char| c.is_control() || c.is_whitespace()));
        }
    }
});

/// Frames and messages of a stream that comes in pieces.
fn split(pieces: &[&[u8]]) -> Vec<(Option<u8>, Vec<u8>)> {
    let mut splitter = Splitter::default();
    let mut found = Vec::new();
    for bytes in pieces {
        splitter.begin();
        let mut at = 0;
        loop {
            let (channel, slice) = match splitter.next(bytes, &mut at, Channels::default()) {
                Ok(Some(Piece::Frame { channel, payload })) => (Some(channel), payload),
                Ok(Some(Piece::Message(slice))) => (None, slice),
                Ok(Some(Piece::Junk(_))) => continue,
                Ok(None) => break,
                // Nothing behind it can be understood.
                Err(_) => return found,
            };
            let buffer = match slice.buffer {
                interleaved::Buffer::Input => bytes,
                interleaved::Buffer::Joined => splitter.joined(),
            };
            found.push((channel, buffer[slice.range].to_vec()));
        }
    }
    found
}
