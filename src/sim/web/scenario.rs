//! Draws sites, and clients that make several requests over one connection.

use std::time::Duration;

use super::super::media::{Expected, Rng};
use super::super::peers::{Client, Cue, Pace, Peer, Step};
use super::super::scenario::draw_behaviour;
use super::super::world::World;
use super::exchange::{Exchange, Upload, draw_reply};
use super::site::Site;

/// Adds `sites` origins and `clients` clients that ask them.
pub(in crate::sim) fn draw_web(
    sites: usize,
    clients: usize,
    marathon: bool,
    rng: &mut Rng,
    world: &mut World,
) {
    for number in 0..sites {
        world.sites.push(Site::draw(number, rng));
    }
    for _ in 0..clients {
        draw_client(marathon, rng, world);
    }
}

fn draw_client(marathon: bool, rng: &mut Rng, world: &mut World) {
    let count = rng.pick(&[1, 2, 3, 6]);
    let first = world.exchanges.len();
    // Mostly one server, so that its connections are used again.
    let site = rng.count(0, world.sites.len() - 1);
    let minor = if rng.one_in(8) { 0 } else { 1 };
    let is_page = rng.one_in(3);
    for index in 0..count {
        let number = first + index;
        let site = if rng.one_in(4) {
            rng.count(0, world.sites.len() - 1)
        } else {
            site
        };
        draw_exchange(number, site, minor, is_page, rng, world);
        let client_closes = rng.one_in(10) || (index + 1 == count && rng.one_in(3));
        world.exchanges[number].client_closes = client_closes;
    }
    let begin = world.now + rng.millis(0, 9000);
    let mut client = Client::new(begin, Vec::new(), Expected::Replies);
    client.numbers = (first..first + count).collect();
    script(&mut client, rng, world);
    draw_behaviour(&mut client, marathon, rng);
    if rng.one_in(2) {
        client.to_peer_max = client.to_peer_max.min(4 << 10);
    }
    if !marathon && rng.one_in(3) {
        client.to_peer_max = client.to_peer_max.max(4 << 10);
        client.pace = Pace::Slow {
            bytes: rng.count(2000, 20_000),
            every: rng.millis(10, 60),
        };
    }
    // Not in so small pieces that the time for a head is up.
    let total: usize = client.later.iter().map(|step| step.bytes.len()).sum();
    client.piece.0 = client.piece.0.max(40).max(total / 300);
    client.piece.1 = client.piece.1.min(Duration::from_millis(60));
    if !client.half_closes && rng.one_in(2) {
        client.leaves_when_done = Some(rng.millis(0, 3000));
    }
    world.add_peer(Peer::Client(client), Some(begin));
}

fn draw_exchange(
    number: usize,
    site: usize,
    minor: u8,
    is_page: bool,
    rng: &mut Rng,
    world: &mut World,
) {
    let uploads = !is_page && rng.one_in(2);
    let upload = uploads.then(|| {
        let bytes = rng.pick(&[1, 200, 20_000, 200_000, 600_000, 600_000]);
        let chunked = minor > 0 && rng.one_in(2);
        Upload {
            bytes: rng.range(bytes / 2, bytes),
            chunked,
            broken: chunked && rng.one_in(6),
            expects: minor > 0 && rng.one_in(5),
        }
    });
    let method = match upload {
        Some(_) => rng.pick(&["POST", "PUT"]),
        None => rng.pick(&["GET", "GET", "GET", "GET", "HEAD", "POST"]),
    };
    let location = (number > 0 && rng.one_in(10)).then(|| {
        let to = rng.count(0, world.sites.len() - 1);
        let target = &world.sites[to];
        (target.url(number), target.proxied(number))
    });
    let secure = world.sites[site].secure;
    let reply = draw_reply(
        number,
        method == "HEAD",
        minor,
        upload,
        secure,
        location,
        rng,
    );
    world.exchanges.push(Exchange {
        site,
        method,
        minor,
        client_closes: false,
        upload,
        reply,
        asked: 0,
        asked_at: None,
        dropped: false,
        uploaded: false,
    });
}

/// What is sent when: all at once, or one request after the other.
fn script(client: &mut Client, rng: &mut Rng, world: &World) {
    let pipelines = rng.one_in(3);
    let mut end = 0;
    for (index, number) in client.numbers.clone().into_iter().enumerate() {
        let exchange = &world.exchanges[number];
        let (head, body) = exchange.request(number, &world.sites[exchange.site], rng);
        let expects = exchange.upload.is_some_and(|upload| upload.expects);
        let cue = if pipelines || index == 0 {
            Cue::AtOnce
        } else {
            Cue::Answered {
                count: index,
                pause: match rng.range(0, 9) {
                    0 => rng.millis(1000, 20_000),
                    // Longer than a connection is kept.
                    1 if rng.one_in(4) => Duration::from_secs(70),
                    2..6 => Duration::ZERO,
                    _ => rng.millis(0, 600),
                },
            }
        };
        if let Cue::Answered { pause, .. } = cue {
            client.dawdles = client.dawdles.max(pause);
        }
        end += head.len();
        client.later.push_back(Step { cue, bytes: head });
        if exchange.upload.is_some() {
            if rng.one_in(6) {
                let time = if rng.one_in(6) {
                    Duration::from_secs(70)
                } else {
                    rng.millis(100, 9000)
                };
                let at = end + rng.count(0, body.len().saturating_sub(1));
                client.stalls.push_back((at, time));
                client.dawdles = client.dawdles.max(time);
            }
            end += body.len();
            let cue = if expects {
                Cue::ToldToGoOn
            } else {
                Cue::AtOnce
            };
            client.later.push_back(Step { cue, bytes: body });
        }
        client.ends.push(end);
    }
}
