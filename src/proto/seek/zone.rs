//! The client's time zone: `UTC`, `UTC+8`, `UTC-03`, `UTC+5:30`, `UTC+0530`.
//!
//! A zone is a fixed distance from UTC. Names such as `Asia/Tokyo` are not understood: they would need a data base
//! of rules that change every year.

/// Bytes of a User-Agent that are looked at (time spec §5.1).
const USER_AGENT_BYTES_MAX: usize = 255;

/// Easternmost zone, minutes (Kiribati).
const EAST_MINUTES_MAX: i32 = 14 * 60;

/// Westernmost zone, minutes (ships; the westernmost land has 11 hours).
const WEST_MINUTES_MAX: i32 = 12 * 60;

/// A distance from UTC, at most 14 hours east or 12 hours west. The default is UTC itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    east_minutes: i32,
}

impl Zone {
    /// No distance.
    pub const UTC: Zone = Zone { east_minutes: 0 };

    /// The zone after the first `TZ/` in a User-Agent header, of which the first 255 bytes count.
    ///
    /// Case-sensitive; text behind the zone is ignored. UTC if there is no marker or it is not understood.
    pub fn of_user_agent(user_agent: &[u8]) -> Zone {
        let looked_at = user_agent.get(..USER_AGENT_BYTES_MAX).unwrap_or(user_agent);
        let text = String::from_utf8_lossy(looked_at);
        let marker = text.split_once("TZ/").map(|(_, marker)| marker);
        marker
            .and_then(Zone::decode)
            .map_or(Zone::UTC, |(zone, _)| zone)
    }

    /// A zone that is the whole of `text`.
    pub fn parse(text: &str) -> Option<Zone> {
        Zone::decode(text).and_then(|(zone, behind)| behind.is_empty().then_some(zone))
    }

    /// Seconds to add to UTC to get the time of this zone.
    pub fn east_seconds(self) -> i64 {
        i64::from(self.east_minutes) * 60
    }

    /// The zone at the front of `text`, and what stands behind it.
    ///
    /// Minutes are read only where both digits stand and nothing more, so that the zone of `UTC+8:` or `UTC+8; x`
    /// is `UTC+8`.
    fn decode(text: &str) -> Option<(Zone, &str)> {
        let behind = text.strip_prefix("UTC")?;
        let (is_east, behind) = match behind.as_bytes().first() {
            Some(b'+') => (true, behind.get(1..)?),
            Some(b'-') => (false, behind.get(1..)?),
            _ => return Some((Zone::UTC, behind)),
        };
        let (digits, behind) = split_digits(behind);
        let (hours, minutes, behind) = match (digits.len(), colon_minutes(behind)) {
            (1 | 2, Some((minutes, behind))) => (digits, minutes, behind),
            (1 | 2, None) => (digits, "0", behind),
            (4, _) => {
                let (hours, minutes) = digits.split_at_checked(2)?;
                (hours, minutes, behind)
            }
            _ => return None,
        };
        let minutes: i32 = minutes.parse().ok().filter(|minutes| *minutes < 60)?;
        let distance = hours.parse::<i32>().ok()? * 60 + minutes;
        let (limit, east_minutes) = if is_east {
            (EAST_MINUTES_MAX, distance)
        } else {
            (WEST_MINUTES_MAX, -distance)
        };
        (distance <= limit).then_some((Zone { east_minutes }, behind))
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// The minutes of `:30…`, from 00 to 59.
fn colon_minutes(text: &str) -> Option<(&str, &str)> {
    let (minutes, behind) = split_digits(text.strip_prefix(':')?);
    (minutes.len() == 2 && minutes < "60").then_some((minutes, behind))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Minutes east of what a User-Agent says.
    fn east_minutes(user_agent: &str) -> i32 {
        Zone::of_user_agent(user_agent.as_bytes()).east_minutes
    }

    #[test]
    fn marker_is_read_as_the_table_says() {
        for (user_agent, hours) in [
            ("TZ/UTC", 0),
            ("TZ/UTC+8", 8),
            ("TZ/UTC+08", 8),
            ("TZ/UTC-5", -5),
            ("TZ/UTC+14", 14),
            ("TZ/UTC-12", -12),
            ("TZ/UTC+15", 0),
            ("TZ/UTC-13", 0),
            ("TZ/UTC+8x", 8),
            ("TZ/UTC+8; foo", 8),
            ("TZ/UTC+8.5", 8),
            ("TZ/UTC+", 0),
            ("TZ/UTC+-3", 0),
            ("TZ/GMT+8", 0),
            ("tz/utc+8", 0),
            ("TZ/Asia/Tokyo", 0),
            ("XTZ/UTC+8", 8),
            ("Player/1.0 TZ/UTC+8 TZ/UTC+9", 8),
            ("TZ/x TZ/UTC+9", 0),
            ("Player/1.0", 0),
            ("", 0),
        ] {
            assert_eq!(east_minutes(user_agent), hours * 60, "{user_agent}");
        }
    }

    #[test]
    fn minutes_are_read_with_and_without_colon() {
        for (user_agent, minutes) in [
            ("TZ/UTC+5:30", 330),
            ("TZ/UTC+05:30", 330),
            ("TZ/UTC+0530", 330),
            ("TZ/UTC-3:30", -210),
            ("TZ/UTC-0330; x", -210),
            ("TZ/UTC+14:00", 840),
            ("TZ/UTC+14:01", 0),
            ("TZ/UTC-12:30", 0),
            ("TZ/UTC+0560", 0),
            ("TZ/UTC+530", 0),
            ("TZ/UTC+05300", 0),
        ] {
            assert_eq!(east_minutes(user_agent), minutes, "{user_agent}");
        }
    }

    #[test]
    fn what_is_no_minute_is_text_behind_the_hours() {
        for user_agent in ["TZ/UTC+8:", "TZ/UTC+8:x", "TZ/UTC+8:60", "TZ/UTC+8:300"] {
            assert_eq!(east_minutes(user_agent), 480, "{user_agent}");
        }
    }

    #[test]
    fn only_the_front_of_a_long_user_agent_counts() {
        let at = |bytes: usize| east_minutes(&format!("{}TZ/UTC+8", "x".repeat(bytes)));
        assert_eq!(at(255 - 8), 480);
        assert_eq!(at(255), 0);
        let mut cut = "é".repeat(127).into_bytes();
        cut.extend_from_slice("é TZ/UTC+8".as_bytes());
        assert_eq!(Zone::of_user_agent(&cut), Zone::UTC);
    }

    #[test]
    fn nothing_may_stand_behind_a_zone_that_is_the_whole_text() {
        assert_eq!(Zone::parse("UTC+8"), Some(Zone { east_minutes: 480 }));
        assert_eq!(Zone::parse("UTC"), Some(Zone::UTC));
        for text in ["", "UTC+8x", "UTC+8:60", "utc", "UTC ", "+8", "UTC+99"] {
            assert_eq!(Zone::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_handled_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), tail in "[0-9:+é-]{0,6}") {
            Zone::of_user_agent(&bytes);
            let zone = Zone::of_user_agent(format!("TZ/UTC{tail}").as_bytes());
            prop_assert!((-WEST_MINUTES_MAX..=EAST_MINUTES_MAX).contains(&zone.east_minutes));
        }
    }
}
