//! Any text: what parses is displayed as something that parses to the same, and no log line is broken.
#![no_main]

use flowgate::proto::url;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let stripped = url::strip_label(text);
    assert!(text.starts_with(stripped));
    let _ = url::query_value(text, "r2h-ifname");
    if let Ok(decoded) = url::percent_decode(text) {
        assert!(!decoded.contains(char::is_control));
    }
    let shown = url::redact(text);
    assert!(!shown.contains(char::is_control));
    match url::parse_multicast(text) {
        Ok(parsed) => {
            assert_ne!(parsed.port, 0);
            let again =
                url::parse_multicast(&plain(&parsed.to_string())).expect("displayed by ourselves");
            assert_eq!(
                (again.group, again.port, again.source),
                (parsed.group, parsed.port, parsed.source)
            );
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

/// Everything encoded, so that a scope may contain anything.
fn plain(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
