//! What the client is told about a stream in `R2H-` headers (RTSP spec §24, multicast spec §6).

use std::time::Duration;

/// Longest number in a header, in characters (multicast spec §6).
const NUMBER_BYTES_MAX: usize = 63;
/// Longest `Range` that is passed on, in bytes.
const RANGE_BYTES_MAX: usize = 255;

/// By what media comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaTransport {
    /// Frames on the control connection.
    Interleaved,
    /// Datagrams.
    Udp,
}

/// How MPEG-TS is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// In RTP.
    Rtp,
    /// Bare.
    Direct,
}

/// What is known; unknown values are left out, never guessed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// As the server's `Transport` said.
    pub transport: Option<MediaTransport>,
    /// As media showed, else as the description said.
    pub payload: Option<Payload>,
    /// `Scale` of the PLAY response, in our notation.
    pub scale: Option<String>,
    /// `Range` of the PLAY response, as it was: 1 to 255 printable ASCII bytes.
    pub range: Option<String>,
    /// Length of the described range.
    pub duration: Option<Duration>,
}

impl Metadata {
    /// Names and values in the order of the response head. No value has a control character.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let transport = self.transport.map(|transport| match transport {
            MediaTransport::Interleaved => "tcp-interleaved".to_owned(),
            MediaTransport::Udp => "udp".to_owned(),
        });
        let payload = self.payload.map(|payload| match payload {
            Payload::Rtp => "mp2t-rtp".to_owned(),
            Payload::Direct => "mp2t-direct".to_owned(),
        });
        let all = [
            ("R2H-Upstream-Protocol", Some("rtsp".to_owned())),
            ("R2H-Upstream-Transport", transport),
            ("R2H-Upstream-Payload", payload),
            ("R2H-Playback-Scale", self.scale.clone()),
            ("R2H-Playback-Range", self.range.clone()),
            ("R2H-Media-Duration", self.duration.map(seconds)),
        ];
        all.into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }

    /// Learns from the headers of a PLAY response.
    pub(super) fn learn_playback(&mut self, scale: Option<&str>, range: Option<&str>) {
        self.scale = scale.and_then(number);
        self.range = range
            .filter(|range| {
                (1..=RANGE_BYTES_MAX).contains(&range.len())
                    && range.bytes().all(|byte| (b' '..=b'~').contains(&byte))
            })
            .map(str::to_owned);
    }
}

/// Body of the answer to a duration query: seconds with three decimals, rounded down.
pub fn duration_body(duration: Duration) -> String {
    let (whole, millis) = (duration.as_secs(), duration.subsec_millis());
    format!("{{\"duration\": \"{whole}.{millis:03}\"}}")
}

fn seconds(duration: Duration) -> String {
    trim_zeros(format!(
        "{}.{:06}",
        duration.as_secs(),
        duration.subsec_micros()
    ))
}

/// A finite decimal number of at most 63 bytes, in at most six decimals.
fn number(text: &str) -> Option<String> {
    if text.len() > NUMBER_BYTES_MAX {
        return None;
    }
    let value: f64 = text
        .trim_end()
        .parse()
        .ok()
        .filter(|value: &f64| value.is_finite())?;
    Some(trim_zeros(format!("{value:.6}"))).filter(|text| text.len() <= NUMBER_BYTES_MAX)
}

fn trim_zeros(text: String) -> String {
    match text.trim_end_matches('0').trim_end_matches('.') {
        "-0" => "0".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_stand_in_order() {
        let mut metadata = Metadata {
            transport: Some(MediaTransport::Interleaved),
            payload: Some(Payload::Rtp),
            duration: Some(Duration::from_millis(30_250)),
            ..Metadata::default()
        };
        metadata.learn_playback(Some("1.500000"), Some("npt=10.25-40.5"));
        let expected = [
            ("R2H-Upstream-Protocol", "rtsp"),
            ("R2H-Upstream-Transport", "tcp-interleaved"),
            ("R2H-Upstream-Payload", "mp2t-rtp"),
            ("R2H-Playback-Scale", "1.5"),
            ("R2H-Playback-Range", "npt=10.25-40.5"),
            ("R2H-Media-Duration", "30.25"),
        ];
        let headers = metadata.headers();
        assert!(
            headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .eq(expected)
        );
        assert_eq!(
            Metadata::default().headers(),
            [("R2H-Upstream-Protocol", "rtsp".to_owned())]
        );
    }

    #[test]
    fn scales_are_numbers() {
        for (text, expected) in [
            ("1", Some("1")),
            ("-2.0  ", Some("-2")),
            ("-0", Some("0")),
            ("10", Some("10")),
            ("0.0000001", Some("0")),
            ("inf", None),
            ("nan", None),
            ("1e99", None),
            ("1x", None),
            ("", None),
        ] {
            assert_eq!(number(text).as_deref(), expected, "{text}");
        }
        assert_eq!(number(&"1".repeat(64)), None);
    }

    #[test]
    fn ranges_are_printable() {
        for (range, passes) in [("npt=0-", true), ("", false), ("a\tb", false), ("é", false)] {
            let mut metadata = Metadata::default();
            metadata.learn_playback(None, Some(range));
            assert_eq!(metadata.range.is_some(), passes, "{range:?}");
        }
        let mut metadata = Metadata::default();
        metadata.learn_playback(None, Some(&"x".repeat(256)));
        assert_eq!(metadata.range, None);
    }

    #[test]
    fn duration_query_is_answered_in_json() {
        let duration = Duration::from_micros(30_250_900);
        assert_eq!(duration_body(duration), "{\"duration\": \"30.250\"}");
    }
}
