//! Draws streams, and a client for each.

use std::time::Duration;

use super::super::media::{Expected, Rng};
use super::super::peers::{Client, Pace, Peer};
use super::super::scenario::draw_behaviour;
use super::super::world::World;
use super::guard::Guard;
use super::play::{Answers, Finale, Log, Play, Step, Transports, Trouble};

/// Longest time that a stream takes to be sent to a client that reads.
const STREAM_TIME: Duration = Duration::from_secs(60);

/// Adds `count` streams with a client each.
pub(in crate::sim) fn draw_plays(
    count: usize,
    marathon: bool,
    cramped: bool,
    rng: &mut Rng,
    world: &mut World,
) {
    for number in 0..count {
        // A frame may be larger than what a client may hold.
        let bulky = rng.one_in(if cramped { 2 } else { 8 });
        let play = draw_play(number, marathon, bulky, rng, world);
        let begin = world.now + rng.millis(0, 6000);
        let request = format!("GET {} HTTP/1.1\r\nHost: sim\r\n\r\n", play.path());
        let mut client = Client::new(begin, request.into_bytes(), Expected::Stream(play.channel));
        draw_behaviour(&mut client, marathon, rng);
        if rng.one_in(5) {
            // Longer than a server may be silent, and than it waits for a keep-alive.
            client.pace = Pace::Stops {
                after: rng.millis(0, 500),
                time: rng.millis(16_000, 45_000),
            };
            client.to_peer_max = rng.pick(&[4, 64]) << 10;
            client.leave = None;
        }
        if play.bulky && rng.one_in(3) {
            // It is full in the middle of a frame.
            client.pace = Pace::Slow {
                bytes: rng.count(4000, 40_000),
                every: rng.millis(5, 50),
            };
            client.to_peer_max = rng.pick(&[4, 16]) << 10;
        }
        // A request that is whole in time.
        client.piece.1 = client.piece.1.min(Duration::from_millis(50));
        if rng.one_in(2) {
            // The server is held back early.
            client.to_peer_max = client.to_peer_max.min(4 << 10);
        }
        world.plays.push(play);
        world.add_peer(Peer::Client(client), Some(begin));
    }
}

fn draw_play(number: usize, marathon: bool, bulky: bool, rng: &mut Rng, world: &mut World) -> Play {
    let channel = world.sent.len();
    world.sent.push(Vec::new());
    world.clean.push(false);
    let transports = rng.pick(&[Transports::Tcp, Transports::Tcp, Transports::Udp]);
    let is_tcp = transports == Transports::Tcp;
    let gap = match rng.range(0, 3) {
        0 => rng.micros(1, 500),
        1 => rng.millis(20, 300),
        _ => rng.micros(500, 20_000),
    };
    let bulky = bulky && is_tcp;
    let packets = match (bulky, marathon) {
        (true, _) => rng.range(1, 120),
        (false, true) => 4000,
        (false, false) => rng.range(1, 2000),
    };
    let bare = rng.one_in(4);
    Play {
        number,
        channel,
        secure: is_tcp && rng.one_in(4),
        transports,
        takes_lists: !rng.one_in(4),
        guard: draw_guard(3, rng),
        is_trusted: !rng.one_in(5),
        redirects: rng
            .one_in(4)
            .then(|| rng.pick(&[Step::Options, Step::Describe, Step::Setup, Step::Play])),
        second_guard: draw_guard(2, rng),
        redirect_opens: rng.one_in(2),
        trouble: draw_trouble(rng),
        finale: rng.pick(&[
            Finale::Closes,
            Finale::Closes,
            Finale::Resets,
            Finale::Announces,
            Finale::TearsDown,
            Finale::Silence,
        ]),
        scale: rng.pick(&[None, None, Some("2"), Some("-0.5")]),
        timeout: rng.pick(&[None, None, Some(1), Some(4), Some(10), Some(60), Some(600)]),
        keep_alives: rng.pick(&[
            Answers::AtOnce,
            Answers::Verbosely,
            Answers::Late,
            Answers::Never,
            Answers::Unwillingly,
        ]),
        delay: rng.pick(&[1, 1, 100, 1500].map(Duration::from_millis)),
        chatters: rng.one_in(2),
        slack: Duration::from_millis(500),
        channels: rng.pick(&[(0, 1), (0, 1), (2, 3), (36, 37)]),
        packets: packets.min((STREAM_TIME.as_micros() / gap.as_micros().max(1)) as u64),
        gap,
        burst: rng.pick(&[1, 1, 4, 30]),
        bare,
        mixed: rng.one_in(3),
        bulky,
        // Bare TS has no order that could be restored, and holes in RTP are waited for.
        loss_percent: if is_tcp || rng.one_in(2) {
            0
        } else {
            rng.range(1, 10)
        },
        window_bytes: rng.pick(&[1, 8, 64]) << 10,
        bytes_at_a_time: rng.pick(&[40, 1400, 20_000, 100_000]),
        log: Log::default(),
    }
}

/// One stream in `one_in` is guarded.
fn draw_guard(one_in: u64, rng: &mut Rng) -> Guard {
    if !rng.one_in(one_in) {
        return Guard::None;
    }
    match rng.one_in(2) {
        true => Guard::Basic,
        false => Guard::Digest {
            sha256: rng.one_in(2),
            qop: rng.one_in(2),
        },
    }
}

fn draw_trouble(rng: &mut Rng) -> Trouble {
    let step = rng.pick(&[Step::Options, Step::Describe, Step::Setup, Step::Play]);
    match rng.range(0, 19) {
        0 => Trouble::Unreachable {
            silent: rng.one_in(2),
        },
        1 => Trouble::Mute(step),
        2 => Trouble::Refuses(step, rng.pick(&[400, 404, 453, 500, 501])),
        3 => Trouble::Garbage(step),
        4 => Trouble::HangsUp(step, rng.one_in(2)),
        _ => Trouble::None,
    }
}
