//! What the access log tells of a request.

use std::fmt::{self, Write};
use std::time::Duration;

use time::{OffsetDateTime, UtcOffset};

/// What is known of a request when it has come. Nothing in it is secret: access token and passwords are taken out by
/// whoever fills it in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Address and port of the client, or whom a proxy in front speaks for.
    pub client_address: String,
    /// The method as it was sent.
    pub method: String,
    /// Value of `Host`.
    pub host: Vec<u8>,
    /// Path and query as they were asked for, decoded.
    pub service_url: String,
    /// Value of `User-Agent`.
    pub user_agent: Vec<u8>,
    /// First element of `X-Forwarded-For`.
    pub forwarded_for: Vec<u8>,
    /// `rtp`, `rtsp` or `http`; empty if nothing was found under that path.
    pub service_type: &'static str,
    /// The source, as a URL; empty as above.
    pub upstream_url: String,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Status of the answer, if there was one.
    pub status: Option<u16>,
    /// In a word.
    pub outcome: Outcome,
    /// Why it was refused or failed; empty otherwise.
    pub reason: String,
    /// Bytes that the client's socket has taken, heads included.
    pub bytes_sent: u64,
    /// Since the request had come.
    pub duration: Duration,
    /// Datagrams that the client was not given because it was too slow.
    pub dropped_packets: u64,
    /// Payload bytes of those.
    pub dropped_bytes: u64,
    /// How often its upstream was paused because it was slow.
    pub pauses: u64,
}

/// How a request ended, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was sent.
    Complete,
    /// The client went before that; the usual end of a live stream.
    ClientClosed,
    /// It was answered with an error at once: no access, no such service, or too many clients.
    Refused,
    /// It was taken on, and then its source failed or the program was stopped.
    Failed,
}

impl Outcome {
    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientClosed => "client-closed",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// A point in time, and how far the clocks of this place are from UTC then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Since 1970 (UTC).
    pub since_epoch: Duration,
    local: OffsetDateTime,
}

impl Moment {
    /// The moment `since_epoch`, where clocks are `offset_seconds` ahead of UTC. What lies beyond the calendar counts
    /// as its beginning.
    pub fn at(since_epoch: Duration, offset_seconds: i32) -> Self {
        let offset = UtcOffset::from_whole_seconds(offset_seconds).unwrap_or(UtcOffset::UTC);
        let utc = i64::try_from(since_epoch.as_secs())
            .ok()
            .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        Self {
            since_epoch,
            local: utc.checked_to_offset(offset).unwrap_or(utc),
        }
    }

    /// Appends `YYYY-MM-DDThh:mm:ss±hh:mm`.
    pub(super) fn push_iso8601(&self, text: &mut String) -> fmt::Result {
        let local = self.local;
        let (year, month, day) = (local.year(), u8::from(local.month()), local.day());
        write!(text, "{year:04}-{month:02}-{day:02}T")?;
        self.push_clock(text)?;
        self.push_offset(text, ":")
    }

    /// Appends `DD/Mon/YYYY:hh:mm:ss ±hhmm`.
    pub(super) fn push_local(&self, text: &mut String) -> fmt::Result {
        let local = self.local;
        let month = local.month().to_string();
        let month = month.get(..3).unwrap_or_default();
        write!(text, "{:02}/{month}/{:04}:", local.day(), local.year())?;
        self.push_clock(text)?;
        text.push(' ');
        self.push_offset(text, "")
    }

    fn push_clock(&self, text: &mut String) -> fmt::Result {
        let (hour, minute, second) = self.local.to_hms();
        write!(text, "{hour:02}:{minute:02}:{second:02}")
    }

    fn push_offset(&self, text: &mut String, between: &str) -> fmt::Result {
        let offset = self.local.offset();
        let sign = if offset.is_negative() { '-' } else { '+' };
        let (hours, minutes, _) = offset.as_hms();
        let (hours, minutes) = (hours.unsigned_abs(), minutes.unsigned_abs());
        write!(text, "{sign}{hours:02}{between}{minutes:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(seconds: u64, offset_seconds: i32) -> (String, String) {
        let moment = Moment::at(Duration::from_secs(seconds), offset_seconds);
        let (mut iso8601, mut local) = (String::new(), String::new());
        moment.push_iso8601(&mut iso8601).expect("text");
        moment.push_local(&mut local).expect("text");
        (iso8601, local)
    }

    #[test]
    fn times_are_local_and_say_so() {
        for (seconds, offset, iso8601, local) in [
            (
                0,
                0,
                "1970-01-01T00:00:00+00:00",
                "01/Jan/1970:00:00:00 +0000",
            ),
            (
                1_741_635_000,
                -12_600,
                "2025-03-10T16:00:00-03:30",
                "10/Mar/2025:16:00:00 -0330",
            ),
            (
                1_709_164_800,
                20_700,
                "2024-02-29T05:45:00+05:45",
                "29/Feb/2024:05:45:00 +0545",
            ),
            (
                1_735_689_599,
                -1800,
                "2024-12-31T23:29:59-00:30",
                "31/Dec/2024:23:29:59 -0030",
            ),
        ] {
            let expected = (iso8601.to_owned(), local.to_owned());
            assert_eq!(shown(seconds, offset), expected);
        }
    }

    #[test]
    fn no_time_is_too_far_away() {
        for (seconds, offset) in [(u64::MAX, 0), (253_402_300_799, 86_399), (0, i32::MIN)] {
            let (iso8601, _) = shown(seconds, offset);
            assert_eq!(iso8601.len(), 25, "{iso8601}");
        }
    }
}
