//! A base, a playlist address and any body: links stay below their upstream, and nothing breaks a line.
#![no_main]

use flowgate::proto::origin::HttpUrl;
use flowgate::proto::rewrite::Links;
use flowgate::proto::rewrite::content::decode_content;
use flowgate::proto::rewrite::playlist::{
    PLAYLIST_BYTES_MAX, REWRITTEN_BYTES_MAX, rewrite_playlist,
};
use flowgate::proto::rewrite::token::{without_token_agent, without_token_cookie};
use libfuzzer_sys::fuzz_target;

const BASE: &str = "http://tv.home/tv/";

fuzz_target!(|input: (&str, &[u8])| {
    let (target, bytes) = input;
    for encoding in ["gzip", "deflate"] {
        if let Ok(body) = decode_content(encoding, bytes, 1 << 16) {
            assert!(body.len() <= 1 << 16);
        }
    }
    let _ = without_token_agent(bytes);
    let _ = without_token_cookie(bytes);
    let Some(Ok(url)) = HttpUrl::from_proxy_target(target) else {
        return;
    };
    assert!(
        !url.target()
            .contains(|c: char| c.is_ascii_control() || c == ' ')
    );
    let links = Links::new(BASE.to_owned(), "/tv", true).with_token("k y");

    if let Ok(body) = rewrite_playlist(bytes, &url, &links) {
        assert!(bytes.len() <= PLAYLIST_BYTES_MAX && body.len() <= REWRITTEN_BYTES_MAX);
        let lines = |body: &[u8]| body.split(|&byte| byte == b'\n').count();
        assert_eq!(lines(bytes), lines(&body));
    }
    if let Some(link) = links.map_reference(bytes, &url) {
        check(link.strip_prefix(BASE).expect("begins with the base"));
    }
    if let Some(link) = links.rewrite_location(bytes, &url) {
        check(link.strip_prefix("/tv/").expect("begins at the root"));
    }
    if let Some(cookie) = links.rewrite_set_cookie(bytes, &url) {
        let path = b"; Path=/tv/http";
        assert!(cookie.windows(path.len()).any(|window| window == path));
    }
});

/// What a browser and this server make of a link behind its base.
fn check(link: &str) {
    assert!(!link.contains(|c: char| c.is_control() || c.is_whitespace() || c == '"'));
    let path = link.split(['?', '#']).next().unwrap_or_default();
    let path = path.replace("%2e", ".").replace("%2E", ".");
    assert!(
        !path.contains('\\')
            && path
                .split('/')
                .all(|segment| segment != "." && segment != "..")
    );
    let upstream = HttpUrl::from_proxy_target(&format!("/{link}"));
    let upstream = upstream.expect("a proxy target").expect("a known origin");
    assert!(
        upstream
            .query()
            .is_some_and(|query| query.ends_with("r2h-token=k%20y"))
    );
}
