//! What a supervisor tells a router that serves: a new configuration, other places to listen at, to drain.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::media::{Expected, Rng};
use super::net::SimNet;
use super::oracles::SLACK;
use super::peers::{Leave, Peer};
use super::scenario::{Scenario, group};
use super::world::{Faults, Socket, World};
use super::{TIME_MAX, listener};
use crate::area::Worker;
use crate::config::Config;
use crate::limits::{
    ACCEPT_RETRY, DRAIN_READING_WAIT, LISTENER_RETIRE_WAIT, STOP_FLUSH_WAIT, STOP_WAIT,
};
use crate::router::Router;
use crate::router::slots::{ClientId, Feed};

/// Something to be done at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Reload: from now on the pool has so many units, and clients connect at the same place as before.
    Resize(usize),
    /// Reload: clients connect at another port.
    Move(u16),
    /// Another process takes new clients; the present ones go on for so long.
    Drain { limit: Duration, backlog: bool },
}

/// An order, and when it comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Since the run began.
    after: Duration,
    /// It comes when a channel has been left by all who watched it, if one has within [`LINGERING_WAIT`].
    waits_for_lingering: bool,
    pub(super) order: Order,
}

/// How long an order waits for a channel that lingers.
const LINGERING_WAIT: Duration = Duration::from_secs(10);

impl Plan {
    /// Whether the order is to be given.
    pub(super) fn is_due(&self, router: &Router, began: Instant, now: Instant) -> bool {
        let is_in_time = self.waits_for_lingering && router_lingers(router);
        now >= self.latest(began) || (is_in_time && now >= began + self.after)
    }

    /// Has the clients of a channel leave, should the order wait for that.
    pub(super) fn prepare(&self, router: &Router, world: &mut World) {
        let now = world.now;
        if !self.waits_for_lingering || now < world.began + self.after || router_lingers(router) {
            return;
        }
        let Some((_, slot)) = router.channels().iter().next() else {
            return;
        };
        for subscriber in &slot.subscribers {
            let sink = router.clients().get(subscriber.client);
            let peer = sink.and_then(|sink| world.accepted.get(&sink.client.socket()).copied());
            let Some(peer) = peer else {
                continue;
            };
            if let Some(Peer::Client(client)) = &mut world.peers[peer]
                && client.leave.is_none_or(|(at, _)| at > now)
            {
                client.leave = Some((now, Leave::Reset));
                world.wake(peer, now);
            }
        }
    }

    /// When it is given in any case.
    pub(super) fn latest(&self, began: Instant) -> Instant {
        let wait = match self.waits_for_lingering {
            true => LINGERING_WAIT,
            false => Duration::ZERO,
        };
        began + self.after + wait
    }
}

fn router_lingers(router: &Router) -> bool {
    let mut channels = router.channels().iter();
    channels.any(|(_, slot)| slot.lingering_since.is_some())
}

/// A drain that was ordered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drained {
    told: Instant,
    /// Until then nobody who is served may be ended.
    until: Instant,
}

/// Draws what will be ordered, and when, for a pool that begins with `units` and channels that linger or not. A pool
/// never changes from small to large: what may be asked of it depends on that.
pub(super) fn draw(seed: u64, units: usize, lingers: bool) -> Vec<Plan> {
    let mut rng = Rng::new(seed ^ 0x0bde);
    if !rng.one_in(3) {
        return Vec::new();
    }
    let (least, most) = match units {
        ..256 => (64, 255),
        256..4096 => (256, 4095),
        _ => (4096, 16_384),
    };
    let mut after = Duration::ZERO;
    let mut plans = Vec::new();
    // Few channels linger of themselves, and early.
    let waits_for_lingering = lingers && rng.one_in(4);
    let reloads = match waits_for_lingering {
        true => 0,
        false => rng.count(1, 6),
    };
    for number in 0..reloads {
        after += rng.millis(50, 3000);
        plans.push(Plan {
            after,
            waits_for_lingering: false,
            order: match rng.one_in(2) {
                true => Order::Resize(rng.count(least, most)),
                false => Order::Move(5141 + number as u16),
            },
        });
    }
    if waits_for_lingering || rng.one_in(2) {
        let limit = rng.pick(&[Duration::ZERO, Duration::from_secs(2), 2 * TIME_MAX]);
        let backlog = rng.one_in(2);
        plans.push(Plan {
            after: after + rng.millis(50, 3000),
            waits_for_lingering,
            order: Order::Drain { limit, backlog },
        });
    }
    plans
}

/// Gives an order, as a worker does between two ticks. Clients connect at `place`. The order itself touches no stream.
///
/// # Errors
///
/// What the router reports about a listener.
pub(super) fn give(
    order: Order,
    router: &mut Router,
    scenario: &Scenario,
    world: &RefCell<World>,
    place: &mut SocketAddr,
) -> io::Result<Option<Drained>> {
    let fed = |router: &Router| -> Vec<(ClientId, Feed)> {
        let clients = router.clients().iter();
        clients.map(|(id, slot)| (id, slot.feed)).collect()
    };
    let before = fed(router);
    let drained = obey(order, router, scenario, world, place)?;
    assert_eq!(fed(router), before, "an order has touched a stream");
    Ok(drained)
}

fn obey(
    order: Order,
    router: &mut Router,
    scenario: &Scenario,
    world: &RefCell<World>,
    place: &mut SocketAddr,
) -> io::Result<Option<Drained>> {
    let note = |what| world.borrow_mut().note(what);
    match order {
        Order::Resize(units) => {
            note("resized");
            world.borrow_mut().units = units;
            router.reconfigure(Rc::new(Config {
                pool_buffers_max: units,
                ..scenario.config.clone()
            }));
            router.relisten(vec![listener(*place)])?;
        }
        Order::Move(port) => {
            note("moved");
            if rush(&mut world.borrow_mut()) {
                note("moved while clients wait");
            }
            place.set_port(port);
            router.relisten(vec![listener(*place)])?;
        }
        Order::Drain { limit, backlog } => {
            note("drained");
            if router_lingers(router) && !limit.is_zero() {
                note("drained while a channel lingers");
            }
            if rush(&mut world.borrow_mut()) && backlog && !limit.is_zero() {
                note("drained while clients wait");
            }
            let told = router.shared().now;
            let until = told + limit;
            let parts_at = if backlog { until } else { told };
            world.borrow_mut().parts_at.get_or_insert(parts_at);
            router.drain(limit, backlog);
            return Ok(Some(Drained { told, until }));
        }
    }
    Ok(None)
}

/// Clients connect in the very moment before an order, which finds them waiting to be accepted. Says whether any do.
fn rush(world: &mut World) -> bool {
    let count = world.rng.count(0, 2).min(world.rush.len());
    for peer in world.rush.split_off(world.rush.len() - count) {
        let begin = world.now;
        if let Some(Peer::Client(client)) = &mut world.peers[peer] {
            client.begin = begin;
            let address = group(0);
            client.request =
                format!("GET /rtp/{address} HTTP/1.1\r\nHost: sim\r\n\r\n").into_bytes();
            client.expected = Expected::Channel(0);
        }
        world.act(peer);
    }
    count > 0
}

/// A router that drains waits for nothing that has no end of its own.
pub(super) fn check_drain(router: &Router, world: &World, drained: Drained) {
    if world.now >= drained.until {
        return;
    }
    let mut channels = router.channels().iter();
    let unused = channels.find(|(_, slot)| slot.subscribers.is_empty());
    assert!(unused.is_none(), "a channel that nobody watches is kept");
    let mut clients = router.clients().iter();
    let silent = clients.find(|(_, slot)| slot.client.is_reading());
    let is_late = world.now > drained.told + DRAIN_READING_WAIT + SLACK;
    assert!(
        !is_late || silent.is_none(),
        "a client that asks for nothing is waited for"
    );
    if router.is_stopped() {
        let nobody = router.clients().is_empty() && router.upstreams().is_empty();
        assert!(nobody && router.channels().is_empty(), "somebody is left");
        assert_eq!(world.open_sockets(), 0, "sockets are left");
        assert_eq!(world.open_pipes(), 0, "pipes are left");
    }
}

/// A router that has to leave is gone as soon as nobody is served, which nothing would wake it for later, and a bounded
/// time after `until` in any case.
#[derive(Debug, Default)]
pub(super) struct Departure {
    idle_since: Option<Instant>,
}

impl Departure {
    pub(super) fn check(&mut self, router: &Router, world: &World, until: Instant) {
        let end = until + STOP_WAIT + STOP_FLUSH_WAIT + 2 * SLACK;
        assert!(
            router.is_stopped() || world.now <= end,
            "the end comes {:?} too late",
            world.now - end
        );
        if !router.clients().is_empty() || !router.upstreams().is_empty() {
            self.idle_since = None;
            return;
        }
        let idle = world.now - *self.idle_since.get_or_insert(world.now);
        assert!(
            router.is_stopped() || idle <= SLACK || world.faults.accept_errors_one_in.is_some(),
            "nobody is served, and the end takes {idle:?}"
        );
    }
}

impl Drained {
    /// When streams may be ended.
    pub(super) fn until(self) -> Instant {
        self.until
    }
}

#[test]
fn listener_whose_clients_cannot_be_accepted_is_given_up_in_the_end() {
    let faults = Faults {
        accept_errors_one_in: Some(1),
        ..Faults::default()
    };
    let world = Rc::new(RefCell::new(World::new(0, faults)));
    let began = world.borrow().began;
    let worker = Worker::alone(began, 0).expect("memory");
    let net = Box::new(SimNet(Rc::clone(&world)));
    let mut router = Router::new(net, Rc::default(), worker);
    let places = [5140, 5141].map(|port| ([127, 0, 0, 1], port).into());
    router
        .adopt_listener(listener(places[0]))
        .expect("listening");
    for socket in world.borrow_mut().sockets.iter_mut() {
        if let (_, Socket::Listener { backlog, .. }) = socket {
            backlog.push_back(0);
        }
    }
    router
        .relisten(vec![listener(places[1])])
        .expect("listening");
    // The simulation objects to whoever closes it sooner.
    let due = began + LISTENER_RETIRE_WAIT;
    world.borrow_mut().parts_at = Some(due);
    while world.borrow().now <= due + ACCEPT_RETRY {
        router.tick().expect("a tick");
    }
    assert_eq!(router.shared().listening, [places[1]]);
}
