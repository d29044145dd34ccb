//! The header lines of a head (RFC 9112 §5), taken apart by httparse.
//!
//! Strict where a lenient reader could be made to see other headers than its neighbour: folded lines, white
//! space before the colon, NUL and other control characters, and CR without LF are refused. Of responses the first two
//! are mended before ([`mend`](super::mend)). What a header means is not this module's concern.

use std::str;

use super::lines::{HEADERS_MAX, HeadError};

/// As many headers as most heads have at most.
const HEADERS_USUAL: usize = 16;

/// Headers in the order they were sent, at most [`HEADERS_MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    list: Vec<httparse::Header<'a>>,
}

impl<'a> Headers<'a> {
    /// Value of the last header called `name` (case-insensitive), without surrounding white space.
    ///
    /// `None` also if that value is not UTF-8, which RFC 9110 §5.5 allows but no header that is looked up
    /// this way needs; see [`Headers::all`] for the bytes.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let last = self
            .list
            .iter()
            .rev()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        str::from_utf8(last.value).ok()
    }

    /// Values of all headers called `name` (case-insensitive), in order, without surrounding white space.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + use<'s, 'a> {
        self.iter()
            .filter(move |(candidate, _)| candidate.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Elements of the comma-separated lists in all headers called `name`, in order, without surrounding
    /// white space; empty ones are skipped (RFC 9110 §5.6.1.2).
    ///
    /// For lists of tokens, such as `Connection`. A comma inside a quoted string separates too.
    pub fn tokens<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + use<'s, 'a> {
        self.all(name)
            .flat_map(list_elements)
            .filter(|element| !element.is_empty())
    }

    /// Names as they were sent, and values without surrounding white space.
    pub fn iter<'s>(&'s self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'s, 'a> {
        self.list.iter().map(|header| (header.name, header.value))
    }

    /// How many there are, repeated ones included.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// Headers that outlive the bytes they were read from, in the order they were sent.
///
/// All names lie in one buffer and all values in another: most requests have a handful of short ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedHeaders {
    names: String,
    values: Vec<u8>,
    /// Where name and value of each end.
    ends: Vec<(usize, usize)>,
}

impl OwnedHeaders {
    /// Names as they were sent, and values without surrounding white space.
    pub fn iter<'s>(&'s self) -> impl Iterator<Item = (&'s str, &'s [u8])> + use<'s> {
        let mut begin = (0, 0);
        self.ends.iter().map(move |&end| {
            let name = self.names.get(begin.0..end.0).unwrap_or_default();
            let value = self.values.get(begin.1..end.1).unwrap_or_default();
            begin = end;
            (name, value)
        })
    }

    /// Value of the last header called `name` (case-insensitive).
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.all(name).last()
    }

    /// Values of all headers called `name` (case-insensitive), in order.
    pub fn all<'s, 'n>(&'s self, name: &'n str) -> impl Iterator<Item = &'s [u8]> + use<'s, 'n> {
        self.iter()
            .filter(move |(candidate, _)| candidate.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    fn push(&mut self, name: &str, value: &[u8]) {
        self.names.push_str(name);
        self.values.extend_from_slice(value);
        self.ends.push((self.names.len(), self.values.len()));
    }
}

impl From<&Headers<'_>> for OwnedHeaders {
    fn from(headers: &Headers<'_>) -> Self {
        let (names_bytes, values_bytes) = headers.iter().fold((0, 0), |sum, (name, value)| {
            (sum.0 + name.len(), sum.1 + value.len())
        });
        let mut owned = Self {
            names: String::with_capacity(names_bytes),
            values: Vec::with_capacity(values_bytes),
            ends: Vec::with_capacity(headers.len()),
        };
        owned.extend(headers.iter());
        owned
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Extend<(N, V)> for OwnedHeaders {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, headers: I) {
        for (name, value) in headers {
            self.push(name.as_ref(), value.as_ref());
        }
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for OwnedHeaders {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let mut owned = Self::default();
        owned.extend(headers);
        owned
    }
}

/// Elements of one comma-separated list, without surrounding white space; empty ones are kept.
pub fn list_elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(trim)
}

/// Without the spaces and tabs around it: OWS of RFC 9110 §5.6.3, and nothing else that looks like it.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// Whether the text is a token (RFC 9110 §5.6.2).
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token_byte)
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Decodes header lines with the empty line that ends them; `block` must hold just that.
pub(super) fn decode(block: &[u8]) -> Result<Headers<'_>, HeadError> {
    // Room costs time, and hardly anybody needs much.
    match decode_up_to::<HEADERS_USUAL>(block) {
        Err(HeadError::TooManyHeaders { .. }) => decode_up_to::<HEADERS_MAX>(block),
        decoded => decoded,
    }
}

fn decode_up_to<const COUNT: usize>(block: &[u8]) -> Result<Headers<'_>, HeadError> {
    let mut storage = [httparse::EMPTY_HEADER; COUNT];
    match httparse::parse_headers(block, &mut storage) {
        Ok(httparse::Status::Complete((bytes, headers))) if bytes == block.len() => Ok(Headers {
            list: headers.to_vec(),
        }),
        // httparse must see the same end of the head as we do, or a body could pass for headers.
        Ok(_) => Err(HeadError::Malformed("header block ends in the wrong place")),
        Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooManyHeaders { limit: COUNT }),
        Err(httparse::Error::HeaderName) => Err(HeadError::Malformed("header name")),
        Err(httparse::Error::HeaderValue) => Err(HeadError::Malformed("header value")),
        Err(httparse::Error::NewLine) => Err(HeadError::Malformed("CR without LF")),
        Err(_) => Err(HeadError::Malformed("header")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[u8]) -> Headers<'_> {
        decode(lines).expect("sound header lines")
    }

    #[test]
    fn all_values_of_a_name_come_in_order() {
        let headers = headers(b"Via: a\r\nX: 1\r\nVIA:  b, c \r\nvia:\r\n\r\n");
        let expected: [&[u8]; 3] = [b"a", b"b, c", b""];
        assert!(headers.all("Via").eq(expected));
        assert_eq!(headers.all("via-").count(), 0);
    }

    #[test]
    fn tokens_are_collected_from_all_lines() {
        let headers = headers(
            b"Connection: close, ,\tX-A\t,\r\nA: keep-alive\r\nConnection:\r\nconnection:,te\r\n\r\n",
        );
        let expected: [&[u8]; 3] = [b"close", b"X-A", b"te"];
        assert!(headers.tokens("connection").eq(expected));
    }

    #[test]
    fn owned_headers_are_the_same_ones() {
        let headers = headers(b"A: 1\r\nB:\r\na: \xff2\r\n\r\n");
        let owned = OwnedHeaders::from(&headers);
        assert!(owned.iter().eq(headers.iter()));
        assert_eq!(owned.get("a"), Some(&b"\xff2"[..]), "the last one counts");
        assert_eq!((owned.get("b"), owned.get("c")), (Some(&b""[..]), None));
        assert_eq!(owned, headers.iter().collect());
    }

    #[test]
    fn only_space_and_tab_are_trimmed() {
        assert_eq!(trim(b" \t a b\t "), b"a b");
        assert_eq!(trim(b" \t"), b"");
        assert_eq!(trim(b"\x0ba\xa0"), b"\x0ba\xa0");
    }

    #[test]
    fn names_are_tokens_and_values_are_free_of_control_characters() {
        for byte in 0..=u8::MAX {
            let name = [b"A", &[byte][..], b": v\r\n\r\n"].concat();
            // A colon ends the name, so that one is sound as well.
            let sound = is_token_byte(byte) || byte == b':';
            assert_eq!(decode(&name).is_ok(), sound, "{byte:#04x} in a name");

            let value = [b"A: v", &[byte][..], b"w\r\n\r\n"].concat();
            let sound = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            assert_eq!(decode(&value).is_ok(), sound, "{byte:#04x} in a value");
        }
    }
}
