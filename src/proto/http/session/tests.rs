use proptest::prelude::*;

use super::*;
use crate::proto::origin::HttpUrl;
use crate::proto::rewrite::Links;

/// What a client and the router get to see of a response.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    interims: Vec<String>,
    head: Option<String>,
    delimited: bool,
    body: Vec<u8>,
    /// Whether the connection may be used again, or what went wrong.
    end: Option<Result<bool, SessionError>>,
}

impl Seen {
    fn body(&self) -> &str {
        str::from_utf8(&self.body).expect("text")
    }

    fn outcome(&self) -> (&str, Option<Result<bool, SessionError>>) {
        (self.body(), self.end.clone())
    }

    fn head(&self) -> &str {
        self.head.as_deref().expect("a head")
    }
}

fn exchange(target: &str) -> Exchange {
    let url = format!("http://media.lan{target}");
    Exchange {
        is_head: false,
        client_minor_version: 1,
        url: HttpUrl::parse(&url).expect("a URL"),
        links: Some(Rc::new(Links::new("http://tv.home/".to_owned(), "", true))),
        cors_allow_origin: None,
        access_cookie: None,
    }
}

/// The response to what `exchange` asked, in parts of at most `step` bytes and then closed; with `skipping`,
/// opaque bytes go past unseen.
fn relay(exchange: Exchange, response: &[u8], step: usize, skipping: bool) -> Seen {
    let minor_version = exchange.client_minor_version;
    let mut session = Session::new(Rc::new(exchange));
    let mut seen = Seen::default();
    let mut rest = response;
    let mut actions = Vec::new();
    loop {
        let opaque = usize::try_from(session.opaque_bytes()).unwrap_or(usize::MAX);
        let skipped = skipping && opaque > 0;
        let mut len = step.min(rest.len());
        if skipped {
            len = len.min(opaque);
        }
        let (part, behind) = rest.split_at(len);
        match (part.is_empty(), skipped) {
            (true, _) => session.finish(&mut actions),
            (false, false) => session.receive(part, &mut actions),
            (false, true) => {
                session.skip(len as u64, &mut actions);
                seen.body.extend_from_slice(part);
            }
        }
        let over = part.is_empty();
        for action in actions.drain(..) {
            assert_eq!(seen.end, None, "nothing comes behind the end");
            match action {
                Action::Interim(head) => {
                    assert_eq!(seen.head, None, "interim responses come first");
                    seen.interims.push(String::from_utf8(head).expect("text"));
                }
                Action::Head(head) => seen.take_head(head, minor_version),
                Action::Body(range) => {
                    assert!(seen.head.is_some(), "the head comes before the body");
                    seen.body.extend_from_slice(&part[range]);
                }
                Action::Whole(head, body) => {
                    seen.take_head(head, minor_version);
                    seen.body = body;
                }
                Action::End { reusable } => {
                    // What is still to come would be found before the connection is used again.
                    seen.end = Some(Ok(reusable && behind.is_empty()));
                }
                Action::Failed(error) => seen.end = Some(Err(error)),
            }
        }
        rest = behind;
        if over {
            return seen;
        }
    }
}

impl Seen {
    fn take_head(&mut self, head: ReplyHead, client_minor_version: u8) {
        assert_eq!(self.head, None, "there is one final head");
        self.delimited = head.delimited;
        let head = head.encode(client_minor_version, true);
        self.head = Some(String::from_utf8(head).expect("text"));
    }
}

fn get(target: &str, response: &str) -> Seen {
    relay(exchange(target), response.as_bytes(), usize::MAX, false)
}

#[test]
fn header_lines_that_can_be_mended_are() {
    let response = "HTTP/1.1 200 OK\r\nContent-Length : 3\r\nA\t: b\r\n  c\r\n\r\nA :";
    for step in [1, 7, usize::MAX] {
        let seen = relay(exchange("/a"), response.as_bytes(), step, false);
        let head = "HTTP/1.1 200 OK\r\nA: b    c\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(seen.head(), head);
        assert_eq!(seen.outcome(), ("A :", Some(Ok(true))));
    }
}

#[test]
fn body_with_a_length_goes_through() {
    let seen = get(
        "/a",
        "HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 3\r\nKeep-Alive: timeout=5\r\nA: b\r\n\r\nabc",
    );
    assert_eq!(
        seen.head(),
        "HTTP/1.1 200 OK\r\nServer: x\r\nA: b\r\nContent-Length: 3\r\n\r\n"
    );
    assert_eq!(seen.outcome(), ("abc", Some(Ok(true))));
}

#[test]
fn connection_is_kept_only_when_both_sides_agree_on_the_end() {
    for (response, reusable) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", true),
        ("HTTP/1.1 204 No Content\r\n\r\n", true),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: x, Close\r\n\r\na",
            false,
        ),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\na",
            false,
        ),
        ("HTTP/1.1 200 OK\r\n\r\na", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", false),
        (
            "HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\na",
            false,
        ),
        (
            "HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            false,
        ),
    ] {
        assert_eq!(get("/a", response).end, Some(Ok(reusable)), "{response}");
    }
}

#[test]
fn responses_without_a_body_end_with_their_head() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 900\r\nETag: \"x\"\r\n\r\n";
    let asked = Exchange {
        is_head: true,
        ..exchange("/x.m3u8")
    };
    let seen = relay(asked, head.as_bytes(), usize::MAX, false);
    assert_eq!(
        seen.head(),
        "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 900\r\n\r\n"
    );
    assert_eq!(seen.outcome(), ("", Some(Ok(true))));
    // RFC 9110 §8.6 forbids it there.
    let seen = get("/a", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(seen.head(), "HTTP/1.1 204 No Content\r\n\r\n");
    let seen = get(
        "/a",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    );
    assert_eq!(
        seen.head(),
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"
    );
}

#[test]
fn old_clients_get_neither_chunks_nor_interim_responses() {
    let old = Exchange {
        client_minor_version: 0,
        ..exchange("/a")
    };
    let response = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\
        Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n";
    let seen = relay(old, response, usize::MAX, false);
    assert_eq!((seen.interims.len(), seen.delimited), (0, false));
    assert_eq!(
        seen.head(),
        "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n"
    );
    assert_eq!(seen.outcome(), ("abc", Some(Ok(true))));
    let seen = relay(exchange("/a"), response, usize::MAX, false);
    assert_eq!(seen.interims, ["HTTP/1.1 103 Early Hints\r\n\r\n"]);
    assert_eq!(seen.body(), "3\r\nabc\r\n0\r\n\r\n");
    assert!(seen.delimited && seen.head().contains("Transfer-Encoding: chunked\r\n"));
}

#[test]
fn old_servers_end_the_body_with_the_connection() {
    let seen = get("/a", "HTTP/1.0 200 OK\r\nA: b\r\n\r\nabc");
    assert!(!seen.delimited && seen.head().starts_with("HTTP/1.0 200 OK\r\nA: b\r\n"));
    assert_eq!(seen.outcome(), ("abc", Some(Ok(false))));
}

#[test]
fn what_makes_no_sense_fails_and_says_why() {
    let cut = |left| Err(SessionError::Body(BodyError::CutShort { left }));
    for (response, has_head, end) in [
        ("", false, Err(SessionError::Empty)),
        ("HTTP/1.1 200 OK\r\nA", false, Err(SessionError::HeadCut)),
        (
            "HTTP/1.1 100 Continue\r\n\r\n",
            false,
            Err(SessionError::HeadCut),
        ),
        (
            "RTSP/1.0 200 OK\r\n\r\n",
            false,
            Err(SessionError::Head(HeadError::Malformed(
                "not an HTTP status line",
            ))),
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            false,
            Err(SessionError::Upgrade),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            false,
            Err(SessionError::Framing(FramingError::LengthAndCoding)),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
            true,
            cut(Some(2)),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            true,
            cut(None),
        ),
    ] {
        let seen = get("/a", response);
        assert_eq!(seen.head.is_some(), has_head, "{response}");
        match (seen.end, end) {
            (Some(Err(SessionError::Head(_))), Err(SessionError::Head(_))) => {}
            (seen, end) => assert_eq!(seen, Some(end), "{response}"),
        }
    }
}

#[test]
fn endless_interim_responses_are_refused() {
    let response = |count| "HTTP/1.1 102 Processing\r\n\r\n".repeat(count);
    let last = "HTTP/1.1 204 No Content\r\n\r\n";
    let seen = get("/a", &(response(INTERIMS_MAX) + last));
    assert_eq!(
        (seen.interims.len(), seen.end),
        (INTERIMS_MAX, Some(Ok(true)))
    );
    let seen = get("/a", &(response(INTERIMS_MAX + 1) + last));
    let limit = INTERIMS_MAX;
    assert_eq!(seen.end, Some(Err(SessionError::TooManyInterims { limit })));
}

#[test]
fn an_interim_response_is_something_received() {
    let mut session = Session::new(Rc::new(exchange("/a")));
    assert!(session.is_untouched());
    session.receive(b"HTTP/1.1 100 Continue\r\n\r\n", &mut Vec::new());
    assert!(session.awaits_head() && !session.is_untouched());
    let mut session = Session::new(Rc::new(exchange("/a")));
    session.receive(b"H", &mut Vec::new());
    assert!(!session.is_untouched());
}

const PLAYLIST: &str = "#EXTM3U\n#EXTINF:6,\ns1.ts\n";
const REWRITTEN: &str = "#EXTM3U\n#EXTINF:6,\nhttp://tv.home/http/media.lan/live/s1.ts\n";

#[test]
fn playlists_are_gathered_and_rewritten() {
    let chunked = "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunked = format!("{chunked}{:x}\r\n{PLAYLIST}\r\n0\r\n\r\n", PLAYLIST.len());
    let length = format!(
        "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: {}\r\n\r\n{PLAYLIST}",
        PLAYLIST.len()
    );
    let until_close = format!("HTTP/1.1 200 OK\r\nA: b\r\n\r\n{PLAYLIST}");
    for (response, reusable) in [(chunked, true), (length, true), (until_close, false)] {
        let seen = get("/live/x.M3U8?a=b", &response);
        assert_eq!(
            seen.head(),
            format!(
                "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: {}\r\n\r\n",
                REWRITTEN.len()
            )
        );
        assert_eq!((seen.body(), seen.delimited), (REWRITTEN, true));
        assert_eq!(seen.end, Some(Ok(reusable)));
    }
}

/// Players ask for `bytes=0-` before they know what they get.
#[test]
fn part_that_is_the_whole_playlist_is_rewritten_as_the_whole() {
    let last = PLAYLIST.len() - 1;
    let response = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Type: audio/mpegurl\r\n\
         Content-Range: bytes 0-{last}/{}\r\nContent-Length: {}\r\n\r\n{PLAYLIST}",
        PLAYLIST.len(),
        PLAYLIST.len()
    );
    let seen = get("/live/x", &response);
    assert!(
        seen.head().starts_with("HTTP/1.1 200 OK\r\n"),
        "{}",
        seen.head()
    );
    assert!(!seen.head().contains("Content-Range"));
    assert_eq!(seen.outcome(), (REWRITTEN, Some(Ok(true))));
}

#[test]
fn playlist_in_chunks_may_name_a_length_too_and_ends_its_connection() {
    let with = |headers: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{headers}\r\n{:x}\r\n{PLAYLIST}\r\n0\r\n\r\n",
            PLAYLIST.len()
        )
    };
    let chunked = with("Transfer-Encoding: chunked\r\n");
    let seen = get("/live/x.m3u8", &chunked);
    assert_eq!(seen.outcome(), (REWRITTEN, Some(Ok(false))));
    let refused = |seen: Seen| matches!(seen.end, Some(Err(SessionError::Framing(_))));
    assert!(refused(get("/live/x.ts", &chunked)), "not gathered");
    let gzip = with("Transfer-Encoding: gzip, chunked\r\n");
    assert!(refused(get("/live/x.m3u8", &gzip)));
    let old = chunked.replace("HTTP/1.1", "HTTP/1.0");
    assert!(refused(get("/live/x.m3u8", &old)));
}

#[test]
fn what_is_no_whole_playlist_is_not_rewritten() {
    let with = |line: &str| {
        format!(
            "HTTP/1.1 {line}\r\nContent-Length: {}\r\n\r\n{PLAYLIST}",
            PLAYLIST.len()
        )
    };
    for (target, response) in [
        ("/live/x.ts", with("200 OK")),
        ("/live/x.m3u8", with("404 Not Found")),
        ("/live/x.m3u8", with("206 Partial Content")),
        ("/live/x.m3u8", with("200 OK\r\nContent-Encoding: br")),
    ] {
        let seen = get(target, &response);
        assert_eq!(seen.outcome(), (PLAYLIST, Some(Ok(true))), "{response}");
    }
    let by_type = with("200 OK\r\nContent-Type: Audio/MPEGURL; charset=utf-8");
    assert_eq!(get("/live/x", &by_type).body(), REWRITTEN);
    let part = with("206 Partial Content\r\nContent-Range: bytes 1-16/17");
    assert_eq!(get("/live/x.m3u8", &part).body(), PLAYLIST);
    let empty = get("/x.m3u8", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(empty.outcome(), ("", Some(Ok(true))));
    let long = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
        PLAYLIST_BYTES_MAX + 1
    );
    let long = long
        .into_bytes()
        .into_iter()
        .chain(vec![b'\n'; PLAYLIST_BYTES_MAX + 1]);
    let seen = relay(
        exchange("/x.m3u8"),
        &long.collect::<Vec<u8>>(),
        1 << 16,
        false,
    );
    assert_eq!(
        (seen.body.len(), seen.end),
        (PLAYLIST_BYTES_MAX + 1, Some(Ok(true)))
    );
}

#[test]
fn a_playlist_that_is_not_whole_fails_before_anything_is_sent() {
    let seen = get(
        "/x.m3u8",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n#EXTM3U\n",
    );
    assert_eq!((seen.head, seen.body.len()), (None, 0));
    let left = Some(1);
    let cut = SessionError::Body(BodyError::CutShort { left });
    assert_eq!(seen.end, Some(Err(cut)));
    let endless = [
        b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
        vec![b'\n'; PLAYLIST_BYTES_MAX + 1],
    ];
    let seen = relay(exchange("/x.m3u8"), &endless.concat(), 1 << 16, false);
    let limit = PLAYLIST_BYTES_MAX;
    assert_eq!(seen.end, Some(Err(SessionError::PlaylistTooLong { limit })));
    assert_eq!(seen.head, None);
}

#[test]
fn a_playlist_without_the_announcement_of_its_end_is_taken_if_its_text_is_whole() {
    let head = "HTTP/1.0 200 OK\r\nA: b\r\n\r\n";
    let gzip = "HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n";
    let packed = {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        encoder.write_all(PLAYLIST.as_bytes()).expect("memory");
        encoder.finish().expect("memory")
    };
    let cut = packed.get(..packed.len() - 1).expect("not empty");
    for (head, body, taken) in [
        (head, PLAYLIST.as_bytes(), true),
        (head, b"\xef\xbb\xbf#EXTM3U\r\na.ts\r\n", true),
        (head, b"#EXTM3U\na.ts\n#EXT-X-ENDLIST", true),
        (head, b"#EXTM3U\na.ts\n#EXT-X-END", false),
        (head, b"#EXTM3U\na.ts", false),
        (head, b"#EXTM3U", false),
        (head, b"<html>\n", false),
        (head, b"", false),
        (gzip, &packed, true),
        (gzip, cut, false),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
            PLAYLIST.as_bytes(),
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"8\r\n#EXTM3U\n\r\n",
            false,
        ),
    ] {
        let mut session = Session::new(Rc::new(exchange("/live/x.m3u8")));
        let mut actions = Vec::new();
        session.receive(&[head.as_bytes(), body].concat(), &mut actions);
        assert!(actions.is_empty());
        assert_eq!(
            session.finish_unannounced(&mut actions),
            taken,
            "{head}{body:?}"
        );
        match &actions[..] {
            [Action::Whole(..), Action::End { reusable: false }] => assert!(taken),
            others => assert!(others.is_empty() && !taken, "{others:?}"),
        }
    }
    let mut session = Session::new(Rc::new(exchange("/a.ts")));
    let mut actions = Vec::new();
    session.receive(
        &[head.as_bytes(), PLAYLIST.as_bytes()].concat(),
        &mut actions,
    );
    actions.clear();
    assert!(!session.finish_unannounced(&mut actions));
}

/// Responses near the grammar, sound ones above all.
fn any_response() -> impl Strategy<Value = Vec<u8>> {
    let interim = "HTTP/1.1 10[0-3] x\r\n(A: b\r\n){0,2}\r\n";
    let line = "HTTP/1\\.[01] (200|204|206|302|304|404)( OK)?\r?\n";
    let header = prop_oneof![
        6 => "(A|Location|Set-Cookie|Connection|ETag): [a-z/=:]{0,9}\r\n",
        3 => "Content-Length: (0|[1-9]|3[0-9])\r\n",
        3 => "Transfer-Encoding: chunked\r\n",
        1 => "Content-Type: (audio/mpegurl|video/mp2t)\r\n",
        1 => "[A: \r\n\\x00]{0,5}\r\n",
    ];
    let piece = prop_oneof![
        4 => "[1-3](;[a-z]{0,5})?\r\n[a-z]{2}\r\n",
        4 => "2\r\n[a-z#]{2}\r\n",
        2 => "0\r\n(a: b\r\n){0,2}\r\n",
        4 => "[a-z/#:\n]{0,12}",
    ];
    let headers = prop::collection::vec(header, 0..4);
    let body = prop::collection::vec(piece, 0..8);
    let sound = (prop::collection::vec(interim, 0..3), line, headers, body).prop_map(
        |(interims, line, headers, body)| {
            let parts = [
                interims.concat(),
                line,
                headers.concat(),
                "\r\n".to_owned(),
                body.concat(),
            ];
            parts.concat().into_bytes()
        },
    );
    prop_oneof![9 => sound, 1 => prop::collection::vec(any::<u8>(), 0..100)]
}

proptest! {
    #[test]
    fn splitting_and_skipping_do_not_change_what_is_seen(
        response in any_response(),
        target in prop_oneof![Just("/a.ts"), Just("/b/a.m3u8")],
        is_head in any::<bool>(),
        client_minor_version in 0u8..2,
        step in 1usize..30,
    ) {
        let asked = Exchange { is_head, client_minor_version, ..exchange(target) };
        let whole = relay(asked.clone(), &response, usize::MAX, false);
        prop_assert!(whole.end.is_some(), "every response comes to an end");
        prop_assert_eq!(&relay(asked.clone(), &response, step, false), &whole);
        prop_assert_eq!(&relay(asked, &response, step, true), &whole);
    }

    #[test]
    fn a_playlist_comes_out_the_same_however_it_is_cut(
        lines in prop::collection::vec("(#EXTINF:[0-9],|[a-z/]{0,12}\\.ts|https?://[a-z]{1,5}/x|)", 0..12),
        sizes in prop::collection::vec(1usize..20, 1..9),
        step in 1usize..30,
    ) {
        let text = lines.join("\n");
        let length = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        let mut chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
        let mut rest = text.as_str();
        for size in sizes.iter().cycle() {
            let (part, behind) = rest.split_at(rest.len().min(*size));
            chunked += &format!("{:x}\r\n{part}\r\n", part.len());
            rest = behind;
            if part.is_empty() {
                break;
            }
        }
        let whole = get("/b/a.m3u8", &length);
        let cut = relay(exchange("/b/a.m3u8"), chunked.as_bytes(), step, false);
        prop_assert_eq!(cut.body, whole.body);
    }

    #[test]
    fn nothing_panics(response in prop::collection::vec(any::<u8>(), 0..300), step in 1usize..40) {
        relay(exchange("/a.m3u8"), &[b"HTTP/1.1 200 OK\r\n", &response[..]].concat(), step, true);
    }
}
