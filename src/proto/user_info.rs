//! User and password in the URL of an HTTP upstream (RFC 3986 §3.2.1), and what its requests carry instead
//! (RFC 7617).
//!
//! They are secrets: `Debug` does not show them, and whoever writes them into a link decides who may read it.

use std::fmt;
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::url::{self, UrlError};

/// Longest user and password together, decoded, in bytes. Chosen: twice what RTSP URLs may have of each.
pub const USER_INFO_BYTES_MAX: usize = 1023;

/// What stands in the one spelling as it is: what no URL, cookie path or playlist gives a meaning to.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Why a user and password were not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserInfoError {
    /// They cannot be decoded, or are longer than [`USER_INFO_BYTES_MAX`] bytes.
    Text(UrlError),
    /// The user has a `:`, at which the upstream would begin the password (RFC 7617 §2).
    Colon,
    /// A `\` that is not encoded: browsers take it for `/`, so that the host would lie in front of it.
    Backslash,
}

impl fmt::Display for UserInfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UserInfoError::Text(error) => error.fmt(f),
            UserInfoError::Colon => f.write_str("the user's name has a colon"),
            UserInfoError::Backslash => f.write_str("a backslash is written as %5C"),
        }
    }
}

impl From<UrlError> for UserInfoError {
    fn from(error: UrlError) -> Self {
        UserInfoError::Text(error)
    }
}

/// A user and a password, of which one may be empty.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UserInfo {
    /// `user:password`, everything but letters, digits and `-._~` percent-encoded.
    written: Rc<str>,
}

/// Shows nothing.
impl fmt::Debug for UserInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserInfo(***)")
    }
}

impl UserInfo {
    /// Reads what stands in front of the `@` of an authority: `user` or `user:password`. `None` if both are empty.
    ///
    /// # Errors
    ///
    /// [`UserInfoError`].
    pub fn parse(text: &str) -> Result<Option<Self>, UserInfoError> {
        if text.contains('\\') {
            return Err(UserInfoError::Backslash);
        }
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let user = url::percent_decode(user)?;
        let password = url::percent_decode(password)?;
        if user.len() + password.len() > USER_INFO_BYTES_MAX {
            return Err(UserInfoError::Text(UrlError::TooLong {
                part: "user and password",
                limit: USER_INFO_BYTES_MAX,
            }));
        }
        if user.contains(':') {
            return Err(UserInfoError::Colon);
        }
        if user.is_empty() && password.is_empty() {
            return Ok(None);
        }
        let encoded = |text| utf8_percent_encode(text, KEPT);
        Ok(Some(Self {
            written: format!("{}:{}", encoded(&user), encoded(&password)).into(),
        }))
    }

    /// `user:password` in the one spelling that all links have. Parses to the same.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// The value of an `Authorization` header (RFC 7617 §2).
    pub fn authorization(&self) -> String {
        let pair: Vec<u8> = percent_decode_str(&self.written).collect();
        format!("Basic {}", STANDARD.encode(pair))
    }
}

/// What stands in front of the last `@` of an authority, if there is one, and what stands behind it.
pub fn split(authority: &str) -> (Option<&str>, &str) {
    match authority.rsplit_once('@') {
        Some((user_info, host)) => (Some(user_info), host),
        None => (None, authority),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> UserInfo {
        let parsed = UserInfo::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        parsed.unwrap_or_else(|| panic!("{text}: nobody"))
    }

    #[test]
    fn users_and_passwords_have_one_spelling() {
        for (text, written) in [
            ("Aladdin:open%20sesame", "Aladdin:open%20sesame"),
            ("me", "me:"),
            (":key", ":key"),
            ("me:a:b@c", "me:a%3Ab%40c"),
            ("me:%61%3b$&", "me:a%3B%24%26"),
            ("é:ü", "%C3%A9:%C3%BC"),
        ] {
            assert_eq!(parsed(text).written(), written, "{text}");
        }
        assert_eq!(UserInfo::parse(""), Ok(None));
        assert_eq!(UserInfo::parse(":"), Ok(None));
    }

    #[test]
    fn authorization_is_that_of_the_standard() {
        // RFC 7617 §2 and §2.1.
        let value = parsed("Aladdin:open%20sesame").authorization();
        assert_eq!(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(
            parsed("test:123£").authorization(),
            "Basic dGVzdDoxMjPCow=="
        );
    }

    #[test]
    fn what_no_upstream_could_understand_is_refused() {
        for (text, expected) in [
            ("a%3Ab:c", UserInfoError::Colon),
            ("a:%zz", UrlError::Escape.into()),
            ("a:%0d%0aX-A: b", UrlError::Text.into()),
            ("a%ff:b", UrlError::Text.into()),
            ("a\\b", UserInfoError::Backslash),
        ] {
            assert_eq!(UserInfo::parse(text), Err(expected), "{text}");
            assert!(!expected.to_string().is_empty());
        }
        parsed(&"x".repeat(USER_INFO_BYTES_MAX));
        let long = "x".repeat(USER_INFO_BYTES_MAX + 1);
        assert!(matches!(
            UserInfo::parse(&long),
            Err(UserInfoError::Text(UrlError::TooLong { .. }))
        ));
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(format!("{:?}", parsed("me:s3cret")), "UserInfo(***)");
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_safe_and_parses_to_itself(text in "[a-z:@%0-9;/?#$é\"' \\x00-\\x1f]{0,20}|\\PC{0,12}") {
            if let Ok(Some(user_info)) = UserInfo::parse(&text) {
                let written = user_info.written();
                prop_assert!(written.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%:".contains(&byte)));
                prop_assert_eq!(UserInfo::parse(written), Ok(Some(user_info.clone())));
                prop_assert!(user_info.authorization().bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
            }
        }
    }
}
