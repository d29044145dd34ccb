//! What was asked of an upstream, and so what becomes of its answer: which headers are rewritten, and whether the
//! body is a playlist whose links must lead back here (http-proxy spec §10, §11, §14).

use std::rc::Rc;

use super::relay::{self, ReplyHead, ReplyHeadBuilder};
use super::{Framing, ResponseHead};
use crate::proto::origin::HttpUrl;
use crate::proto::rewrite::{self, Links, content, playlist};

/// One request, as far as its response is concerned.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The request was `HEAD`: there is no body.
    pub is_head: bool,
    /// The `x` of the client's `HTTP/1.x`.
    pub client_minor_version: u8,
    /// What the upstream was asked for.
    pub url: HttpUrl,
    /// How links lead back here. Without it nothing is rewritten, since the response stays here.
    pub links: Option<Rc<Links>>,
    /// Value of `Access-Control-Allow-Origin` for every response.
    pub cors_allow_origin: Option<String>,
    /// `Set-Cookie` of this server's own.
    pub access_cookie: Option<String>,
}

/// The head of a playlist that is being gathered, both ways: it is only known later whether it can be rewritten.
#[derive(Debug)]
pub(super) struct PlaylistHead {
    rewritten: ReplyHeadBuilder,
    untouched: ReplyHeadBuilder,
    encoding: String,
}

impl Exchange {
    /// The head for a body that is passed on; `as_framed` as in [`ReplyHeadBuilder::framing`].
    pub(super) fn reply_head(
        &self,
        head: &ResponseHead<'_>,
        framing: Framing,
        as_framed: bool,
    ) -> ReplyHead {
        let mut reply = ReplyHeadBuilder::new(head);
        for (name, value) in relay::end_to_end(&head.headers) {
            self.copy_header(head.status, name, value, &mut reply);
        }
        if framing == Framing::Empty && head.status != 204 {
            // To HEAD and in 304 they tell about the body that would have been (RFC 9110 §8.6).
            for (name, value) in relay::framing_headers(&head.headers) {
                reply.header(name, value);
            }
        }
        reply.framing(framing, as_framed);
        self.add_own_headers(&mut reply);
        reply.build()
    }

    /// Whether the body is to be gathered because it is a playlist; longer ones than can be rewritten are not.
    pub(super) fn playlist_head(
        &self,
        head: &ResponseHead<'_>,
        framing: Framing,
    ) -> Option<PlaylistHead> {
        let fits = match framing {
            Framing::Empty | Framing::Length(0) => false,
            Framing::Length(bytes) => bytes <= playlist::PLAYLIST_BYTES_MAX as u64,
            Framing::Chunked | Framing::UntilClose => true,
        };
        // What is asked first is what is no playlist soonest.
        if !fits
            || self.links.is_none()
            || !playlist::is_playlist(self.url.target(), head.headers.get("content-type"))
            || !playlist::has_whole_body(head.status, head.headers.get("content-range"))
        {
            return None;
        }
        let encoding = head.headers.get("content-encoding").unwrap_or_default();
        if !content::can_decode(encoding) {
            return None;
        }
        let mut rewritten = ReplyHeadBuilder::whole(head);
        let mut untouched = ReplyHeadBuilder::new(head);
        for (name, value) in relay::end_to_end(&head.headers) {
            if playlist::keeps_response_header(name) {
                self.copy_header(head.status, name, value, &mut rewritten);
            }
            self.copy_header(head.status, name, value, &mut untouched);
        }
        Some(PlaylistHead {
            rewritten,
            untouched,
            encoding: encoding.to_owned(),
        })
    }

    /// Whether a gathered playlist is one and does not break off inside a line, or inside its coding.
    pub(super) fn ends_with_a_line(&self, head: &PlaylistHead, body: &[u8]) -> bool {
        content::decode_content(&head.encoding, body, playlist::PLAYLIST_BYTES_MAX)
            .is_ok_and(|text| playlist::ends_with_a_line(&text))
    }

    /// Rewrites a gathered playlist. One that cannot be understood goes to the client as it came.
    pub(super) fn rewrite(&self, head: PlaylistHead, body: Vec<u8>) -> (ReplyHead, Vec<u8>) {
        let decoded = content::decode_content(&head.encoding, &body, playlist::PLAYLIST_BYTES_MAX);
        let links = self
            .links
            .as_ref()
            .ok_or("its links are for nobody".to_owned());
        let rewritten = decoded.map_err(|error| error.to_string()).and_then(|text| {
            playlist::rewrite_playlist(&text, &self.url, links?).map_err(|error| error.to_string())
        });
        let (mut reply, body) = match rewritten {
            Ok(rewritten) => (head.rewritten, rewritten),
            Err(error) => {
                log::debug!("playlist {}: {error}; passed on as it is", self.url);
                (head.untouched, body)
            }
        };
        reply.framing(Framing::Length(body.len() as u64), true);
        self.add_own_headers(&mut reply);
        (reply.build(), body)
    }

    fn copy_header(&self, status: u16, name: &str, value: &[u8], reply: &mut ReplyHeadBuilder) {
        let Some(links) = &self.links else {
            return reply.header(name, value);
        };
        if name.eq_ignore_ascii_case("location") && rewrite::is_redirect(status) {
            match links.rewrite_location(value, &self.url) {
                Some(location) => reply.header("Location", location.as_bytes()),
                None => reply.header(name, value),
            }
        } else if name.eq_ignore_ascii_case("set-cookie") {
            if let Some(cookie) = links.rewrite_set_cookie(value, &self.url) {
                reply.header(name, &cookie);
            }
        } else if !self.replaces(name) {
            reply.header(name, value);
        }
    }

    /// Whether a header of this server's own stands in for the upstream's.
    fn replaces(&self, name: &str) -> bool {
        self.cors_allow_origin.is_some() && name.eq_ignore_ascii_case("access-control-allow-origin")
    }

    fn add_own_headers(&self, reply: &mut ReplyHeadBuilder) {
        if let Some(origin) = &self.cors_allow_origin {
            reply.header("Access-Control-Allow-Origin", origin.as_bytes());
        }
        if let Some(cookie) = &self.access_cookie {
            reply.header("Set-Cookie", cookie.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode_response;
    use super::*;

    fn exchange() -> Exchange {
        Exchange {
            is_head: false,
            client_minor_version: 1,
            url: HttpUrl::parse("http://media.lan:81/live/x").expect("a URL"),
            links: Some(Rc::new(
                Links::new("http://tv.home/".to_owned(), "", true).with_token("k y"),
            )),
            cors_allow_origin: Some("*".to_owned()),
            access_cookie: Some("r2h-token=k%20y".to_owned()),
        }
    }

    fn reply(exchange: &Exchange, head: &str) -> String {
        let (head, _) = decode_response(head.as_bytes())
            .expect("sound")
            .expect("complete");
        let reply = exchange.reply_head(&head, Framing::Length(0), true);
        String::from_utf8(reply.encode(1, true)).expect("text")
    }

    #[test]
    fn own_headers_come_last_and_replace_the_upstreams() {
        let head = reply(
            &exchange(),
            "HTTP/1.1 200 OK\r\naccess-control-allow-origin: x\r\nA: b\r\n\r\n",
        );
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 0\r\nAccess-Control-Allow-Origin: *\r\n\
             Set-Cookie: r2h-token=k%20y\r\n\r\n"
        );
        let plain = Exchange {
            cors_allow_origin: None,
            access_cookie: None,
            ..exchange()
        };
        let head = reply(
            &plain,
            "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: x\r\n\r\n",
        );
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: x\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn only_redirects_have_their_location_rewritten() {
        for (status, location, relayed) in [
            (
                302,
                "http://cdn.lan/v?a=1",
                "/http/cdn.lan/v?a=1&r2h-token=k%20y",
            ),
            (307, "../v", "/http/media.lan:81/v?r2h-token=k%20y"),
            (308, "skd://x", "skd://x"),
            (201, "http://cdn.lan/v", "http://cdn.lan/v"),
        ] {
            let head = reply(
                &exchange(),
                &format!("HTTP/1.1 {status} x\r\nLOCATION: {location}\r\n\r\n"),
            );
            let value = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("location").then_some(value)
            });
            assert_eq!(value, Some(relayed));
        }
    }

    #[test]
    fn response_that_stays_here_is_left_as_it_is() {
        let own = Exchange {
            links: None,
            cors_allow_origin: None,
            access_cookie: None,
            ..exchange()
        };
        let head = "HTTP/1.1 302 x\r\nLocation: ../v\r\nContent-Type: audio/x-mpegurl\r\n\r\n";
        assert!(reply(&own, head).contains("\r\nLocation: ../v\r\n"));
        let (head, _) = decode_response(head.as_bytes())
            .expect("sound")
            .expect("complete");
        assert!(own.playlist_head(&head, Framing::Length(5)).is_none());
    }

    #[test]
    fn cookies_stay_with_their_upstream() {
        let head = reply(
            &exchange(),
            "HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nset-cookie: c=d; Path=/live; Domain=elsewhere.lan\r\n\r\n",
        );
        let (a, c) = (
            "\r\nSet-Cookie: a=b; Path=/http/media.lan:81/\r\n",
            "\r\nset-cookie: c=d; Path=/http/media.lan:81/live\r\n",
        );
        assert!(head.contains(a) && head.contains(c), "{head}");
    }
}
