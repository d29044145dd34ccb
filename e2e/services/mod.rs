//! Channel lists: services by name, the playlist that leads to them, and what reads it (playlist spec).

mod external;

use std::process::Command;

use crate::proxy::nginx::Nginx;
use crate::support::configured::Configured;
use crate::support::http::{self, Response};
use crate::support::namespace::{WEST, with_links};
use crate::support::sender::{Framing, Source};
use crate::support::server::Server;
use crate::support::tool::run;
use crate::support::{SOON, TempDir, ffmpeg, tool, ts, wait_for};

/// A server that tells everything and is told its services by a file.
fn configured(text: &str) -> Configured {
    Configured::start(text, &["-v", "4", "-l", "127.0.0.1:0"])
}

/// The text of a playlist.
fn text(response: &Response) -> String {
    assert_eq!(response.status, 200, "{}", response.head);
    assert_eq!(response.header("Content-Type"), Some("audio/x-mpegurl"));
    String::from_utf8(response.body.clone()).expect("text")
}

fn get_with(server: &Server, method: &str, path: &str, headers: &str) -> Response {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: tv.lan:5140\r\n{headers}\r\n");
    http::exchange(server.port, request.as_bytes())
}

const SPORT: &str = "[services]\n#EXTM3U\n#EXTINF:-1 tvg-id=\"s1\" group-title=\"Sport\",S One\n\
                     rtp://239.9.9.1:5140?fcc=10.0.0.9:15970$4K\n";

#[test]
fn playlist_leads_to_services_under_the_name_the_client_uses() {
    let configured = configured(SPORT);
    let server = &configured.server;
    let plain = get_with(server, "GET", "/playlist.m3u", "");
    assert_eq!(
        text(&plain),
        "#EXTM3U\n\n#EXTINF:-1 tvg-id=\"s1\" group-title=\"Sport\",S One\n\
         http://tv.lan:5140/Sport/S%20One/4K$4K\n\n"
    );
    assert_eq!(plain.header("Cache-Control"), Some("no-cache"));
    let tag = plain.header("ETag").expect("a tag");
    assert_eq!(tag.len(), 34, "{tag}");
    let same = get_with(
        server,
        "GET",
        "/playlist.m3u/",
        &format!("If-None-Match: {tag}\r\n"),
    );
    assert_eq!((same.status, same.body.len()), (304, 0));
    // Another name gives another body, so the tag is not that of this one.
    let other = server.exchange(
        format!("GET /playlist.m3u HTTP/1.1\r\nHost: other\r\nIf-None-Match: {tag}\r\n\r\n")
            .as_bytes(),
    );
    assert!(text(&other).contains("\nhttp://other/Sport/"));
    let head = get_with(server, "HEAD", "/playlist.m3u8", "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(
        head.header("Content-Length"),
        plain.header("Content-Length")
    );
    assert_eq!(get_with(server, "POST", "/playlist.m3u", "").status, 405);
    // Forwarded names are not believed unless that is asked for.
    let headers = "X-Forwarded-Host: proxy\r\nX-Forwarded-Proto: https\r\n";
    assert_eq!(
        text(&get_with(server, "GET", "/playlist.m3u", headers)),
        text(&plain)
    );

    configured.reload(
        &format!("[global]\nxff = yes\nr2h-token = k y\napp-path-prefix = /tv\ncors-allow-origin = *\n{SPORT}"),
        "the new configuration holds",
    );
    assert_eq!(
        get_with(server, "GET", "/tv/playlist.m3u", headers).status,
        401
    );
    let far = get_with(server, "GET", "/tv/playlist.m3u?r2h-token=k%20y", headers);
    assert!(text(&far).contains("\nhttps://proxy/tv/Sport/S%20One/4K?r2h-token=k%20y$4K\n"));
    assert_eq!(far.header("Access-Control-Allow-Origin"), Some("*"));
    let vary = "Accept-Encoding, X-Forwarded-Host, X-Forwarded-Proto";
    assert_eq!(far.header("Vary"), Some(vary));

    configured.reload("[global]\nverbosity = 4\n", "the new configuration holds");
    assert_eq!(server.get("/playlist.m3u").status, 404);
}

#[test]
fn long_playlist_is_compressed_for_curl_and_otherwise_sent_whole() {
    if !tool::have(&["curl"]) {
        return;
    }
    let mut list = "[services]\n#EXTM3U\n".to_owned();
    for number in 0..8000 {
        list += &format!(
            "#EXTINF:-1 group-title=\"G\",Channel {number}\nrtp://239.1.1.1:{}\n",
            number + 1
        );
    }
    let configured = configured(&list);
    let curl = |arguments: &[&str], path: &str| {
        let url = configured.server.url(path);
        let said = run(Command::new("curl")
            .args(["-sS", "--max-time", "20"])
            .args(arguments)
            .arg(url));
        assert!(said.status.success(), "{}", said.stderr);
        said.stdout
    };
    let whole = curl(&[], "/playlist.m3u");
    assert_eq!(
        whole
            .lines()
            .filter(|line| line.starts_with("http://"))
            .count(),
        8000
    );
    assert!(whole.ends_with("/G/Channel%207999\n\n"));
    configured.reload(SPORT, "the new configuration holds");
    let plain = curl(&[], "/playlist.m3u");
    let told = curl(
        &["-o", "/dev/null", "-D", "-", "--compressed"],
        "/playlist.m3u",
    );
    assert!(told.contains("Content-Encoding: gzip\r\n"), "{told}");
    assert_eq!(curl(&["--compressed"], "/playlist.m3u"), plain);
}

#[test]
fn service_of_an_http_server_gets_the_queries_of_both() {
    if !Nginx::available() {
        return;
    }
    let nginx = Nginx::start(
        TempDir::new(),
        "",
        "location / { return 200 \"$request_uri\"; }",
    );
    let port = nginx.port;
    let text = format!(
        "[global]\nudpxy = no\nr2h-token = k\n[services]\n#EXTM3U\n#EXTINF:-1,Cam\n\
         http://127.0.0.1:{port}/a?x=1&y=2\n\
         #EXTINF:-1 catchup=\"append\" catchup-source=\"?from=${{(b)yyyyMMddHHmmss|UTC}}&len=${{duration}}\",Rec\n\
         http://127.0.0.1:{port}/b?k\n"
    );
    let configured = configured(&text);
    let server = &configured.server;
    let asked = |path: &str| {
        let response = get_with(server, "GET", path, "Connection: close\r\n");
        assert_eq!(response.status, 200, "{path}: {}", response.head);
        String::from_utf8(response.body).expect("text")
    };
    assert_eq!(asked("/Cam?r2h-token=k"), "/a?x=1&y=2");
    assert_eq!(asked("/Cam$HD?x=7&r2h-token=k&z=%24"), "/a?x=7&y=2&z=%24");
    // Behind a proxy for somebody else it is still the operator's own source.
    let far = get_with(
        server,
        "GET",
        "/Cam",
        "X-Forwarded-For: 192.0.2.1\r\nCookie: r2h-token=k\r\nConnection: close\r\n",
    );
    assert_eq!(far.body, b"/a?x=1&y=2");
    let playlist = text_with_token(server);
    let link = playlist
        .split("catchup-source=\"http://tv.lan:5140")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("a link to recordings");
    assert!(playlist.contains("catchup=\"default\""), "{playlist}");
    // What a player makes of it.
    let link = link
        .replace("${(b)yyyyMMddHHmmss|UTC}", "20250310113000")
        .replace("${utcend}", "2025-03-10T12:00:00Z");
    assert_eq!(asked(&link), "/b?k&from=20250310113000&len=1800");
    let long = format!("/Cam?z={}&r2h-token=k", "z".repeat(2040));
    server.get(&long).assert_error(500, "Internal Server Error");
    server.log().wait("Merged HTTP URL too long");
    server.log().wait("merged URL: http://127.0.0.1:");
    assert_eq!(
        server
            .get(&format!("/http/127.0.0.1:{port}/a?r2h-token=k"))
            .status,
        404
    );
    let log = server.log().all().join("\n");
    assert!(!log.contains("r2h-token=k"), "{log}");
}

#[test]
fn passwords_in_urls_open_upstreams_and_are_shown_to_nobody_else() {
    if !Nginx::available() {
        return;
    }
    let directory = TempDir::new();
    let live = directory.path().join("live");
    std::fs::create_dir(&live).expect("a directory");
    let write = |path: std::path::PathBuf, text: &str| std::fs::write(path, text).expect("written");
    write(directory.path().join("users"), "tele:{PLAIN}s3@cret\n");
    write(live.join("i.m3u8"), "#EXTM3U\n#EXTINF:4,\na.ts\n");
    write(live.join("a.ts"), "media");
    write(directory.path().join("other.ts"), "other");
    let users = directory.path().join("users");
    let server = format!("auth_basic tv; auth_basic_user_file {};", users.display());
    let nginx = Nginx::start(directory, "", &server);
    let (port, url) = (
        nginx.port,
        format!("tele:s3%40cret@127.0.0.1:{}", nginx.port),
    );
    let configured = configured(&format!(
        "[services]\n#EXTM3U\n#EXTINF:-1,Cam\nhttp://{url}/live/i.m3u8\n"
    ));
    let server = &configured.server;
    let asked = |path: &str, headers: &str| {
        let headers = format!("{headers}Connection: close\r\n");
        let response = get_with(server, "GET", path, &headers);
        let body = String::from_utf8(response.body).expect("text");
        (response.status, body)
    };
    let link_in = |playlist: &str| {
        let link = playlist.lines().last().expect("a link");
        let path = link.strip_prefix("http://tv.lan:5140").expect(link);
        path.to_owned()
    };

    // Whoever gives the password has links with it.
    let (status, playlist) = asked(&format!("/http/{url}/live/i.m3u8"), "");
    let link = link_in(&playlist);
    assert_eq!((status, &*link), (200, &*format!("/http/{url}/live/a.ts")));
    assert_eq!(asked(&link, ""), (200, "media".to_owned()));

    // Whoever asks for the service has links without it, which lead there and no further.
    let (status, playlist) = asked("/Cam", "");
    let link = link_in(&playlist);
    let bare = format!("/http/127.0.0.1:{port}");
    assert_eq!((status, &*link), (200, &*format!("{bare}/live/a.ts")));
    assert_eq!(asked(&link, ""), (200, "media".to_owned()));
    for path in ["other.ts", "live/../other.ts", "live/%2e%2e/other.ts"] {
        assert_eq!(asked(&format!("{bare}/{path}"), "").0, 401, "{path}");
    }
    // What a client says of itself holds.
    let own = "Authorization: Basic dGVsZTp3cm9uZw==\r\n";
    for path in ["/Cam", &link, &format!("/http/{url}/live/a.ts")] {
        assert_eq!(asked(path, own).0, 401, "{path}");
    }

    let shown = [
        text_of(server, "/playlist.m3u"),
        text_of(server, "/status/api/status"),
    ];
    let log = server.log().all().join("\n");
    for text in shown.iter().chain([&log]) {
        for secret in ["s3@cret", "s3%40cret", "dGVsZTpzM0BjcmV0"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}

fn text_of(server: &Server, path: &str) -> String {
    let response = server.get(path);
    assert_eq!(response.status, 200, "{path}");
    String::from_utf8(response.body).expect("text")
}

fn text_with_token(server: &Server) -> String {
    text(&get_with(
        server,
        "GET",
        "/playlist.m3u",
        "Cookie: r2h-token=k\r\n",
    ))
}

#[test]
fn ffprobe_plays_what_the_playlist_leads_to() {
    if !ffmpeg::available() {
        return;
    }
    with_links(|| {
        let configured = configured(
            "[services]\n#EXTM3U\n#EXTINF:-1 group-title=\"Süd\",Kanal 1\nrtp://239.4.9.1:5000\n",
        );
        let server = &configured.server;
        let _sender = ffmpeg::send("rtp://239.4.9.1:5000?pkt_size=1328", 60);
        let playlist = text(&server.get("/playlist.m3u"));
        let link = playlist
            .lines()
            .find(|line| line.starts_with("http://"))
            .expect("a link");
        let link = link.replace("localhost", &format!("127.0.0.1:{}", server.port));
        assert!(link.ends_with("/S%C3%BCd/Kanal%201"), "{link}");
        let said = run(Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0"])
            .args(["-show_entries", "stream=codec_name,width,height", &link]));
        let first = said.stdout.lines().next().unwrap_or("").trim_matches(',');
        assert_eq!(first, "h264,320,180", "{}", said.stderr);
    });
}

#[test]
fn reload_swaps_all_services_or_none_and_interrupts_no_stream() {
    with_links(|| {
        let list = |name: &str| {
            format!(
                "[services]\n#EXTM3U\n#EXTINF:-1,{name}\nrtp://239.4.9.2:5000\n[global]\nverbosity = 4\n"
            )
        };
        let configured = configured(&list("Old"));
        let server = &configured.server;
        let _sender = Source::new("west", WEST, "239.4.9.2:5000", Framing::Rtp).run(200);
        let mut live = server.open("/Old");
        let mut bytes = live.take(70 * ts::PACKET);
        configured.reload(&list("New"), "the new configuration holds");
        wait_for(SOON, "the old name to be gone", || {
            (server.get("/Old").status == 404).then_some(())
        });
        ts::assert_gapless(&server.open("/New").take(70 * ts::PACKET));
        bytes.extend(live.take(350 * ts::PACKET));
        // A list with an entry that leads nowhere changes nothing.
        let bad = list("Newer") + "[services]\n#EXTINF:-1,Lost\n";
        configured.reload(&bad, "Configuration reload failed");
        server.log().wait("[services]: the entry before has no URL");
        assert_eq!(server.get("/Newer").status, 404);
        ts::assert_gapless(&server.open("/New").take(70 * ts::PACKET));
        bytes.extend(live.take(350 * ts::PACKET));
        ts::assert_gapless(&bytes);
    });
}
