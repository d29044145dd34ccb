//! A framing, then operations on the body: receive, pass by unseen, close. What is passed on must be what a
//! single look at all of it gives.
#![no_main]

use flowgate::proto::http::{Body, Framing, Relay};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&[kind, length, steps], input)) = bytes.split_first_chunk() else {
        return;
    };
    let framing = match kind & 3 {
        0 => Framing::Empty,
        1 => Framing::Length(u64::from(length)),
        2 => Framing::Chunked,
        _ => Framing::UntilClose,
    };
    let relay = match kind & 4 {
        0 => Relay::AsFramed,
        _ => Relay::Decoded,
    };

    let mut parts = Vec::new();
    let mut whole = Body::new(framing);
    let expected_end = whole.receive(input, relay, &mut parts);
    let expected: Vec<u8> = parts
        .iter()
        .flat_map(|part| &input[part.clone()])
        .copied()
        .collect();

    let mut body = Body::new(framing);
    let mut passed_on = Vec::new();
    let mut at = 0;
    let mut turn = 0u32;
    let end = loop {
        if at == input.len() || body.is_complete() {
            break Ok(at);
        }
        turn += 1;
        let step = 1 + usize::from(steps.rotate_left(turn) & 15);
        let arrived = &input[at..input.len().min(at + step)];
        if steps.rotate_right(turn) & 1 == 1
            && let Some(opaque) = body.opaque_bytes()
        {
            let bytes = opaque.min(arrived.len() as u64);
            assert!(bytes > 0);
            body.skip(bytes);
            passed_on.extend_from_slice(&arrived[..bytes as usize]);
            at += bytes as usize;
            continue;
        }
        let received = body.receive(arrived, relay, &mut parts);
        for part in &parts {
            assert!(!part.is_empty());
            passed_on.extend_from_slice(&arrived[part.clone()]);
        }
        match received {
            Ok(consumed) => {
                assert!(consumed == arrived.len() || body.is_complete());
                at += consumed;
            }
            Err(error) => break Err(error),
        }
    };
    assert_eq!((end, &passed_on), (expected_end, &expected));
    assert_eq!(body, whole);
    assert_eq!(body.finish(), whole.finish());
});
