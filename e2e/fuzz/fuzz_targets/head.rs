//! Any bytes, whole and cut: the result must be the same.
#![no_main]

use flowgate::proto::http::{self, HEAD_BYTES_MAX, HEADERS_MAX, TARGET_BYTES_MAX};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let whole = http::decode(input);
    if let Ok(Some((head, bytes))) = &whole {
        assert!(*bytes <= input.len().min(HEAD_BYTES_MAX));
        assert!((1..=TARGET_BYTES_MAX).contains(&head.target.len()));
        assert!(head.headers.len() <= HEADERS_MAX);
        assert!(
            head.minor_version == 0
                || head
                    .headers
                    .iter()
                    .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        );
        for (name, value) in head.headers.iter() {
            assert!(!name.is_empty() && !value.contains(&b'\n') && !value.contains(&b'\r'));
        }
    }
    // Every prefix of short inputs; of long ones enough to keep the fuzzer fast.
    for end in (0..input.len()).step_by(1 + input.len() / 512) {
        match (http::decode(&input[..end]), &whole) {
            (Ok(None), _) => {}
            (Err(early), Err(late)) => assert_eq!(early.status(), late.status()),
            (early, whole) => assert_eq!(&early, whole),
        }
    }
});
