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

/// Decides, in the order of server spec §7: the target's form, the route, the method.
pub fn route(request: &Request, config: &Config) -> Target {
    let target = match find(request, config) {
        Ok(target) => target,
        Err(mut answer) => {
            answer.head_only = request.method == Method::Head;
            return Target::Answer(answer);
        }
    };
    match request.method {
        Method::Get => target,
        Method::Head => Target::MulticastHead,
        Method::Options => Target::Answer(Answer::new(Status::NoContent, "")),
        Method::Other => Target::Answer(Answer::new(
            Status::MethodNotAllowed,
            "use GET, HEAD or OPTIONS",
        )),
    }
}

fn find(request: &Request, config: &Config) -> Result<Target, Answer> {
    let target = request.target.as_str();
    if !target.starts_with('/') {
        return Err(Answer::new(
            Status::BadRequest,
            "the request target must start with /",
        ));
    }
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

    fn status(method: Method, target: &str) -> Option<u16> {
        let request = Request {
            method,
            method_name: String::new(),
            target: target.to_owned(),
        };
        match route(&request, &Config::default()) {
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
        assert_eq!(status(Method::Get, "http://host/rtp/239.0.0.1"), Some(400));
        assert_eq!(status(Method::Options, "*"), Some(400));
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
        let request = Request {
            method: Method::Head,
            method_name: String::new(),
            target: "/udp/239.0.0.1:5000".into(),
        };
        let Target::Answer(answer) = route(&request, &config) else {
            panic!("not answered")
        };
        assert_eq!((answer.status, answer.head_only), (Status::NotFound, true));
    }
}
