//! From a request to what should be done about it (server spec §7, as far as its routes exist).

use std::fmt;

use super::Request;
use super::pages::{self, Page};
use super::resource::Resource;
use super::response::{Answer, Status};
use crate::config::Config;
use crate::net::tls;
use crate::playlist::Source;
use crate::playlist::source::Scheme as SourceScheme;
use crate::proto::http::Method;
use crate::proto::origin::{HttpUrl, OriginError, Scheme};
use crate::proto::origins::RecentOrigins;
use crate::proto::url::{self, MulticastUrl, UrlError};
use crate::status::api::Call;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A multicast group.
    Multicast(MulticastUrl),
    /// A resource of an HTTP upstream, for any method.
    Http(HttpUrl),
    /// An RTSP session: its media, or to HEAD what is known of it.
    Rtsp(RtspUrl),
    /// What is known of a multicast stream without starting it: the answer to HEAD (multicast spec §6.1).
    MulticastHead,
    /// A part of the status.
    Status(StatusPart),
    /// A page of our own or what belongs to it, to GET and HEAD.
    Page(Page),
    /// A resource of our own, to GET and HEAD.
    Resource(Resource),
    /// What has been made of channel lists, to GET and HEAD.
    Document(Document),
    /// A local answer.
    Answer(Answer),
}

impl Target {
    /// Whether it belongs to the status pages, which may ask for a name and a password.
    pub fn is_status(&self) -> bool {
        matches!(
            self,
            Self::Status(_) | Self::Page(Page::Status | Page::StatusManifest)
        )
    }
}

/// A part of the status (server spec §10.1), for any method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusPart {
    /// The event stream.
    Events,
    /// The same once.
    Snapshot,
    /// The metrics.
    Metrics,
    /// A call that changes something.
    Call(Call),
}

/// What channel lists lead to besides services (playlist spec §10.5, §11.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// The playlist.
    Playlist,
    /// The programme guide, whatever its form.
    Guide,
    /// The programme guide in its compressed form.
    GuideGzip,
}

/// What stands behind `/rtsp/` or `/rtsps/`.
#[derive(Clone, PartialEq, Eq)]
pub struct RtspUrl {
    /// `rtsps`.
    pub tls: bool,
    /// Authority, path and query as they were sent, without a label.
    pub rest: String,
}

impl RtspUrl {
    /// `rtsp` or `rtsps`.
    pub fn scheme(&self) -> &'static str {
        if self.tls { "rtsps" } else { "rtsp" }
    }

    /// Scheme, host and port, without user and password.
    pub fn address(&self) -> String {
        let authority = self.rest.split('/').next().unwrap_or_default();
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        let host = host.split(['?', '#']).next().unwrap_or_default();
        format!("{}://{host}", self.scheme())
    }
}

impl fmt::Debug for RtspUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), url::redact(&self.rest))
    }
}

/// Decides by route, then by method (server spec §7). `target` is that of the request as [`access`] granted it, and
/// `named` the source of the service of that name, with the request's query merged into it; built-in resources go
/// before it. Upstreams may be among the `recent` ones.
///
/// [`access`]: super::access
pub fn route(
    request: &Request,
    target: &str,
    config: &Config,
    named: Option<&Source>,
    recent: &mut RecentOrigins,
) -> Target {
    let target = match find(target, config, named, recent) {
        Ok(target) => target,
        Err(answer) => return Target::Answer(answer),
    };
    if let Target::Http(_) = target {
        return match request.method_name.as_str() {
            "CONNECT" => Target::Answer(Answer::no_tunnel()),
            _ => target,
        };
    }
    if let Target::Status(_) = target {
        return target;
    }
    match request.method {
        Method::Get => target,
        Method::Head
            if matches!(
                target,
                Target::Rtsp(_) | Target::Page(_) | Target::Resource(_) | Target::Document(_)
            ) =>
        {
            target
        }
        Method::Head => Target::MulticastHead,
        Method::Options => Target::Answer(Answer::options()),
        Method::Other => Target::Answer(Answer::new(
            Status::MethodNotAllowed,
            "use GET, HEAD or OPTIONS",
        )),
    }
}

fn find(
    target: &str,
    config: &Config,
    named: Option<&Source>,
    recent: &mut RecentOrigins,
) -> Result<Target, Answer> {
    let path = path_of(target);
    if let Some(found) = find_status(path, config) {
        return found;
    }
    if let Some(page) = pages::find(path, config) {
        return Ok(Target::Page(page));
    }
    if let Some(document) = find_document(path) {
        return Ok(Target::Document(document));
    }
    if let Some(source) = named {
        return check_reachable(of_source(source)?);
    }
    // Before a label is cut: a `$` in an upstream's URL is the upstream's own.
    let found = match HttpUrl::from_proxy_target_among(target, recent) {
        Some(url) => {
            check_escapes(target)?;
            Some(url.map(Target::Http).map_err(|error| refusal(&error)))
        }
        None => find_rtsp(target).or_else(|| find_multicast(target)),
    };
    match found {
        Some(_) if !config.udpxy => Err(Answer::new(
            Status::NotFound,
            "URLs that name a source are switched off (--noudpxy)",
        )),
        Some(found) => check_reachable(found?),
        None => Err(nowhere(target)),
    }
}

/// Lets through what this build can speak to.
fn check_reachable(target: Target) -> Result<Target, Answer> {
    match target {
        Target::Http(url) if !is_reachable(&url) => Err(Answer::new(
            Status::NotImplemented,
            "this build has no TLS, so https upstreams cannot be reached",
        )),
        Target::Rtsp(RtspUrl { tls: true, .. }) if !tls::IS_SUPPORTED => Err(Answer::new(
            Status::NotImplemented,
            "this build has no TLS, so rtsps servers cannot be reached",
        )),
        target => Ok(target),
    }
}

/// What a configured source asks for. It was good when the list was read; the query of a request can spoil it (playlist
/// spec §12).
fn of_source(source: &Source) -> Result<Target, Answer> {
    let spoilt = |error: String| Answer::new(Status::InternalServerError, error);
    let rest = source.rest.clone();
    match source.scheme {
        SourceScheme::Multicast => url::parse_multicast(&rest)
            .map(Target::Multicast)
            .map_err(|error| spoilt(error.to_string())),
        SourceScheme::Rtsp => Ok(Target::Rtsp(RtspUrl { tls: false, rest })),
        SourceScheme::Rtsps => Ok(Target::Rtsp(RtspUrl { tls: true, rest })),
        // A viewer has asked for a name and need not learn the operator's password.
        SourceScheme::Http | SourceScheme::Https => HttpUrl::parse(&source.url())
            .map(|url| Target::Http(url.hiding_user_info()))
            .map_err(|error| spoilt(error.to_string())),
    }
}

fn refusal(error: &OriginError) -> Answer {
    let status = match error.status() {
        404 => Status::NotFound,
        414 => Status::UriTooLong,
        _ => Status::BadRequest,
    };
    Answer::new(status, error.to_string())
}

/// `playlist.m3u8` is one of the names under which people look for it.
fn find_document(path: &str) -> Option<Document> {
    match path.strip_suffix('/').unwrap_or(path) {
        "/playlist.m3u" | "/playlist.m3u8" => Some(Document::Playlist),
        "/epg.xml" => Some(Document::Guide),
        "/epg.xml.gz" => Some(Document::GuideGzip),
        _ => None,
    }
}

/// The path of a target, without label and query.
fn path_of(target: &str) -> &str {
    let target = url::strip_label(target);
    target.split_once('?').map_or(target, |(path, _)| path)
}

/// The answer to a path that names nothing: 400 if it is no text at all (server spec §5.1), else 404.
fn nowhere(target: &str) -> Answer {
    let nothing = Answer::new(Status::NotFound, "");
    check_escapes(target).err().unwrap_or(nothing)
}

/// Refuses a path in which a `%` stands for nothing (HTTP proxy spec §2). A query may have one, since it is not read.
fn check_escapes(target: &str) -> Result<(), Answer> {
    let path = target.split('?').next().unwrap_or_default();
    if !path.contains('%') {
        return Ok(());
    }
    match url::percent_decode(path) {
        Err(error @ UrlError::Escape) => Err(Answer::new(Status::BadRequest, error.to_string())),
        _ => Ok(()),
    }
}

/// What is below the status page; the page itself is none of this.
fn find_status(path: &str, config: &Config) -> Option<Result<Target, Answer>> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let part = match path.strip_prefix(config.status_page_path.trim_end_matches('/'))? {
        "/sse" => StatusPart::Events,
        "/metrics" => StatusPart::Metrics,
        "/api/status" => StatusPart::Snapshot,
        other => match Call::named(other.strip_prefix("/api/")?) {
            Some(call) => StatusPart::Call(call),
            None => return Some(Err(Answer::new(Status::NotFound, "no such call"))),
        },
    };
    Some(Ok(Target::Status(part)))
}

fn is_reachable(url: &HttpUrl) -> bool {
    url.origin().scheme() == Scheme::Http || tls::IS_SUPPORTED
}

fn find_rtsp(target: &str) -> Option<Result<Target, Answer>> {
    let target = url::strip_label(target);
    let (tls, rest) = match target.strip_prefix("/rtsp/") {
        Some(rest) => (false, rest),
        None => (true, target.strip_prefix("/rtsps/")?),
    };
    if rest.is_empty() {
        let text = "the server is missing; accepted is /rtsp/[user[:password]@]host[:port]/path";
        return Some(Err(Answer::new(Status::NotFound, text)));
    }
    let rest = rest.to_owned();
    Some(Ok(Target::Rtsp(RtspUrl { tls, rest })))
}

fn find_multicast(target: &str) -> Option<Result<Target, Answer>> {
    let target = url::strip_label(target);
    let rest = ["/rtp/", "/udp/"]
        .iter()
        .find_map(|prefix| target.strip_prefix(prefix))?;
    let url = url::parse_multicast(rest);
    Some(
        url.map(Target::Multicast)
            .map_err(|error| Answer::new(Status::NotFound, error.to_string())),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::http::{Framing, OwnedHeaders};

    /// Without services.
    fn route(request: &Request, target: &str, config: &Config) -> Target {
        super::route(request, target, config, None, &mut RecentOrigins::default())
    }

    fn request(method: Method) -> Request {
        Request {
            method,
            method_name: String::new(),
            target: String::new(),
            minor_version: 1,
            headers: OwnedHeaders::default(),
            framing: Framing::Empty,
        }
    }

    fn status(method: Method, target: &str) -> Option<u16> {
        match route(&request(method), target, &Config::default()) {
            Target::Answer(answer) => Some(answer.status.code()),
            _ => None,
        }
    }

    #[test]
    fn both_prefixes_name_a_group() {
        assert_eq!(status(Method::Get, "/rtp/239.0.0.1:5000"), None);
        assert_eq!(status(Method::Get, "/udp/239.0.0.1:5000$label"), None);
    }

    #[test]
    fn what_cannot_be_routed_has_its_status() {
        assert_eq!(status(Method::Get, "/"), Some(404));
        assert_eq!(status(Method::Get, "/RTP/239.0.0.1:5000"), Some(404));
        assert_eq!(status(Method::Get, "/rtp/239.0.0.1:5000?fcc="), Some(404));
        assert_eq!(status(Method::Other, "/rtp/239.0.0.1:5000"), Some(405));
        assert_eq!(status(Method::Options, "/rtp/239.0.0.1:5000"), Some(204));
    }

    #[test]
    fn pages_are_found_whatever_the_query_and_although_sources_are_switched_off() {
        let config = Config {
            udpxy: false,
            ..Config::default()
        };
        let page = |method, target| route(&request(method), target, &config);
        for target in ["/status", "/status/?r2h-token=x", "/status$label"] {
            let found = page(Method::Get, target);
            assert_eq!(found, Target::Page(Page::Status), "{target}");
        }
        let head = page(Method::Head, "/status");
        assert_eq!(head, Target::Page(Page::Status));
        assert_eq!(status(Method::Other, "/status"), Some(405));
        assert_eq!(status(Method::Get, "/assets/none.png"), Some(404));
    }

    #[test]
    fn http_upstreams_take_any_method_but_connect() {
        let mut request = request(Method::Other);
        let mut route = |name: &str, target| {
            request.method_name = name.to_owned();
            route(&request, target, &Config::default())
        };
        for name in ["GET", "POST", "OPTIONS", "PROPFIND", "get"] {
            let Target::Http(url) = route(name, "/http/media.lan:8088/a$b?c=$d") else {
                panic!("{name} is not forwarded")
            };
            assert_eq!(url.target(), "/a$b?c=$d");
        }
        let status = |target| match target {
            Target::Answer(answer) => Some(answer.status),
            _ => None,
        };
        let connect = route("CONNECT", "/http/media.lan/");
        assert_eq!(status(connect), Some(Status::NotImplemented));
        let bad_port = route("GET", "/http/media.lan:x/");
        assert_eq!(status(bad_port), Some(Status::BadRequest));
        let nobody = route("GET", "/http//");
        assert_eq!(status(nobody), Some(Status::NotFound));
        let other_case = route("GET", "/HTTP/media.lan/");
        assert_eq!(status(other_case), Some(Status::NotFound));
    }

    #[test]
    fn rtsp_urls_lose_their_label_and_nothing_else() {
        let found = |target| match route(&request(Method::Get), target, &Config::default()) {
            Target::Rtsp(url) => Some((url.scheme(), url.rest)),
            _ => None,
        };
        let url = |scheme, rest: &str| Some((scheme, rest.to_owned()));
        assert_eq!(
            found("/rtsp/u:p%40ss@h:8554/a?b=${utc}&c=1$Channel 1"),
            url("rtsp", "u:p%40ss@h:8554/a?b=${utc}&c=1")
        );
        if tls::IS_SUPPORTED {
            assert_eq!(found("/rtsps/[::1]/a"), url("rtsps", "[::1]/a"));
        } else {
            assert_eq!(status(Method::Get, "/rtsps/[::1]/a"), Some(501));
        }
        assert_eq!(status(Method::Get, "/rtsp/"), Some(404));
        assert_eq!(status(Method::Get, "/RTSP/h/"), Some(404));
        assert_eq!(status(Method::Head, "/rtsp/h/"), None);
        assert_eq!(status(Method::Options, "/rtsp/h/"), Some(204));
        assert_eq!(status(Method::Other, "/rtsp/h/"), Some(405));
    }

    #[test]
    fn status_lies_below_its_page() {
        let found = |page: &str, target: &str| {
            let config = Config {
                status_page_path: page.to_owned(),
                ..Config::default()
            };
            match route(&request(Method::Other), target, &config) {
                Target::Status(part) => Ok(part),
                Target::Answer(answer) => Err(answer.status.code()),
                other => panic!("{other:?}"),
            }
        };
        let disconnect = Call::named("disconnect").expect("a call");
        for (page, target, expected) in [
            ("/status", "/status/sse", Ok(StatusPart::Events)),
            ("/status", "/status/sse/?x=1", Ok(StatusPart::Events)),
            ("/status", "/status/metrics", Ok(StatusPart::Metrics)),
            ("/status", "/status/api/status", Ok(StatusPart::Snapshot)),
            (
                "/status",
                "/status/api/disconnect",
                Ok(StatusPart::Call(disconnect)),
            ),
            ("/status", "/status/api/other", Err(404)),
            ("/status", "/status/sse//", Err(404)),
            ("/status", "/sse", Err(404)),
            ("/a/b", "/a/b/sse", Ok(StatusPart::Events)),
            ("/", "/sse", Ok(StatusPart::Events)),
            ("/", "/api/status", Ok(StatusPart::Snapshot)),
        ] {
            assert_eq!(found(page, target), expected, "{target}");
        }
    }

    #[test]
    fn address_of_a_server_is_told_without_its_password() {
        for (rest, address) in [
            ("user:se@cret@h:8554/a@b?c", "rtsp://h:8554"),
            ("h?a=b", "rtsp://h"),
            ("[::1]:5/", "rtsp://[::1]:5"),
        ] {
            let rest = rest.to_owned();
            assert_eq!(RtspUrl { tls: false, rest }.address(), address);
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let url = RtspUrl {
            tls: false,
            rest: "user:secret@h/a?r2h-token=hidden".to_owned(),
        };
        assert_eq!(format!("{url:?}"), "rtsp://***@h/a?r2h-token=***");
    }

    #[test]
    fn passwords_of_services_are_for_their_upstream_alone() {
        let source = Source {
            scheme: SourceScheme::Http,
            rest: "u:p@h/a".to_owned(),
        };
        let url = |target: &str, named| {
            let mut recent = RecentOrigins::default();
            let config = Config::default();
            match super::route(&request(Method::Get), target, &config, named, &mut recent) {
                Target::Http(url) => url,
                other => panic!("{target}: {other:?}"),
            }
        };
        let service = url("/A", Some(&source));
        assert!(service.user_info().is_some() && service.shown_user_info().is_none());
        assert!(url("/http/u:p@h/a", None).shown_user_info().is_some());
    }

    #[test]
    fn services_are_served_although_urls_with_sources_are_not() {
        let config = Config {
            udpxy: false,
            ..Config::default()
        };
        let routed = |target: &str, method, scheme, rest: &str| {
            let rest = rest.to_owned();
            let source = Source { scheme, rest };
            super::route(
                &request(method),
                target,
                &config,
                Some(&source),
                &mut RecentOrigins::default(),
            )
        };
        let target = routed("/A", Method::Get, SourceScheme::Rtsp, "h/a$b");
        assert!(matches!(target, Target::Rtsp(url) if url.rest == "h/a$b"));
        let target = routed("/A", Method::Get, SourceScheme::Http, "h/a$b");
        assert!(matches!(target, Target::Http(url) if url.target() == "/a$b"));
        let target = routed("/A", Method::Head, SourceScheme::Multicast, "239.0.0.1");
        assert_eq!(target, Target::MulticastHead);
        let target = routed("/A", Method::Get, SourceScheme::Multicast, "239.0.0.1?fcc=");
        assert!(
            matches!(target, Target::Answer(answer) if answer.status == Status::InternalServerError)
        );
        let target = routed("/status", Method::Get, SourceScheme::Rtsp, "h/");
        assert_eq!(target, Target::Page(Page::Status));
    }

    #[test]
    fn documents_have_their_names_and_may_end_in_a_slash() {
        let found = |method, target: &str| route(&request(method), target, &Config::default());
        for (target, document) in [
            ("/playlist.m3u", Document::Playlist),
            ("/playlist.m3u/?r2h-token=x", Document::Playlist),
            ("/playlist.m3u8", Document::Playlist),
            ("/epg.xml", Document::Guide),
            ("/epg.xml.gz$x", Document::GuideGzip),
        ] {
            assert_eq!(found(Method::Head, target), Target::Document(document));
        }
        assert_eq!(status(Method::Get, "/Playlist.m3u"), Some(404));
        assert_eq!(status(Method::Other, "/playlist.m3u"), Some(405));
    }

    #[test]
    fn path_with_broken_escapes_is_a_wrong_request() {
        for (target, expected) in [
            ("/a%zz", 400),
            ("/a%2", 400),
            ("/a%", 400),
            ("/a%20b", 404),
            ("/a%ff", 404),
            ("/a?b=%zz", 404),
            ("/http/h/a%zz", 400),
            ("/http/h/a%", 400),
        ] {
            assert_eq!(status(Method::Get, target), Some(expected), "{target}");
        }
    }

    #[test]
    fn udpxy_urls_can_be_switched_off() {
        let config = Config {
            udpxy: false,
            ..Config::default()
        };
        let routed = route(&request(Method::Head), "/udp/239.0.0.1:5000", &config);
        let Target::Answer(answer) = routed else {
            panic!("not answered")
        };
        assert_eq!(answer.status, Status::NotFound);
    }
}
