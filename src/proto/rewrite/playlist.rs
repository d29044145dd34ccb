//! M3U and HLS playlists (RFC 8216) of an upstream: every reference becomes a link through this server.
//!
//! A playlist is taken as bytes, line by line. What is not a reference leaves as it came: line ends, comments,
//! a byte order mark, NUL, text that is not UTF-8.

use std::fmt;

use super::variables::Variables;
use super::{Links, visible};
use crate::proto::origin::HttpUrl;
use crate::proto::reference::Reference;

/// Longest playlist that is rewritten, before and after decoding its content coding, in bytes.
pub const PLAYLIST_BYTES_MAX: usize = 2 << 20;

/// Longest rewritten playlist in bytes. Chosen: eight times the input, which is more than segment names of ten
/// bytes with their `#EXTINF` become under a base of a hundred.
pub const REWRITTEN_BYTES_MAX: usize = 8 * PLAYLIST_BYTES_MAX;

/// Content types of a playlist.
const CONTENT_TYPES: [&str; 4] = [
    "application/vnd.apple.mpegurl",
    "application/x-mpegurl",
    "audio/x-mpegurl",
    "audio/mpegurl",
];

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a playlist was not rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaylistError {
    /// The playlist is longer than `limit` bytes.
    TooLong {
        /// [`PLAYLIST_BYTES_MAX`]
        limit: usize,
    },
    /// With its links it would become longer than `limit` bytes.
    GrowsTooLong {
        /// [`REWRITTEN_BYTES_MAX`]
        limit: usize,
    },
}

impl fmt::Display for PlaylistError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlaylistError::TooLong { limit } => write!(f, "playlist is longer than {limit} bytes"),
            PlaylistError::GrowsTooLong { limit } => {
                write!(
                    f,
                    "playlist becomes longer than {limit} bytes with its links rewritten"
                )
            }
        }
    }
}

impl std::error::Error for PlaylistError {}

/// Whether an answer is a playlist by what was asked for or by its `Content-Type` (http-proxy spec §14.1).
///
/// `target` is the upstream request target; a path in `.m3u` or `.m3u8` wins over any content type.
pub fn is_playlist(target: &str, content_type: Option<&str>) -> bool {
    is_playlist_path(target)
        || content_type.is_some_and(|value| {
            let value = value.trim_start().as_bytes();
            CONTENT_TYPES
                .iter()
                .any(|name| starts_with_ignoring_case(value, name.as_bytes()))
        })
}

/// Whether `body` is a playlist (RFC 8216 §4.3.1.1) whose last line is whole: by its end of line, or because it is the
/// tag that ends a list.
pub fn ends_with_a_line(body: &[u8]) -> bool {
    let text = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    text.starts_with(b"#EXTM3U") && (text.ends_with(b"\n") || text.ends_with(b"\n#EXT-X-ENDLIST"))
}

/// Whether a request target asks for a playlist by its extension, so that the answer is known to be rewritten.
pub fn is_playlist_path(target: &str) -> bool {
    let target = target.as_bytes();
    let path_bytes = memchr::memchr2(b'?', b'#', target).unwrap_or(target.len());
    let path = target.get(..path_bytes).unwrap_or_default();
    let extension = memchr::memrchr(b'.', path).and_then(|at| path.get(at + 1..));
    extension.is_some_and(|extension| {
        extension.eq_ignore_ascii_case(b"m3u") || extension.eq_ignore_ascii_case(b"m3u8")
    })
}

/// Whether an answer of this status has a whole playlist as its body: any success but the bodyless ones. A part of a
/// playlist cannot be rewritten and still be that part; but players ask for `bytes=0-` before they know what they get,
/// and then the part is the whole, as `content_range` tells.
pub fn has_whole_body(status: u16, content_range: Option<&str>) -> bool {
    match status {
        204 | 205 => false,
        206 => content_range.is_some_and(is_whole_range),
        _ => (200..300).contains(&status),
    }
}

/// Whether a `Content-Range` (RFC 9110 §14.4) goes from the first byte to the last.
fn is_whole_range(value: &str) -> bool {
    let number = |text: &str| {
        let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| is_decimal)
    };
    let parts = value.trim().split_once(' ').and_then(|(unit, range)| {
        let (first, behind) = range.split_once('-')?;
        let (last, complete) = behind.split_once('/')?;
        Some((unit, number(first)?, number(last)?, number(complete)?))
    });
    parts.is_some_and(|(unit, first, last, complete)| {
        unit.eq_ignore_ascii_case("bytes") && first == 0 && last.checked_add(1) == Some(complete)
    })
}

/// Whether a request header is forwarded with a request for a playlist ([`is_playlist_path`]).
///
/// Not a range, nor a condition: the client knows the rewritten playlist, the upstream its own.
pub fn keeps_request_header(name: &str) -> bool {
    ![
        "Range",
        "If-Range",
        "If-Match",
        "If-None-Match",
        "If-Modified-Since",
        "If-Unmodified-Since",
    ]
    .iter()
    .any(|dropped| name.eq_ignore_ascii_case(dropped))
}

/// Whether a header of the upstream's answer is kept with a rewritten playlist (http-proxy spec §14.8, weakness
/// 18).
///
/// Not what describes the body as it was: its length, coding and digests, validators, and ranges. The caller
/// adds the new `Content-Length`.
pub fn keeps_response_header(name: &str) -> bool {
    ![
        "Content-Length",
        "Transfer-Encoding",
        "Trailer",
        "Content-Encoding",
        "Content-MD5",
        "Content-Digest",
        "Repr-Digest",
        "Digest",
        "ETag",
        "Last-Modified",
        "Accept-Ranges",
        "Content-Range",
    ]
    .iter()
    .any(|dropped| name.eq_ignore_ascii_case(dropped))
}

/// Rewrites the references of a playlist that was fetched from `playlist_url` (http-proxy spec §14.4 to §14.6).
///
/// - A line whose first character other than a blank is `#` is a tag or a comment. In it every attribute that
///   has a URI (`URI`, any name in `-URI`, `X-ASSET-LIST`) is rewritten, commented-out ones too; `#EXTINF`,
///   which has a title instead of attributes, is not.
/// - Any other line that is not empty is a reference. Blanks before it are dropped, those behind it stay.
/// - Variables (`variables.rs`) are filled in where a reference means nothing without their values, and else left to
///   the player.
/// - References that cannot be mapped ([`Links::map_reference`]) leave their line or value as it was.
///
/// Lines keep their number, order and ends.
///
/// # Errors
///
/// `TooLong` for the body, `GrowsTooLong` for the result.
pub fn rewrite_playlist(
    body: &[u8],
    playlist_url: &HttpUrl,
    links: &Links,
) -> Result<Vec<u8>, PlaylistError> {
    if body.len() > PLAYLIST_BYTES_MAX {
        return Err(PlaylistError::TooLong {
            limit: PLAYLIST_BYTES_MAX,
        });
    }
    let document = visible(playlist_url);
    let document = Reference::parse(&document);
    let mut variables = Variables::new(playlist_url.query());
    let mut rewritten = Vec::with_capacity(body.len() * 2);
    let lines = match body.strip_prefix(BYTE_ORDER_MARK) {
        Some(behind) => {
            rewritten.extend_from_slice(BYTE_ORDER_MARK);
            behind
        }
        None => body,
    };
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        variables.note(line);
        let map = |reference: &[u8]| {
            let reference = variables.fill_in(reference)?;
            links.resolve(&links.base, &reference, &document)
        };
        rewrite_line(line, map, &mut rewritten);
        if rewritten.len() > REWRITTEN_BYTES_MAX {
            return Err(PlaylistError::GrowsTooLong {
                limit: REWRITTEN_BYTES_MAX,
            });
        }
    }
    Ok(rewritten)
}

fn rewrite_line(line: &[u8], map: impl Fn(&[u8]) -> Option<String>, rewritten: &mut Vec<u8>) {
    let text = line.trim_ascii_start();
    if text.starts_with(b"#") {
        if !starts_with_ignoring_case(text, b"#EXTINF") {
            return rewrite_attributes(line, map, rewritten);
        }
    } else if let Some(link) = map(text.trim_ascii_end()) {
        rewritten.extend_from_slice(link.as_bytes());
        // Blanks and the end of the line.
        let behind = text.get(text.trim_ascii_end().len()..);
        return rewritten.extend_from_slice(behind.unwrap_or_default());
    }
    rewritten.extend_from_slice(line);
}

/// Rewrites the attributes of a tag or comment line that have a URI.
///
/// An attribute begins the line or follows `,`, `:` or a blank, outside quotes. Its value is in quotes, or ends at
/// `,` or white space.
fn rewrite_attributes(line: &[u8], map: impl Fn(&[u8]) -> Option<String>, rewritten: &mut Vec<u8>) {
    let mut rest = line;
    let mut at_start = true;
    while let Some(&byte) = rest.first() {
        // One line may have attributes without number; the caller reports it.
        if rewritten.len() > REWRITTEN_BYTES_MAX {
            return;
        }
        let name_bytes = rest.iter().take_while(|byte| is_name_byte(byte)).count();
        let (name, behind) = rest.split_at_checked(name_bytes).unwrap_or((rest, b""));
        let taken = if let (true, [b'=', value @ ..]) = (at_start && !name.is_empty(), behind) {
            let value_bytes = value_bytes(value);
            let (value, _) = value.split_at_checked(value_bytes).unwrap_or((value, b""));
            rewritten.extend_from_slice(name);
            rewritten.push(b'=');
            let mapped = names_uri(name).then(|| map_value(value, &map)).flatten();
            rewritten.extend_from_slice(mapped.as_deref().unwrap_or(value));
            name_bytes + 1 + value_bytes
        } else {
            let taken = match byte {
                b'"' => quoted_bytes(rest).unwrap_or(1),
                _ => name_bytes.max(1),
            };
            rewritten.extend_from_slice(rest.get(..taken).unwrap_or(rest));
            taken
        };
        at_start = matches!(byte, b',' | b':' | b' ' | b'\t') && taken == 1;
        rest = rest.get(taken..).unwrap_or_default();
    }
}

/// RFC 8216 §4.2, and lower case.
fn is_name_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Whether the value of an attribute is a URI: `URI`, and of RFC 8216bis `X-ASSET-URI`, `X-ASSET-LIST` and
/// `SERVER-URI`.
fn names_uri(name: &[u8]) -> bool {
    let before_uri = name.len().checked_sub(b"URI".len());
    let (front, last) = before_uri
        .and_then(|at| name.split_at_checked(at))
        .unwrap_or_default();
    last.eq_ignore_ascii_case(b"URI") && (front.is_empty() || front.ends_with(b"-"))
        || name.eq_ignore_ascii_case(b"X-ASSET-LIST")
}

/// Length of the value that `text` begins with, quotes included. A quote that is not closed is part of a plain
/// value.
pub(super) fn value_bytes(text: &[u8]) -> usize {
    let plain = || {
        let end = text
            .iter()
            .position(|byte| *byte == b',' || byte.is_ascii_whitespace());
        end.unwrap_or(text.len())
    };
    quoted_bytes(text).unwrap_or_else(plain)
}

/// Length of the quoted text that `text` begins with, both quotes included.
fn quoted_bytes(text: &[u8]) -> Option<usize> {
    let inside = text.strip_prefix(b"\"")?;
    Some(inside.iter().position(|&byte| byte == b'"')? + 2)
}

/// The value of an attribute with its reference mapped, quoted as it was.
fn map_value(value: &[u8], map: impl Fn(&[u8]) -> Option<String>) -> Option<Vec<u8>> {
    match value {
        [b'"', inside @ .., b'"'] => Some(
            ["\"", &map(inside.trim_ascii())?, "\""]
                .concat()
                .into_bytes(),
        ),
        // A comma would end the value, and it may come from the folder of the playlist.
        _ => Some(map(value)?.replace(',', "%2C").into_bytes()),
    }
}

fn starts_with_ignoring_case(text: &[u8], front: &[u8]) -> bool {
    text.get(..front.len())
        .is_some_and(|text| text.eq_ignore_ascii_case(front))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::rewrite::LINK_BYTES_MAX;

    const URL: &str = "http://cdn.lan:8080/ch1/live/index.m3u8?id=7";

    fn rewritten(body: impl AsRef<[u8]>) -> Vec<u8> {
        let links = Links::new("http://tv.home:5140/".to_owned(), "", false);
        rewrite_playlist(body.as_ref(), &HttpUrl::parse(URL).unwrap(), &links).unwrap()
    }

    fn text(body: impl AsRef<[u8]>) -> String {
        String::from_utf8(rewritten(body)).unwrap()
    }

    #[test]
    fn worked_example_is_rewritten() {
        // http-proxy spec §14.9.
        for (line, expected) in [
            ("#EXTM3U", "#EXTM3U"),
            (
                "#EXT-X-KEY:METHOD=AES-128,URI=\"k/1.key\",IV=0x7",
                "#EXT-X-KEY:METHOD=AES-128,URI=\"http://tv.home:5140/http/cdn.lan:8080/ch1/live/k/1.key\",IV=0x7",
            ),
            (
                "#EXT-X-MAP:URI=\"/init.mp4\"",
                "#EXT-X-MAP:URI=\"http://tv.home:5140/http/cdn.lan:8080/init.mp4\"",
            ),
            ("#EXTINF:6.0,", "#EXTINF:6.0,"),
            (
                "s1.ts",
                "http://tv.home:5140/http/cdn.lan:8080/ch1/live/s1.ts",
            ),
            (
                "sub/s2.ts?x=1",
                "http://tv.home:5140/http/cdn.lan:8080/ch1/live/sub/s2.ts?x=1",
            ),
            ("/s3.ts", "http://tv.home:5140/http/cdn.lan:8080/s3.ts"),
            (
                "http://other.lan/s4.ts",
                "http://tv.home:5140/http/other.lan/s4.ts",
            ),
            ("https://safe.lan/s5.ts", "https://safe.lan/s5.ts"),
        ] {
            assert_eq!(text(line), expected);
            assert_eq!(text(format!("{line}\n")), format!("{expected}\n"));
            assert_eq!(text(format!("{line}\r\n")), format!("{expected}\r\n"));
        }
    }

    #[test]
    fn prefix_and_relative_base_are_used() {
        let links = Links::new("/tv/".to_owned(), "/tv", true);
        let url = HttpUrl::parse("http://[::1]:8080/a/x.m3u8").unwrap();
        let rewrite = |body: &str| {
            String::from_utf8(rewrite_playlist(body.as_bytes(), &url, &links).unwrap()).unwrap()
        };
        assert_eq!(
            rewrite("http://other.lan/s4.ts"),
            "/tv/http/other.lan/s4.ts"
        );
        assert_eq!(
            rewrite("https://other.lan/s4.ts"),
            "/tv/https/other.lan/s4.ts"
        );
        assert_eq!(rewrite("s.ts"), "/tv/http/[::1]:8080/a/s.ts");
    }

    #[test]
    fn what_is_not_a_reference_stays() {
        for body in [
            "",
            "\n",
            "\r\n",
            " \t \n",
            "skd://key\n",
            "data:text/plain,x\n",
            "rtsp://h/x\n",
            "a\0b\n",
            "#EXTINF:-1 tvg-logo=\"http://h/x.png\",News URI=x\n",
            "#EXT-X-KEY:URI=\"\",URI=,URI\n",
            "#EXT-X-KEY:URI=\"skd://k\"\n",
            "#EXT-X-MEDIA:NAME=\"a,URI=x\",LANGUAGE=\"en:URI=y\"\n",
            "#EXT-X-X:NURI=a,URIS=b,X-URI-X=c\n",
            "#comment \"URI=x\" \"\n",
            "#comment \"a,URI=x\"\n",
            "#c é NAME=\"\n",
        ] {
            assert_eq!(text(body), body);
        }
        assert_eq!(rewritten(b"#c \xff\xfe\0\r\r\n"), b"#c \xff\xfe\0\r\r\n");
    }

    #[test]
    fn every_attribute_with_a_uri_is_mapped() {
        let link = "http://tv.home:5140/http/cdn.lan:8080/ch1/live/k";
        for (line, expected) in [
            ("#A:URI=\"k\"", format!("#A:URI=\"{link}\"")),
            (
                "#A:uri=k,URI=\"k\"\r\n",
                format!("#A:uri={link},URI=\"{link}\"\r\n"),
            ),
            (
                "##A:X=1 URI=k\tURI=k\n",
                format!("##A:X=1 URI={link}\tURI={link}\n"),
            ),
            (" #URI=k", " #URI=k".to_owned()),
            ("# URI=k", format!("# URI={link}")),
            ("#A:X-ASSET-URI=\"k\"", format!("#A:X-ASSET-URI=\"{link}\"")),
            (
                "#A:X-ASSET-LIST=\"k\"",
                format!("#A:X-ASSET-LIST=\"{link}\""),
            ),
            ("#A:SERVER-URI=\"k\"", format!("#A:SERVER-URI=\"{link}\"")),
            (
                "#A:X=\"a,b\",URI=\" k \"",
                format!("#A:X=\"a,b\",URI=\"{link}\""),
            ),
            ("#A:X=a\"b,URI=\"k\"", format!("#A:X=a\"b,URI=\"{link}\"")),
            ("#A:X=\"open,URI=k", format!("#A:X=\"open,URI={link}")),
        ] {
            assert_eq!(text(line), expected);
        }
    }

    #[test]
    fn plain_values_do_not_end_early() {
        let links = Links::new("/".to_owned(), "", false);
        let url = HttpUrl::parse("http://h/a,b \"c/x.m3u8").unwrap();
        let body = b"#A:URI=k,URI=\"k\"\nk\n";
        assert_eq!(
            String::from_utf8(rewrite_playlist(body, &url, &links).unwrap()).unwrap(),
            "#A:URI=/http/h/a%2Cb%20%22c/k,URI=\"/http/h/a,b%20%22c/k\"\n/http/h/a,b%20%22c/k\n"
        );
    }

    #[test]
    fn blanks_around_a_reference_are_not_part_of_it() {
        let link = "http://tv.home:5140/http/cdn.lan:8080/ch1/live/a%20b.ts";
        assert_eq!(text(" \ta b.ts \t\r\n"), format!("{link} \t\r\n"));
    }

    #[test]
    fn byte_order_mark_is_not_a_reference() {
        assert_eq!(text("\u{feff}#EXTM3U\n"), "\u{feff}#EXTM3U\n");
        assert_eq!(
            text("\u{feff}/a\n"),
            "\u{feff}http://tv.home:5140/http/cdn.lan:8080/a\n"
        );
    }

    #[test]
    fn nul_does_not_end_the_playlist() {
        assert_eq!(
            text("#a\0b\n/s\n"),
            "#a\0b\nhttp://tv.home:5140/http/cdn.lan:8080/s\n"
        );
    }

    #[test]
    fn playlists_are_bounded() {
        let url = HttpUrl::parse(URL).unwrap();
        let links = Links::new("http://tv.home:5140/".to_owned(), "", false);
        let rewrite = |body: &[u8]| rewrite_playlist(body, &url, &links).map(|body| body.len());
        let limit = PLAYLIST_BYTES_MAX;
        assert_eq!(rewrite(&vec![b'#'; limit]), Ok(limit));
        let too_long = rewrite(&vec![b'#'; limit + 1]);
        assert_eq!(too_long, Err(PlaylistError::TooLong { limit }));
        let grown = Err(PlaylistError::GrowsTooLong {
            limit: REWRITTEN_BYTES_MAX,
        });
        assert_eq!(rewrite(&b"a\n".repeat(limit / 2)), grown);
    }

    #[test]
    fn one_line_of_many_attributes_does_not_grow_past_the_limit() {
        let line = [b"#:".to_vec(), b"URI=a,".repeat(PLAYLIST_BYTES_MAX / 6)].concat();
        let mut rewritten = Vec::new();
        let long = "x".repeat(LINK_BYTES_MAX);
        rewrite_attributes(&line, |_| Some(long.clone()), &mut rewritten);
        assert!(rewritten.len() > REWRITTEN_BYTES_MAX);
        assert!(rewritten.len() < REWRITTEN_BYTES_MAX + 2 * LINK_BYTES_MAX);
    }

    #[test]
    fn playlists_are_told_by_extension_or_content_type() {
        for (target, content_type, expected) in [
            ("/x.m3u8", Some("video/mp2t"), true),
            ("/x.M3U?a#b", None, true),
            ("/x.m3u#b?c", None, true),
            (
                "/x",
                Some(" Application/VND.apple.mpegURL; charset=utf-8"),
                true,
            ),
            ("/x", Some("application/x-mpegurl"), true),
            ("/x", Some("audio/x-mpegurl"), true),
            ("/x", Some("audio/mpegurl"), true),
            ("/x", Some("text/plain"), false),
            ("/x", Some("é"), false),
            ("/x", None, false),
            ("/m3u8", None, false),
            ("/x.m3u8/y", None, false),
            ("/x?a.m3u8", None, false),
        ] {
            assert_eq!(
                is_playlist(target, content_type),
                expected,
                "{target} {content_type:?}"
            );
        }
    }

    #[test]
    fn parts_and_empty_answers_are_not_playlists() {
        let whole: Vec<u16> = (100..600)
            .filter(|&status| has_whole_body(status, None))
            .collect();
        assert!(whole.contains(&200) && whole.contains(&203) && whole.contains(&299));
        for status in [100, 199, 204, 205, 206, 300, 302, 404] {
            assert!(!whole.contains(&status), "{status}");
        }
    }

    #[test]
    fn part_that_is_the_whole_is_told_from_others() {
        for (range, whole) in [
            ("bytes 0-12/13", true),
            ("Bytes 0-12/13", true),
            ("bytes 0-12/14", false),
            ("bytes 1-12/13", false),
            ("bytes 0-12/*", false),
            ("bytes */13", false),
            ("items 0-12/13", false),
            ("bytes +0-12/13", false),
            ("bytes 0-18446744073709551615/0", false),
            ("", false),
        ] {
            assert_eq!(has_whole_body(206, Some(range)), whole, "{range}");
        }
    }

    #[test]
    fn headers_that_describe_the_old_body_go() {
        assert!(keeps_response_header("Content-Type") && keeps_response_header("Cache-Control"));
        assert!(!keeps_response_header("content-length") && !keeps_response_header("ETAG"));
        assert!(keeps_request_header("Accept") && !keeps_request_header("range"));
    }

    fn any_body() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..120),
            "(\u{feff})?([a-c/.:?#,= \t\"\r\n\0]|URI=|-URI=\"|#EXT-X-KEY:|http://|é){0,40}"
                .prop_map(String::into_bytes),
        ]
    }

    /// How often each control byte occurs; the blanks before references may go, nothing may come.
    fn controls(bytes: &[u8]) -> [usize; 256] {
        let mut counts = [0; 256];
        for &byte in bytes.iter().filter(|byte| byte.is_ascii_control()) {
            counts[usize::from(byte)] += 1;
        }
        counts
    }

    proptest! {
        #[test]
        fn every_line_is_kept_or_mapped(body in any_body()) {
            let mut result = &rewritten(&body)[..];
            let mut body = &body[..];
            if let Some(behind) = body.strip_prefix(BYTE_ORDER_MARK) {
                body = behind;
                result = result.strip_prefix(BYTE_ORDER_MARK).unwrap();
            }
            let lines: Vec<&[u8]> = body.split(|&byte| byte == b'\n').collect();
            let new_lines: Vec<&[u8]> = result.split(|&byte| byte == b'\n').collect();
            prop_assert_eq!(lines.len(), new_lines.len());
            for (line, new_line) in lines.into_iter().zip(new_lines) {
                let tag = line.trim_ascii_start().starts_with(b"#");
                let end = |line: &[u8]| line[line.trim_ascii_end().len()..].to_vec();
                prop_assert!(tag || new_line == line || end(new_line) == end(line));
                prop_assert!(tag || new_line == line || new_line.starts_with(b"http://tv.home:5140/http/"));
            }
        }

        #[test]
        fn no_control_byte_is_introduced(body in any_body()) {
            let (before, after) = (controls(&body), controls(&rewritten(&body)));
            prop_assert!(before.iter().zip(after).all(|(&before, after)| after <= before));
        }
    }
}
