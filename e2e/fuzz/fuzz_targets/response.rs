//! Any bytes as a response head, whole and cut: the result must be the same. What is sound needs no mending.
#![no_main]

use flowgate::proto::http::{self, Framing, HEAD_BYTES_MAX, HEADERS_MAX};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mended = http::mend(input);
    assert_eq!(mended.len(), input.len());
    assert_eq!(http::mend(&mended), mended);
    let whole = http::decode_response(input);
    if let Ok(Some((head, bytes))) = &whole {
        assert_eq!(mended, input);
        assert!(*bytes <= input.len().min(HEAD_BYTES_MAX));
        assert!((100..=999).contains(&head.status));
        assert!(head.headers.len() <= HEADERS_MAX);
        let is_line_end = |byte| [b'\r', b'\n', 0].contains(byte);
        assert!(!head.reason.iter().any(is_line_end));
        for (name, value) in head.headers.iter() {
            assert!(!name.is_empty() && !value.iter().any(is_line_end));
            assert!(head.headers.tokens(name).all(|token| !token.is_empty()));
        }
        assert_eq!(http::response_framing(head, true), Ok(Framing::Empty));
        if let Ok(Framing::Length(length)) = http::response_framing(head, false) {
            assert_eq!(http::content_length(&head.headers), Ok(Some(length)));
        }
    }
    // Every prefix of short inputs; of long ones enough to keep the fuzzer fast.
    for end in (0..input.len()).step_by(1 + input.len() / 512) {
        match http::decode_response(&input[..end]) {
            Ok(None) => {}
            early => assert_eq!(early, whole),
        }
    }
});
