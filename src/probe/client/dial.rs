//! How the connections of a run are made: names looked up, one connection for commands, and then those for payload,
//! not more at a time than a backlog takes.
//!
//! What happens on one connection until the server has answered is in [`connect`](super::connect).

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use serde_json::json;

use super::connect::{Opening, Progress, Route, Stage, ending};
use super::phases::Phase;
use super::{ConnectionId, Outcomes, Role, Run, Slot};
use crate::limits::{PROBE_BYTES_PER_TURN, PROBE_CONNECTING_MAX};
use crate::net::mio::MioNet;
use crate::net::{LookupId, Net as _, Tuning};
use crate::probe::framing::Intake;
use crate::probe::receiver::Receiver;
use crate::probe::stream::{Read, Stream};
use crate::probe::target::Target;
use crate::probe::turns::Place;
use crate::probe::wire::{Direction, Hello, Plan};
use crate::proto::url::Host;

impl Run<'_> {
    /// Asks for the addresses of everybody there is to connect to.
    pub(super) fn resolve(&mut self) {
        let names: Vec<String> = self
            .names()
            .into_iter()
            .map(|(host, _)| match host {
                Host::Name(name) => name,
                Host::Ip { address, .. } => address.to_string(),
            })
            .collect();
        if let Err(error) = self.net.resolve(LookupId(0), names) {
            self.give_up(format!("names cannot be looked up: {error}"));
        }
    }

    /// The addresses are known: the connection for commands comes first.
    pub(super) fn resolved(&mut self, result: Result<Vec<Vec<IpAddr>>, String>) {
        let lists = match result {
            Ok(lists) => lists,
            Err(error) => return self.give_up(error),
        };
        let control = self.options.control.as_ref();
        let targets = [Some(&self.options.target), control];
        let targets = targets.into_iter().flatten();
        for ((target, (_, port)), addresses) in targets.zip(self.names()).zip(lists) {
            let is_via = self.options.via.is_some() && *target == self.options.target;
            let receives = self.direction == Direction::Down;
            self.routes.push(Rc::new(Route {
                target: target.clone(),
                addresses: addresses
                    .into_iter()
                    .map(|address| SocketAddr::new(address, port))
                    .collect(),
                is_via,
                server_name: self.options.server_name.clone(),
                tuning: Tuning {
                    receive_buffer_bytes: match receives {
                        true => self.options.receive_buffer_bytes as usize,
                        false => 0,
                    },
                    ..Tuning::default()
                },
            }));
        }
        self.enter(Phase::Control);
        if self.control.is_some()
            && let Some(route) = self.routes.last().cloned()
        {
            let hello = Hello::Control(self.id);
            match Opening::begin(self.net, route, hello, (0, 0), false) {
                Ok((opening, stream)) => {
                    self.control_slot = Some(self.add(Role::Control, opening, stream));
                }
                Err(error) => self.lose_control(&error),
            }
        }
    }

    /// The servers to look up: the one payload goes to, and the one commands go to.
    fn names(&self) -> Vec<(Host, u16)> {
        let of = |target: &Target| match &self.options.via {
            Some((host, port)) => (host.clone(), *port),
            None => (target.host.clone(), target.port),
        };
        let control = self.options.control.as_ref();
        // Around the chain means around its proxy too.
        let direct = control.map(|target| match *target == self.options.target {
            true => of(target),
            false => (target.host.clone(), target.port),
        });
        [Some(of(&self.options.target)), direct]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Begins connections, not more at a time than a backlog takes.
    pub(super) fn connect_more(&mut self) {
        while self.begun < self.lanes.len() && self.connecting < PROBE_CONNECTING_MAX {
            let number = self.begun;
            self.begun += 1;
            let Some(route) = self.routes.first().cloned() else {
                return;
            };
            let hello = Hello::Data(self.id, number as u32, Box::new(self.plan(number)));
            let classic = (self.options.payload_bytes, self.options.messages);
            match Opening::begin(self.net, route, hello, classic, self.options.is_classic) {
                Ok((opening, stream)) => {
                    let id = self.add(Role::Data(number), opening, stream);
                    self.lanes[number].id = Some(id);
                    self.connecting += 1;
                }
                Err(error) => return self.give_up(error),
            }
        }
    }

    /// Gives a connection that is being made its place and its first turn.
    fn add(&mut self, role: Role, opening: Opening, stream: Stream) -> ConnectionId {
        let socket = stream.link.socket();
        let id = self.slots.insert(Slot {
            role,
            opening: Some(Box::new(opening)),
            stream,
            place: Place::default(),
        });
        self.turns.own(socket, id);
        if let Some(slot) = self.slots.get_mut(id) {
            self.turns.queue(id, &mut slot.place);
        }
        id
    }

    /// What connection `number` is asked to do.
    pub(super) fn plan(&self, number: usize) -> Plan {
        let options = self.options;
        let is_held = self.lanes[number].track.is_held;
        Plan {
            direction: self.direction,
            seed: self.seed,
            block_bytes: 0,
            verify: options.verify,
            payload_bytes: options.payload_bytes,
            total_bytes: options.total_bytes(),
            sample: options.sample,
            stall_min: options.stall_min,
            receive_buffer_bytes: options.receive_buffer_bytes,
            send_buffer_bytes: options.send_buffer_bytes,
            unsent_low_water_bytes: options.unsent_low_water_bytes,
            bytes_per_second: options.bytes_per_second,
            messages_per_second: options.messages_per_second,
            schedule: match is_held {
                true => options.schedule.clone(),
                false => options.free_schedule(),
            },
        }
    }

    /// A turn of a connection that is being made.
    pub(super) fn turn_opening(&mut self, id: ConnectionId, buffer: &mut [u8]) -> Outcomes {
        let Some(slot) = self.slots.get_mut(id) else {
            return Outcomes::None;
        };
        match open(self.net, slot, buffer) {
            Ok(Progress::Made) => {}
            Ok(Progress::Waiting | Progress::Reconnected) => return Outcomes::None,
            Err(error) => return Outcomes::Failed(error),
        }
        let opening = slot.opening.take();
        let is_sink = opening.is_some_and(|opening| opening.stage == Stage::Running(true));
        // A sink may say what it likes.
        if is_sink && !matches!(slot.stream.intake, Intake::WebSocket(..)) {
            slot.stream.intake = Intake::Discard;
        }
        // Whatever came behind the reply is looked at in the next turn.
        self.turns.queue(id, &mut slot.place);
        let Role::Data(number) = slot.role else {
            return Outcomes::None;
        };
        if self.direction == Direction::Down {
            let plan = self.plan(number);
            if let Some(slot) = self.slots.get_mut(id) {
                slot.stream.receiver = Some(Receiver::new(number as u32, &plan));
            }
        }
        let lane = &mut self.lanes[number];
        lane.is_made = true;
        lane.is_sink = is_sink;
        self.connecting = self.connecting.saturating_sub(1);
        self.made += 1;
        self.event("open", json!({"conn": number, "sink": is_sink}));
        Outcomes::None
    }
}

/// One turn of a connection that is being made.
fn open(net: &mut MioNet, slot: &mut Slot, buffer: &mut [u8]) -> Result<Progress, String> {
    let Slot {
        opening, stream, ..
    } = slot;
    let Some(opening) = opening.as_deref_mut() else {
        return Ok(Progress::Made);
    };
    let progress = opening.advance(net, stream)?;
    if progress == Progress::Reconnected || opening.stage == Stage::Connecting {
        return Ok(progress);
    }
    stream
        .write(net, buffer)
        .map_err(|error| ending(Some(&error)))?;
    let mut budget = PROBE_BYTES_PER_TURN;
    while !matches!(opening.stage, Stage::Running(_)) {
        match stream.read(net, buffer, &mut budget) {
            Ok(Read::Text(text)) => {
                opening.text(net, stream, &text)?;
            }
            Ok(Read::Message(_)) => {}
            Ok(Read::Blocked | Read::Budget) => break,
            Ok(Read::Ended) => return Err(ending(None)),
            Err(error) => return Err(ending(Some(&error))),
        }
    }
    stream
        .write(net, buffer)
        .map_err(|error| ending(Some(&error)))?;
    Ok(match opening.stage {
        Stage::Running(_) => Progress::Made,
        _ => Progress::Waiting,
    })
}
