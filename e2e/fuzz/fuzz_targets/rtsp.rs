//! Operations on a session, its bytes cut anywhere: one end, no wait without a deadline, no line from outside.
#![no_main]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use flowgate::proto::rtsp::{
    Action, Buffer, ConnectError, Purpose, Request, Session, Slice, UdpSocket,
};
use libfuzzer_sys::fuzz_target;

/// What the client and the sockets were told.
#[derive(Default)]
struct Told {
    concluded: u32,
    done: u32,
    playing: u32,
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&[purpose, stun, seed], operations)) = bytes.split_first_chunk() else {
        return;
    };
    let mut request = Request::new("rtsp://u:p@192.0.2.1/live", "fuzz").expect("a sound URL");
    request.purpose = match purpose % 8 {
        0 => Purpose::Probe,
        1 => Purpose::Duration,
        _ => Purpose::Play,
    };
    if stun % 4 == 0 {
        request.stun = Some((request.url.host.clone(), 3478));
    }
    let local: SocketAddr = "192.0.2.2:5000".parse().expect("an address");
    let peer: SocketAddr = "192.0.2.1:554".parse().expect("an address");

    let mut now = Instant::now();
    let mut session = Session::new(request, u64::from(seed));
    let mut actions = Vec::new();
    let mut told = Told::default();
    session.open(now, &mut actions);
    session.connected(now, local, peer, &mut actions);
    check(&mut session, now, b"", &mut actions, &mut told);

    let mut rest = operations;
    while let Some((&[operation, argument], behind)) = rest.split_first_chunk() {
        let (input, behind) = behind
            .split_at_checked(usize::from(argument))
            .unwrap_or((behind, &[]));
        rest = behind;
        match operation % 16 {
            0..=6 => {
                // Whole messages reach further than what the fuzzer finds by itself.
                let whole = match operation % 16 {
                    0 => [b"RTSP/1.0 200 OK\r\n", input, b"\r\n\r\n"].concat(),
                    1 => [
                        &b"RTSP/1.0 401 X\r\nWWW-Authenticate: "[..],
                        input,
                        b"\r\n\r\n",
                    ]
                    .concat(),
                    2 => [b"RTSP/1.0 302 X\r\nLocation: ", input, b"\r\n\r\n"].concat(),
                    3 => [&b"$\0\0"[..], &[argument], input].concat(),
                    _ => input.to_vec(),
                };
                session.receive(now, &whole, &mut actions);
                check(&mut session, now, &whole, &mut actions, &mut told);
            }
            7 => now += Duration::from_millis(100) * u32::from(argument),
            8 => session.set_paused(now, argument % 2 == 0),
            9 => session.datagram(now, UdpSocket::Rtp, peer, input, &mut actions),
            10 => session.datagram(now, UdpSocket::Rtcp, peer, input, &mut actions),
            11 => session.connected(now, local, peer, &mut actions),
            12 => session.finish(now, &mut actions),
            13 => session.broken(now, &mut actions),
            14 => session.close(now, &mut actions),
            _ => session.connect_failed(now, ConnectError::Refused, &mut actions),
        }
        session.expire(now, &mut actions);
        assert!(session.deadline().is_none_or(|deadline| deadline > now));
        check(&mut session, now, input, &mut actions, &mut told);
    }
    session.set_paused(now, false);
    session.close(now, &mut actions);
    check(&mut session, now, b"", &mut actions, &mut told);
    for _ in 0..8 {
        let Some(deadline) = session.deadline() else {
            break;
        };
        now = deadline;
        session.expire(now, &mut actions);
        check(&mut session, now, b"", &mut actions, &mut told);
    }
    assert_eq!((session.deadline(), told.done), (None, 1));
});

/// Carries out what was asked, as far as there is anything to carry out.
fn check(
    session: &mut Session,
    now: Instant,
    input: &[u8],
    actions: &mut Vec<Action>,
    told: &mut Told,
) {
    let mut opened = false;
    for action in actions.drain(..) {
        assert_eq!(told.done, 0, "{action:?} behind Done");
        match action {
            Action::Send(bytes) => {
                let text = String::from_utf8(bytes).expect("text");
                assert!(text.ends_with("\r\n\r\n") && text.matches("\r\n\r\n").count() == 1);
                assert!(
                    text.lines()
                        .skip(1)
                        .all(|line| line.is_empty() || line.contains(": "))
                );
            }
            Action::Media(Slice { buffer, range }) => {
                let buffer = match buffer {
                    Buffer::Input => input,
                    Buffer::Joined => session.joined(),
                };
                assert!(buffer.get(range).is_some());
                assert!(told.playing == 1 && told.concluded == 0);
            }
            Action::Packet(rtp) => assert!(input.get(rtp.payload).is_some()),
            Action::Playing(metadata) => {
                told.playing += 1;
                let sound = |(_, value): &(&str, String)| !value.contains(char::is_control);
                assert!(metadata.headers().iter().all(sound));
            }
            Action::End | Action::Failed(_) | Action::Described(_) | Action::Duration(_) => {
                told.concluded += 1;
            }
            Action::OpenSockets { .. } => opened = true,
            Action::Done => told.done += 1,
            Action::Connect { .. } | Action::CloseSockets | Action::SendDatagram { .. } => {}
        }
    }
    assert!(told.concluded <= 1 && told.playing <= 1);
    if opened {
        session.sockets_opened(now, Some(10_000), actions);
        check(session, now, b"", actions, told);
    }
}
