//! Media over the control connection, and what is known of it.

use super::*;

#[test]
fn interleaved_media_is_passed_on_in_order() {
    let mut talk = Talk::playing(TCP);
    let input = [
        frame(0, &rtp_packet(1)),
        frame(1, b"rtcp"),
        b"RTSP/1.0 200 OK\r\nCSeq: 99\r\n\r\n".to_vec(),
        frame(9, b"?"),
        frame(0, &ts(9)),
        frame(0, b"neither"),
        frame(0, &[]),
    ]
    .concat();
    let said = talk.receive(&input);
    let expected = [
        "playing rtsp tcp-interleaved mp2t-rtp",
        "media 188",
        "media 1692",
    ];
    assert_eq!(said, expected);
    // The longest frame there is.
    let mut long = rtp_packet(2);
    long.resize(65_535, 0x55);
    assert_eq!(talk.receive(frame(0, &long)), ["media 65523"]);
    // Fills the hole between two deadlines: no stall.
    assert_eq!(talk.wait(14 * SECOND), [""; 0]);
    assert_eq!(talk.receive(frame(0, &ts(1))), ["media 188"]);
    assert_eq!(talk.wait(14 * SECOND), [""; 0]);
    assert_eq!(
        talk.wait(2 * SECOND)[0].lines().next(),
        Some("failed 503 no media for 15s")
    );
}

#[test]
fn media_before_the_answer_to_play_is_kept_for_after_it() {
    let asked = || {
        let mut talk = Talk::to(URL);
        for headers in ["", "", TCP] {
            talk.answer(200, headers);
        }
        talk
    };
    let mut talk = asked();
    let early = [frame(0, &rtp_packet(1)), frame(1, b"rtcp"), frame(0, &[])].concat();
    for part in early.chunks(77) {
        assert_eq!(talk.receive(part), [""; 0]);
    }
    assert_eq!(talk.receive(frame(0, &ts(2))), [""; 0]);
    assert_eq!(talk.session.carried_bytes(), 3 * 188);
    let rest = frame(0, &rtp_packet(2));
    let answer = b"RTSP/1.0 200 OK\r\nScale: 1\r\n\r\n".to_vec();
    let said = talk.receive([answer, rest].concat());
    let playing = "playing rtsp tcp-interleaved mp2t-rtp 1";
    assert_eq!(said, [playing, "media 564", "media 188"]);
    assert_eq!(talk.session.carried_bytes(), 0);
    // It counts as the first media, too.
    let mut talk = asked();
    talk.receive(frame(0, &ts(1)));
    talk.answer(200, "");
    assert_eq!(talk.wait(14 * SECOND), [""; 0]);
    // A refusal is one all the same, and more than is kept is not kept.
    let mut talk = asked();
    for _ in 0..3 {
        talk.receive(frame(0, &ts(300)));
        assert!(talk.session.carried_bytes() <= EARLY_BYTES_MAX);
    }
    assert!(talk.answer(404, "")[0].starts_with("failed 503 "));
}

#[test]
fn metadata_is_what_the_server_says_and_media_shows() {
    let mut talk = Talk::to(URL);
    talk.answer(200, "");
    talk.answer_with_body("", "m=video 0 RTP/AVP 33\r\na=range:npt=10.25-40.5\r\n");
    talk.answer(200, TCP);
    talk.answer(200, "Scale: 1.500000\r\nRange: npt=10.25-40.5\r\n");
    assert_eq!(
        talk.receive(frame(0, &ts(1)))[0],
        "playing rtsp tcp-interleaved mp2t-direct 1.5 npt=10.25-40.5 30.25"
    );
    // No Transport: interleaved, but not said so, and no keep-alives.
    let mut talk = Talk::playing("Session: a\r\n");
    assert_eq!(
        talk.receive(frame(0, &rtp_packet(1)))[0],
        "playing rtsp mp2t-rtp"
    );
    assert_eq!(talk.session.timers.keep_alive, None);
}

#[test]
fn media_that_is_what_the_description_says_instead_of_ts_is_refused_by_name() {
    let described = |transport| {
        let mut talk = Talk::to_udp(URL);
        talk.answer(200, "");
        talk.answer_with_body("", "m=video 0 RTP/AVP 96\r\na=rtpmap:96 h264/90000\r\n");
        talk.answer(200, transport);
        talk
    };
    let mut picture = rtp_packet(1);
    picture.truncate(100);
    let refused = "failed 503 server plays H264, and only MPEG-TS can be passed on";
    let mut talk = described(TCP);
    talk.answer(200, "");
    let said = talk.receive(frame(0, &picture));
    assert_eq!((said.len(), said[0].as_str()), (2, refused));
    assert!(said[1].starts_with("send TEARDOWN "), "{said:?}");

    let mut talk = described(UDP);
    talk.answer(200, "");
    let said = talk.datagram(UdpSocket::Rtp, PEER, &picture);
    assert!(said.iter().any(|text| text == refused), "{said:?}");
    assert!(said.iter().all(|text| !text.starts_with("packet")));

    // Before the answer to PLAY.
    let mut talk = described(TCP);
    assert_eq!(talk.receive(frame(0, &picture)), [""; 0]);
    let said = talk.answer(200, "");
    assert!(said.iter().any(|text| text == refused), "{said:?}");
    assert!(said.iter().all(|text| !text.starts_with("media")));

    // There are servers that say so and send MPEG-TS.
    let mut talk = described(TCP);
    talk.answer(200, "");
    let said = talk.receive(frame(0, &rtp_packet(1)));
    assert!(said[0].starts_with("playing "), "{said:?}");
}

#[test]
fn slices_of_one_call_stay_good_through_a_redirect() {
    let mut talk = Talk::playing(TCP);
    let media = frame(0, &rtp_packet(1));
    let (front, behind) = media.split_at(50);
    talk.receive(front);
    let redirect = b"REDIRECT * RTSP/1.0\r\nLocation: rtsp://h2/\r\n\r\n";
    let input = [behind, redirect].concat();
    let mut actions = Vec::new();
    talk.session.receive(talk.now, &input, &mut actions);
    let Some(Action::Media(slice)) = actions.get(1) else {
        panic!("{actions:?}");
    };
    assert_eq!(slice.buffer, Buffer::Joined);
    let expected = &media[4..];
    let payload = rtp::decode(expected).unwrap().payload;
    assert_eq!(
        talk.session.joined().get(slice.range.clone()),
        expected.get(payload)
    );
}
