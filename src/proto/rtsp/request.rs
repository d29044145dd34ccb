//! What a client wants of an RTSP server.

use super::super::url::Host;
use super::error::Error;
use super::message::Value;
use super::url::Url;

/// Longest `r2h-start`, decoded, in bytes (RTSP spec §6).
const START_BYTES_MAX: usize = 63;

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Media.
    Play,
    /// What DESCRIBE says, for the answer to a HEAD request.
    Probe,
    /// The length of the media (`r2h-duration=1`).
    Duration,
}

/// Everything a session needs to know; checked, so that nothing in it can break a request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where to; seek parameters and `r2h-` parameters are gone from it.
    pub url: Url,
    /// What for.
    pub purpose: Purpose,
    /// `Range` of PLAY.
    pub range: Option<Value>,
    /// `Scale` of PLAY: how fast, and backwards if negative.
    pub scale: Option<Value>,
    /// `User-Agent`.
    pub user_agent: Value,
    /// Whether UDP may be offered.
    pub udp: bool,
    /// STUN server for UDP ports, if one is configured.
    pub stun: Option<(Host, u16)>,
}

impl Request {
    /// Media of `url`, live, over whatever the server chooses, without STUN.
    ///
    /// # Errors
    ///
    /// `Url`; `Message` for a user agent with control characters.
    pub fn new(url: &str, user_agent: &str) -> Result<Self, Error> {
        Ok(Self {
            url: Url::parse(url)?,
            purpose: Purpose::Play,
            range: None,
            scale: None,
            user_agent: Value::new("user agent", user_agent)?,
            udp: true,
            stun: None,
        })
    }

    /// Sets where PLAY starts: `range` is a whole value such as `clock=20250310T113000Z-` and goes before
    /// `start`, a normal play time. An empty start is none; of a long one the front counts.
    ///
    /// # Errors
    ///
    /// `Message` for control characters.
    pub fn play_from(&mut self, range: Option<&str>, start: Option<&str>) -> Result<(), Error> {
        self.range = match (range, start.filter(|start| !start.is_empty())) {
            (Some(range), _) => Some(Value::new("seek range", range)?),
            (None, Some(start)) => {
                let ends = start.char_indices().map(|(at, c)| at + c.len_utf8());
                let end = ends.take_while(|&end| end <= START_BYTES_MAX).last();
                let start = start.get(..end.unwrap_or(0)).unwrap_or_default();
                Some(Value::new("r2h-start", format!("npt={start}-"))?)
            }
            (None, None) => None,
        };
        Ok(())
    }

    /// Sets how fast PLAY is to go: `scale` is a number as `Scale` carries it (RFC 2326 §12.34), `None` leaves it to
    /// the server. What the server makes of it stands in its answer.
    ///
    /// # Errors
    ///
    /// `Message` for control characters.
    pub fn play_at(&mut self, scale: Option<&str>) -> Result<(), Error> {
        let scale = scale.map(|scale| Value::new("r2h-scale", scale));
        self.scale = scale.transpose()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(range: Option<&str>, start: Option<&str>) -> Result<Option<String>, Error> {
        let mut request = Request::new("rtsp://h/", "agent").unwrap();
        request.play_from(range, start)?;
        Ok(request.range.map(|value| value.as_str().to_owned()))
    }

    #[test]
    fn range_goes_before_start() {
        let clock = "clock=20250310T113000Z-";
        assert_eq!(range(Some(clock), Some("5")), Ok(Some(clock.to_owned())));
        assert_eq!(range(None, Some("5")), Ok(Some("npt=5-".to_owned())));
        assert_eq!(range(None, Some("")), Ok(None));
        let long = range(None, Some(&"1".repeat(64))).unwrap().unwrap();
        assert_eq!(long.len(), 4 + START_BYTES_MAX + 1);
    }

    #[test]
    fn nothing_is_injected() {
        assert!(range(None, Some("1\r\nX: y")).is_err());
        assert!(range(Some("clock=\n"), None).is_err());
        let mut request = Request::new("rtsp://h/", "a").unwrap();
        assert!(request.play_at(Some("2\r\nX: y")).is_err());
        assert_eq!(request.play_at(Some("2")), Ok(()));
        assert!(Request::new("rtsp://h/", "a\r\nX: y").is_err());
        assert!(Request::new("rtsp://h/\r\nX: y", "a").is_err());
    }
}
