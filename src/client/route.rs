//! From a request to what should be done about it (server spec §7, as far as its routes exist).

use super::Request;
use super::response::{Answer, Status};
use crate::config::Config;
use crate::proto::http::Method;
use crate::proto::url::{self, MulticastUrl};

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A multicast group.
    Multicast(MulticastUrl),
    /// What is known of a multicast stream without starting it: the answer to HEAD (multicast spec §6.1).
    MulticastHead,
    /// A local answer.
    Answer(Answer),
}

/// Decides by route, then by method (server spec §7). `target` is that of the request as [`access`] granted it.
///
/// [`access`]: super::access
pub fn route(request: &Request, target: &str, config: &Config) -> Target {
    let target = match find(target, config) {
        Ok(target) => target,
        Err(mut answer) => {
            answer.head_only = request.method == Method::Head;
            return Target::Answer(answer);
        }
    };
    match request.method {
        Method::Get => target,
        Method::Head => Target::MulticastHead,
        Method::Options => Target::Answer(Answer::options()),
        Method::Other => Target::Answer(Answer::new(
            Status::MethodNotAllowed,
            "use GET, HEAD or OPTIONS",
        )),
    }
}

fn find(target: &str, config: &Config) -> Result<Target, Answer> {
    let target = url::strip_label(target);
    let rest = ["/rtp/", "/udp/"]
        .iter()
        .find_map(|prefix| target.strip_prefix(prefix));
    match rest {
        Some(rest) if config.udpxy => match url::parse_multicast(rest) {
            Ok(multicast) => Ok(Target::Multicast(multicast)),
            Err(error) => Err(Answer::new(Status::NotFound, error.to_string())),
        },
        Some(_) => Err(Answer::new(
            Status::NotFound,
            "URLs that name a source are switched off (--noudpxy)",
        )),
        None => Err(Answer::new(Status::NotFound, "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method) -> Request {
        Request {
            method,
            method_name: String::new(),
            target: String::new(),
            minor_version: 1,
            headers: Vec::new(),
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
    fn udpxy_urls_can_be_switched_off() {
        let config = Config {
            udpxy: false,
            ..Config::default()
        };
        let routed = route(&request(Method::Head), "/udp/239.0.0.1:5000", &config);
        let Target::Answer(answer) = routed else {
            panic!("not answered")
        };
        assert_eq!((answer.status, answer.head_only), (Status::NotFound, true));
    }
}
