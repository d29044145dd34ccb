//! A client that is full: the connection is not read, and clocks stand still.

use super::*;

#[test]
fn pause_stops_the_clocks_for_answers_and_media() {
    for answered in 0..=4 {
        let mut talk = Talk::to(URL);
        for headers in ["", "", TCP, ""].into_iter().take(answered) {
            talk.answer(200, headers);
        }
        talk.wait(2 * SECOND);
        talk.pause(true);
        let said = talk.wait(100 * SECOND);
        // Only keep-alives are written meanwhile.
        let keep_alives = if answered == 4 { 3 } else { 0 };
        assert_eq!(said.len(), keep_alives, "{said:?}");
        assert!(
            said.iter()
                .all(|text| text.starts_with("send GET_PARAMETER "))
        );
        talk.pause(false);
        assert_eq!(talk.wait(SECOND / 2), [""; 0]);
        assert!(
            talk.wait(SECOND)[0].starts_with("failed 503 no "),
            "{answered}"
        );
        talk.pause(true);
        talk.wait(10 * SECOND);
        assert_eq!(talk.session.state, State::Done, "leaving is not suspended");
    }
}

#[test]
fn answers_that_piled_up_during_a_pause_are_late() {
    let mut talk = Talk::playing(TCP);
    talk.receive(frame(0, &ts(1)));
    talk.pause(true);
    assert_eq!(talk.wait(100 * SECOND).len(), 3);
    talk.pause(false);
    for cseq in 5..7 {
        talk.receive(format!("RTSP/1.0 501 X\r\nCSeq: {cseq}\r\n\r\n"));
        assert_eq!(talk.session.server.keep_alive, Method::GetParameter);
    }
    talk.answer(200, "");
    assert!(talk.session.awaited.is_none());
}

#[test]
fn short_pauses_add_up() {
    let mut talk = Talk::to(URL);
    for _ in 0..20 {
        talk.pause(true);
        assert_eq!(talk.wait(SECOND), [""; 0]);
        talk.pause(false);
        assert_eq!(talk.wait(SECOND / 10), [""; 0]);
    }
    assert_eq!(talk.wait(2 * SECOND).len(), 2);
}
