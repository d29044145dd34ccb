//! The requests up to PLAY, in order, and what servers answer instead.

use super::*;

#[test]
fn handshake_is_exact_to_the_byte() {
    let mut talk = Talk::with(Request::new(URL, AGENT).unwrap());
    talk.session
        .request
        .play_from(Some("clock=20250310T113000Z-"), Some("5"))
        .unwrap();
    let request = |method: &str, cseq: u32, rest: &str| {
        format!(
            "send {method} {URL} RTSP/1.0\r\nCSeq: {cseq}\r\nUser-Agent: flowgate/1\r\n{rest}\r\n"
        )
    };
    let nat = "x-NAT: 192.0.2.2:50972\r\n";
    assert_eq!(
        talk.connect(),
        ["connect 192.0.2.1:8554", &request("OPTIONS", 1, "")]
    );
    assert_eq!(talk.session.state_number(), 11);
    assert_eq!(
        talk.answer(200, "Public: DESCRIBE\r\n"),
        [request(
            "DESCRIBE",
            2,
            &format!("Accept: application/sdp\r\n{nat}")
        )]
    );
    let ports = "client_address=192.0.2.2;client_port=10000-10001;mode=PLAY";
    let offer = format!(
        "Transport: MP2T/RTP/TCP;unicast;interleaved=0-1,MP2T/TCP;unicast;interleaved=0-1,\
         RTP/AVP/TCP;unicast;interleaved=0-1,MP2T/RTP/UDP;unicast;{ports},\
         MP2T/UDP;unicast;{ports},RTP/AVP;unicast;{ports}\r\n{nat}"
    );
    assert_eq!(
        talk.answer(200, "Session: early\r\n"),
        [
            "open sockets 192.0.2.2",
            &request("SETUP", 3, &format!("Session: early\r\n{offer}"))
        ]
    );
    assert_eq!(
        talk.answer(200, TCP),
        [
            "close sockets",
            &request(
                "PLAY",
                4,
                "Session: abc\r\nRange: clock=20250310T113000Z-\r\n"
            )
        ]
    );
    assert_eq!(talk.session.media_expected(), None);
    assert_eq!(talk.answer(200, ""), [""; 0]);
    assert_eq!(
        talk.session.media_expected(),
        Some(MediaTransport::Interleaved)
    );
    assert_eq!(
        talk.wait(29 * SECOND)[..1],
        ["failed 503 no media within 3s of PLAY"]
    );
    assert!(
        talk.last()
            .starts_with(&request("TEARDOWN", 5, "Session: abc\r\n")[5..])
    );
}

#[test]
fn control_url_is_used_for_setup_only() {
    for (headers, control, expected) in [
        ("", "trackID=2", "rtsp://192.0.2.1:8554/live/trackID=2"),
        ("Content-Base: rtsp://h/s.sdp/\r\n", "t", "rtsp://h/s.sdp/t"),
        (
            "Content-Location: /x/y\r\n",
            "t",
            "rtsp://192.0.2.1:8554/x/t",
        ),
        ("Content-Base: rtsp://h/s.sdp/\r\n", "*", URL),
        ("", "rtsp://h/a b", "rtsp://h/a%20b"),
    ] {
        let mut talk = Talk::to(URL);
        talk.answer(200, "");
        let body = format!("v=0\r\nm=video 0 RTP/AVP 33\r\na=control:{control}\r\n");
        talk.answer_with_body(headers, &body);
        assert!(
            talk.last()
                .starts_with(&format!("SETUP {expected} RTSP/1.0\r\n")),
            "{control}"
        );
        talk.answer(200, TCP);
        assert!(
            talk.last().starts_with(&format!("PLAY {URL} RTSP/1.0\r\n")),
            "{control}"
        );
    }
}

#[test]
fn probe_and_duration_stop_after_describe() {
    let described = |purpose, body: &str| {
        let mut request = Request::new(URL, AGENT).unwrap();
        request.purpose = purpose;
        request.stun = Some((Host::Name("stun.example".into()), 3478));
        let mut talk = Talk::with(request);
        talk.connect();
        talk.answer(200, "");
        talk.answer_with_body("", body)
    };
    let body = "m=video 0 RTP/AVP 33\r\na=range:npt=10-40.5\r\n";
    assert_eq!(
        described(Purpose::Probe, body),
        ["described Some(Rtp)", "done"]
    );
    assert_eq!(described(Purpose::Probe, ""), ["described None", "done"]);
    assert_eq!(
        described(Purpose::Duration, body),
        ["duration 30.5s", "done"]
    );
    assert_eq!(
        described(Purpose::Duration, ""),
        ["failed 404 server names no end of the media", "done"]
    );
}

#[test]
fn every_step_has_its_own_time() {
    let methods = ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"];
    for (steps, method) in methods.into_iter().enumerate() {
        let mut talk = Talk::to(URL);
        for headers in ["", "", TCP].into_iter().take(steps) {
            assert_eq!(talk.wait(2 * SECOND), [""; 0]);
            talk.answer(200, headers);
        }
        let said = talk.wait(3 * SECOND);
        assert_eq!(
            said[0],
            format!("failed 503 no answer to {method} within 3s")
        );
        // Only what has been set up is torn down.
        assert_eq!(
            said[1].starts_with("send TEARDOWN"),
            method == "PLAY",
            "{said:?}"
        );
        talk.wait(3 * SECOND);
        assert_eq!(talk.session.state, State::Done);
    }
    let mut talk = Talk::with(Request::new(URL, AGENT).unwrap());
    talk.call(|session, now, actions| session.open(now, actions));
    assert_eq!(
        talk.wait(CONNECT_WAIT),
        ["failed 503 connecting to the server took too long", "done"]
    );
}

#[test]
fn connection_errors_are_reported() {
    for error in [
        ConnectError::Name,
        ConnectError::Refused,
        ConnectError::Timeout,
        ConnectError::Tls,
    ] {
        let mut talk = Talk::with(Request::new("rtsps://h/", AGENT).unwrap());
        let said = talk.call(|session, now, actions| session.open(now, actions));
        assert_eq!(said, ["connect h:322 tls"]);
        let said = talk.call(|session, now, actions| session.connect_failed(now, error, actions));
        assert_eq!(said, [format!("failed 503 {error}"), "done".into()]);
    }
}

#[test]
fn error_statuses_end_the_handshake() {
    for status in [400, 403, 404, 453, 454, 500, 503, 600] {
        let mut talk = Talk::to(URL);
        talk.answer(200, "");
        let said = talk.answer(status, "");
        let failed = format!("failed 503 server answered DESCRIBE with {status}");
        assert_eq!(said, [failed, "done".into()]);
    }
}

#[test]
fn server_without_options_may_still_describe() {
    for status in [405, 501, 551] {
        let mut talk = Talk::to(URL);
        talk.answer(status, "");
        assert!(talk.last().starts_with("DESCRIBE "), "{status}");
    }
}

#[test]
fn other_successes_and_preliminary_answers_are_understood() {
    let mut talk = Talk::to(URL);
    assert_eq!(talk.answer(100, ""), [""; 0]);
    talk.answer(201, "");
    assert!(talk.last().starts_with("DESCRIBE "));
    talk.answer(250, "");
    assert!(talk.last().starts_with("SETUP "));
}

#[test]
fn refused_transports_are_offered_one_by_one() {
    for status in [400, 406, 451, 461] {
        let mut talk = Talk::to_udp(URL);
        talk.answer(200, "");
        talk.answer(200, "");
        talk.answer(status, "");
        assert!(
            talk.last()
                .contains("\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n")
        );
        talk.answer(status, "");
        let udp = "\r\nTransport: RTP/AVP;unicast;client_port=10000-10001\r\n";
        assert!(talk.last().contains(udp), "{}", talk.last());
        assert_eq!(
            talk.answer(status, "")[0],
            format!("failed 503 server answered SETUP with {status}")
        );
    }
    let mut talk = Talk::to(URL);
    talk.answer(200, "");
    talk.answer(200, "");
    talk.answer(461, "");
    assert_eq!(
        talk.answer(461, "")[0],
        "failed 503 server answered SETUP with 461"
    );
}

#[test]
fn unusable_transport_ends_the_session_at_the_server() {
    for (header, expected) in [
        (
            "RTP/AVP;multicast",
            "server chose multicast, which was not offered",
        ),
        (
            "RTP/AVP;unicast",
            "server chose UDP, for which there are no sockets",
        ),
    ] {
        let mut talk = Talk::to(URL);
        talk.answer(200, "");
        talk.answer(200, "");
        let said = talk.answer(200, &format!("Session: a\r\nTransport: {header}\r\n"));
        assert_eq!(said[0], format!("failed 503 {expected}"));
        assert!(said[1].starts_with("send TEARDOWN "));
    }
}

#[test]
fn scale_is_asked_of_play_alone_and_what_comes_of_it_is_told() {
    for (start, lines) in [
        (None, "Scale: -4\r\n"),
        (Some("90"), "Range: npt=90-\r\nScale: -4\r\n"),
    ] {
        let mut request = Request::new(URL, AGENT).unwrap();
        request.udp = false;
        request.play_from(None, start).unwrap();
        request.play_at(Some("-4")).unwrap();
        let mut talk = Talk::with(request);
        talk.connect();
        for headers in ["", "", TCP] {
            talk.answer(200, headers);
        }
        assert_eq!(
            talk.last(),
            format!(
                "PLAY {URL} RTSP/1.0\r\nCSeq: 4\r\nUser-Agent: flowgate/1\r\nSession: abc\r\n{lines}\r\n"
            )
        );
        talk.answer(200, "Scale: -2.0\r\n");
        let said = talk.receive(frame(0, &ts(1)));
        assert_eq!(said[0], "playing rtsp tcp-interleaved mp2t-direct -2");
        talk.close();
        let with_scale = talk.sent.iter().filter(|request| request.contains("Scale"));
        assert_eq!(with_scale.count(), 1);
    }
}

#[test]
fn long_descriptions_are_accepted() {
    let mut talk = Talk::to(URL);
    talk.answer(200, "");
    let body = "v=0\r\n".to_owned()
        + &"a=x:y\r\n".repeat(9000)
        + "m=video 0 RTP/AVP 33\r\na=control:t\r\n";
    talk.answer_with_body("", &body);
    assert!(
        talk.last()
            .starts_with("SETUP rtsp://192.0.2.1:8554/live/t ")
    );
}

#[test]
fn folded_headers_and_space_before_the_colon_are_understood() {
    let mut talk = Talk::to(URL);
    talk.receive("RTSP/1.0 200 OK\r\nCSeq : 1\r\nPublic:\r\n DESCRIBE,\r\n\tGET_PARAMETER\r\n\r\n");
    let body = "v=0\r\nm=video 0 RTP/AVP 33\r\na=control:t\r\n";
    talk.receive(format!(
        "RTSP/1.0 200 OK\r\nCSeq:\n 2\nContent-Length \t:\n {}\n\n{body}",
        body.len()
    ));
    assert!(
        talk.last()
            .starts_with("SETUP rtsp://192.0.2.1:8554/live/t ")
    );
    talk.answer(
        200,
        "Session : abc\r\n ;timeout=60\r\nTransport: RTP/AVP/TCP;unicast;\r\n interleaved=0-1\r\n",
    );
    assert!(
        talk.last().contains("\r\nSession: abc\r\n"),
        "{}",
        talk.last()
    );
    talk.answer(200, "");
    assert_eq!(talk.session.server.keep_alive, Method::GetParameter);
}
