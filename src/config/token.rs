//! The access token (`--r2h-token`): compared in constant time, never shown.

use std::fmt;
use std::hint::black_box;

use super::parse::Rejected;
use crate::proto::url;

/// Longest token in bytes; that of the compatible router.
pub const TOKEN_BYTES_MAX: usize = 255;

/// A secret that clients must know: 1 to [`TOKEN_BYTES_MAX`] bytes without control characters and without blanks
/// at the ends, where a configuration file cannot say them.
///
/// It has no `Display`, and `Debug` hides it, so that no log line can show it by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes a token over.
    ///
    /// # Errors
    ///
    /// [`Rejected`], which does not show the text, if it has another form.
    pub fn parse(text: &str) -> Result<Token, Rejected> {
        let fits = (1..=TOKEN_BYTES_MAX).contains(&text.len());
        if fits && !text.contains(char::is_control) && text.trim_matches(' ') == text {
            return Ok(Token(text.to_owned()));
        }
        let accepted = format!(
            "a token of 1 to {TOKEN_BYTES_MAX} bytes without control characters and without blanks at the ends"
        );
        Err(Rejected::new("***", accepted))
    }

    /// Whether `given` is the token. Takes as long for every `given`, whatever they have in common.
    pub fn matches(&self, given: &[u8]) -> bool {
        let mut difference = usize::from(self.0.len() != given.len());
        for (index, byte) in self.0.bytes().enumerate() {
            // What is missing differs, and the length says so already.
            let other = given.get(index).copied().unwrap_or_default();
            difference |= usize::from(black_box(byte ^ other));
        }
        black_box(difference) == 0
    }

    /// The token as it stands in URLs and cookies: all but letters, digits and `- _ . ~ /` as `%XX`.
    pub fn encoded(&self) -> String {
        url::percent_encode(&self.0)
    }

    /// The token itself. For links only: no log line and no page may show it.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(text: &str) -> Token {
        Token::parse(text).expect(text)
    }

    #[test]
    fn token_is_never_shown() {
        assert_eq!(format!("{:?}", token("s3cret")), "Token(***)");
        let error = Token::parse("s3cret\n").unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn token_has_1_to_255_bytes() {
        assert!(Token::parse("").is_err());
        assert!(Token::parse(&"a".repeat(255)).is_ok());
        assert!(Token::parse(&"a".repeat(256)).is_err());
        assert!(Token::parse(" a").is_err() && Token::parse("a ").is_err());
    }

    #[test]
    fn token_is_encoded_as_the_specification_shows() {
        assert_eq!(token("p;q&r$").encoded(), "p%3Bq%26r%24");
        assert_eq!(token("k y").encoded(), "k%20y");
        assert_eq!(token("aZ09-_.~/").encoded(), "aZ09-_.~/");
        assert_eq!(token("é").encoded(), "%C3%A9");
    }

    proptest! {
        #[test]
        fn only_the_token_matches(text in "[a-c]{1,4}", given in "[a-c]{0,5}") {
            prop_assert_eq!(token(&text).matches(given.as_bytes()), text == given);
        }

        #[test]
        fn encoded_token_decodes_to_itself(text in "[^\\p{C} ]{1,30}( [^\\p{C} ]{1,30})?") {
            let decoded = crate::proto::url::percent_decode(&token(&text).encoded());
            prop_assert_eq!(decoded, Ok(text));
        }
    }
}
