//! Whatever a server says, and however it is cut.

use super::*;

#[test]
fn malformed_answers_fail_the_handshake_but_not_the_stream() {
    let broken = "RTSP/1.0 200 OK\r\nX: \u{1}\r\n\r\n";
    let mut talk = Talk::to(URL);
    assert!(talk.receive(broken)[0].starts_with("failed 503 malformed RTSP message"));
    let mut talk = Talk::playing(TCP);
    assert_eq!(
        talk.receive([broken.as_bytes(), &frame(0, &ts(1))].concat())
            .len(),
        2
    );
    let endless = "RTSP/1.0 200 OK\r\n".to_owned() + &"a: b\r\n".repeat(4000);
    assert_eq!(
        talk.receive(endless),
        [
            "failed 503 RTSP message head longer than 16384 bytes",
            "done"
        ]
    );
}

/// A whole conversation of a server, answers without regard to what was asked.
fn any_server_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"RTSP/1.0 200 OK\r\n\r\n".to_vec()),
        Just(format!("RTSP/1.0 200 OK\r\n{TCP}\r\n").into_bytes()),
        Just(format!("RTSP/1.0 200 OK\r\n{UDP}\r\n").into_bytes()),
        Just(b"RTSP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nv=0\r\n".to_vec()),
        Just(b"RTSP/1.0 401 X\r\nWWW-Authenticate: Digest nonce=n, qop=auth\r\n\r\n".to_vec()),
        Just(b"RTSP/1.0 302 X\r\nLocation: rtsp://h/x\r\n\r\n".to_vec()),
        Just(b"RTSP/1.0 461 X\r\n\r\n".to_vec()),
        Just(b"OPTIONS * RTSP/1.0\r\nCSeq: 3\r\n\r\n".to_vec()),
        Just(b"TEARDOWN * RTSP/1.0\r\nCSeq: 3\r\n\r\n".to_vec()),
        Just(frame(0, &rtp_packet(1))),
        Just(frame(0, &ts(2))),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn cutting_the_stream_changes_nothing(
        input in any_server_bytes(),
        mut cuts in prop::collection::vec(0usize..600, 0..10),
    ) {
        let talk = |cuts: &[usize]| {
            // No sockets are opened, for that is answered between two calls.
            let mut talk = Talk::to("rtsp://u:p@h/live");
            let mut said = Vec::new();
            let mut start = 0;
            for end in cuts.iter().copied().chain([input.len()]) {
                if let Some(bytes) = input.get(start..end) {
                    said.extend(talk.receive(bytes));
                    start = end;
                }
            }
            said
        };
        cuts.sort_unstable();
        prop_assert_eq!(talk(&cuts), talk(&[]));
    }

    #[test]
    fn operations_in_any_order_end_once_and_leave_no_wait(
        operations in prop::collection::vec((0u8..14, any::<u8>(), any_server_bytes()), 0..30)
    ) {
        let mut talk = Talk::with(Request::new("rtsp://u:p@h/live", AGENT).unwrap());
        let mut said = talk.connect();
        for (operation, argument, bytes) in operations {
            said.extend(match operation {
                0..=5 => talk.receive(&bytes),
                6 => talk.wait(SECOND * u32::from(argument) / 8),
                7 => { talk.pause(argument % 2 == 0); vec![] }
                8 => talk.datagram(UdpSocket::Rtp, PEER, &bytes),
                9 => talk.datagram(UdpSocket::Rtcp, PEER, &rtp_packet(2)),
                10 => talk.connect(),
                11 => talk.finish(),
                12 => talk.broken(),
                _ => talk.close(),
            });
        }
        talk.pause(false);
        said.extend(talk.close());
        said.extend(talk.wait(12 * SECOND));
        prop_assert_eq!(talk.session.state, State::Done);
        prop_assert_eq!(talk.session.deadline(), None);
        let count = |wanted: &str| said.iter().filter(|text| text.starts_with(wanted)).count();
        prop_assert_eq!(count("done"), 1);
        prop_assert_eq!(said.last().map(String::as_str), Some("done"));
        prop_assert!(count("end") + count("failed") <= 1);
        prop_assert!(count("playing") <= 1);
        // No media before the head and none after the end.
        let at = |wanted: &str| said.iter().position(|text| text.starts_with(wanted));
        let ends = at("end").or(at("failed")).unwrap_or(said.len());
        for (place, text) in said.iter().enumerate() {
            if text.starts_with("media") || text.starts_with("packet") {
                prop_assert!(at("playing").is_some_and(|playing| playing < place) && place < ends);
            }
        }
        // Every request has as many lines as it has headers of ours.
        for request in &talk.sent {
            prop_assert!(request.ends_with("\r\n\r\n"));
            prop_assert_eq!(request.matches("\r\n\r\n").count(), 1);
        }
    }

    #[test]
    fn nothing_from_outside_adds_a_line(
        user in "\\PC{0,8}", path in "\\PC{0,12}", id in "[ -~]{0,12}", nonce in "[ -~\\t]{0,12}", control in "\\PC{0,12}",
    ) {
        let Ok(request) = Request::new(&format!("rtsp://{user}:p@h/{path}"), AGENT) else {
            return Ok(());
        };
        let mut talk = Talk::with(request);
        talk.connect();
        talk.answer(401, &format!("WWW-Authenticate: Digest nonce=\"{nonce}\"\r\n"));
        talk.answer(200, &format!("Session: {id}\r\n"));
        talk.answer_with_body("", &format!("m=video 0 RTP/AVP 33\r\na=control:{control}\r\n"));
        let names = ["CSeq", "User-Agent", "Session", "Authorization", "Accept", "x-NAT", "Transport"];
        for request in &talk.sent {
            let mut lines = request.lines();
            prop_assert_eq!(lines.next().map(|line| line.split(' ').count()), Some(3));
            for line in lines.filter(|line| !line.is_empty()) {
                let name = line.split(": ").next().unwrap_or_default();
                prop_assert!(names.contains(&name), "{}", line);
            }
        }
    }
}
