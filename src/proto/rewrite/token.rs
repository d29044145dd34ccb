//! Keeps the access token of this server out of what an upstream sees (http-proxy spec §7.3).
//!
//! Only for servers that have a token; without one, cookies and agents pass as they are. The query is not this
//! module's concern.

use std::borrow::Cow;

/// Name of the cookie, and of the query parameter, that carries the token.
pub const TOKEN_NAME: &str = "r2h-token";
pub(super) const TOKEN_COOKIE: &[u8] = TOKEN_NAME.as_bytes();

/// What precedes the token in a `User-Agent`.
pub const AGENT_WORD: &[u8] = b"R2HTOKEN/";

/// A `Cookie` value without the cookies called `r2h-token` (case-insensitive).
///
/// Borrowed and byte for byte the same if there is none; otherwise the others are joined by `; `. `None` if
/// nothing remains and the header is to be dropped.
pub fn without_token_cookie(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let cookies = || {
        value
            .split(|&byte| byte == b';')
            .map(<[u8]>::trim_ascii_start)
    };
    if !cookies().any(is_token) {
        return Some(Cow::Borrowed(value));
    }
    let kept: Vec<&[u8]> = cookies()
        .filter(|cookie| !cookie.is_empty() && !is_token(cookie))
        .collect();
    (!kept.is_empty()).then(|| Cow::Owned(kept.join(&b"; "[..])))
}

fn is_token(cookie: &[u8]) -> bool {
    let name = cookie
        .split(|&byte| byte == b'=')
        .next()
        .unwrap_or_default();
    name.trim_ascii_end().eq_ignore_ascii_case(TOKEN_COOKIE)
}

/// Whether a value has the token's parameter or cookie somewhere, in whatever case.
pub fn names_token(value: &[u8]) -> bool {
    value
        .windows(TOKEN_COOKIE.len())
        .any(|window| window.eq_ignore_ascii_case(TOKEN_COOKIE))
}

/// A `User-Agent` value without `R2HTOKEN/…` (case-insensitive), each up to the next blank and with one
/// adjoining blank.
///
/// Cut wherever it stands, also inside a word, and as often as it occurs, so that no spelling leaks. Borrowed
/// if there is none. `None` if nothing remains and the header is to be dropped.
pub fn without_token_agent(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut agent = Cow::Borrowed(value);
    while let Some(cut) = without_first_word(&agent) {
        agent = Cow::Owned(cut);
    }
    match &agent {
        Cow::Owned(rest) if rest.trim_ascii().is_empty() => None,
        _ => Some(agent),
    }
}

fn without_first_word(agent: &[u8]) -> Option<Vec<u8>> {
    let at = agent
        .windows(AGENT_WORD.len())
        .position(|window| window.eq_ignore_ascii_case(AGENT_WORD))?;
    let (front, word) = agent.split_at_checked(at)?;
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let behind = word.iter().position(is_blank);
    let behind = behind.and_then(|end| word.get(end..)).unwrap_or_default();
    let (front, behind) = match (front, behind) {
        // The blank in front if there is one, so that a word cut in half is not joined to the next.
        ([front @ .., b' ' | b'\t'], behind) => (front, behind),
        ([], [_, behind @ ..]) => (front, behind),
        whole => whole,
    };
    Some([front, behind].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(value: Option<Cow<'_, [u8]>>) -> Option<String> {
        value.map(|bytes| String::from_utf8(bytes.into_owned()).unwrap())
    }

    #[test]
    fn token_cookie_is_removed() {
        for (value, expected) in [
            ("a=1; r2h-token=s;b=2", Some("a=1; b=2")),
            ("R2H-Token=s; a=1", Some("a=1")),
            ("a=1; r2h-token =s", Some("a=1")),
            ("r2h-token=s;r2h-token=t", None),
            ("r2h-token", None),
            ("r2h-token=s; ;", None),
            ("a=1;b=2;  c", Some("a=1;b=2;  c")),
            (
                "a=r2h-token=1; xr2h-token=2",
                Some("a=r2h-token=1; xr2h-token=2"),
            ),
            ("", Some("")),
        ] {
            let rest = text(without_token_cookie(value.as_bytes()));
            assert_eq!(rest.as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn token_word_is_cut_out_of_the_agent() {
        for (value, expected) in [
            ("P/1 R2HTOKEN/s X", Some("P/1 X")),
            ("R2HTOKEN/s X", Some("X")),
            ("P/1 R2HTOKEN/s", Some("P/1")),
            ("P/1 r2htoken/s\tX", Some("P/1\tX")),
            ("R2HTOKEN/s", None),
            ("R2HTOKEN/s R2HTOKEN/t", None),
            ("xR2HTOKEN/s y", Some("x y")),
            ("P/1 R2HTOKEN X", Some("P/1 R2HTOKEN X")),
            ("", Some("")),
        ] {
            let rest = text(without_token_agent(value.as_bytes()));
            assert_eq!(rest.as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn values_without_a_token_are_not_copied() {
        assert!(matches!(
            without_token_cookie(b"a=1;b=\xff"),
            Some(Cow::Borrowed(_))
        ));
        assert!(matches!(
            without_token_agent(b"P/1 \xff"),
            Some(Cow::Borrowed(_))
        ));
    }

    proptest! {
        #[test]
        fn no_token_is_left(value in "([ \\t]|R2HTOKEN/|r2hto|ken/|r2h-token|[=;a])(R2HTOKEN/|r2h|-token|[ =;\\ta-c]){0,9}") {
            if let Some(rest) = text(without_token_agent(value.as_bytes())) {
                prop_assert!(!rest.to_ascii_uppercase().contains("R2HTOKEN/"), "{}", rest);
            }
            if let Some(rest) = text(without_token_cookie(value.as_bytes())) {
                prop_assert!(!rest.split(';').any(|cookie| is_token(cookie.trim_ascii_start().as_bytes())), "{}", rest);
            }
        }
    }
}
