//! The end, whoever it comes from.

use super::*;

#[test]
fn server_may_end_the_stream() {
    let end = |request: &str| {
        let mut talk = Talk::playing(TCP);
        talk.receive(frame(0, &ts(1)));
        let said = talk.receive(format!("{request}\r\n"));
        assert!(said[0].starts_with("send RTSP/1.0 200 OK"));
        said[1..]
            .iter()
            .map(|text| text.split(' ').take(2).collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };
    let over = vec!["end".to_owned(), "send TEARDOWN".into()];
    let line = |name: &str, headers: &str| format!("{name} {URL} RTSP/1.0\r\nCSeq: 1\r\n{headers}");
    assert_eq!(end(&line("TEARDOWN", "")), ["end", "done"]);
    assert_eq!(end(&line("REDIRECT", "")), over);
    assert_eq!(
        end(&line("REDIRECT", "Location: rtsp://h2/x\r\n")),
        ["send TEARDOWN", "connect h2:554"]
    );
    for (headers, ends) in [
        ("", true),
        ("x-notice: 2101 \"End-of-Stream Reached\"\r\n", true),
        ("x-Notice: 5402 \"Client Session Terminated\"\r\n", true),
        ("Notice: 2104 \"Start-of-Stream\"\r\n", false),
        ("Content-Type: application/sdp\r\n", false),
    ] {
        let expected = if ends { over.clone() } else { vec![] };
        assert_eq!(end(&line("ANNOUNCE", headers)), expected, "{headers}");
    }
}

/// RTCP BYE of these sources.
fn goodbye(sources: &[u32]) -> Vec<u8> {
    let count = u8::try_from(sources.len()).unwrap();
    let mut packet = vec![0x80 | count, 203, 0, count];
    packet.extend(sources.iter().flat_map(|source| source.to_be_bytes()));
    packet
}

#[test]
fn goodbye_of_the_sender_ends_the_stream_although_the_connection_stays() {
    let ended = |talk: &mut Talk| talk.wait(GOODBYE_WAIT);
    let is_end = |said: &[String]| said.iter().any(|text| text == "end");
    let mut talk = Talk::playing(TCP);
    talk.receive(frame(0, &rtp_packet(1)));
    assert_eq!(talk.receive(frame(1, &goodbye(&[1, 9]))), [""; 0]);
    let said = ended(&mut talk);
    assert!(
        is_end(&said) && said[1].starts_with("send TEARDOWN "),
        "{said:?}"
    );

    let mut talk = Talk::playing(UDP);
    talk.datagram(UdpSocket::Rtp, PEER, &rtp_packet(1));
    talk.datagram(UdpSocket::Rtcp, "203.0.113.9:1", &goodbye(&[9]));
    assert!(!is_end(&ended(&mut talk)), "a stranger ends nothing");
    talk.datagram(UdpSocket::Rtcp, PEER, &goodbye(&[9]));
    assert!(!is_end(&talk.wait(GOODBYE_WAIT / 2)));
    let late = talk.datagram(UdpSocket::Rtp, PEER, &rtp_packet(2));
    assert_eq!(late, ["packet 2"], "it was sent before");
    assert!(!is_end(&talk.wait(GOODBYE_WAIT / 2)));
    assert!(is_end(&ended(&mut talk)));

    // Only the source changes.
    let mut talk = Talk::playing(TCP);
    let mut other = rtp_packet(1);
    other[8..12].copy_from_slice(&[0, 0, 0, 7]);
    talk.receive(frame(0, &rtp_packet(1)));
    talk.receive([frame(1, &goodbye(&[9])), frame(0, &other)].concat());
    assert!(!is_end(&ended(&mut talk)));

    // Somebody else goes.
    let mut talk = Talk::playing(TCP);
    talk.receive(frame(0, &rtp_packet(1)));
    talk.receive(frame(1, &goodbye(&[8])));
    assert!(!is_end(&ended(&mut talk)));
    // Bare media does not say whose it is.
    talk.receive([frame(0, &ts(1)), frame(1, &goodbye(&[8]))].concat());
    talk.pause(true);
    assert!(!is_end(&talk.wait(60 * SECOND)), "media may still come");
    talk.pause(false);
    assert!(is_end(&ended(&mut talk)));

    let mut talk = Talk::playing(TCP);
    talk.receive(frame(1, &goodbye(&[9])));
    let said = ended(&mut talk);
    assert_eq!(said[0], "failed 503 server closed before any media");
}

#[test]
fn data_and_close_together_lose_nothing() {
    let mut talk = Talk::playing(TCP);
    assert_eq!(talk.receive(frame(0, &ts(3))).len(), 2);
    assert_eq!(talk.finish(), ["end", "done"]);
    // Nothing deliverable came: the client is told so.
    let mut talk = Talk::playing(TCP);
    talk.receive(frame(0, b"neither"));
    assert_eq!(
        talk.finish(),
        ["failed 503 server closed before any media", "done"]
    );
    // The last answer counts before the close.
    let mut request = Request::new(URL, AGENT).unwrap();
    request.purpose = Purpose::Probe;
    let mut talk = Talk::with(request);
    talk.connect();
    talk.answer(200, "");
    assert_eq!(talk.answer(200, ""), ["described None", "done"]);
    assert_eq!(talk.finish(), [""; 0]);
}

#[test]
fn close_in_every_state() {
    let steps = ["", "", TCP, ""];
    for answered in 0..=4 {
        let mut talk = Talk::to(URL);
        for headers in steps.into_iter().take(answered) {
            talk.answer(200, headers);
        }
        let said = talk.close();
        match answered {
            0 | 1 => assert_eq!(said, ["done"]),
            2 => {
                // SETUP is under way: its answer names the session that is to be ended.
                assert_eq!(said, [""; 0]);
                assert!(talk.answer(200, TCP)[0].starts_with("send TEARDOWN "));
                assert!(talk.last().contains("Session: abc\r\n"));
                assert_eq!(talk.answer(200, ""), ["done"]);
            }
            _ => {
                assert!(said[0].starts_with("send TEARDOWN "), "{said:?}");
                // The answer to PLAY may come first, and media too.
                let late = talk.session.cseq - 1;
                if answered == 3 {
                    let play = format!("RTSP/1.0 200 OK\r\nCSeq: {late}\r\n\r\n");
                    assert_eq!(talk.receive(play), [""; 0]);
                }
                assert_eq!(talk.receive(frame(0, &ts(1))), [""; 0]);
                assert_eq!(talk.answer(454, ""), ["done"]);
            }
        }
        assert_eq!(talk.close(), [""; 0]);
        assert_eq!(talk.receive(frame(0, &ts(1))), [""; 0]);
        assert_eq!(talk.session.deadline(), None);
    }
    let mut talk = Talk::to(URL);
    talk.answer(200, "");
    talk.answer(200, "");
    talk.close();
    assert_eq!(
        talk.wait(3 * SECOND),
        ["done"],
        "SETUP is not waited for without end"
    );
}

#[test]
fn client_that_left_is_told_nothing() {
    let endless = "RTSP/1.0 200 OK\r\n".to_owned() + &"a: b\r\n".repeat(4000);
    let mut talk = Talk::playing(TCP);
    talk.close();
    assert_eq!(talk.receive(&endless), ["done"]);
    let mut talk = Talk::to(URL);
    talk.answer(200, "");
    talk.answer(200, "");
    talk.close();
    assert_eq!(talk.answer(200, "Session: a\tb\r\n"), ["done"]);
}

#[test]
fn teardown_is_bounded_and_tried_again_once() {
    let mut talk = Talk::playing(TCP);
    talk.close();
    assert_eq!(talk.wait(3 * SECOND), ["done"]);

    let mut talk = Talk::playing(TCP);
    talk.close();
    assert_eq!(talk.finish(), ["done"]);

    let mut talk = Talk::playing(TCP);
    talk.close();
    assert_eq!(talk.broken(), ["connect 192.0.2.1:8554"]);
    let said = talk.connect();
    assert!(said[0].starts_with("send TEARDOWN ") && said[0].contains("Session: abc\r\n"));
    assert_eq!(talk.broken(), ["done"]);

    let mut talk = Talk::playing(TCP);
    talk.close();
    talk.broken();
    assert_eq!(talk.wait(3 * SECOND), ["done"]);
}

#[test]
fn teardown_may_be_challenged() {
    let mut talk = Talk::to("rtsp://u:p@192.0.2.1:8554/live/ch1");
    for headers in ["", "", TCP, ""] {
        talk.answer(200, headers);
    }
    talk.close();
    let said = talk.answer(401, "WWW-Authenticate: Digest nonce=n\r\n");
    assert!(said[0].starts_with("send TEARDOWN ") && said[0].contains("Authorization: Digest "));
    talk.answer(401, "WWW-Authenticate: Digest nonce=n\r\n");
    assert_eq!(
        talk.answer(401, "WWW-Authenticate: Digest nonce=n\r\n"),
        ["done"]
    );
}
