//! What a supervisor tells a router that serves: a new configuration, other places to listen at, to drain.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::media::{Expected, Rng};
use super::oracles::SLACK;
use super::scenario::Scenario;
use super::world::World;
use super::{TIME_MAX, listener};
use crate::client::Ended;
use crate::config::Config;
use crate::router::Router;

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

impl Order {
    pub(super) fn is_resize(self) -> bool {
        matches!(self, Self::Resize(_))
    }
}

/// A drain that was ordered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drained {
    /// Until then nobody who is served may be ended.
    until: Instant,
}

/// Draws what will be ordered, and when, for a pool that begins with `units`. A pool never changes from small to
/// large: what may be asked of it depends on that.
pub(super) fn draw(seed: u64, units: usize) -> Vec<(Duration, Order)> {
    let mut rng = Rng::new(seed ^ 0x0bde);
    if !rng.one_in(3) {
        return Vec::new();
    }
    let (least, most) = match units {
        ..256 => (64, 255),
        256..4096 => (256, 4095),
        _ => (4096, 16_384),
    };
    let mut at = Duration::ZERO;
    let mut orders = Vec::new();
    for number in 0..rng.count(1, 6) {
        at += rng.millis(50, 3000);
        orders.push((
            at,
            match rng.one_in(2) {
                true => Order::Resize(rng.count(least, most)),
                false => Order::Move(5141 + number as u16),
            },
        ));
    }
    if rng.one_in(2) {
        let limit = rng.pick(&[Duration::ZERO, Duration::from_secs(2), 2 * TIME_MAX]);
        let backlog = rng.one_in(2);
        orders.push((at + rng.millis(50, 3000), Order::Drain { limit, backlog }));
    }
    orders
}

/// Gives an order, as a worker does between two ticks. Clients connect at `place`.
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
    let note = |what| world.borrow_mut().note(what);
    match order {
        Order::Resize(units) => {
            note("resized");
            router.reconfigure(Rc::new(Config {
                pool_buffers_max: units,
                ..scenario.config.clone()
            }));
            router.relisten(vec![listener(*place)])?;
        }
        Order::Move(port) => {
            note("moved");
            place.set_port(port);
            router.relisten(vec![listener(*place)])?;
        }
        Order::Drain { limit, backlog } => {
            note("drained");
            router.drain(limit, backlog);
            let until = router.shared().now + limit;
            return Ok(Some(Drained { until }));
        }
    }
    Ok(None)
}

/// While a router drains, nobody who watches a channel is ended for it, and it is over when nobody is left.
pub(super) fn check_drain(router: &Router, world: &World, drained: Drained) {
    if world.now < drained.until {
        let ended = router
            .reaped
            .iter()
            .filter(|(_, client)| client.flow().is_some() && client.ended() == Some(Ended::Stop));
        for (id, client) in ended {
            let peer = world.accepted.get(&client.socket());
            let connection = peer.and_then(|peer| world.connections[*peer].as_ref());
            let viewer = connection.and_then(|connection| connection.viewer.as_ref());
            let watches =
                viewer.is_some_and(|viewer| matches!(viewer.expected, Expected::Channel(_)));
            assert!(!watches, "client {id} was ended before its time");
        }
    }
    if router.is_stopped() && world.now < drained.until {
        let nobody = router.clients().is_empty() && router.upstreams().is_empty();
        assert!(nobody && router.channels().is_empty(), "somebody is left");
        assert_eq!(world.open_sockets(), 0, "sockets are left");
        assert_eq!(world.open_pipes(), 0, "pipes are left");
    }
}

/// A router that was told to leave when nobody was served is gone at once: nothing wakes it later.
pub(super) fn check_idle_end(router: &Router, world: &World, told: Instant, was_idle: bool) {
    let is_late = world.now > told + SLACK && !world.faults.accept_errors;
    assert!(
        !(was_idle && is_late) || router.is_stopped(),
        "nobody is served, and the end takes {:?}",
        world.now - told
    );
}
