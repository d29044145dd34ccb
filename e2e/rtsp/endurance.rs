//! Ten minutes of a stream for a client that stops again and again. The server sends as fast as it is read, so that
//! it takes much less time than the stream lasts.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::read_head;
use crate::support::server::Server;
use crate::support::ts::PACKET;
use crate::support::{SOON, wait_for};

/// Ten minutes at 4 Mbit/s, in packets.
const PACKETS: u32 = 600 * 4_000_000 / 8 / MEDIA as u32;
/// Bytes of media in a packet.
const MEDIA: usize = 7 * PACKET;
/// How often the client stops, and for how long.
const STOPS: u32 = 12;
const STOP: Duration = Duration::from_millis(1200);
/// The server forgets a session that it does not hear of for this long.
const SESSION_TIMEOUT: Duration = Duration::from_secs(2);
/// A write that takes this long was held back.
const HELD_BACK: Duration = Duration::from_millis(300);
/// Packets written at a time.
const BLOCK: u32 = 40;

/// What the server has seen.
#[derive(Default)]
struct Seen {
    held_back: u32,
    /// Longest time between PLAY and keep-alives and the end.
    longest_silence: Duration,
    keep_alives: u32,
}

/// The media of a packet, which says which one it is.
fn media(number: u32) -> [u8; MEDIA] {
    let mut packet = [number as u8; MEDIA];
    for ts in packet.chunks_exact_mut(PACKET) {
        ts[..4].copy_from_slice(&[0x47, 0x01, 0, 0x10]);
        ts[4..8].copy_from_slice(&number.to_be_bytes());
    }
    packet
}

/// Appends packet `number` as a frame: RTP with a clock of 90 kHz, in which the stream lasts ten minutes.
fn push_frame(out: &mut Vec<u8>, number: u32) {
    let stamp = (u64::from(number) * 600 * 90_000 / u64::from(PACKETS)) as u32;
    let [high, low] = ((12 + MEDIA) as u16).to_be_bytes();
    out.extend([b'$', 0, high, low, 0x80, 33]);
    out.extend((number as u16).to_be_bytes());
    out.extend(stamp.to_be_bytes());
    out.extend(*b"ssrc");
    out.extend(media(number));
}

fn serve(listener: &TcpListener) -> Seen {
    let (mut stream, _) = listener.accept().expect("a session");
    let (asked, requests) = mpsc::channel();
    let reader = stream.try_clone().expect("a handle");
    thread::spawn(move || read_requests(reader, &asked));
    for method in ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"] {
        let request = requests.recv_timeout(SOON).expect("a request").0;
        assert!(request.starts_with(method), "{request}");
        answer(&mut stream, &request);
    }
    play(&mut stream, &requests)
}

fn play(stream: &mut TcpStream, requests: &Receiver<(String, Instant)>) -> Seen {
    let mut seen = Seen::default();
    let mut heard = Instant::now();
    let mut block = Vec::new();
    for first in (0..PACKETS).step_by(BLOCK as usize) {
        block.clear();
        for number in first..(first + BLOCK).min(PACKETS) {
            push_frame(&mut block, number);
        }
        let began = Instant::now();
        stream.write_all(&block).expect("it is read in the end");
        seen.held_back += u32::from(began.elapsed() >= HELD_BACK);
        for (request, at) in requests.try_iter() {
            assert!(request.starts_with("GET_PARAMETER "), "{request}");
            seen.keep_alives += 1;
            seen.longest_silence = seen.longest_silence.max(at - heard);
            heard = at;
            answer(stream, &request);
        }
    }
    seen.longest_silence = seen.longest_silence.max(heard.elapsed());
    seen
}

/// Notes when each request has come, whatever the other thread is doing.
fn read_requests(mut stream: TcpStream, asked: &Sender<(String, Instant)>) {
    let mut text = Vec::new();
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        text.extend_from_slice(&bytes[..count]);
        while let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") {
            let request = text.drain(..end + 4).collect();
            let request = String::from_utf8(request).expect("text");
            if asked.send((request, Instant::now())).is_err() {
                return;
            }
        }
    }
}

fn answer(stream: &mut TcpStream, request: &str) {
    let mut lines = request.lines();
    let cseq = lines
        .find(|line| line.starts_with("CSeq: "))
        .expect("a number");
    let rest = match request.split(' ').next() {
        Some("OPTIONS") => "Public: GET_PARAMETER\r\n".to_owned(),
        Some("SETUP") => format!(
            "Session: 1;timeout={}\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n",
            SESSION_TIMEOUT.as_secs()
        ),
        _ => String::new(),
    };
    let text = format!("RTSP/1.0 200 OK\r\n{cseq}\r\n{rest}\r\n");
    stream.write_all(text.as_bytes()).expect("taken");
}

#[test]
fn ten_minutes_reach_a_client_that_stops_again_and_again_without_a_hole() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let peer = thread::spawn(move || serve(&listener));
    let server = Server::start(&["-b", "1024"]);
    let mut stream = server.ask(&format!("/rtsp/127.0.0.1:{port}/live"));
    read_head(&mut stream);
    let mut packet = [0; MEDIA];
    let mut stops = 0;
    for number in 0..PACKETS {
        if number / (PACKETS / STOPS) > stops {
            stops += 1;
            let until = Instant::now() + STOP;
            wait_for(SOON, "the end of a stop", || {
                (Instant::now() >= until).then_some(())
            });
        }
        stream.read_exact(&mut packet).expect("media in time");
        assert!(
            packet == media(number),
            "packet {number} is missing or damaged"
        );
    }
    assert_eq!(stream.read(&mut packet).expect("an orderly end"), 0);
    let seen = peer.join().expect("the server is content");
    assert!(
        seen.held_back >= STOPS / 2,
        "held back {} times",
        seen.held_back
    );
    assert!(
        seen.keep_alives >= STOPS / 2,
        "{} keep-alives",
        seen.keep_alives
    );
    assert!(
        seen.longest_silence < SESSION_TIMEOUT,
        "not kept alive for {:?}",
        seen.longest_silence
    );
    let closed = server.log().wait(" packets dropped");
    assert!(closed.contains(" 0 packets dropped"), "{closed}");
    server.stop_empty();
}
