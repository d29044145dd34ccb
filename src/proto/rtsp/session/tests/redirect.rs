//! Servers that send the client elsewhere.

use super::*;

#[test]
fn redirect_starts_over_elsewhere() {
    let mut talk = Talk::to("rtsp://u:p@192.0.2.1:8554/live/ch1");
    talk.answer(401, "WWW-Authenticate: Basic\r\n");
    talk.answer(200, "Session: old\r\n");
    let said = talk.answer(302, "Location: rtsp://h2:5554/x?a=1&r2h-start=7\r\n");
    assert_eq!(said, ["connect h2:5554"]);
    talk.connect();
    // The number goes on; session and credentials are of another host.
    assert_eq!(
        talk.last(),
        "OPTIONS rtsp://h2:5554/x?a=1 RTSP/1.0\r\nCSeq: 4\r\nUser-Agent: flowgate/1\r\n\r\n"
    );
    talk.answer(200, "");
    talk.answer(200, "");
    talk.answer(200, TCP);
    assert!(talk.last().contains("Range: npt=7-\r\n"));
    // Relative, and from PLAY: the session here is ended first. Same host, so we may say who we are.
    let said = talk.answer(301, "Location: /y\r\n");
    assert!(said[0].starts_with("send TEARDOWN rtsp://h2:5554/x?a=1 "));
    assert_eq!(said[1], "connect h2:5554");
}

#[test]
fn credentials_follow_to_the_same_host_only() {
    for (location, follow) in [
        ("rtsp://192.0.2.1/x", true),
        ("rtsp://192.0.2.9/x", false),
        ("rtsp://v:w@192.0.2.9/x", true),
    ] {
        let mut talk = Talk::to("rtsp://u:p@192.0.2.1:8554/live/ch1");
        talk.answer(302, &format!("Location: {location}\r\n"));
        talk.connect();
        let said = talk.answer(401, "WWW-Authenticate: Basic\r\n");
        assert_eq!(said[0].contains("Authorization: "), follow, "{location}");
    }
}

#[test]
fn bad_redirects_fail() {
    for (headers, expected) in [
        ("", "redirect without Location"),
        (
            "Location: http://h/\r\n",
            "redirect: RTSP URL does not start with rtsp:// or rtsps://",
        ),
        (
            "Location: rtsp://192.0.2.1:8554/live/ch1\r\n",
            "redirect to where we came from",
        ),
        ("Location: rtsp://h/?r2h-start=%0d%0aX\r\n", ""),
    ] {
        let said = Talk::to(URL).answer(302, headers);
        if expected.is_empty() {
            assert_eq!(
                said,
                ["connect h:554"],
                "a start that cannot be sent is none"
            );
        } else {
            assert_eq!(said[0], format!("failed 503 {expected}"));
        }
    }
    let mut talk = Talk::to(URL);
    for step in 0..REDIRECTS_MAX {
        assert_eq!(
            talk.answer(302, &format!("Location: rtsp://h/{step}\r\n"))
                .len(),
            1
        );
        talk.connect();
    }
    let said = talk.answer(302, "Location: rtsp://h/6\r\n");
    assert_eq!(said, ["failed 503 more than 5 redirects", "done"]);
    let mut talk = Talk::to(URL);
    talk.answer(302, "Location: rtsp://h/1\r\n");
    talk.connect();
    let said = talk.answer(302, &format!("Location: {URL}\r\n"));
    assert_eq!(said[0], "failed 503 redirect to where we came from");
}

#[test]
fn recording_is_not_begun_again_by_a_redirect() {
    let mut talk = Talk::playing(TCP);
    talk.session
        .request
        .play_from(Some("clock=20250310T113000Z-"), None)
        .unwrap();
    talk.receive(frame(0, &ts(1)));
    let said = talk.receive("REDIRECT * RTSP/1.0\r\nLocation: rtsp://h2/\r\n\r\n");
    assert_eq!(said[1], "end");
}
