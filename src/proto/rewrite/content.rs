//! Content codings (RFC 9110 §8.4): makes a compressed playlist readable.
//!
//! No coding is asked for, but some upstreams compress regardless. Whole bodies only.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// What gzip data begins with (RFC 1952 §2.3.1).
pub const GZIP_MAGIC: [u8; 2] = *b"\x1f\x8b";

/// The codings that there are (the registry of RFC 9110 §16.6.1), `identity` left out, which is none.
const REGISTERED: &[&str] = &[
    "aes128gcm",
    "br",
    "compress",
    "dcb",
    "dcz",
    "deflate",
    "exi",
    "gzip",
    "pack200-gzip",
    "x-compress",
    "x-gzip",
    "zstd",
];

/// Why a body could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentError {
    /// A coding that is not known here, or more than one. The answer is to be relayed as it is.
    Unknown,
    /// The body ends too early or is not what its coding says.
    Malformed,
    /// The decoded body would be longer than `limit` bytes.
    TooLong {
        /// What the caller allows.
        limit: usize,
    },
}

impl fmt::Display for ContentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ContentError::Unknown => {
                f.write_str("content coding is none of gzip, x-gzip, deflate and identity")
            }
            ContentError::Malformed => f.write_str("compressed body is damaged or cut short"),
            ContentError::TooLong { limit } => {
                write!(f, "decompressed body is longer than {limit} bytes")
            }
        }
    }
}

impl std::error::Error for ContentError {}

enum Coding {
    Identity,
    Gzip,
    Deflate,
}

impl Coding {
    /// The one coding of a `Content-Encoding` value; `identity` and empty elements do not count.
    fn named(encoding: &str) -> Option<Self> {
        let mut names = encoding
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"));
        let coding = match names.next() {
            None => Coding::Identity,
            Some(name) if name.eq_ignore_ascii_case("gzip") => Coding::Gzip,
            Some(name) if name.eq_ignore_ascii_case("x-gzip") => Coding::Gzip,
            Some(name) if name.eq_ignore_ascii_case("deflate") => Coding::Deflate,
            Some(_) => return None,
        };
        names.next().is_none().then_some(coding)
    }
}

/// Whether [`decode_content`] knows the codings of a `Content-Encoding` value. To be asked before a body is
/// collected.
pub fn can_decode(encoding: &str) -> bool {
    Coding::named(encoding).is_some()
}

/// Whether a `Content-Encoding` value names a coding that there is. Some servers put the name of a character set
/// there, which changes nothing about the bytes.
pub fn is_coding(encoding: &str) -> bool {
    let mut names = encoding.split(',').map(str::trim);
    names.any(|name| {
        REGISTERED
            .iter()
            .any(|coding| name.eq_ignore_ascii_case(coding))
    })
}

/// Whether the codings of a `Content-Encoding` value are gzip and nothing else.
pub fn is_gzip(encoding: &str) -> bool {
    matches!(Coding::named(encoding), Some(Coding::Gzip))
}

/// Whether gzip data holds gzip data again. No more is decoded than it takes to tell.
pub fn is_gzip_twice(body: &[u8]) -> bool {
    let mut start = [0; GZIP_MAGIC.len()];
    let read = MultiGzDecoder::new(body).read_exact(&mut start);
    read.is_ok() && start == GZIP_MAGIC
}

/// Decodes a whole body by the value of its `Content-Encoding` header, empty if it has none.
///
/// Knows `gzip` (several members too, RFC 1952 §2.2), `x-gzip`, `deflate` and `identity`, case-insensitive.
/// `deflate` means zlib (RFC 1950), but bare deflate (RFC 1951) is understood as well, since servers send both.
/// At most `limit` bytes and one more are decompressed, whatever the body claims.
///
/// # Errors
///
/// One [`ContentError`] each; `TooLong` also for an uncompressed body over `limit`.
pub fn decode_content<'a>(
    encoding: &str,
    body: &'a [u8],
    limit: usize,
) -> Result<Cow<'a, [u8]>, ContentError> {
    match Coding::named(encoding).ok_or(ContentError::Unknown)? {
        Coding::Identity if body.len() > limit => Err(ContentError::TooLong { limit }),
        Coding::Identity => Ok(Cow::Borrowed(body)),
        Coding::Gzip => read_bounded(MultiGzDecoder::new(body), limit),
        Coding::Deflate if has_zlib_header(body) => read_bounded(ZlibDecoder::new(body), limit),
        Coding::Deflate => read_bounded(DeflateDecoder::new(body), limit),
    }
}

fn read_bounded<'a>(decoder: impl Read, limit: usize) -> Result<Cow<'a, [u8]>, ContentError> {
    let mut decoded = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder
        .take(most)
        .read_to_end(&mut decoded)
        .map_err(|_: io::Error| ContentError::Malformed)?;
    if decoded.len() > limit {
        return Err(ContentError::TooLong { limit });
    }
    Ok(Cow::Owned(decoded))
}

/// RFC 1950 §2.2: method 8, and a check value over the first two bytes.
fn has_zlib_header(body: &[u8]) -> bool {
    let Some(&[method, flags]) = body.first_chunk() else {
        return false;
    };
    method & 0x0f == 8 && u16::from_be_bytes([method, flags]) % 31 == 0
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 1 << 16;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn bare_deflate(text: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn all_known_codings_are_decoded() {
        let text = b"#EXTM3U\ns1.ts\n";
        for (encoding, body) in [
            ("", text.to_vec()),
            ("identity", text.to_vec()),
            ("GZIP", gzip(text)),
            (" x-gzip ,", gzip(text)),
            ("identity, gzip", gzip(text)),
            ("gzip", [gzip(b"#EXTM3U\n"), gzip(b"s1.ts\n")].concat()),
            ("deflate", zlib(text)),
            ("deflate", bare_deflate(text)),
        ] {
            assert!(can_decode(encoding));
            assert_eq!(
                decode_content(encoding, &body, LIMIT).as_deref(),
                Ok(&text[..]),
                "{encoding}"
            );
        }
    }

    #[test]
    fn other_codings_are_reported() {
        for encoding in ["br", "zstd", "gzip, gzip", "gzip;q=1", "compress"] {
            assert!(!can_decode(encoding));
            assert_eq!(
                decode_content(encoding, b"", LIMIT),
                Err(ContentError::Unknown),
                "{encoding}"
            );
        }
    }

    #[test]
    fn damaged_bodies_are_reported() {
        let body = gzip(b"#EXTM3U\ns1.ts\n");
        for end in 1..body.len() {
            assert_eq!(
                decode_content("gzip", &body[..end], LIMIT),
                Err(ContentError::Malformed),
                "{end}"
            );
        }
        let mut wrong_checksum = body.clone();
        wrong_checksum[body.len() - 5] ^= 1;
        assert_eq!(
            decode_content("gzip", &wrong_checksum, LIMIT),
            Err(ContentError::Malformed)
        );
    }

    #[test]
    fn output_is_bounded() {
        let limit = 1000;
        for (encoding, body) in [
            ("", vec![0; 1001]),
            ("gzip", gzip(&vec![0; 1 << 24])),
            ("deflate", zlib(&[0; 1001])),
        ] {
            assert_eq!(
                decode_content(encoding, &body, limit),
                Err(ContentError::TooLong { limit })
            );
        }
        assert_eq!(
            decode_content("gzip", &gzip(&[7; 1000]), limit).map(|body| body.len()),
            Ok(1000)
        );
        assert_eq!(
            decode_content("", &[7; 1000], limit).map(|body| body.len()),
            Ok(1000)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_handled_within_the_limit(
            body in prop::collection::vec(any::<u8>(), 0..200),
            encoding in "gzip|deflate|identity",
            limit in 0usize..300,
        ) {
            if let Ok(decoded) = decode_content(&encoding, &body, limit) {
                prop_assert!(decoded.len() <= limit);
            }
        }

        #[test]
        fn encoded_bodies_decode_to_themselves(body in prop::collection::vec(any::<u8>(), 0..2000)) {
            let encodings = [
                ("gzip", gzip(&body)),
                ("deflate", zlib(&body)),
                ("deflate", bare_deflate(&body)),
            ];
            for (encoding, encoded) in &encodings {
                let decoded = decode_content(encoding, encoded, LIMIT);
                prop_assert_eq!(decoded.as_deref(), Ok(&body[..]), "{}", encoding);
            }
        }
    }
}
