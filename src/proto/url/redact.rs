//! URLs as they may be logged: without tokens, passwords and control characters.

use std::borrow::Cow;

use super::host::parse_endpoint;
use super::{has_control, percent_decode};
use crate::proto::query;
use crate::proto::rewrite::token::TOKEN_NAME;

/// A URL or request target as it may be logged.
///
/// The value of every `r2h-token` and every `user:password` before `@` become `***`; control characters are
/// escaped. A multicast source (`10.0.0.1:5000@239.1.1.1`) is an address and stays.
pub fn redact(url: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(url);
    // Tokens first: one that contains '@' would otherwise be taken for the end of a password, and shown.
    if let Some(shown) = hide_token(&text) {
        text = Cow::Owned(shown);
    }
    if text.contains(['@', '%']) && has_password(&text) {
        let hide = |segment| {
            behind_user(segment)
                .map_or(Cow::Borrowed(segment), |shown| format!("***{shown}").into())
        };
        let segments: Vec<Cow<'_, str>> = text.split('/').map(hide).collect();
        text = Cow::Owned(segments.join("/"));
    }
    if has_control(&text) {
        let escape = |c: char| {
            if c.is_control() {
                c.escape_default().to_string()
            } else {
                c.to_string()
            }
        };
        text = Cow::Owned(text.chars().map(escape).collect());
    }
    text
}

/// Whether a URL or request target has `user:password` before an `@` somewhere, as [`redact`] looks for it.
pub fn has_password(url: &str) -> bool {
    url.split('/').any(|segment| behind_user(segment).is_some())
}

/// What may be shown of a path segment that has `user:password@`: everything from the last `@` on.
///
/// Only `/` ends a password here, since people write `?` and `#` into theirs. The `@` may be
/// [escaped](crate::proto::authority), and so may the `:` then.
fn behind_user(segment: &str) -> Option<&str> {
    let at = segment.rfind('@').or_else(|| segment.rfind("%40"))?;
    let (user, shown) = segment.split_at_checked(at)?;
    // A password may follow a user whose name is an address, and then it is no port.
    let is_address = percent_decode(user)
        .and_then(|user| parse_endpoint(&user))
        .is_ok_and(|(host, _)| host.ip().is_some());
    let has_password = user.contains(':')
        || shown.starts_with('%') && (user.contains("%3A") || user.contains("%3a"));
    (has_password && !is_address).then_some(shown)
}

fn hide_token(text: &str) -> Option<String> {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = query::find_value(rest, TOKEN_NAME) {
        let (front, value) = rest.split_at_checked(at)?;
        let value_bytes = value
            .find(|c: char| c == '&' || c.is_whitespace())
            .unwrap_or(value.len());
        shown.push_str(front);
        shown.push_str("***");
        rest = value.get(value_bytes..)?;
    }
    if shown.is_empty() {
        return None;
    }
    shown.push_str(rest);
    Some(shown)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_are_redacted() {
        assert_eq!(
            redact("/a?r2h-token=s$e&b=1&R2H-Token=t"),
            "/a?r2h-token=***&b=1&R2H-Token=***"
        );
        assert_eq!(
            redact("rtsp://me:pa@ss@10.0.0.1:554/x"),
            "rtsp://***@10.0.0.1:554/x"
        );
        assert_eq!(
            redact("/http/me:pass?w@host/x?r2h-token=t"),
            "/http/***@host/x?r2h-token=***"
        );
        assert_eq!(redact("/http/10.0.0.1:s3cret@host/x"), "/http/***@host/x");
        assert_eq!(redact("/http/me%3apass%40h%3A80/x"), "/http/***%40h%3A80/x");
        assert_eq!(redact("x\r\ny\u{7f}"), "x\\r\\ny\\u{7f}");
    }

    #[test]
    fn redaction_keeps_what_is_no_secret() {
        for url in [
            "/rtp/10.0.0.1:5000@239.1.1.1:1234?fcc=10.0.0.2:80",
            "/rtp/[fe80::1]:5@[ff3e::1]:2",
            "/rtp/10.0.0.1%3A5000%40239.1.1.1%3A1234",
            "/http/h/x?time=12%3A00&mail=a",
            "/udp/src@239.1.1.1:1",
            "/udp/fe80::1@[ff3e::1]:2",
        ] {
            assert!(matches!(redact(url), Cow::Borrowed(shown) if shown == url));
        }
    }

    proptest! {
        #[test]
        fn no_token_survives_redaction(front in "[a-z/?&=@:]{0,20}", secret in "[A-Z0-9%$@/:#?;=]{4,12}", tail in "(&[a-z@:/=]{0,9})?") {
            let url = format!("{front}r2h-token={secret}{tail}");
            prop_assert!(!redact(&url).contains(&secret), "{}", redact(&url));
        }

        #[test]
        fn what_is_shown_has_no_control_characters(text in "[\\PC\\x00-\\x1f]{0,60}|[]\\[0-9a-f:.@%$?&=/~{é-]{0,60}") {
            prop_assert!(!redact(&text).contains(char::is_control));
        }
    }
}
