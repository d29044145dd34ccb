//! Streams from foreign senders to foreign receivers, in every form a URL can ask for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::http::Body;
use crate::support::namespace::{
    EAST, WEST, WEST_OTHER, WEST_OTHER_V6, WEST_V6, replace_west, with_links, with_loopback_only,
};
use crate::support::sender::{Framing, Source};
use crate::support::server::Server;
use crate::support::{SOON, TempDir, ffmpeg, proc, ts, wait_for};

/// Reads enough of a stream to be sure of it; returns the first and the last number.
fn follow(server: &Server, path: &str) -> (u64, u64) {
    ts::assert_gapless(&server.open(path).take(350 * ts::PACKET))
}

#[test]
fn ffprobe_reads_a_stream_through_the_server() {
    if !ffmpeg::available() {
        return;
    }
    with_links(|| {
        let server = Server::start(&[]);
        let _sender = ffmpeg::send("rtp://239.4.0.1:5000?pkt_size=1328", 60);
        let said = crate::support::tool::run(
            std::process::Command::new("ffprobe")
                .args([
                    "-v",
                    "error",
                    "-show_entries",
                    "stream=codec_name,width,height",
                ])
                .args(["-select_streams", "v:0", "-of", "csv=p=0"])
                .arg(server.url("/rtp/239.4.0.1:5000")),
        );
        let first = said.stdout.lines().next().unwrap_or("").trim_matches(',');
        assert_eq!(first, "h264,320,180", "{}", said.stderr);
    });
}

#[test]
fn datagrams_of_every_kind_are_followed_packet_by_packet() {
    with_links(|| {
        let server = Server::start(&["-m", "16"]);
        for (index, (framing, packets, kind)) in [
            (Framing::Rtp, 7, Some("mp2t-rtp")),
            (Framing::Raw, 7, Some("mp2t-direct")),
            (Framing::Mixed, 7, None),
            (Framing::Rtp, 1, Some("mp2t-rtp")),
            (Framing::Raw, 1, Some("mp2t-direct")),
            // Jumbo frames of up to 9000 bytes, and more than any frame holds.
            (Framing::Rtp, 47, Some("mp2t-rtp")),
            (Framing::Raw, 47, Some("mp2t-direct")),
            (Framing::Rtp, 170, Some("mp2t-rtp")),
        ]
        .into_iter()
        .enumerate()
        {
            let group = format!("239.4.1.{index}:5000");
            println!("{group}: {packets} packets per datagram");
            let _sender = Source::new("west", WEST, &group, framing)
                .packets_per_datagram(packets)
                .run(200);
            let mut body = server.open(&format!("/udp/{group}"));
            if framing == Framing::Mixed {
                // Bare TS passes by the first RTP packets, which are collected to be put in order.
                body.take(30 * packets * ts::PACKET);
            }
            ts::assert_gapless(&body.take(packets * 100 * ts::PACKET));
            let told = body.head.header("R2H-Upstream-Payload");
            assert!(kind.is_none() || told == kind, "{told:?}");
        }
        server.stop_empty();
    });
}

#[test]
fn ffmpeg_that_cuts_packets_apart_is_received_whole() {
    if !ffmpeg::available() {
        return;
    }
    with_links(|| {
        let server = Server::start(&["-m", "8"]);
        let path = "/udp/239.4.0.9:5000";
        let first = server.ask(path);
        // Without pkt_size it sends 1472 bytes at a time, which is no number of packets.
        let _sender = ffmpeg::send("udp://239.4.0.9:5000", 60);
        let mut first = Body::begin(first);
        let bytes = first.take_for(Duration::from_secs(3));
        let packets = bytes.chunks_exact(ts::PACKET);
        assert!(packets.len() > 500, "{}", packets.len());
        let astray = packets.filter(|packet| packet[0] != 0x47).count();
        assert_eq!(astray, 0);
        start_and_decode(&server, path);
        server.stop();
    });
}

#[test]
fn what_is_neither_rtp_nor_transport_stream_is_dropped() {
    with_links(|| {
        let server = Server::start(&[]);
        let _sender = Source::new("west", WEST, "239.4.0.2:5000", Framing::Rtp).run(200);
        let stranger = std::net::UdpSocket::bind((WEST, 0)).expect("an address of ours");
        let mut body = server.open("/rtp/239.4.0.2:5000");
        let mut bytes = Vec::new();
        for junk in [
            &b""[..],
            b"x",
            &[0; 188],
            &[0x47; 187],
            &[0x80; 11],
            // RTP with an extension that claims to be longer than the datagram, and with too much padding.
            b"\x90\x21\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\xbe\xde\xff\xff",
            b"\xa0\x21\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\xff",
            b"\x8f\x21\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00",
        ] {
            stranger.send_to(junk, "239.4.0.2:5000").expect("sent");
            bytes.extend(body.take(21 * ts::PACKET));
        }
        bytes.extend(body.take(70 * ts::PACKET));
        ts::assert_gapless(&bytes);
        let dropped = server.log().wait("neither RTP nor MPEG-TS");
        assert!(dropped.contains("Dropped "), "{dropped}");
    });
}

#[test]
fn reordered_and_doubled_datagrams_arrive_once_and_in_order() {
    with_links(|| {
        let server = Server::start(&[]);
        let mut source = Source::new("west", WEST, "239.4.0.7:5000", Framing::Rtp);
        let stream = server.ask("/rtp/239.4.0.7:5000");
        server.log().wait("239.4.0.7:5000: joined");
        for _ in 0..8 {
            source.send();
        }
        let mut body = Body::begin(stream);
        let mut bytes = body.take(8 * 7 * ts::PACKET);
        // Past a wrap of the sequence number; each sixteen come backwards, and some of them twice.
        for _ in 0..40 {
            let block: Vec<Vec<u8>> = (0..16).map(|_| source.make()).collect();
            for (index, datagram) in block.iter().rev().enumerate() {
                source.post(datagram);
                if index % 3 == 0 {
                    source.post(datagram);
                }
            }
            source.post(&block[0]);
            bytes.extend(body.take(block.len() * 7 * ts::PACKET));
        }
        assert_eq!(ts::assert_gapless(&bytes).0, 0);
        drop(body);
        let left = server.log().wait(": left; ");
        assert!(left.contains(" 0 lost"), "{left}");
    });
}

#[test]
fn restarted_sender_is_followed_again() {
    with_links(|| {
        let server = Server::start(&[]);
        let first = Source::new("west", WEST, "239.4.0.8:5000", Framing::Rtp).run(200);
        let mut body = server.open("/rtp/239.4.0.8:5000");
        body.take(3500 * ts::PACKET);
        let end = first.stop();
        // The same numbers once more, hundreds of sequence numbers back.
        let second = 1 << 40;
        let _second = Source::new("west", WEST, "239.4.0.8:5000", Framing::Rtp)
            .starting_at(second)
            .run(200);
        let mut numbers = Vec::new();
        while numbers.iter().filter(|number| **number >= second).count() < 700 {
            numbers.extend(ts::numbers(&body.take(7 * ts::PACKET)));
        }
        let (old, new): (Vec<u64>, Vec<u64>) = numbers.iter().partition(|number| **number < second);
        assert_eq!(
            old.last().map_or(end, |last| last + 1),
            end,
            "the end of the old one is missing"
        );
        // Few of the new ones may be needed to believe in the restart.
        assert!(
            new[0] - second <= 32 * 7,
            "{} packets were taken for late ones",
            new[0] - second
        );
        assert!(new.windows(2).all(|pair| pair[1] == pair[0] + 1), "{new:?}");
    });
}

#[test]
fn any_source_group_of_ipv6_is_received() {
    with_links(|| {
        let server = Server::start(&["-m", "8", "-r", "west"]);
        let _sender = Source::new("west", WEST_V6, "[ff15::1234]:5000", Framing::Rtp).run(200);
        follow(&server, "/rtp/[ff15::1234]:5000");
        follow(&server, "/rtp/%5Bff15%3A%3A1234%5D:5000");
        let group = "ff15::1234".parse().expect("an address");
        assert_eq!(proc::mld_users(server.pid(), "west", group), 1);
    });
}

#[test]
fn ipv6_group_is_received_on_the_link_of_its_scope() {
    with_links(|| {
        let server = Server::start(&["-m", "8"]);
        let _sender = Source::new("east", "fd00:2::1", "[ff12::7]:5000", Framing::Raw).run(200);
        follow(&server, "/rtp/[ff12::7%25east]:5000");
        follow(&server, "/rtp/[ff12::7]:5000?r2h-ifname=east");
    });
}

#[test]
fn source_specific_join_lets_only_that_source_pass() {
    with_links(|| {
        let server = Server::start(&["-m", "8", "-r", "west"]);
        let at = |from: &str, to: &str, number| {
            Source::new("west", from, to, Framing::Raw)
                .starting_at(number)
                .run(200)
        };
        let other = 1 << 40;
        let _wanted = at(WEST, "232.4.0.1:5000", 0);
        let _unwanted = at(WEST_OTHER, "232.4.0.1:5000", other);
        assert!(follow(&server, "/rtp/10.1.0.1@232.4.0.1:5000").1 < other);
        assert!(follow(&server, "/rtp/10.1.0.2@232.4.0.1:5000").0 >= other);
        // The port of the source means nothing.
        assert!(follow(&server, "/rtp/10.1.0.2:99@232.4.0.1:5000").0 >= other);
        let filters = proc::igmp_sources(server.pid());
        assert!(filters.contains("0xe8040001 0x0a010001"), "{filters}");

        let _wanted = at(WEST_V6, "[ff35::5]:5000", 0);
        let _unwanted = at(WEST_OTHER_V6, "[ff35::5]:5000", other);
        assert!(follow(&server, "/rtp/[fd00:1::1]@[ff35::5]:5000").1 < other);
        assert!(follow(&server, "/rtp/[fd00:1::2]@[ff35::5]:5000").0 >= other);
    });
}

#[test]
fn source_specific_joins_of_one_group_keep_their_sources_apart() {
    with_links(|| {
        let server = Server::start(&["-m", "8", "-r", "west"]);
        let other = 1 << 40;
        let _one = Source::new("west", WEST, "232.4.0.2:5000", Framing::Raw).run(200);
        let _two = Source::new("west", WEST_OTHER, "232.4.0.2:5000", Framing::Raw)
            .starting_at(other)
            .run(200);
        let mut one = server.open("/rtp/10.1.0.1@232.4.0.2:5000");
        let mut two = server.open("/rtp/10.1.0.2@232.4.0.2:5000");
        assert!(ts::assert_gapless(&one.take(350 * ts::PACKET)).1 < other);
        assert!(ts::assert_gapless(&two.take(350 * ts::PACKET)).0 >= other);
        assert!(ts::assert_gapless(&one.take(350 * ts::PACKET)).1 < other);
    });
}

/// A socket takes what others on the host have joined, if it is not told otherwise: here while its join is under way.
#[test]
fn nothing_of_another_source_arrives_while_a_channel_joins() {
    with_links(|| {
        let server = Server::start(&["-m", "8", "--channel-linger", "0"]);
        let other = 1 << 40;
        for (group, [here, there], paths) in [
            (
                "232.4.0.3:5000",
                [WEST, WEST_OTHER],
                [
                    "/rtp/10.1.0.1@232.4.0.3:5000?r2h-ifname=west",
                    "/rtp/10.1.0.2@232.4.0.3:5000?r2h-ifname=west",
                ],
            ),
            (
                "[ff35::3]:5000",
                [WEST_V6, WEST_OTHER_V6],
                [
                    "/rtp/[fd00:1::1]@[ff35::3]:5000?r2h-ifname=west",
                    "/rtp/[fd00:1::2]@[ff35::3]:5000?r2h-ifname=west",
                ],
            ),
        ] {
            let mut here = Source::new("west", here, group, Framing::Raw);
            let mut there = Source::new("west", there, group, Framing::Raw).starting_at(other);
            // As fast as it can: the moment between two system calls is to be met.
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        here.send();
                        there.send();
                    }
                });
                let mut one = server.open(paths[0]);
                let firsts: Vec<u64> = (0..200)
                    .map(|_| ts::numbers(&server.open(paths[1]).take(7 * ts::PACKET))[0])
                    .collect();
                stop.store(true, Ordering::Relaxed);
                assert!(ts::numbers(&one.take(ts::PACKET))[0] < other);
                assert!(firsts.iter().all(|first| *first >= other), "{firsts:?}");
            });
        }
    });
}

/// As above, and here from an interface that only another channel has joined on.
#[test]
fn channel_of_the_routed_interface_receives_nothing_of_another() {
    with_links(|| {
        let server = Server::start(&["-m", "8"]);
        let other = 1 << 40;
        let path = "/rtp/239.4.0.4:5000";
        let _west = Source::new("west", WEST, "239.4.0.4:5000", Framing::Rtp).run(200);
        let _east = Source::new("east", EAST, "239.4.0.4:5000", Framing::Rtp)
            .starting_at(other)
            .run(200);
        let mut routed = server.open(path);
        let mut named = server.open(&format!("{path}?r2h-ifname=east"));
        assert!(ts::assert_gapless(&named.take(350 * ts::PACKET)).0 >= other);
        assert!(ts::assert_gapless(&routed.take(700 * ts::PACKET)).1 < other);
    });
}

#[test]
fn source_of_another_family_is_refused() {
    with_links(|| {
        let server = Server::start(&[]);
        let response = server.get("/rtp/10.1.0.1@[ff15::1]:5000");
        response.assert_error(503, "Service Unavailable");
    });
}

#[test]
fn interface_is_that_of_the_url_before_that_of_the_options() {
    with_links(|| {
        let east = 1 << 40;
        let _west = Source::new("west", WEST, "239.4.0.3:5000", Framing::Rtp).run(200);
        let _east = Source::new("east", EAST, "239.4.0.3:5000", Framing::Rtp)
            .starting_at(east)
            .run(200);
        let path = "/rtp/239.4.0.3:5000";
        let cases: [(&[&str], &str, bool); 7] = [
            (&[], path, false),
            (&["-r", "east"], path, true),
            (&["-i", "east"], path, true),
            (&["-i", "west", "-r", "east"], path, true),
            (&["-r", "west"], "/rtp/239.4.0.3:5000?r2h-ifname=east", true),
            (
                &["-r", "east"],
                "/rtp/239.4.0.3:5000?r2h-ifname=west",
                false,
            ),
            (
                &["-r", "east"],
                "/rtp/239.4.0.3:5000?R2H-IfName=w%65st",
                false,
            ),
        ];
        for (options, path, from_east) in cases {
            println!("{options:?} {path}");
            let server = Server::start(options);
            let (first, last) = follow(&server, path);
            assert_eq!((first >= east, last >= east), (from_east, from_east));
        }
        // Both at once are two channels.
        let server = Server::start(&["-m", "2"]);
        let mut one = server.open("/rtp/239.4.0.3:5000?r2h-ifname=west");
        let mut two = server.open("/rtp/239.4.0.3:5000?r2h-ifname=east");
        assert!(ts::assert_gapless(&one.take(350 * ts::PACKET)).1 < east);
        assert!(ts::assert_gapless(&two.take(350 * ts::PACKET)).0 >= east);
    });
}

#[test]
fn interface_that_is_made_again_is_joined_again() {
    with_links(|| {
        let cases = [
            ("/rtp/239.4.0.5:5000", WEST, "239.4.0.5:5000"),
            ("/rtp/10.1.0.1@232.4.0.5:5000", WEST, "232.4.0.5:5000"),
            ("/rtp/239.4.0.6:5000?ifname=west", WEST, "239.4.0.6:5000"),
            (
                "/rtp/[ff15::45]:5000?ifname=west",
                WEST_V6,
                "[ff15::45]:5000",
            ),
        ];
        // Whoever waits for the end of the silence does not get there in time.
        let server = Server::start(&["--no-data-timeout", "60"]);
        let mut bodies = cases.map(|(path, from, group)| {
            let sender = Source::new("west", from, group, Framing::Rtp).run(100);
            let mut body = server.open(path);
            ts::assert_gapless(&body.take(70 * ts::PACKET));
            // All that was sent has come before the link goes.
            let last = sender.stop() - 1;
            while ts::assert_gapless(&body.take(7 * ts::PACKET)).1 < last {}
            body
        });
        replace_west();
        for ((path, from, group), body) in cases.into_iter().zip(&mut bodies) {
            println!("{path}");
            let source = Source::new("west", from, group, Framing::Rtp).starting_at(1 << 40);
            let _sender = source.run(100);
            let (first, _) = ts::assert_gapless(&body.take(70 * ts::PACKET));
            assert!(first >= 1 << 40);
        }
    });
}

#[test]
fn group_without_a_way_is_refused_with_advice() {
    with_loopback_only(|| {
        let server = Server::start(&[]);
        for group in ["239.2.0.9", "[ff3e::9]"] {
            let answer = server.get(&format!("/rtp/{group}:5000"));
            assert_eq!(answer.status, 503);
            let error = answer.header("X-Flowgate-Error").unwrap_or_default();
            assert!(error.contains("no interface is named"), "{error}");
        }
        server.stop_empty();
    });
}

#[test]
fn missing_port_is_1234() {
    with_links(|| {
        let server = Server::start(&[]);
        let _sender = Source::new("west", WEST, "239.4.0.4:1234", Framing::Rtp).run(200);
        follow(&server, "/udp/239.4.0.4");
        follow(&server, "/udp/239.4.0.4:/");
    });
}

/// A picture whose key frames lie far apart, so that nobody can begin by luck.
fn send_with_distant_key_frames(url: &str) -> crate::support::tool::Tool {
    let mut command = ffmpeg::encoder("testsrc2=size=320x180:rate=25");
    command
        .args([
            "-g",
            "1000",
            "-keyint_min",
            "1000",
            "-sc_threshold",
            "0",
            "-b:v",
            "1M",
        ])
        .args([
            "-force_key_frames",
            "expr:eq(n,0)+eq(n,75)",
            "-f",
            "rtp_mpegts",
            url,
        ]);
    crate::support::tool::Tool::start(&mut command)
}

#[test]
fn newcomer_starts_at_a_key_frame_at_once() {
    if !ffmpeg::available() {
        return;
    }
    with_links(|| {
        let server = Server::start(&["-m", "8", "--channel-linger", "30"]);
        let path = "/rtp/239.4.0.5:5000";
        let first = server.ask(path);
        let _sender = send_with_distant_key_frames("rtp://239.4.0.5:5000?pkt_size=1328");
        let mut first = Body::begin(first);
        // Past the second key frame, after which there is none for more than half a minute.
        first.take_for(Duration::from_secs(6));
        start_and_decode(&server, path);
        // From a channel that nobody listens to for the moment.
        drop(first);
        wait_for(SOON, "all clients to leave", || {
            (server.log().count(|line| line.contains("closed: ")) == 2).then_some(())
        });
        start_and_decode(&server, path);
        let joined = server.log().count(|line| line.ends_with(": joined"));
        assert_eq!(joined, 1);
        server.stop_empty();
    });
}

fn start_and_decode(server: &Server, path: &str) {
    let directory = TempDir::new();
    let file = directory.path().join("start.ts");
    let asked = std::time::Instant::now();
    let mut body = server.open(path);
    let start = body.take(3 * ts::PACKET);
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
    ts::assert_starts_a_decoder(&start);
    let mut bytes = start;
    bytes.extend(body.take_for(Duration::from_secs(2)));
    std::fs::write(&file, ts::without_unfinished_frame(&bytes)).expect("written");
    ffmpeg::assert_decodes(file.to_str().expect("UTF-8"));
    assert!(ffmpeg::frames(&file) > 50);
}

#[test]
fn newcomer_without_fast_start_gets_what_is_live() {
    with_links(|| {
        let server = Server::start(&["-m", "8", "--fast-start", "off"]);
        let sender = Source::new("west", WEST, "239.4.0.6:5000", Framing::Rtp).run(200);
        let mut first = server.open("/rtp/239.4.0.6:5000");
        first.take(700 * ts::PACKET);
        let before = sender.next();
        let (number, _) = follow(&server, "/rtp/239.4.0.6:5000");
        assert!(
            number + 70 >= before,
            "{number} was sent long before {before}"
        );
    });
}
