//! Time-shift: from the URL a client asks for to the URL and the `Range` header its upstream gets (time spec).
//!
//! [`resolve`] takes the parameters out that are meant for this server, reads the seek value, and hands it on in one
//! of three ways: appended to the URL in its own notation, filled into the placeholders of the URL, or, for RTSP, as
//! a clock time. It owns the order of these steps (time spec §9). It does not merge the query of a configured service
//! with that of a request, checks no token, and reads no clock.
//!
//! Nothing that a client sends can add a line, a parameter or a fragment to a request. A URL with blanks or control
//! characters is refused, and a fragment is cut off, since it is never part of a request (RFC 9110 §4.2.5). Of a value
//! that is a time, the fields are written anew. Any other value is sent on with everything percent-encoded that could
//! mean more than itself, or refused where a time is needed. A `+` is a `+`, never a blank: it stands in front of
//! zones.

pub mod template;
pub mod time;
pub mod value;
pub mod zone;

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::query;
use super::rewrite::token::TOKEN_NAME;
use super::url::{INTERFACE_BYTES_MAX, UrlError, percent_decode};
use template::Moments;
use time::{TIME_BYTES_MAX, Time, compact_utc};
use value::{End, Mode, Shift, Value};
use zone::Zone;

/// Longest URL taken and given, bytes. Chosen: a little less than the 8 KiB that servers take for a request line.
pub const URL_BYTES_MAX: usize = 8000;

/// Longest raw value of `r2h-seek-name`, bytes (time spec §2).
const NAME_BYTES_MAX: usize = 127;

/// Longest raw value of `r2h-seek-offset`, bytes (time spec §2).
const OFFSET_BYTES_MAX: usize = 31;

/// Longest raw value of `r2h-seek-mode` and `r2h-seek-zone`, bytes (time spec §2).
const MODE_BYTES_MAX: usize = 95;

/// Longest value of `r2h-start`, bytes (RTSP spec §6).
const START_BYTES_MAX: usize = 63;

/// Digits of an `r2h-scale` before and behind the point.
const SCALE_DIGITS_MAX: (usize, usize) = (3, 6);

/// Greatest `r2h-scale`, forwards and backwards. Chosen: set-top boxes end at 64.
const SCALE_MAX: f64 = 128.0;

/// Range mode takes a begin that lies no further in the future than this for one that is now, seconds. Clocks differ;
/// players allow for as much (time spec §10).
const CLOCK_TOLERANCE_SECONDS: i64 = 10;

/// Names of the seek parameter where the URL chooses none, most important first.
const SEEK_NAMES: [&str; 2] = ["playseek", "tvdr"];

/// What the names of all other parameters for this server begin with, but [`SNAPSHOT`].
const OWN_PREFIX: &str = "r2h-";

/// With the value 1 it asks this server for a picture, and no RTSP server for anything (multicast spec §16).
const SNAPSHOT: &str = "snapshot";

/// What is encoded in a value that is not a time: all but letters, digits and marks without meaning in a query. All
/// characters of times are among those left as they are.
const VALUE_ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b'@')
    .remove(b'(')
    .remove(b')');

/// What is known about who asks, and when.
#[derive(Clone, Copy, Debug)]
pub struct ClientClock<'a> {
    /// The client's own User-Agent header, which may name its zone.
    pub user_agent: Option<&'a [u8]>,
    /// Unix time of the request, seconds.
    pub now: i64,
}

/// What kind of upstream the URL belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// HTTP. `r2h-start`, `r2h-scale` and `r2h-duration` mean nothing and pass through.
    Http,
    /// RTSP.
    Rtsp,
}

/// What the upstream is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Path and query, at most [`URL_BYTES_MAX`] bytes.
    pub url: String,
    /// Interface to reach the upstream through (`r2h-ifname`), 1 to [`INTERFACE_BYTES_MAX`] bytes.
    pub interface: Option<String>,
    /// The same for fast channel change (`r2h-ifname-fcc`).
    pub interface_fcc: Option<String>,
    /// RTSP in range mode: the begin as `yyyyMMddTHHmmssZ`, for `Range: clock=…-`.
    pub clock: Option<String>,
    /// RTSP without `clock`: the value of `r2h-start`, for `Range: npt=…-`. Digits, `:` and `.`, or `now`.
    pub start: Option<String>,
    /// RTSP: the value of `r2h-scale`, for `Scale`. A decimal number from -128 to 128, not 0.
    pub scale: Option<String>,
    /// RTSP: `r2h-duration=1`, only the length of the recording is wanted.
    pub duration: bool,
}

/// Why a URL cannot be resolved. Always the client's mistake, or that of the link it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekError {
    /// The URL has blanks or control characters.
    Url,
    /// The seek value cannot be decoded.
    Value(UrlError),
    /// The seek value still has placeholders, which the player should have filled.
    Unfilled,
    /// The URL is a template and the seek value is not a time.
    NotATime,
    /// The URL is a template that needs an end, and the seek value has none and begins in the future.
    EndMissing,
    /// A time lies outside the years 0 to 9999.
    OutOfRange,
    /// `r2h-start` is not a normal play time (RFC 2326 §3.6).
    Start,
    /// `r2h-scale` is not a scale (RFC 2326 §12.34).
    Scale,
    /// The URL, or a part of it, exceeds `limit` bytes.
    TooLong {
        /// Which part.
        part: &'static str,
        /// Most bytes accepted.
        limit: usize,
    },
}

impl fmt::Display for SeekError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SeekError::Url => f.write_str("the URL has blanks or control characters"),
            SeekError::Value(error) => write!(f, "the seek value cannot be read: {error}"),
            SeekError::Unfilled => f.write_str(
                "the seek value still has placeholders; the player should have filled in times",
            ),
            SeekError::NotATime => f.write_str(
                "the seek value is not a time; accepted are begin, begin- and begin-end, each like 1741635000, \
                 20250310193000, 20250310T193000Z or 2025-03-10T19:30:00+08:00",
            ),
            SeekError::EndMissing => f.write_str(
                "this recording needs an end; accepted is begin-end, or a begin that is not in the future",
            ),
            SeekError::OutOfRange => f.write_str("a time lies outside the years 0 to 9999"),
            SeekError::Start => f.write_str(
                "r2h-start is not a play time; accepted are seconds like 90.5, times like 0:01:30, and now",
            ),
            SeekError::Scale => f.write_str(
                "r2h-scale is not a scale; accepted are numbers from -128 to 128 other than 0, like 2, 0.5 or -4",
            ),
            SeekError::TooLong { part, limit } => write!(f, "{part} is longer than {limit} bytes"),
        }
    }
}

impl std::error::Error for SeekError {}

/// Takes the parameters for this server and the seek parameter out of `url`, and hands the seek value on.
///
/// `url` is the path and query that the upstream would be asked for, merged with the request's query where it belongs
/// to a configured service. The parameters for this server are `r2h-seek-name`, `r2h-seek-offset`, `r2h-seek-mode`,
/// `r2h-ifname`, `r2h-ifname-fcc`, `r2h-token` and our own `r2h-seek-zone`: a zone such as `UTC+5:30` that counts
/// instead of that in the User-Agent. Names are compared regardless of case, the first value counts, and wrong ones
/// are ignored.
///
/// If the URL is a template, a seek parameter with placeholders for its value is a part of it, and is filled too.
///
/// # Errors
///
/// One [`SeekError`] for each way in which the request cannot be understood or met.
pub fn resolve(
    url: &str,
    client: &ClientClock<'_>,
    service: Service,
) -> Result<Resolved, SeekError> {
    let url = url.split_once('#').map_or(url, |(url, _)| url);
    if url.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(SeekError::Url);
    }
    check_length("the URL", url, URL_BYTES_MAX)?;

    if !concerns_this_server(url) {
        return Ok(Resolved {
            url: url.to_owned(),
            ..Resolved::default()
        });
    }
    let mut url = url.to_owned();
    let control = Control::take(&mut url);
    let agent_zone = || client.user_agent.map(Zone::of_user_agent);
    let circumstances = Circumstances {
        zone: control.zone.or_else(agent_zone).unwrap_or_default(),
        now: client.now,
        shift: control.shift,
        mode: match service {
            Service::Http => Mode::Passthrough,
            Service::Rtsp => control.mode,
        },
    };
    let seek = Seek::take(&mut url, control.seek_name)?;
    let (url, clock) = match &seek {
        Some(seek) => circumstances.hand_on(seek, url)?,
        None => (circumstances.fill(&url, None)?, None),
    };

    let mut resolved = Resolved {
        url,
        interface: control.interface,
        interface_fcc: control.interface_fcc,
        clock,
        ..Resolved::default()
    };
    if service == Service::Rtsp {
        let start = query::take(&mut resolved.url, "r2h-start");
        if resolved.clock.is_none() {
            resolved.start = start.as_deref().map(play_time).transpose()?.flatten();
        }
        let scale = query::take(&mut resolved.url, "r2h-scale");
        resolved.scale = scale.as_deref().map(play_scale).transpose()?.flatten();
        let duration = query::take(&mut resolved.url, "r2h-duration");
        resolved.url = query::remove(&resolved.url, SNAPSHOT, |parameter| parameter.value == "1");
        resolved.duration = duration.as_deref() == Some("1");
    }
    check_length("the URL for the upstream", &resolved.url, URL_BYTES_MAX)?;
    Ok(resolved)
}

/// `url` without the parameters for this server and without the seek parameter: what it is that is sought in.
pub fn without_own_parameters(url: &str) -> String {
    let mut url = url.to_owned();
    if !concerns_this_server(&url) {
        return url;
    }
    let control = Control::take(&mut url);
    if let Some(name) = control.seek_name.or_else(|| usual_name(&url)) {
        url = query::remove(&url, &name, |_| true);
    }
    for name in ["r2h-start", "r2h-scale", "r2h-duration"] {
        query::take(&mut url, name);
    }
    url
}

/// Whether anything of `url` could be a parameter for this server, a seek parameter or a placeholder: most requests
/// are for segments and have none. Others are left as they are by [`resolve`].
pub fn concerns_this_server(url: &str) -> bool {
    let url = url.as_bytes();
    let has_prefix = |piece: &[u8], prefix: &str| {
        let front = piece.get(..prefix.len());
        front.is_some_and(|front| front.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    let is_ours = |at: usize| {
        let piece = url.get(at + 1..).unwrap_or_default();
        let mut prefixes = SEEK_NAMES.iter().chain(&[OWN_PREFIX, SNAPSHOT]);
        prefixes.any(|prefix| has_prefix(piece, prefix))
    };
    memchr::memchr2(b'{', b'}', url).is_some() || memchr::memchr2_iter(b'?', b'&', url).any(is_ours)
}

/// What the parameters for this server say.
struct Control {
    /// `None` leaves the choice to the URL, an empty name turns seeking off.
    seek_name: Option<String>,
    shift: Shift,
    mode: Mode,
    zone: Option<Zone>,
    interface: Option<String>,
    interface_fcc: Option<String>,
}

impl Control {
    fn take(url: &mut String) -> Control {
        // Before the seek parameter is looked for, so that no choice of its name can send the token on.
        query::take(url, TOKEN_NAME);
        let mut value = |name, raw_bytes_max| {
            let raw = query::take(url, name)?;
            let is_short = raw.len() <= raw_bytes_max;
            is_short.then(|| percent_decode(&raw).ok()).flatten()
        };
        let is_interface = |name: &String| (1..=INTERFACE_BYTES_MAX).contains(&name.len());
        Control {
            seek_name: value("r2h-seek-name", NAME_BYTES_MAX),
            shift: value("r2h-seek-offset", OFFSET_BYTES_MAX)
                .and_then(|text| Shift::parse(&text))
                .unwrap_or_default(),
            mode: value("r2h-seek-mode", MODE_BYTES_MAX)
                .map(|text| Mode::parse(&text))
                .unwrap_or_default(),
            zone: value("r2h-seek-zone", MODE_BYTES_MAX).and_then(|text| Zone::parse(&text)),
            interface: value("r2h-ifname", URL_BYTES_MAX).filter(is_interface),
            interface_fcc: value("r2h-ifname-fcc", URL_BYTES_MAX).filter(is_interface),
        }
    }
}

/// A seek parameter with a value.
struct Seek {
    name: String,
    /// Decoded, not empty.
    value: String,
}

impl Seek {
    /// Takes the seek parameter out of `url`. `None` if there is none or its value is empty (time spec §3).
    ///
    /// Of several values the first without braces counts: a player that appends to a templated link leaves both.
    fn take(url: &mut String, chosen_name: Option<String>) -> Result<Option<Seek>, SeekError> {
        let Some(name) = chosen_name.or_else(|| usual_name(url)) else {
            return Ok(None);
        };
        if name.is_empty() {
            return Ok(None);
        }
        let decoded: Result<Vec<String>, UrlError> = query::parameters(url, &name)
            .map(|parameter| percent_decode(parameter.value))
            .collect();
        let values = decoded.map_err(SeekError::Value)?;
        let filled = values.iter().find(|value| !value.contains(['{', '}']));
        let Some(value) = filled.or(values.first()).cloned() else {
            return Ok(None);
        };
        let rest = query::remove(url, &name, |_| true);
        *url = if template::is_template(&rest) && !value.is_empty() {
            query::remove(url, &name, |parameter| {
                !template::is_template(parameter.value)
            })
        } else {
            rest
        };
        if template::is_template(&value) {
            return Err(SeekError::Unfilled);
        }
        Ok((!value.is_empty()).then_some(Seek { name, value }))
    }
}

/// The name of the seek parameter that `url` has, in its spelling.
fn usual_name(url: &str) -> Option<String> {
    SEEK_NAMES.iter().find_map(|name| {
        let found = query::parameters(url, name).next()?;
        Some(found.name.to_owned())
    })
}

/// What a seek value is seen with.
struct Circumstances {
    zone: Zone,
    now: i64,
    shift: Shift,
    mode: Mode,
}

impl Circumstances {
    /// Puts the seek value where it belongs: into `url`, which is returned, or into a clock time.
    fn hand_on(&self, seek: &Seek, url: String) -> Result<(String, Option<String>), SeekError> {
        let is_template = template::is_template(&url);
        let (begin, end) = match Value::parse(&seek.value) {
            Value::Times { begin, end } => (begin, end),
            Value::Text(_) if is_template => return Err(SeekError::NotATime),
            Value::Text(text) => {
                check_length("the seek value", text, TIME_BYTES_MAX)?;
                return Ok((appended(url, seek, &encoded(text)), None));
            }
        };
        let clock = self.clock(&begin)?;
        let url = if is_template {
            self.fill(&url, Some((begin, end)))?
        } else if clock.is_none() {
            appended(url, seek, &self.converted(&begin, &end)?)
        } else {
            url
        };
        Ok((url, clock))
    }

    /// The begin in UTC if range mode engages (time spec §7.2).
    fn clock(&self, begin: &Time<'_>) -> Result<Option<String>, SeekError> {
        let Mode::Range {
            zone,
            window_seconds,
        } = self.mode
        else {
            return Ok(None);
        };
        let begin = begin.instant(zone.unwrap_or(self.zone), self.shift.begin_seconds);
        let age_seconds = self.now.saturating_sub(begin);
        if !(-CLOCK_TOLERANCE_SECONDS..window_seconds).contains(&age_seconds) {
            return Ok(None);
        }
        let clock = compact_utc(begin.min(self.now)).ok_or(SeekError::OutOfRange)?;
        Ok(Some(clock))
    }

    /// Both ends in the notation they came in (time spec §6.4).
    fn converted(&self, begin: &Time<'_>, end: &End<'_>) -> Result<String, SeekError> {
        let converted = |time: &Time<'_>, shift_seconds| {
            let converted = time.converted(self.zone, shift_seconds);
            converted.ok_or(SeekError::OutOfRange)
        };
        let begin = converted(begin, self.shift.begin_seconds)?;
        Ok(match end {
            End::None => begin,
            End::Open => format!("{begin}-"),
            End::At(end) => format!("{begin}-{}", converted(end, self.shift.end_seconds)?),
        })
    }

    /// Fills the placeholders of `url`. What has begun and has no end lasts until now.
    fn fill(&self, url: &str, times: Option<(Time<'_>, End<'_>)>) -> Result<String, SeekError> {
        let seek = times.map(|(begin, end)| {
            let begin = begin.instant(self.zone, self.shift.begin_seconds);
            let end = match end {
                End::At(end) => Some(end.instant(self.zone, self.shift.end_seconds)),
                End::None | End::Open => (begin <= self.now).then_some(self.now),
            };
            (begin, end)
        });
        let moments = Moments {
            seek,
            now: self.now,
            zone: self.zone,
        };
        template::fill(url, &moments)
    }
}

fn appended(mut url: String, seek: &Seek, value: &str) -> String {
    query::append(&mut url, &encoded(&seek.name), value);
    url
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, VALUE_ENCODED).to_string()
}

/// The raw value of `r2h-start`, checked, since it becomes part of a header. `None` if it is empty.
fn play_time(raw: &str) -> Result<Option<String>, SeekError> {
    let text = percent_decode(raw).map_err(|_| SeekError::Start)?;
    check_length("r2h-start", &text, START_BYTES_MAX)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_play_time = is_number(fraction)
        && matches!(whole.split(':').count(), 1 | 3)
        && whole
            .split(':')
            .all(|part| !part.is_empty() && is_number(part));
    match text.as_str() {
        "" => Ok(None),
        "now" => Ok(Some(text)),
        _ if is_play_time => Ok(Some(text)),
        _ => Err(SeekError::Start),
    }
}

/// The raw value of `r2h-scale`, checked, since it becomes a header. `None` if it is empty.
fn play_scale(raw: &str) -> Result<Option<String>, SeekError> {
    let text = percent_decode(raw).map_err(|_| SeekError::Scale)?;
    if text.is_empty() {
        return Ok(None);
    }
    let size = text.strip_prefix('-').unwrap_or(&text);
    let (whole, fraction) = size.split_once('.').unwrap_or((size, "0"));
    let is_number = |digits: &str, digits_max| {
        (1..=digits_max).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
    };
    let (whole_max, fraction_max) = SCALE_DIGITS_MAX;
    let is_sound = is_number(whole, whole_max) && is_number(fraction, fraction_max);
    let size: f64 = size.parse().map_err(|_| SeekError::Scale)?;
    if !is_sound || size == 0.0 || size > SCALE_MAX {
        return Err(SeekError::Scale);
    }
    Ok(Some(text))
}

fn check_length(part: &'static str, text: &str, limit: usize) -> Result<(), SeekError> {
    if text.len() > limit {
        return Err(too_long(part, limit));
    }
    Ok(())
}

fn too_long(part: &'static str, limit: usize) -> SeekError {
    SeekError::TooLong { part, limit }
}

#[cfg(test)]
mod tests;
