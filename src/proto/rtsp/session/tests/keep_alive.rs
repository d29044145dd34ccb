//! While the stream plays: keep-alives, late answers, and requests of the server.

use super::*;

#[test]
fn keep_alives_are_sent_in_time_and_need_no_answer() {
    let mut talk = Talk::playing(TCP);
    talk.receive(frame(0, &ts(1)));
    // Media flows, answers do not.
    for round in 0..9 {
        let said = talk.wait(10 * SECOND);
        let expected = if round % 3 == 2 { 1 } else { 0 };
        assert_eq!(said.len(), expected, "{said:?}");
        assert_eq!(talk.receive(frame(0, &ts(1))), ["media 188"]);
    }
    assert!(talk.last().starts_with("GET_PARAMETER rtsp://"));
    assert!(
        talk.last()
            .ends_with("CSeq: 7\r\nUser-Agent: flowgate/1\r\nSession: abc\r\n\r\n")
    );
    // An answer with a body among media.
    let body = b"RTSP/1.0 200 OK\r\nCSeq: 7\r\nContent-Length: 2\r\n\r\n$\0";
    let input = [frame(0, &ts(1)), body.to_vec(), frame(0, &ts(2))].concat();
    assert_eq!(talk.receive(&input), ["media 188", "media 376"]);
}

#[test]
fn keep_alive_interval_is_half_the_timeout() {
    for (timeout, seconds) in [
        ("60", 30),
        ("600", 30),
        ("20", 10),
        ("1", 1),
        ("0", 1),
        ("x", 30),
        (" 20 ; x=1", 10),
        ("\"20\"", 10),
        ("20.5", 10),
        ("99999999999", 30),
    ] {
        let talk = Talk::playing(&format!(
            "Session: a; Timeout={timeout}\r\nTransport: RTP/AVP/TCP\r\n"
        ));
        let at = talk.session.timers.keep_alive.unwrap();
        assert_eq!(at - talk.now, Duration::from_secs(seconds), "{timeout}");
    }
}

#[test]
fn keep_alive_method_follows_the_server() {
    for (public, method) in [
        ("", "GET_PARAMETER"),
        ("Public: PLAY, GET_PARAMETER\r\n", "GET_PARAMETER"),
        ("Public: PLAY\r\n", "OPTIONS"),
    ] {
        let mut talk = Talk::to(URL);
        for headers in [public, "", TCP, ""] {
            talk.answer(200, headers);
        }
        talk.session.timers.media = None;
        talk.wait(30 * SECOND);
        assert!(talk.last().starts_with(method), "{public}");
    }
    for status in [400, 401, 405, 454, 455, 500, 501, 551] {
        let mut talk = Talk::playing(TCP);
        talk.receive(frame(0, &ts(1)));
        talk.session.timers.media = None;
        talk.wait(30 * SECOND);
        assert_eq!(talk.answer(status, ""), [""; 0], "{status}");
        talk.session.timers.media = None;
        talk.wait(30 * SECOND);
        let method = if status == 401 {
            "GET_PARAMETER"
        } else {
            "OPTIONS"
        };
        assert!(talk.last().starts_with(method), "{status}");
    }
}

#[test]
fn late_answers_are_told_from_current_ones() {
    let mut talk = Talk::playing(TCP);
    talk.receive(frame(0, &ts(1)));
    talk.session.timers.media = None;
    // 5 is given up, 6 is outstanding.
    talk.wait(60 * SECOND);
    assert_eq!(talk.session.cseq, 6);
    talk.receive("RTSP/1.0 405 X\r\nCSeq: 5\r\n\r\n");
    assert_eq!(
        talk.session.server.keep_alive,
        Method::GetParameter,
        "late, so without effect"
    );
    assert!(talk.session.awaited.is_some());
    talk.receive("RTSP/1.0 405 X\r\nCSeq: 6\r\n\r\n");
    assert_eq!(talk.session.server.keep_alive, Method::Options);
    assert!(talk.session.awaited.is_none());
}

#[test]
fn wrong_numbers_do_not_stop_a_handshake() {
    for cseq in ["CSeq: 1\r\n", "CSeq: 99\r\n", "CSeq: x\r\n", ""] {
        let mut talk = Talk::to(URL);
        for headers in ["", "", TCP, ""] {
            talk.receive(format!("RTSP/1.0 200 OK\r\n{cseq}{headers}\r\n"));
        }
        assert_eq!(talk.session.state, State::Playing, "{cseq}");
    }
}

#[test]
fn requests_of_the_server_are_answered() {
    let mut talk = Talk::playing(TCP);
    talk.receive(frame(0, &ts(1)));
    for (method, status) in [
        ("OPTIONS", "200 OK"),
        ("SET_PARAMETER", "200 OK"),
        ("GET_PARAMETER", "200 OK"),
        ("PAUSE", "501 Not Implemented"),
    ] {
        let request = format!(
            "{method} {URL} RTSP/1.0\r\nCSeq: 12\r\nSession: abc\r\nContent-Length: 4\r\n\r\nbody"
        );
        let input = [request.as_bytes(), &frame(0, &ts(1))].concat();
        let answer = format!("send RTSP/1.0 {status}\r\nCSeq: 12\r\n\r\n");
        assert_eq!(talk.receive(&input), [answer, "media 188".into()]);
    }
    let said = talk.receive("OPTIONS * RTSP/1.0\r\nCSeq: 1\u{a0}\r\n\r\n");
    assert_eq!(said, ["send RTSP/1.0 200 OK\r\nCSeq: 0\r\n\r\n"]);
}
