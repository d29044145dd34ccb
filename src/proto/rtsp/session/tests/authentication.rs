//! Challenges, and how often they are answered.

use super::*;

#[test]
fn credentials_wait_for_a_challenge() {
    let mut talk = Talk::to("rtsp://user:p%40ss@192.0.2.1:8554/live/ch1");
    assert!(!talk.last().contains("Authorization"));
    talk.answer(401, "WWW-Authenticate: Basic realm=\"x\"\r\n");
    assert_eq!(
        talk.last(),
        format!(
            "OPTIONS {URL} RTSP/1.0\r\nCSeq: 2\r\nUser-Agent: flowgate/1\r\n\
             Authorization: Basic dXNlcjpwQHNz\r\n\r\n"
        )
    );
    talk.answer(200, "");
    assert!(
        talk.last()
            .contains("Authorization: Basic dXNlcjpwQHNz\r\nAccept:")
    );
}

#[test]
fn every_step_may_be_challenged() {
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    for challenged in 0..4 {
        let mut talk = Talk::to("rtsp://u:p@192.0.2.1:8554/live/ch1");
        for (step, headers) in ["", "", TCP, ""].into_iter().enumerate() {
            if step == challenged {
                let method = talk.last().split(' ').next().unwrap().to_owned();
                talk.answer(401, challenge);
                assert!(talk.last().starts_with(&method));
                assert!(talk.last().contains("\", qop=auth, nc=00000001, cnonce=\""));
            }
            talk.answer(200, headers);
        }
        assert_eq!(talk.session.state, State::Playing);
    }
}

#[test]
fn stale_nonce_is_replaced_and_refusal_is_final() {
    let mut talk = Talk::to("rtsp://u:p@192.0.2.1:8554/live/ch1");
    talk.answer(200, "");
    talk.answer(401, "WWW-Authenticate: Digest nonce=\"one\"\r\n");
    assert!(talk.last().contains("nonce=\"one\""));
    talk.answer(
        401,
        "WWW-Authenticate: Digest nonce=\"two\", stale=true\r\n",
    );
    assert!(talk.last().contains("nonce=\"two\""));
    // The budget is that of one request.
    talk.answer(200, "");
    talk.answer(401, "WWW-Authenticate: Digest nonce=\"three\"\r\n");
    talk.answer(401, "WWW-Authenticate: Digest nonce=\"four\"\r\n");
    let said = talk.answer(401, "WWW-Authenticate: Digest nonce=\"five\"\r\n");
    assert_eq!(
        said,
        [
            "failed 503 server refused user and password 2 times",
            "done"
        ]
    );
}

#[test]
fn empty_password_is_a_password() {
    for url in [
        "rtsp://u@192.0.2.1:8554/live/ch1",
        "rtsp://u:@192.0.2.1:8554/live/ch1",
    ] {
        let mut talk = Talk::to(url);
        talk.answer(401, "WWW-Authenticate: Basic realm=\"r\"\r\n");
        let last = talk.last();
        assert!(last.contains("\r\nAuthorization: Basic dTo=\r\n"), "{last}");
        let mut talk = Talk::to(url);
        talk.answer(401, "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n");
        // Computed with md5sum.
        let response = "response=\"c939761b5c66e8c0bc226614c002eb25\"\r\n";
        assert!(talk.last().contains(response), "{}", talk.last());
        talk.answer(200, "");
        assert!(
            talk.last()
                .contains("\r\nAuthorization: Digest username=\"u\"")
        );
    }
}

#[test]
fn every_request_has_its_own_budget_of_answers() {
    let mut talk = Talk::to("rtsp://u:p@192.0.2.1:8554/live/ch1");
    let mut nonce = 0;
    let mut refuse = |talk: &mut Talk| {
        nonce += 1;
        talk.answer(
            401,
            &format!("WWW-Authenticate: Digest nonce=\"{nonce}\"\r\n"),
        );
        assert!(
            talk.last().contains(&format!("nonce=\"{nonce}\"")),
            "{}",
            talk.last()
        );
    };
    for headers in ["", "", TCP, ""] {
        for _ in 0..auth::ANSWERS_MAX {
            refuse(&mut talk);
        }
        talk.answer(200, headers);
    }
    assert_eq!(talk.session.state, State::Playing);
    for _ in 0..3 {
        for keep_alives in [0, 0, 1] {
            talk.receive(frame(0, &ts(1)));
            assert_eq!(talk.wait(KEEP_ALIVE_MAX / 3).len(), keep_alives);
        }
        for _ in 0..auth::ANSWERS_MAX {
            refuse(&mut talk);
        }
        // Beyond the budget a keep-alive is let be, and the stream goes on.
        assert_eq!(
            talk.answer(401, "WWW-Authenticate: Digest nonce=\"x\"\r\n"),
            [""; 0]
        );
    }
    assert!(talk.close()[0].starts_with("send TEARDOWN "));
    refuse(&mut talk);
    assert_eq!(talk.answer(200, ""), ["done"]);
}

/// Cameras do so.
#[test]
fn server_that_closes_behind_a_challenge_is_asked_again() {
    let challenge = "WWW-Authenticate: Digest nonce=\"n\"\r\n";
    for answered in 0..3 {
        let mut talk = Talk::to("rtsp://u:p@192.0.2.1:8554/live/ch1");
        for headers in ["", "", TCP].into_iter().take(answered) {
            talk.answer(200, headers);
        }
        talk.answer(401, challenge);
        let connects = ["connect 192.0.2.1:8554"];
        let said = if answered == 1 {
            talk.broken()
        } else {
            talk.finish()
        };
        assert_eq!(said, connects);
        talk.connect();
        assert!(talk.last().starts_with("OPTIONS "), "{}", talk.last());
        for headers in ["", "", TCP, ""] {
            assert!(talk.last().contains("\r\nAuthorization: Digest "));
            talk.answer(200, headers);
        }
        assert_eq!(talk.session.state, State::Playing);
    }
    let mut talk = Talk::to("rtsp://u:p@192.0.2.1:8554/live/ch1");
    for _ in 0..RECONNECTIONS_MAX {
        talk.answer(401, challenge);
        talk.finish();
        talk.connect();
    }
    talk.answer(401, challenge);
    assert_eq!(
        talk.finish()[0],
        "failed 503 server closed before any media"
    );
    // Without a challenge it is over at once.
    let mut talk = Talk::to("rtsp://u:p@192.0.2.1:8554/live/ch1");
    assert!(talk.finish()[0].starts_with("failed "));
}

#[test]
fn impossible_challenges_fail() {
    let first = |url: &str, status, headers: &str| Talk::to(url).answer(status, headers)[0].clone();
    let user = "rtsp://u:p@h/";
    assert!(first("rtsp://h/", 401, "WWW-Authenticate: Basic\r\n").contains("URL has no user"));
    assert!(first(user, 401, "WWW-Authenticate: Negotiate\r\n").contains("other than Basic"));
    // No challenge at all: servers that only know Basic.
    assert!(first(user, 401, "").contains("Authorization: Basic dTpw\r\n"));
    assert!(first(user, 403, "").contains("Authorization: Basic dTpw\r\n"));
    assert_eq!(
        first("rtsp://h/", 403, ""),
        "failed 503 server answered OPTIONS with 403"
    );
    // A server's challenge cannot start a header of its own.
    let tab = first(user, 401, "WWW-Authenticate: Digest nonce=\"a\tb\"\r\n");
    assert!(tab.starts_with("failed 503"), "{tab}");
}
