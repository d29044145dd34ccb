//! `flowgate probe client`: makes the connections of a run, follows its phases, and judges it (probe spec B.4, B.9).
//!
//! One loop over the connections of one run. What each connection does is in `connect` and `stream`,
//! what is made of it in [`track`](super::track); here they meet.
//!
//! | Module | Is |
//! |---|---|
//! | `dial`, `connect` | the connections of the run are made; one of them |
//! | `exchange` | the turns of those that are made, and their ends |
//! | `control` | the connection for commands |
//! | `phases` | how far the run has come |
//! | `watch` | samples, events, the line for people |
//! | `judge`, `result` | the verdict; one object, and the same in words |

mod connect;
mod control;
mod dial;
mod exchange;
mod judge;
mod phases;
pub mod result;
mod watch;

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use self::connect::{Opening, Route};
use self::control::Control;
use self::phases::Phase;
use super::netstat;
use super::options::ClientOptions;
use super::output::Output;
use super::stream::Stream;
use super::track::{Rules, Track};
use super::turns::{Place, Turns};
use super::wire::{Command, Direction, RunId};
use crate::arena::{Arena, Id};
use crate::limits::{PROBE_BUFFER_BYTES, PROBE_GONE_WAIT};
use crate::net::mio::MioNet;
use crate::net::{Event, Net as _, SocketId};

/// Names a connection of a client.
type ConnectionId = Id<Slot>;

/// A connection and its turn.
#[derive(Debug)]
struct Slot {
    role: Role,
    /// Set while it is being made: what it is made for is not kept ten thousand times.
    opening: Option<Box<Opening>>,
    stream: Stream,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Data(usize),
    Control,
}

/// What one direction has come to.
#[derive(Debug)]
pub struct Outcome {
    /// As in probe spec B.10.
    pub exit: u8,
    /// The result.
    pub result: Map<String, Value>,
    /// The run was ended by a signal.
    pub is_interrupted: bool,
}

/// One connection that carries payload.
#[derive(Debug)]
struct Lane {
    id: Option<ConnectionId>,
    track: Track,
    is_made: bool,
    is_sink: bool,
    /// Nothing more is expected of it.
    is_done: bool,
    was_stalled: bool,
    /// Bytes at the sample before, for rates.
    last: (u64, u64),
}

/// One run in one direction.
pub struct Run<'a> {
    net: &'a mut MioNet,
    options: &'a ClientOptions,
    output: &'a mut Output,
    live: &'a mut Output,
    is_terminal: bool,
    direction: Direction,
    id: RunId,
    seed: u64,
    rules: Rules,
    slots: Arena<Slot>,
    turns: Turns<Slot>,
    lanes: Vec<Lane>,
    /// Lanes that have been begun.
    begun: usize,
    connecting: usize,
    made: usize,
    /// When the lanes are next looked through for the run's own phase.
    look_at: Option<Instant>,
    control: Option<Control>,
    control_slot: Option<ConnectionId>,
    /// The control connection was made and has ended.
    is_control_lost: bool,
    silence: Option<Duration>,
    routes: Vec<Rc<Route>>,
    phase: Phase,
    began_at: Instant,
    now: Instant,
    next_sample_at: Instant,
    next_live_at: Instant,
    late_samples: u64,
    /// When the first payload could be sent.
    flowing_at: Option<Instant>,
    resume_sent: bool,
    finish_at: Option<Instant>,
    /// All connections have ended; the control connection has until then to end too.
    gone_until: Option<Instant>,
    is_timed_out: bool,
    error: Option<String>,
    netstat: Map<String, Value>,
}

/// What a turn of a connection brought, to be applied to the run.
enum Outcomes {
    None,
    Failed(String),
    Views(Vec<Map<String, Value>>),
}

impl<'a> Run<'a> {
    /// A run that is about to begin.
    pub fn new(
        net: &'a mut MioNet,
        options: &'a ClientOptions,
        direction: Direction,
        output: &'a mut Output,
        live: &'a mut Output,
        is_terminal: bool,
    ) -> Self {
        let now = net.now();
        let id = RunId(net.random());
        let lane = |number| Lane {
            id: None,
            track: Track::new(number < options.slow),
            is_made: false,
            is_sink: false,
            is_done: false,
            was_stalled: false,
            last: (0, 0),
        };
        Self {
            id,
            seed: net.random(),
            net,
            output,
            live,
            is_terminal,
            direction,
            rules: Rules {
                stall_min: options.stall_min,
                absorb_max: options.absorb_max,
                resume: options.resume,
                hold: options.hold(),
                sample: options.sample,
                offered: options.offered(),
            },
            slots: Arena::new(),
            turns: Turns::default(),
            lanes: (0..options.connections).map(lane).collect(),
            begun: 0,
            connecting: 0,
            made: 0,
            look_at: None,
            control: options
                .control
                .as_ref()
                .map(|target| Control::new(id, target)),
            control_slot: None,
            is_control_lost: false,
            silence: None,
            routes: Vec::new(),
            phase: Phase::Resolving,
            began_at: now,
            now,
            next_sample_at: now + options.sample,
            next_live_at: now + Duration::from_secs(1),
            late_samples: 0,
            flowing_at: None,
            resume_sent: false,
            finish_at: None,
            gone_until: None,
            is_timed_out: false,
            error: None,
            netstat: netstat::read(),
            options,
        }
    }

    /// Runs to the end and judges.
    ///
    /// # Errors
    ///
    /// When waiting for events is impossible.
    pub fn run(mut self) -> io::Result<Outcome> {
        self.event(
            "start",
            json!({"run": self.id.to_string(), "direction": self.direction.name(),
                "url": self.options.target.url, "connections": self.options.connections}),
        );
        self.resolve();
        let mut events = Vec::new();
        let mut buffer = vec![0; PROBE_BUFFER_BYTES];
        let mut is_interrupted = false;
        while self.phase != Phase::Over && !is_interrupted {
            self.net.poll(Some(self.timeout()), &mut events)?;
            for event in events.drain(..) {
                match event {
                    Event::Ready { socket, edge } => {
                        if let Some((id, slot)) = owner(&self.turns, &mut self.slots, socket) {
                            slot.stream.link.note(edge);
                            self.turns.queue(id, &mut slot.place);
                        }
                    }
                    Event::Resolved { result, .. } => self.resolved(result),
                    // There are no other processes.
                    Event::Called | Event::Rung => {}
                    // And no files are read.
                    Event::FileRead { .. } => {}
                    Event::Stop => is_interrupted = true,
                }
            }
            self.now = self.net.now();
            while let Some((id, at)) = self.turns.pop_due(self.now) {
                if let Some(slot) = self.slots.get_mut(id)
                    && Turns::<Slot>::fire(at, &mut slot.place)
                {
                    self.turns.queue(id, &mut slot.place);
                }
            }
            for _ in 0..self.turns.waiting() {
                if let Some(id) = self.turns.pop() {
                    self.turn(id, &mut buffer);
                }
            }
            self.step();
        }
        let outcome = self.judge(is_interrupted);
        self.say_goodbye(outcome.exit, &mut buffer)?;
        Ok(outcome)
    }

    fn timeout(&self) -> Duration {
        if self.turns.waiting() > 0 {
            return Duration::ZERO;
        }
        let own = [
            Some(self.next_sample_at),
            Some(self.began_at + self.options.timeout),
            self.gone_until,
            self.look_at,
        ];
        let next = own.into_iter().flatten().chain(self.turns.next_at()).min();
        let now = self.net.now();
        next.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }

    /// Tells the server the end, and closes everything.
    fn say_goodbye(&mut self, exit: u8, buffer: &mut [u8]) -> io::Result<()> {
        if let Some(control) = &mut self.control {
            control.send(Command::Done { exit });
        }
        let until = self.net.now() + PROBE_GONE_WAIT;
        let mut events = Vec::new();
        while let (Some(id), Some(control)) = (self.control_slot, &self.control) {
            let now = self.net.now();
            let is_said = match self.slots.get(id) {
                Some(slot) => slot.stream.outlet.is_idle() && control.is_idle(),
                None => true,
            };
            if is_said || now >= until {
                break;
            }
            if let Outcomes::Failed(_) = self.turn_control(id, buffer) {
                break;
            }
            let is_waiting = self
                .control
                .as_ref()
                .is_some_and(|control| !control.is_idle());
            if is_waiting {
                self.net
                    .poll(Some(until.saturating_duration_since(now)), &mut events)?;
                for event in events.drain(..) {
                    if let Event::Ready { socket, edge } = event
                        && let Some((_, slot)) = owner(&self.turns, &mut self.slots, socket)
                    {
                        slot.stream.link.note(edge);
                    }
                }
            }
        }
        for (_, slot) in self.slots.iter() {
            self.net.close(slot.stream.link.socket());
        }
        Ok(())
    }
}

fn owner<'a>(
    turns: &Turns<Slot>,
    slots: &'a mut Arena<Slot>,
    socket: SocketId,
) -> Option<(ConnectionId, &'a mut Slot)> {
    let id = turns.owner(socket)?;
    Some((id, slots.get_mut(id)?))
}
