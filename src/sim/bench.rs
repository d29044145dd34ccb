//! For the tests beside the code: a pool, a clock and a group, without a router.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::net::SimNet;
use super::scenario::group;
use super::world::{Faults, World};
use crate::config::Config;
use crate::net::GroupAddress;

/// What a channel's receiver needs around it: a pool, a clock, and a group whose datagrams the test sends.
pub(crate) struct Bench {
    pub(crate) shared: crate::shared::Shared,
    pub(crate) socket: crate::net::SocketId,
    world: Rc<RefCell<World>>,
}

impl Bench {
    pub(crate) fn new(pool_buffers_max: usize) -> Self {
        let mut world = World::new(0, Faults::default());
        world.receive_buffer_bytes = 16 << 20;
        let world = Rc::new(RefCell::new(world));
        let config = Config {
            pool_buffers_max,
            udp_receive_buffer_bytes: 8 << 20,
            ..Config::default()
        };
        let net = Box::new(SimNet(Rc::clone(&world)));
        let mut shared = crate::shared::Shared::new(net, Rc::new(config));
        let socket = shared.net.join(&Self::address(), 8 << 20);
        let socket = socket.expect("joined").socket;
        Self {
            shared,
            socket,
            world,
        }
    }

    /// The group.
    pub(crate) fn address() -> GroupAddress {
        GroupAddress {
            group: group(0),
            source: None,
            interface: None,
        }
    }

    /// A datagram arrives.
    pub(crate) fn send(&self, datagram: &[u8]) {
        let mut world = self.world.borrow_mut();
        world.polls += 1;
        let place = world.deliver(group(0), datagram);
        assert!(place.is_some(), "there is room in the socket");
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, time: Duration) {
        let mut world = self.world.borrow_mut();
        world.now += time;
        world.polls += 1;
        self.shared.now += time;
    }
}
