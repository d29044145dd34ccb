//! Values as text: the inverse of [`parse`](super::parse), for `--print-config`.

use std::path::PathBuf;
use std::time::Duration;

use super::{Hostname, LogStyle, StatusAuth, Token, UserName, Verbosity};
use crate::playlist::{DocumentAddress, Refresh};
use crate::proto::url::Host;

/// A count, a size.
pub(super) fn number(value: &usize) -> String {
    value.to_string()
}

/// Permissions, in octal.
pub(super) fn mode(value: &u32) -> String {
    format!("{value:04o}")
}

/// A user that may not be there; empty then.
pub(super) fn user(value: &Option<UserName>) -> String {
    value.as_ref().map_or_else(String::new, UserName::to_string)
}

/// `yes` or `no`.
pub(super) fn switch(value: &bool) -> String {
    if *value { "yes" } else { "no" }.to_owned()
}

/// A text that may be empty.
pub(super) fn text(value: &str) -> String {
    value.to_owned()
}

/// A text that may not be there; empty then.
pub(super) fn optional(value: &Option<String>) -> String {
    value.clone().unwrap_or_default()
}

/// A path that may not be there; empty then.
pub(super) fn path(value: &Option<PathBuf>) -> String {
    // Paths are made of settings' texts, so nothing is lost.
    value
        .as_ref()
        .map_or_else(String::new, |path| path.to_string_lossy().into_owned())
}

/// The address of a document that may not be there; empty then.
pub(super) fn document(value: &Option<DocumentAddress>) -> String {
    value.as_ref().map_or_else(String::new, ToString::to_string)
}

/// Whole seconds; 0 for once, -1 for never.
pub(super) fn refresh(value: &Refresh) -> String {
    match value {
        Refresh::Never => "-1".to_owned(),
        Refresh::Once => "0".to_owned(),
        Refresh::Every(interval) => interval.as_secs().to_string(),
    }
}

/// Seconds, exactly.
pub(super) fn seconds(value: &Duration) -> String {
    decimal(value.as_nanos(), 9)
}

/// Whole seconds; 0 for none.
pub(super) fn seconds_or_never(value: &Option<Duration>) -> String {
    value.map_or(0, |interval| interval.as_secs()).to_string()
}

/// Milliseconds, exactly; `auto` for none.
pub(super) fn milliseconds_or_auto(value: &Option<Duration>) -> String {
    value.map_or_else(
        || "auto".to_owned(),
        |interval| decimal(interval.as_nanos(), 6),
    )
}

/// KiB of a number of bytes; `off` for 0.
pub(super) fn kib_or_off(bytes: &usize) -> String {
    match bytes {
        0 => "off".to_owned(),
        _ => (bytes / 1024).to_string(),
    }
}

/// The number of a level.
pub(super) fn verbosity(value: &Verbosity) -> String {
    (*value as u8).to_string()
}

/// The text it was made of, perhaps with a secret; empty for none.
pub(super) fn status_auth(value: &Option<StatusAuth>) -> String {
    value
        .as_ref()
        .map_or_else(String::new, |auth| auth.text().to_owned())
}

/// The name of a style; `auto` for none.
pub(super) fn log_style(value: &Option<LogStyle>) -> String {
    value.map_or("auto", LogStyle::name).to_owned()
}

/// Host and port, an IPv6 address in brackets; empty for none.
pub(super) fn endpoint(value: &Option<(Host, u16)>) -> String {
    value
        .as_ref()
        .map_or_else(String::new, |(host, port)| format!("{host}:{port}"))
}

/// A host or a URL; empty for none.
pub(super) fn hostname(value: &Option<Hostname>) -> String {
    value.as_ref().map_or_else(String::new, Hostname::to_string)
}

/// The secret itself; empty for none.
pub(super) fn token(value: &Option<Token>) -> String {
    value
        .as_ref()
        .map_or_else(String::new, |token| token.secret().to_owned())
}

/// `nanoseconds` in units of 10^`places`, without zeros at the end.
fn decimal(nanoseconds: u128, places: u32) -> String {
    let scale = 10_u128.pow(places);
    let (units, rest) = (nanoseconds / scale, nanoseconds % scale);
    let places = places as usize;
    match rest {
        0 => units.to_string(),
        _ => format!("{units}.{rest:0places$}")
            .trim_end_matches('0')
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parse;
    use super::*;

    proptest! {
        #[test]
        fn durations_read_back(nanoseconds in 0_u64..=100_000_000) {
            let value = Duration::from_nanos(nanoseconds);
            prop_assert_eq!(parse::channel_linger(&seconds(&value)), Ok(value));
            let interval = Some(value);
            prop_assert_eq!(parse::flush_interval(&milliseconds_or_auto(&interval)), Ok(interval));
        }
    }

    #[test]
    fn values_that_switch_off_have_their_words() {
        assert_eq!(kib_or_off(&0), "off");
        assert_eq!(milliseconds_or_auto(&None), "auto");
        assert_eq!(seconds_or_never(&None), "0");
        assert_eq!(switch(&false), "no");
    }

    #[test]
    fn decimals_are_as_short_as_they_can_be() {
        for (milliseconds, text) in [(0, "0"), (2000, "2"), (2500, "2.5"), (100, "0.1")] {
            assert_eq!(seconds(&Duration::from_millis(milliseconds)), text);
        }
    }
}
