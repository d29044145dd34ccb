//! What only shows after a while. Named to come first, because the others can run meanwhile.

use std::io::{Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::proxy::flow;
use crate::support::configured::Configured;
use crate::support::http;
use crate::support::namespace::{WEST, with_links, with_loopback_only};
use crate::support::sender::{Framing, Source};
use crate::support::server::{self, Server};
use crate::support::tool::Tool;
use crate::support::{SOON, TempDir, ffmpeg, proc, tool, ts, wait_for};

const SECONDS: u32 = 120;
const FRAMES: u32 = SECONDS * 25;

#[test]
fn every_frame_of_two_minutes_arrives_over_rtp_and_udp() {
    if !ffmpeg::available() {
        return;
    }
    with_links(|| {
        let server = Server::start(&["-m", "4", "--no-data-timeout", "20"]);
        let directory = TempDir::new();
        let runs = [
            (
                "/rtp/239.1.1.1:5000",
                "rtp://239.1.1.1:5000?pkt_size=1328",
                [239, 1, 1, 1],
            ),
            (
                "/udp/239.1.1.2:5000",
                "udp://239.1.1.2:5000?pkt_size=1316",
                [239, 1, 1, 2],
            ),
        ]
        .map(|(path, url, group)| {
            let file = directory.path().join(&url[..3]);
            let limit = Duration::from_secs(200);
            let curl = ffmpeg::record(&server.url(path), &file, limit);
            wait_for(Duration::from_secs(10), "the join", || {
                (proc::igmp_users(server.pid(), "west", group) == 1).then_some(())
            });
            (ffmpeg::send(url, SECONDS), curl, file)
        });
        let files = runs.map(|(mut sender, mut curl, file)| {
            sender.succeed(Duration::from_secs(180));
            assert!(sender.stderr.all().is_empty(), "{:?}", sender.stderr.all());
            // The server ends the stream when nothing more comes.
            curl.succeed(Duration::from_secs(40));
            file
        });
        for left in server
            .log()
            .wait_count(Duration::from_secs(10), 2, ": left; ")
        {
            assert!(left.contains(" 0 lost, 0 reordered, 0 overrun"), "{left}");
        }
        for file in files {
            let path = file.to_str().expect("UTF-8");
            // When it is told to end, ffmpeg does not send what would only fill a part of an RTP packet.
            let bytes = std::fs::read(&file).expect("recorded");
            std::fs::write(&file, ts::without_unfinished_frame(&bytes)).expect("written");
            ffmpeg::assert_decodes(path);
            assert_eq!(ffmpeg::frames(&file), FRAMES - 1, "{path}");
        }
        server.stop_empty();
    });
}

#[test]
fn client_that_does_not_read_for_forty_seconds_is_not_cut_off() {
    with_links(|| {
        let server = Server::start(&["--flush-interval", "5"]);
        let sender = Source::new("west", WEST, "239.1.1.3:5000", Framing::Rtp).run(800);
        let mut body = server.open("/rtp/239.1.1.3:5000");
        let before = body.take(10 * ts::PACKET);
        // Longer than the server waits before it asks whether the client is still there, twice the
        // reference's limit, and enough for all buffers to fill.
        let until = Instant::now() + Duration::from_secs(40);
        wait_for(Duration::from_secs(60), "the stall", || {
            (Instant::now() >= until).then_some(())
        });
        let resumed_at = sender.next();
        // What was stored, then the live stream again: the skipped part is one hole between whole packets.
        let mut bytes = before;
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut last = 0;
        while last < resumed_at + 1000 {
            assert!(
                Instant::now() < deadline,
                "the live stream did not come back"
            );
            let mut packet = [0; ts::PACKET];
            body.stream
                .read_exact(&mut packet)
                .expect("the connection lives");
            last = ts::numbers(&packet)[0];
            bytes.extend(packet);
        }
        let numbers = ts::numbers(&bytes);
        assert!(
            numbers.windows(2).all(|pair| pair[0] < pair[1]),
            "out of order"
        );
        let skipped = numbers.last().expect("some") + 1 - numbers[0] - numbers.len() as u64;
        assert!(
            skipped > 0,
            "the buffers never filled, so nothing was shown"
        );
        drop(body);
        let closed = server.log().wait(" packets dropped");
        let dropped: u64 = closed
            .split("; ")
            .last()
            .and_then(|tail| tail.split(", ").nth(1)?.split(' ').next()?.parse().ok())
            .expect("a count");
        // Counted in datagrams of seven TS packets. Whatever waited when we left was not dropped.
        assert_eq!(dropped * 7, skipped, "{closed}");
        drop(sender);
        server.stop_empty();
    });
}

#[test]
fn crowd_of_slow_clients_gets_four_mebibytes_each_out_of_a_small_pool() {
    with_loopback_only(|| {
        flow::shorten_frames();
        flow::crowd_gets_every_byte(100, 64, 50_000);
    });
}

#[test]
fn proxied_client_that_stalls_for_three_minutes_gets_the_rest() {
    flow::stalled_client_gets_the_rest(Duration::from_secs(180), 1536);
}

#[test]
fn gibibyte_arrives_unchanged_at_a_slow_and_a_fast_client() {
    flow::slow_and_fast_client_get_the_same(16_384, 16 << 20);
}

/// System calls that returned without an error in these processes while `act` was done, as `strace -c` sums them up.
fn count_calls(processes: &[u32], act: impl FnOnce()) -> u64 {
    let directory = TempDir::new();
    let summary = directory.path().join("summary");
    let mut command = Command::new("strace");
    // That strace comes and goes interrupts calls, which fail for it and are made again.
    command.args(["-c", "-f", "--successful-only", "-o"]);
    command.arg(&summary);
    command.args(processes.iter().map(|pid| format!("--attach={pid}")));
    let mut strace = Tool::start(&mut command);
    strace.stderr.wait_count(SOON, processes.len(), "attached");
    act();
    strace.signal(libc::SIGINT);
    strace.wait(SOON);
    // Without any call there is no table.
    let table = std::fs::read_to_string(&summary).expect("written by strace");
    let total = table.lines().find(|line| line.ends_with(" total"));
    total.map_or(0, |line| {
        let calls = line.split_whitespace().nth(3);
        let calls = calls.and_then(|calls| calls.parse().ok());
        calls.unwrap_or_else(|| panic!("no count in {line:?}"))
    })
}

#[test]
fn idle_program_makes_no_system_call_in_a_minute() {
    if !tool::have(&["strace"]) {
        return;
    }
    let directory = TempDir::new();
    let [socket, log] = ["http.sock", "access.log"].map(|name| directory.path().join(name));
    let text = format!(
        "[global]\nverbosity = 4\nworkers = 2\naccess-log = {}\n",
        log.display()
    );
    let listen = socket.to_str().expect("in ASCII");
    let configured = Configured::start(&text, &["-l", "127.0.0.1:0", "-l", listen]);
    let server = &configured.server;
    let ask_both_ways = || {
        server.get("/").assert_error(404, "Not Found");
        let mut stream = server::connect_unix(&socket);
        stream.write_all(&http::get("/")).expect("sent");
        let answer = http::parse(server::read_to_end(&mut stream));
        answer.assert_error(404, "Not Found");
    };
    ask_both_ways();
    wait_for(SOON, "the access log", || {
        let lines = std::fs::read_to_string(&log).unwrap_or_default();
        (lines.lines().count() == 2).then_some(())
    });
    let processes = [vec![server.pid()], server.workers()].concat();
    assert_eq!(processes.len(), 3);
    // Once a quiet time has begun, memory is given back.
    let quiet = Duration::from_secs(6);
    processes
        .iter()
        .for_each(|pid| proc::wait_for_rest(*pid, quiet));
    let minute = Duration::from_secs(60);
    assert_eq!(
        count_calls(&processes, || std::thread::sleep(minute)),
        0,
        "calls in a minute"
    );
    assert!(count_calls(&processes, ask_both_ways) > 0);
}
