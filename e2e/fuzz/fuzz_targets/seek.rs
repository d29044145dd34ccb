//! Any URL, client and time: what is resolved is safe to send, and every time that is read can be written again.
#![no_main]

use flowgate::proto::seek::time::Time;
use flowgate::proto::seek::zone::Zone;
use flowgate::proto::seek::{ClientClock, Service, URL_BYTES_MAX, resolve, template};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &[u8], i64, i32)| {
    let (url, user_agent, now, shift_seconds) = input;
    let client = ClientClock {
        user_agent: Some(user_agent),
        now,
    };
    for service in [Service::Http, Service::Rtsp] {
        match resolve(url, &client, service) {
            Ok(resolved) => {
                let sent = &resolved.url;
                assert!(sent.len() <= URL_BYTES_MAX);
                assert!(
                    sent.bytes()
                        .all(|byte| byte > b' ' && byte != 0x7f && byte != b'#')
                );
                let separators = |url: &str| url.matches(['&', '?']).count();
                assert!(separators(sent) <= separators(url));
                for value in [&resolved.clock, &resolved.start].into_iter().flatten() {
                    assert!(
                        value
                            .bytes()
                            .all(|byte| byte.is_ascii_alphanumeric() || b":.".contains(&byte))
                    );
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }

    let whole: usize = template::pieces(url)
        .map(|piece| match piece {
            template::Piece::Literal(text) | template::Piece::Placeholder(_, text) => text.len(),
        })
        .sum();
    assert_eq!(whole, url.len());

    if let Some(time) = Time::recognise(url) {
        let zone = Zone::of_user_agent(user_agent);
        if let Some(text) = time.converted(zone, shift_seconds.into()) {
            assert!(
                text.bytes()
                    .all(|byte| b"0123456789TZGM:.+-".contains(&byte))
            );
        }
        // None for the leap second at the end of the year 9999.
        if let Some(same) = time.converted(Zone::UTC, 0) {
            let again = Time::recognise(&same).map(|again| again.instant(zone, 0));
            assert_eq!(again, Some(time.instant(zone, 0)));
        }
    }
});
