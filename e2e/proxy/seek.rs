//! Time-shift through the proxy: what the upstream is asked for (time spec §3 to §8).

use super::wire::{Origin, Wire, ok, request};
use crate::support::server::Server;

/// The target that the origin is asked for, or the status if it is not asked.
fn asked(server: &Server, origin: &Origin, target: &str, agent: &str) -> Result<String, u16> {
    let mut client = Wire::to(server);
    let headers = format!("User-Agent: {agent}\r\nConnection: close\r\n");
    client.send(request("GET", &origin.path(target), &headers));
    let Some(mut peer) = origin.accept_unless_answered(&client) else {
        let status = client.response().status;
        origin.assert_untouched();
        return Err(status);
    };
    let head = peer.head();
    let host = origin.authority();
    // Nothing that was put into the target may have become a header.
    assert_eq!(
        head.split_once("\r\n").map(|(_, headers)| headers),
        Some(&*format!("Host: {host}\r\nUser-Agent: {agent}\r\n\r\n"))
    );
    let mut words = head.lines().next().expect("a line").split(' ');
    let target = words.nth(1).expect("a target").to_owned();
    assert_eq!(
        (words.next(), words.next()),
        (Some("HTTP/1.1"), None),
        "{head}"
    );
    peer.send(ok("", ""));
    assert_eq!(client.response().status, 200);
    Ok(target)
}

#[test]
fn seek_times_are_converted_and_appended() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    for (agent, target, expected) in [
        (
            "P TZ/UTC+8",
            "/a?x=1&playseek=20250310193000-20250310210000&y=2",
            "/a?x=1&y=2&playseek=20250310113000-20250310130000",
        ),
        (
            "P TZ/UTC+8",
            "/a?tvdr=20250310193000-20250310210000&r2h-seek-offset=3600",
            "/a?tvdr=20250310123000-20250310140000",
        ),
        (
            "P TZ/UTC+8",
            "/a?playseek=20250310193000-&r2h-seek-offset=-30",
            "/a?playseek=20250310112930-",
        ),
        (
            "P TZ/UTC-5",
            "/a?PlaySeek=20250310193000",
            "/a?PlaySeek=20250311003000",
        ),
        (
            "P TZ/UTC+8",
            "/a?playseek=20250310193000GMT-20250310210000GMT",
            "/a?playseek=20250310193000GMT-20250310210000GMT",
        ),
        (
            "P TZ/UTC+8",
            "/a?when=20250310T193000%2B09:00&r2h-seek-name=when&r2h-seek-offset=60",
            "/a?when=20250310T193100+09:00",
        ),
        (
            "P TZ/UTC+8",
            "/a?playseek=1741635000-1741640400&r2h-seek-offset=30,-60",
            "/a?playseek=1741635030-1741640340",
        ),
        (
            "P",
            "/a?playseek=20250310193000&r2h-seek-mode=range(UTC%2B8)",
            "/a?playseek=20250310193000",
        ),
        (
            "P TZ/UTC+8",
            "/a?playseek=2025-03-10T19:30:00Z",
            "/a?playseek=2025-03-10T19:30:00Z",
        ),
        ("P", "/a?playseek=", "/a"),
        ("P", "?playseek=1741635000", "/?playseek=1741635000"),
    ] {
        assert_eq!(
            asked(&server, &origin, target, agent).as_deref(),
            Ok(expected),
            "{target}"
        );
    }
    server.stop_empty();
}

#[test]
fn templates_are_filled() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    let seek = "playseek=20250310193000-20250310210000";
    for (target, expected) in [
        (
            "/a/${(b)yyyyMMddHHmmss}/${(e)yyyyMMddHHmmss}.ts",
            "/a/20250310193000/20250310210000.ts",
        ),
        ("/a/{(b)Y}/{(b)m}/{(b)d}/{(e)HM}", "/a/2025/03/10/2100"),
        (
            "/a?s={utc}&e={utcend}&k=1",
            "/a?s=2025-03-10T11:30:00.000Z&e=2025-03-10T13:00:00.000Z&k=1",
        ),
        (
            "/a?s=${(b)timestamp}&d=${duration}",
            "/a?s=1741606200&d=5400",
        ),
        ("/a/{Y}{m}{d}{H}", "/a/2025031011"),
        (
            "/a?s=${(b)yyyyMMdd|UTC}T${(b)HHmmss|UTC}",
            "/a?s=20250310T113000",
        ),
    ] {
        let mark = if target.contains('?') { '&' } else { '?' };
        let filled = asked(
            &server,
            &origin,
            &format!("{target}{mark}{seek}"),
            "P TZ/UTC+8",
        );
        assert_eq!(filled.as_deref(), Ok(expected), "{target}");
        // Without a seek value the braces stay.
        let kept = asked(&server, &origin, target, "P TZ/UTC+8");
        assert_eq!(kept.as_deref(), Ok(target));
    }
    assert_eq!(
        asked(&server, &origin, "/a/{utc}?playseek=yesterday", "P"),
        Err(400)
    );
    server.stop_empty();
}

#[test]
fn nothing_can_be_injected_through_a_seek_parameter() {
    let (server, origin) = (Server::start(&[]), Origin::start());
    for value in [
        "1%0d%0aX-A:%20b",
        "1%0aX-A:b",
        "1%20HTTP/1.1%0d%0aHost:%20evil%0d%0a%0d%0aGET%20/admin",
        "1%00",
        "1%7f",
        "%C2%85x",
        "20250310193000%0d%0a-20250310210000",
        "20250310193000-20250310210000%20x",
        "a%26admin=1",
        "a%23b",
        "a%25%30%64",
        "%E5%98%8D%E5%98%8AX-A:b",
    ] {
        for target in [
            format!("/a?playseek={value}"),
            format!("/a?r2h-seek-name=t&t={value}"),
            format!("/a?playseek=20250310193000&r2h-seek-name={value}"),
            format!("/a/{{utc}}?playseek={value}"),
            format!("/a?playseek=1741635000&r2h-seek-offset={value}"),
            format!("/a?b={value}"),
            format!("/a/{value}"),
        ] {
            match asked(&server, &origin, &target, "P") {
                Ok(asked) => {
                    println!("{target} -> {asked}");
                    assert!(!asked.contains('#'), "{asked}");
                    let mut query = asked.split(['?', '&']);
                    assert!(query.all(|part| !part.starts_with("admin")), "{asked}");
                }
                Err(status) => assert_eq!(status, 400, "{target}"),
            }
        }
    }
    server.stop_empty();
}
