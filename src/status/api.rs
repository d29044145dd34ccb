//! The calls that change something, and who may make them (server spec §10.5).
//!
//! Bodies are those of the compatible router, byte for byte. Status codes are what HTTP asks for: 405 for a wrong
//! method, 404 for a client that is not there (server spec §17.8).

use super::json::Json;
use crate::proto::url;

/// A call, named by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Drop one client.
    Disconnect,
    /// Change the log level of all processes.
    LogLevel,
    /// Empty the log that viewers see.
    ClearLogs,
    /// As SIGHUP to the supervisor.
    ReloadConfig,
    /// As SIGUSR1 to the supervisor.
    RestartWorkers,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Drop the client with this id.
    Disconnect(String),
    /// From now on log up to this level.
    SetLogLevel(u8),
    /// Empty the log that viewers see.
    ClearLogs,
    /// Read the configuration again.
    ReloadConfig,
    /// Start the workers anew.
    RestartWorkers,
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The methods that would be right, after a wrong one.
    pub allow: Option<&'static str>,
    /// The body, JSON.
    pub body: String,
}

/// Longest id of a client in a form, as it is encoded there, in bytes.
const CLIENT_ID_BYTES_MAX: usize = 255;
/// Levels that a call can set, by number.
const LEVELS: [&str; 5] = ["FATAL", "ERROR", "WARN", "INFO", "DEBUG"];

impl Call {
    /// The call at `S/api/<name>`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "disconnect" => Some(Self::Disconnect),
            "log-level" => Some(Self::LogLevel),
            "clear-logs" => Some(Self::ClearLogs),
            "reload-config" => Some(Self::ReloadConfig),
            "restart-workers" => Some(Self::RestartWorkers),
            _ => None,
        }
    }

    /// Whether a form comes with the call.
    pub fn has_form(self) -> bool {
        matches!(self, Self::Disconnect | Self::LogLevel)
    }

    /// Whether this method makes the call.
    ///
    /// # Errors
    ///
    /// The answer to any other.
    pub fn check_method(self, method: &str) -> Result<(), Reply> {
        let (methods, allow, error) = match self {
            Self::Disconnect => (
                &["POST", "DELETE"][..],
                "POST, DELETE",
                "Method not allowed. Use POST or DELETE",
            ),
            Self::LogLevel => (
                &["PUT", "PATCH"][..],
                "PUT, PATCH",
                "Method not allowed. Use PUT or PATCH",
            ),
            _ => (&["POST"][..], "POST", "Method not allowed. Use POST"),
        };
        if methods.contains(&method) {
            return Ok(());
        }
        Err(Reply {
            allow: Some(allow),
            ..Reply::refused(405, error)
        })
    }

    /// What the call asks for; `form` is what came with it, URL-encoded.
    ///
    /// # Errors
    ///
    /// The answer if that makes no sense.
    pub fn action(self, form: &[u8]) -> Result<Action, Reply> {
        match self {
            Self::Disconnect => client_id(form).map(Action::Disconnect),
            Self::LogLevel => level(form).map(Action::SetLogLevel),
            Self::ClearLogs => Ok(Action::ClearLogs),
            Self::ReloadConfig => Ok(Action::ReloadConfig),
            Self::RestartWorkers => Ok(Action::RestartWorkers),
        }
    }
}

fn client_id(form: &[u8]) -> Result<String, Reply> {
    let absent = "Missing 'client_id' parameter in request body";
    let id = parameter(form, "client_id", absent)?;
    match id.as_str() {
        "" => Err(Reply::refused(400, "Empty client_id")),
        _ => Ok(id),
    }
}

fn level(form: &[u8]) -> Result<u8, Reply> {
    let absent = "Missing 'level' parameter in request body";
    let level = parameter(form, "level", absent)?;
    let number = level.parse::<u8>().ok();
    number
        .filter(|level| usize::from(*level) < LEVELS.len())
        .ok_or_else(|| Reply::refused(400, "Invalid log level (must be 0-4)"))
}

/// The decoded value of a parameter in a form; a value that cannot be decoded, or is too long, is as good as none.
fn parameter(form: &[u8], name: &str, absent: &str) -> Result<String, Reply> {
    if form.is_empty() {
        return Err(Reply::refused(400, "Missing request body"));
    }
    let value = str::from_utf8(form)
        .ok()
        .and_then(|form| {
            form.split('&')
                .filter_map(|field| field.split_once('='))
                .find(|(key, _)| *key == name)
        })
        .map(|(_, value)| value)
        .filter(|value| value.len() <= CLIENT_ID_BYTES_MAX)
        // In a form, a plus is a space.
        .and_then(|value| url::percent_decode(&value.replace('+', " ")).ok());
    value.ok_or_else(|| Reply::refused(400, absent))
}

impl Action {
    /// The answer once it has been done.
    pub fn success(&self) -> Reply {
        let message = match self {
            Self::Disconnect(_) => "Disconnect request sent".to_owned(),
            Self::SetLogLevel(level) => {
                let name = LEVELS.get(usize::from(*level)).unwrap_or(&"UNKNOWN");
                format!("Log level changed to {name}")
            }
            Self::ClearLogs => "Logs cleared".to_owned(),
            Self::ReloadConfig => "Configuration reload triggered".to_owned(),
            Self::RestartWorkers => "Worker restart triggered".to_owned(),
        };
        Reply::new(200, true, "message", &message)
    }
}

impl Reply {
    /// The client that was to be disconnected is not there.
    pub fn unknown_client() -> Self {
        Self::refused(404, "Client not found or already disconnected")
    }

    /// The supervisor could not be told.
    pub fn signal_failed(error: &str) -> Self {
        let text = format!("Failed to send signal to supervisor: {error}");
        Self::refused(500, &text)
    }

    /// The call came from a page of another site.
    pub fn cross_site() -> Self {
        Self::refused(403, "Requests from other sites are not accepted")
    }

    /// The form is longer than any that makes sense.
    pub fn too_large() -> Self {
        Self::refused(413, "Request body too large")
    }

    fn refused(status: u16, error: &str) -> Self {
        Self::new(status, false, "error", error)
    }

    fn new(status: u16, success: bool, key: &str, text: &str) -> Self {
        let mut json = Json::default();
        json.string_field(key, text);
        Self {
            status,
            allow: None,
            body: format!("{{\"success\":{success},{}}}", json.finish()),
        }
    }
}

/// The headers that tell where a request comes from, as they were sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Provenance<'a> {
    /// `Sec-Fetch-Site` (Fetch Metadata).
    pub fetch_site: Option<&'a [u8]>,
    /// `Origin` (RFC 6454 §7).
    pub origin: Option<&'a [u8]>,
    /// `Host`.
    pub host: Option<&'a [u8]>,
    /// `X-Forwarded-Host`, if that is believed.
    pub forwarded_host: Option<&'a [u8]>,
}

impl Provenance<'_> {
    /// Whether a browser says that a page of another origin has made the request. Programs that are no browsers say
    /// nothing and are believed: nobody tricks them into it.
    pub fn is_cross_site(&self) -> bool {
        if let Some(site) = self.fetch_site {
            return !matches!(site, b"same-origin" | b"none");
        }
        let Some(origin) = self.origin else {
            return false;
        };
        let authority = [&b"http://"[..], b"https://"]
            .iter()
            .find_map(|scheme| origin.strip_prefix(*scheme));
        let is_own = |host: Option<&[u8]>| match (authority, host) {
            (Some(authority), Some(host)) => authority.eq_ignore_ascii_case(host),
            _ => false,
        };
        !is_own(self.host) && !is_own(self.forwarded_host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(result: Result<Action, Reply>) -> (u16, String) {
        let reply = result.expect_err("a refusal");
        (reply.status, reply.body)
    }

    fn refusal(status: u16, text: &str) -> (u16, String) {
        (status, format!(r#"{{"success":false,"error":"{text}"}}"#))
    }

    #[test]
    fn bodies_are_those_of_the_specification() {
        for (action, message) in [
            (Action::Disconnect("a".into()), "Disconnect request sent"),
            (Action::SetLogLevel(0), "Log level changed to FATAL"),
            (Action::SetLogLevel(4), "Log level changed to DEBUG"),
            (Action::ClearLogs, "Logs cleared"),
            (Action::ReloadConfig, "Configuration reload triggered"),
            (Action::RestartWorkers, "Worker restart triggered"),
        ] {
            let expected = format!(r#"{{"success":true,"message":"{message}"}}"#);
            let reply = action.success();
            assert_eq!((reply.status, reply.body), (200, expected));
        }
        let unknown = Reply::unknown_client();
        let text = "Client not found or already disconnected";
        assert_eq!((unknown.status, unknown.body), refusal(404, text));
        let failed = Reply::signal_failed("No such \"process\"");
        let text = r#"Failed to send signal to supervisor: No such \"process\""#;
        assert_eq!((failed.status, failed.body), refusal(500, text));
    }

    #[test]
    fn only_the_methods_of_a_call_make_it() {
        for (name, allow, text) in [
            ("disconnect", "POST, DELETE", "Use POST or DELETE"),
            ("log-level", "PUT, PATCH", "Use PUT or PATCH"),
            ("clear-logs", "POST", "Use POST"),
            ("reload-config", "POST", "Use POST"),
            ("restart-workers", "POST", "Use POST"),
        ] {
            let call = Call::named(name).expect("a call");
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "post"] {
                let is_allowed = allow.split(", ").any(|allowed| allowed == method);
                let result = call.check_method(method);
                assert_eq!(result.is_ok(), is_allowed, "{method} {name}");
                if let Err(reply) = result {
                    let expected = refusal(405, &format!("Method not allowed. {text}"));
                    assert_eq!((reply.status, reply.body), expected);
                    assert_eq!(reply.allow, Some(allow));
                }
            }
        }
        assert_eq!(Call::named("status"), None);
        assert_eq!(Call::named(""), None);
    }

    #[test]
    fn clients_are_named_as_forms_encode_them() {
        let named = |form: &str| Call::Disconnect.action(form.as_bytes());
        let id = "[::1]:5-worker0-seq1";
        for form in [
            "client_id=[::1]:5-worker0-seq1",
            "a=1&client_id=%5B%3A%3A1%5D%3A5-worker0-seq1&client_id=x",
        ] {
            assert_eq!(named(form), Ok(Action::Disconnect(id.into())));
        }
        let missing = "Missing 'client_id' parameter in request body";
        assert_eq!(error(named("")), refusal(400, "Missing request body"));
        assert_eq!(error(named("x=1")), refusal(400, missing));
        assert_eq!(error(named("client_id")), refusal(400, missing));
        assert_eq!(error(named("client_id=%zz")), refusal(400, missing));
        let long = format!("client_id={}", "x".repeat(256));
        assert_eq!(error(named(&long)), refusal(400, missing));
        assert_eq!(error(named("client_id=")), refusal(400, "Empty client_id"));
        let not_text = Call::Disconnect.action(b"client_id=\xff");
        assert_eq!(error(not_text), refusal(400, missing));
    }

    #[test]
    fn levels_are_numbers_from_0_to_4() {
        let level = |form: &str| Call::LogLevel.action(form.as_bytes());
        for number in 0..=4 {
            let form = format!("level={number}");
            assert_eq!(level(&form), Ok(Action::SetLogLevel(number)));
        }
        for form in ["level=5", "level=-1", "level=", "level=info", "level=1x"] {
            let expected = refusal(400, "Invalid log level (must be 0-4)");
            assert_eq!(error(level(form)), expected, "{form}");
        }
        let missing = "Missing 'level' parameter in request body";
        assert_eq!(error(level("lev=1")), refusal(400, missing));
    }

    #[test]
    fn pages_of_other_sites_are_told_apart() {
        let from = |fetch_site: Option<&'static str>, origin: Option<&'static str>| Provenance {
            fetch_site: fetch_site.map(str::as_bytes),
            origin: origin.map(str::as_bytes),
            host: Some(b"tv.home:5140"),
            forwarded_host: None,
        };
        for (fetch_site, origin, expected) in [
            (None, None, false),
            (Some("same-origin"), Some("https://other"), false),
            (Some("none"), None, false),
            (Some("cross-site"), None, true),
            (Some("same-site"), Some("http://tv.home:5140"), true),
            (None, Some("http://tv.home:5140"), false),
            (None, Some("https://TV.home:5140"), false),
            (None, Some("http://tv.home"), true),
            (None, Some("http://evil/tv.home:5140"), true),
            (None, Some("null"), true),
            (None, Some(""), true),
        ] {
            let provenance = from(fetch_site, origin);
            assert_eq!(provenance.is_cross_site(), expected, "{provenance:?}");
        }
        let proxied = Provenance {
            forwarded_host: Some(b"tv.example"),
            ..from(None, Some("https://tv.example"))
        };
        assert!(!proxied.is_cross_site());
        let without_host = Provenance {
            host: None,
            ..from(None, Some("http://tv.home:5140"))
        };
        assert!(without_host.is_cross_site());
    }
}
