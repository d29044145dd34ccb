//! Session descriptions, as far as one MPEG-TS needs them (RFC 8866; RFC 2326 appendix C).
//!
//! Only one media section counts: the first that speaks of MPEG-TS, else the first of all. Nothing is an error: a line
//! that makes no sense is passed over, and an empty description is acceptable.

use std::str;
use std::time::Duration;

/// Longest value of `a=range:npt=` in bytes (RTSP spec §13).
const RANGE_BYTES_MAX: usize = 63;
/// Most digits of a number of hours or seconds; ten still fit 32 bits of seconds.
const DIGITS_MAX: usize = 9;
/// Payload type of MPEG-TS (RFC 3551 §6).
const MP2T: &str = "33";

/// Encodings of a single picture or sound (RFC 3551 §6 and their own RFCs), which are no MPEG-TS.
const ENCODINGS: [&str; 19] = [
    "H264",
    "H265",
    "H263",
    "H263-1998",
    "AV1",
    "VP8",
    "VP9",
    "JPEG",
    "MP4V-ES",
    "MPV",
    "MPA",
    "MP4A-LATM",
    "mpeg4-generic",
    "AC3",
    "opus",
    "PCMU",
    "PCMA",
    "L16",
    "vnd.onvif.metadata",
];

/// What a description says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sdp<'a> {
    /// `a=control:` of the section that counts, or of the session if there is none; not `*`, not empty.
    pub control: Option<&'a str>,
    /// Whether it speaks of MPEG-TS in RTP. A hint only.
    pub is_rtp: bool,
    /// The encoding of the section that counts, if it is one of those known. A hint only: there are servers that send
    /// MPEG-TS all the same.
    pub encoding: Option<&'static str>,
    /// Length of the first `a=range:npt=` if it has an end, to the microsecond.
    pub duration: Option<Duration>,
}

/// Decodes a description. Lines may end in CRLF, LF or CR, and begin with blanks.
pub fn decode(body: &[u8]) -> Sdp<'_> {
    let lines: Vec<&str> = body
        .split(|&byte| byte == b'\n' || byte == b'\r')
        .filter_map(|line| str::from_utf8(line).ok())
        .map(str::trim_start)
        .collect();
    let range = lines.iter().find_map(|line| {
        let range = line.strip_prefix("a=range:")?;
        range.trim_start().strip_prefix("npt=")
    });
    let section = section(&lines);
    Sdp {
        control: control(section),
        is_rtp: lines.iter().any(|line| says_rtp(line)),
        encoding: section.iter().find_map(|line| encoding(line)),
        duration: range.and_then(decode_range),
    }
}

/// The lines of the media section that counts; all lines if there is no media section.
fn section<'a, 'b>(lines: &'b [&'a str]) -> &'b [&'a str] {
    // The first piece is what stands before the first `m=`, and every other one begins with it.
    let mut sections: Vec<&[&str]> = Vec::new();
    let mut rest = lines;
    while let Some(at) = rest.iter().rposition(|line| line.starts_with("m=")) {
        let (front, section) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        sections.push(section);
        rest = front;
    }
    sections.reverse();
    let speaks_of_ts =
        |section: &&&[&str]| section.iter().any(|line| says_rtp(line) || says_bare(line));
    let section = sections.iter().find(speaks_of_ts).or(sections.first());
    section.copied().unwrap_or(lines)
}

fn control<'a>(section: &[&'a str]) -> Option<&'a str> {
    let mut controls = section
        .iter()
        .filter_map(|line| line.strip_prefix("a=control:"));
    controls
        .next()
        .map(str::trim)
        .filter(|control| !control.is_empty() && *control != "*")
}

/// `a=rtpmap:N MP2T/…`, or `m=` with an RTP profile and payload type 33.
fn says_rtp(line: &str) -> bool {
    if let Some(map) = line.strip_prefix("a=rtpmap:") {
        let encoding = map.split_ascii_whitespace().nth(1).unwrap_or_default();
        return encoding
            .get(..5)
            .is_some_and(|name| name.eq_ignore_ascii_case("mp2t/"));
    }
    let Some(media) = line.strip_prefix("m=") else {
        return false;
    };
    let mut words = media.split_ascii_whitespace().skip(2);
    words
        .next()
        .is_some_and(|profile| profile.starts_with("RTP/"))
        && words.any(|word| word == MP2T)
}

/// `a=rtpmap:N NAME/RATE` with one of [`ENCODINGS`].
fn encoding(line: &str) -> Option<&'static str> {
    let map = line.strip_prefix("a=rtpmap:")?;
    let name = map.split_ascii_whitespace().nth(1)?.split('/').next()?;
    ENCODINGS
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(name))
}

/// `m=` with a profile that is MPEG-TS without RTP, such as `MP2T/UDP`.
fn says_bare(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let profile = line.starts_with("m=").then(|| words.nth(2)).flatten();
    let front = profile.and_then(|profile| profile.get(..4));
    front.is_some_and(|front| front.eq_ignore_ascii_case("MP2T"))
}

/// `START-END` in normal play time (RFC 2326 §3.6). An open end or `now` has no length.
fn decode_range(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text.len() > RANGE_BYTES_MAX {
        return None;
    }
    let (start, end) = text.split_once('-')?;
    decode_time(end.trim())?.checked_sub(decode_time(start.trim())?)
}

/// Seconds, or `H:MM:SS`, both with an optional fraction.
fn decode_time(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = whole.split(':');
    let seconds = match (parts.next()?, parts.next(), parts.next(), parts.next()) {
        (seconds, None, ..) => number(seconds)?,
        (hours, Some(minutes), Some(seconds), None) => {
            let (minutes, seconds) = (number(minutes)?, number(seconds)?);
            if minutes > 59 || seconds > 59 {
                return None;
            }
            number(hours)? * 3600 + minutes * 60 + seconds
        }
        _ => return None,
    };
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let micros = fraction
        .bytes()
        .chain(*b"000000")
        .take(6)
        .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(Duration::from_secs(seconds) + Duration::from_micros(micros))
}

fn number(digits: &str) -> Option<u64> {
    let sound = (1..=DIGITS_MAX).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    if sound { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn encoding_is_told_where_it_is_known() {
        for (text, expected) in [
            (
                "m=video 0 RTP/AVP 96\na=rtpmap:96 h265/90000\n",
                Some("H265"),
            ),
            (
                "m=audio 0 RTP/AVP 97\na=rtpmap:97 MPEG4-GENERIC/48000/2\n",
                Some("mpeg4-generic"),
            ),
            ("m=video 0 RTP/AVP 96\na=rtpmap:96 X-TS/90000\n", None),
            ("m=video 0 RTP/AVP 33\na=rtpmap:33 MP2T/90000\n", None),
            // Of what is not played nothing is said.
            (
                "m=audio 0 RTP/AVP 0\na=rtpmap:0 PCMU/8000\nm=video 0 RTP/AVP 33\n",
                None,
            ),
            ("a=rtpmap:", None),
            ("", None),
        ] {
            assert_eq!(decode(text.as_bytes()).encoding, expected, "{text}");
        }
    }

    #[test]
    fn control_is_that_of_the_section_that_counts() {
        for (text, expected) in [
            (
                "m=video 0 RTP/AVP 33\r\na=control:trackID=2\r\n",
                Some("trackID=2"),
            ),
            (
                "a=control:*\r\nm=video 0 RTP/AVP 33\r\na=control:t1\r\n",
                Some("t1"),
            ),
            ("a=control:rtsp://h/x\nm=video 0 RTP/AVP 33\n", None),
            // RTSP spec §27.18: not the second track's.
            (
                "m=video 0 RTP/AVP 33\nm=audio 0 RTP/AVP 0\na=control:t2\n",
                None,
            ),
            (
                "m=video 0 RTP/AVP 33\na=control:t1\nm=audio 0 RTP/AVP 0\na=control:t2\n",
                Some("t1"),
            ),
            // MPEG-TS stands behind what cannot be passed on.
            (
                "m=audio 0 RTP/AVP 0\na=control:t1\nm=video 0 RTP/AVP 33\na=control:t2\n",
                Some("t2"),
            ),
            (
                "m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=control:t1\n\
                 m=video 0 RTP/AVP 97\na=rtpmap:97 MP2T/90000\na=control:t2\n\
                 m=video 0 RTP/AVP 33\na=control:t3\n",
                Some("t2"),
            ),
            (
                "m=audio 0 RTP/AVP 0\na=control:t1\nm=video 0 mp2t/udp 33\na=control:t2\n",
                Some("t2"),
            ),
            (
                "m=audio 0 RTP/AVP 0\na=control:t1\nm=video 0 RTP/AVP 33\n",
                None,
            ),
            // None does: the first.
            (
                "m=audio 0 RTP/AVP 0\na=control:t1\nm=video 0 RTP/AVP 96\na=control:t2\n",
                Some("t1"),
            ),
            ("m=video 0\na=control:t1\nm=\na=control:t2\n", Some("t1")),
            (" m=video 0 RTP/AVP 33\r a=control: t1 \r", Some("t1")),
            ("v=0\na=control:t1\n", Some("t1")),
            ("m=video 0 RTP/AVP 33\na=control: * \n", None),
            ("m=video 0 RTP/AVP 33\na=control:\n", None),
            ("", None),
        ] {
            assert_eq!(decode(text.as_bytes()).control, expected, "{text:?}");
        }
    }

    #[test]
    fn rtp_is_recognised() {
        for (line, expected) in [
            ("m=video 0 RTP/AVP 33", true),
            ("m=video 0 RTP/AVP 96 33", true),
            ("m=video 0 RTP/AVP 96", false),
            ("m=video 33 MP2T/UDP 33", false),
            ("a=rtpmap:33 MP2T/90000", true),
            ("a=rtpmap:96 mp2t/90000", true),
            ("a=rtpmap:96 H264/90000", false),
            ("a=rtpmap:96 é", false),
        ] {
            assert_eq!(decode(line.as_bytes()).is_rtp, expected, "{line}");
        }
    }

    #[test]
    fn duration_is_the_length_of_the_range() {
        for (range, expected) in [
            ("10.25-40.5", Some(30_250_000)),
            ("0-3600", Some(3_600_000_000)),
            ("0:00:10-1:02:03.5", Some(3_713_500_000)),
            ("0.0000019-1", Some(999_999)),
            ("5-5", Some(0)),
            ("5-4", None),
            ("now-", None),
            ("0-", None),
            ("-5", None),
            ("0--5", None),
            ("0:60:00-2:00:00", None),
            ("0:00-1:00", None),
            ("0-1e3", None),
            ("0-1.x", None),
            ("0-9999999999", None),
        ] {
            let text = format!("v=0\r\na=range:npt={range}\r\na=range:npt=0-9\r\n");
            let duration = decode(text.as_bytes()).duration;
            assert_eq!(duration, expected.map(Duration::from_micros), "{range}");
        }
        let spaced = decode(b"a=range: npt=0 - 9.5 \r\n").duration;
        assert_eq!(spaced, Some(Duration::from_millis(9500)));
        let long = format!("a=range:npt=0-{}", "0".repeat(62));
        assert_eq!(decode(long.as_bytes()).duration, None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(body in prop::collection::vec(any::<u8>(), 0..100)) {
            decode(&body);
        }

        #[test]
        fn any_range_is_survived(range in "[0-9:.\\-n]{0,70}") {
            decode(format!("a=range:npt={range}").as_bytes());
        }
    }
}
