//! How the page is served: prefix, token, methods, and what it lets a browser do.

use super::{available, row, send, serve, wait_for_picture};
use crate::support::browser::Browser;
use crate::support::http;
use crate::support::namespace::with_links;

const ONE: &str = "#EXTINF:-1,One\nrtp://239.8.1.1:5000\n#EXTINF:-1,Two\nrtp://239.8.1.1:5000\n";

#[test]
fn page_works_with_a_token_below_a_prefix_and_never_tells_it() {
    if !available() {
        return;
    }
    with_links(|| {
        let configured = serve(
            "r2h-token = s3cret key&\napp-path-prefix = /tv\nplayer-page-path = /watch\n",
            ONE,
        );
        let server = &configured.server;
        assert_eq!(server.get("/tv/watch").status, 401);
        assert_eq!(server.get("/tv/player.webmanifest").status, 401);
        let _sender = send("239.8.1.1:5000", "640x360");
        let browser = Browser::start("en-US");
        browser.open(&server.url("/tv/watch?r2h-token=s3cret%20key%26"));
        wait_for_picture(&browser, 640);
        let address = browser.run("return location.href").to_string();
        assert!(!address.contains("s3cret"), "{address}");
        let page = browser
            .run("return document.documentElement.outerHTML")
            .to_string();
        assert!(!page.contains("s3cret"), "{page}");
        // From now on the cookie does.
        browser.open(&server.url("/tv/watch/"));
        wait_for_picture(&browser, 640);
        browser.click(&row(2));
        browser.wait("return document.title === 'Two'");
        wait_for_picture(&browser, 640);
        super::assert_quiet_and_at_home(&browser, &configured);
    });
}

#[test]
fn page_manifest_and_library_are_served_as_the_specification_says() {
    let configured = serve("cors-allow-origin = *\n", ONE);
    let server = &configured.server;
    let page = server.get("/player");
    assert_eq!(page.status, 200, "{}", page.head);
    assert_eq!(
        page.header("Content-Type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(page.header("Cache-Control"), Some("no-cache"));
    assert_eq!(page.header("Access-Control-Allow-Origin"), Some("*"));
    let policy = page.header("Content-Security-Policy").expect("a policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'sha256-"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    let text = String::from_utf8(page.body).expect("UTF-8");
    let opening = "<head><base href=\"/\"><script>window.__RTP2HTTPD_CONFIG__={\"appPathPrefix\":\"\",\"logLevel\":4}</script>";
    assert!(text.contains(opening), "{}", &text[..300]);

    let head = http::exchange(server.port, b"HEAD /player HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.status, head.body.len()), (200, 0));
    let length = text.len().to_string();
    assert_eq!(head.header("Content-Length"), Some(&*length));
    let post = http::exchange(
        server.port,
        b"POST /player HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(post.status, 405);

    let manifest = server.get("/player.webmanifest");
    assert_eq!(
        manifest.header("Content-Type"),
        Some("application/manifest+json; charset=utf-8")
    );
    let manifest: serde_json::Value = serde_json::from_slice(&manifest.body).expect("JSON");
    assert_eq!(manifest["short_name_localized"]["en"], "R2H Player");
    assert_eq!(manifest["start_url"], "/player");

    let (_, rest) = text
        .split_once("assets/mpegts-")
        .expect("the page names its library");
    let (hash, _) = rest.split_once(".js").expect("a script");
    let path = format!("/assets/mpegts-{hash}.js");
    let plain = server.get(&path);
    assert_eq!(
        plain.header("Cache-Control"),
        Some("public, max-age=31536000, immutable")
    );
    assert_eq!(
        plain.header("Content-Type"),
        Some("application/javascript; charset=utf-8")
    );
    assert_eq!(plain.header("Content-Encoding"), None);
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    let packed = http::exchange(server.port, request.as_bytes());
    assert_eq!(packed.header("Content-Encoding"), Some("gzip"));
    assert!(packed.body.len() * 3 < plain.body.len());
    // A service may be called as the page was, where the page is elsewhere.
    configured.reload(
        "[global]\nplayer-page-path = /\n[services]\n#EXTM3U\n#EXTINF:-1,player\nhttp://127.0.0.1:9/\n",
        "the new configuration holds",
    );
    assert_eq!(server.get("/").status, 200);
    assert_eq!(server.get("/player").status, 502);
}
