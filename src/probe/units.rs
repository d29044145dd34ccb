//! Sizes, rates and durations as they are written on a command line (probe spec B.3).

use std::time::Duration;

/// Bytes: a whole number, perhaps with `k`, `M`, `G` (1000) or `KiB`, `MiB`, `GiB` (1024).
///
/// # Errors
///
/// What would be accepted.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let scale: u64 = match unit {
        "" | "B" => 1,
        "k" | "kB" => 1000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => 0,
    };
    number
        .parse::<u64>()
        .ok()
        .filter(|_| scale > 0)
        .and_then(|number| number.checked_mul(scale))
        .filter(|bytes| *bytes <= i64::MAX as u64)
        .ok_or_else(|| format!("{text:?} is not a size; write 65536, 64KiB, 1M and the like"))
}

/// Bytes per second: a size, perhaps with `/s` behind it.
///
/// # Errors
///
/// What would be accepted.
pub fn rate(text: &str) -> Result<u64, String> {
    size(text.strip_suffix("/s").unwrap_or(text))
        .map_err(|_| format!("{text:?} is not a rate; write 1000000, 1MiB/s and the like"))
}

/// A time: a number with `ms`, `s`, `m` or `h`; without a unit it is seconds. At most a day.
///
/// # Errors
///
/// What would be accepted.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => f64::NAN,
    };
    let is_plain = number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    number
        .parse::<f64>()
        .ok()
        .map(|number| number * seconds)
        .filter(|time| is_plain && (0.0..=86_400.0).contains(time))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| {
            format!("{text:?} is not a time of at most a day; write 10s, 100ms, 1.5m and the like")
        })
}

/// Bytes for people: `1.9 MiB`.
pub fn show_size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    match unit {
        "B" => format!("{bytes} B"),
        _ if value < 10.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// A time for people: `0.21 s`, `14 ms`.
pub fn show_seconds(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 0.1 => format!("{:.0} ms", seconds * 1000.0),
        seconds if seconds < 10.0 => format!("{seconds:.2} s"),
        seconds => format!("{seconds:.1} s"),
    }
}

fn split(text: &str) -> (&str, &str) {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_that_are_written() {
        assert_eq!(size("65536"), Ok(65_536));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("2k"), Ok(2000));
        assert_eq!(rate("1MiB/s"), Ok(1 << 20));
        assert_eq!(duration("100ms"), Ok(Duration::from_millis(100)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2"), Ok(Duration::from_secs(2)));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "k", "1.5M", "-1", "1 k", "1Ki", "99999999999G", "1e3"] {
            assert!(size(text).is_err(), "{text}");
        }
        for text in ["", "s", "-1s", "1d", "25h", "1.2.3s", "nan", "1e3", "inf"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn people_read_two_digits() {
        assert_eq!(show_size(1000), "1000 B");
        assert_eq!(show_size(2_000_000), "1.9 MiB");
        assert_eq!(show_size(46 << 10), "46 KiB");
        assert_eq!(show_seconds(0.0144), "14 ms");
        assert_eq!(show_seconds(9.8), "9.80 s");
        assert_eq!(show_seconds(98.0), "98.0 s");
    }
}
