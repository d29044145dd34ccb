//! `flowgate probe client`: makes the connections of a run, follows its phases, and judges it (probe spec B.4, B.9).
//!
//! One loop over the connections of one run. What each connection does is in `connect` and `stream`,
//! what is made of it in [`track`](super::track); here they meet.

mod connect;
mod control;
pub mod result;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use self::connect::{Opening, Progress, Route, Stage, ending};
use self::control::Control;
use super::framing::Intake;
use super::options::ClientOptions;
use super::output::Output;
use super::receiver::Receiver;
use super::sender::{Interval, SenderView};
use super::stream::{Read, Stream};
use super::track::{Reason, Rules, Track, Verdict};
use super::turns::{Place, Turns};
use super::units::show_size;
use super::wire::{self, Command, Direction, Hello, Plan, Report, RunId, milli};
use super::{EXIT_CONNECT, EXIT_CORRUPT, EXIT_INCONCLUSIVE, EXIT_NO, EXIT_YES};
use crate::arena::{Arena, Id};
use crate::limits::{
    PROBE_BUFFER_BYTES, PROBE_BYTES_PER_TURN, PROBE_CLOSE_WAIT, PROBE_CONNECTING_MAX,
    PROBE_GONE_WAIT, PROBE_LATE,
};
use crate::net::mio::MioNet;
use crate::net::{Event, LookupId, Net as _, SocketId, Tuning};
use crate::proto::url::Host;

/// Names a connection of a client.
type ConnectionId = Id<Slot>;

/// A connection and its turn.
#[derive(Debug)]
struct Slot {
    role: Role,
    opening: Opening,
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

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Names are looked up.
    Resolving,
    /// The control connection is being made.
    Control,
    /// The connections that carry payload are being made.
    Connecting,
    /// Everybody reads.
    Warmup,
    /// Those that are to be held are held.
    Hold,
    /// Everybody reads again.
    Resume,
    /// Senders have stopped, receivers read to the end.
    Finish,
    /// Nothing is left to do.
    Over,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Resolving => "resolve",
            Phase::Control => "control",
            Phase::Connecting => "connect",
            Phase::Warmup => "warmup",
            Phase::Hold => "hold",
            Phase::Resume => "resume",
            Phase::Finish => "finish",
            Phase::Over => "over",
        }
    }
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
            netstat: super::netstat::read(),
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

    // ---- Making connections -------------------------------------------------------------------------------

    /// The servers to look up: the one payload goes to, and the one commands go to.
    fn names(&self) -> Vec<(Host, u16)> {
        let of = |target: &super::target::Target| match &self.options.via {
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

    fn resolve(&mut self) {
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

    fn resolved(&mut self, result: Result<Vec<Vec<std::net::IpAddr>>, String>) {
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

    fn add(&mut self, role: Role, opening: Opening, stream: Stream) -> ConnectionId {
        let socket = stream.link.socket();
        let id = self.slots.insert(Slot {
            role,
            opening,
            stream,
            place: Place::default(),
        });
        self.turns.own(socket, id);
        if let Some(slot) = self.slots.get_mut(id) {
            self.turns.queue(id, &mut slot.place);
        }
        id
    }

    /// Begins connections, not more at a time than a backlog takes.
    fn connect_more(&mut self) {
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

    fn plan(&self, number: usize) -> Plan {
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

    // ---- Turns --------------------------------------------------------------------------------------------

    fn turn(&mut self, id: ConnectionId, buffer: &mut [u8]) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        Turns::<Slot>::begin(&mut slot.place);
        let (role, socket) = (slot.role, slot.stream.link.socket());
        let outcome = match slot.opening.stage {
            Stage::Running(_) => match role {
                Role::Control => self.turn_control(id, buffer),
                Role::Data(number) => self.turn_data(id, number, buffer),
            },
            _ => self.turn_opening(id, buffer),
        };
        match (outcome, role) {
            (Outcomes::None, _) => {}
            (Outcomes::Failed(error), Role::Control) => self.lose_control(&error),
            (Outcomes::Failed(error), Role::Data(number)) => self.lane_failed(number, error),
            (Outcomes::Views(views), _) => {
                for view in &views {
                    self.note_view(view);
                }
            }
        }
        let now = self.net.now();
        match self.slots.get_mut(id) {
            Some(slot) => {
                // An address that did not answer has given way to the next.
                let current = slot.stream.link.socket();
                if current != socket {
                    self.turns.disown(socket);
                    self.net.close(socket);
                    self.turns.own(current, id);
                }
                if slot.stream.is_runnable(now) {
                    self.turns.queue(id, &mut slot.place);
                }
                let deadlines = [slot.opening.deadline(), slot.stream.deadline(now)];
                let deadline = deadlines.into_iter().flatten().min();
                self.turns.arm(id, deadline, &mut slot.place);
            }
            None => self.turns.disown(socket),
        }
    }

    fn turn_opening(&mut self, id: ConnectionId, buffer: &mut [u8]) -> Outcomes {
        let Some(slot) = self.slots.get_mut(id) else {
            return Outcomes::None;
        };
        match open(self.net, slot, buffer) {
            Ok(Progress::Made) => {}
            Ok(Progress::Waiting | Progress::Reconnected) => return Outcomes::None,
            Err(error) => return Outcomes::Failed(error),
        }
        let is_sink = slot.opening.stage == Stage::Running(true);
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

    fn turn_control(&mut self, id: ConnectionId, buffer: &mut [u8]) -> Outcomes {
        let (Some(slot), Some(control)) = (self.slots.get_mut(id), &mut self.control) else {
            return Outcomes::None;
        };
        let mut views = Vec::new();
        let mut budget = PROBE_BYTES_PER_TURN;
        loop {
            match slot.stream.read(self.net, buffer, &mut budget) {
                Ok(Read::Text(text)) => {
                    match control.text(self.net.now(), &mut slot.stream, &text) {
                        Ok(more) => views.extend(more),
                        Err(error) => return Outcomes::Failed(error),
                    }
                }
                Ok(Read::Blocked | Read::Budget | Read::Message(_)) => break,
                Ok(Read::Ended) => return Outcomes::Failed(ending(None)),
                Err(error) => return Outcomes::Failed(ending(Some(&error))),
            }
        }
        control.step(&mut slot.stream, false);
        match slot.stream.write(self.net, buffer) {
            Ok(_) => Outcomes::Views(views),
            Err(error) => Outcomes::Failed(ending(Some(&error))),
        }
    }

    fn turn_data(&mut self, id: ConnectionId, number: usize, buffer: &mut [u8]) -> Outcomes {
        let Some(slot) = self.slots.get_mut(id) else {
            return Outcomes::None;
        };
        let lane = &mut self.lanes[number];
        let now = self.net.now();
        let mut has_changed = false;
        if let Some(receiver) = &mut slot.stream.receiver {
            has_changed = receiver.advance(now);
        }
        if has_changed && let Some(report) = slot.stream.report(self.net) {
            lane.track.note_receiver(now, report);
        }
        let mut budget = PROBE_BYTES_PER_TURN;
        let ended = loop {
            match slot.stream.read(self.net, buffer, &mut budget) {
                Ok(Read::Text(text)) => note_text(self.net.now(), slot, lane, &text),
                Ok(Read::Message(_)) => {}
                Ok(Read::Blocked | Read::Budget) => break None,
                Ok(Read::Ended) => break Some(Ok(())),
                Err(error) => break Some(Err(error)),
            }
        };
        let written = match slot.stream.write(self.net, buffer) {
            Ok(written) => written,
            Err(error) => {
                return match ended {
                    Some(Ok(())) => self.lane_ended(id, number, ending(Some(&error))),
                    _ => Outcomes::Failed(ending(Some(&error))),
                };
            }
        };
        let lane = &mut self.lanes[number];
        lane.track.note_accepted(slot.stream.outlet.payload_bytes());
        if lane.track.is_in_hold() && lane.track.is_exceeded(&self.rules) {
            self.lane_done(number);
            return Outcomes::None;
        }
        let resumes =
            written.accepted > 0 && lane.track.is_past_hold() && lane.track.resumed_after.is_none();
        if (resumes || !written.intervals.is_empty())
            && let Some(view) = slot.stream.sender_view(self.net)
        {
            lane.track.note_sender(self.net.now(), view, &self.rules);
        }
        for interval in written.intervals {
            self.note_interval(number, interval);
        }
        match ended {
            None => self.look_whether_done(number),
            Some(Ok(())) => return self.lane_ended(id, number, ending(None)),
            Some(Err(error)) => return Outcomes::Failed(ending(Some(&error))),
        }
        Outcomes::None
    }

    /// The other end has sent everything.
    fn lane_ended(&mut self, id: ConnectionId, number: usize, error: String) -> Outcomes {
        let Some(slot) = self.slots.get_mut(id) else {
            return Outcomes::None;
        };
        let lane = &mut self.lanes[number];
        if let Some(receiver) = &mut slot.stream.receiver {
            if !receiver.is_final() {
                receiver.finish();
                if let Some(report) = slot.stream.report(self.net) {
                    lane.track.note_receiver(self.now, report);
                }
            }
            self.look_whether_done(number);
            return Outcomes::None;
        }
        let has_reported = lane
            .track
            .receiver
            .as_ref()
            .is_some_and(|report| report.is_final);
        if has_reported || (lane.is_sink && slot.stream.is_finished()) {
            self.lane_done(number);
            return Outcomes::None;
        }
        Outcomes::Failed(error)
    }

    /// Looks whether a connection has done all that it is there for.
    fn look_whether_done(&mut self, number: usize) {
        let phase = self.phase;
        let lane = &mut self.lanes[number];
        let Some(slot) = lane.id.and_then(|id| self.slots.get_mut(id)) else {
            return;
        };
        let stream = &mut slot.stream;
        if self.direction == Direction::Up && stream.outlet.is_complete() && stream.sender.is_some()
        {
            lane.track.complete(self.now);
            stream.finish();
        }
        let receiver = lane.track.receiver.as_mut();
        let is_done = match self.direction {
            Direction::Up if lane.is_sink => stream.is_finished(),
            Direction::Up => receiver.is_some_and(|report| {
                // A chain that does not pass the end on has passed everything all the same.
                let has_all = phase == Phase::Finish
                    && stream.is_finished()
                    && report.consumed == stream.outlet.payload_bytes();
                report.is_final |= has_all;
                report.is_final
            }),
            Direction::Down => {
                let has_last_word = self.control.is_none()
                    || self.is_control_lost
                    || lane.track.is_sender_done
                    || self
                        .finish_at
                        .is_some_and(|at| self.now >= at + PROBE_CLOSE_WAIT);
                stream.has_ended() && has_last_word
            }
        };
        if is_done {
            self.lane_done(number);
        } else if stream.is_runnable(self.now)
            && let Some(id) = lane.id
        {
            self.turns.queue(id, &mut slot.place);
        }
    }

    fn lane_done(&mut self, number: usize) {
        let lane = &mut self.lanes[number];
        if lane.is_done {
            return;
        }
        lane.is_done = true;
        if let Some(slot) = lane.id.and_then(|id| self.slots.get_mut(id))
            && let Some(view) = slot.stream.sender_view(self.net)
        {
            lane.track.note_sender(self.now, view, &self.rules);
        }
        self.close(number);
        self.event("close", json!({"conn": number}));
    }

    fn lane_failed(&mut self, number: usize, error: String) {
        if !self.lanes[number].is_made {
            return self.give_up(format!("connection {number}: {error}"));
        }
        let lane = &mut self.lanes[number];
        if lane.is_done {
            return;
        }
        lane.track.closed_in_hold = lane.track.is_in_hold();
        lane.track.error = Some(error.clone());
        self.lane_done(number);
        self.event("error", json!({"conn": number, "error": error}));
    }

    fn close(&mut self, number: usize) {
        if let Some(slot) = self.lanes[number].id.and_then(|id| self.slots.remove(id)) {
            let socket = slot.stream.link.socket();
            self.turns.disown(socket);
            self.net.close(socket);
        }
    }

    fn lose_control(&mut self, error: &str) {
        let was_made = self.phase > Phase::Control;
        if let Some(slot) = self
            .control_slot
            .take()
            .and_then(|id| self.slots.remove(id))
        {
            let socket = slot.stream.link.socket();
            self.turns.disown(socket);
            self.net.close(socket);
        }
        self.is_control_lost = was_made;
        self.control = None;
        self.event("error", json!({"control": true, "error": error}));
    }

    /// There will be no run.
    fn give_up(&mut self, error: String) {
        self.event("error", json!({"error": error}));
        self.error = Some(error);
        self.enter(Phase::Over);
    }

    // ---- The phases ---------------------------------------------------------------------------------------

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

    /// Looks whether the run has come further.
    fn step(&mut self) {
        self.now = self.net.now();
        if self.now >= self.next_sample_at {
            self.sample();
        }
        // Ten thousand lanes are not looked through for every one that had a turn.
        let patience = match self.lanes.len() {
            0..64 => Duration::ZERO,
            many => Duration::from_micros(many as u64),
        };
        let look_at = *self.look_at.get_or_insert(self.now + patience);
        if self.now >= look_at || self.phase < Phase::Warmup {
            self.look_at = None;
            self.move_on();
        }
        if self.now >= self.began_at + self.options.timeout && self.phase != Phase::Over {
            self.is_timed_out = true;
            if self.phase < Phase::Warmup {
                return self.give_up("no connection within --timeout".into());
            }
            self.enter(Phase::Over);
        }
    }

    /// Enters the next phase if its time has come.
    fn move_on(&mut self) {
        match self.phase {
            Phase::Control if self.is_control_settled() => self.enter(Phase::Connecting),
            Phase::Connecting => {
                self.connect_more();
                if self.phase == Phase::Connecting && self.made == self.lanes.len() {
                    self.begin();
                }
            }
            Phase::Warmup if self.any_held(Track::is_in_hold) => self.begin_hold(),
            Phase::Hold => self.hold(),
            Phase::Resume if self.is_resume_over() => self.finish(),
            _ => {}
        }
        if self.phase >= Phase::Warmup && self.phase != Phase::Over {
            self.look_whether_over();
        }
    }

    fn enter(&mut self, phase: Phase) {
        if self.phase != Phase::Over {
            self.phase = phase;
            self.event("phase", json!({"phase": phase.name()}));
        }
    }

    fn is_control_settled(&self) -> bool {
        match self.control_slot.and_then(|id| self.slots.get(id)) {
            Some(slot) => matches!(slot.opening.stage, Stage::Running(_)),
            None => true,
        }
    }

    /// Every connection is made: payload may flow.
    fn begin(&mut self) {
        self.enter(Phase::Warmup);
        self.flowing_at = Some(self.now);
        if self.direction == Direction::Down {
            return;
        }
        for number in 0..self.lanes.len() {
            let plan = self.plan(number);
            let lane = &self.lanes[number];
            if let Some((id, slot)) = lane.id.and_then(|id| Some((id, self.slots.get_mut(id)?))) {
                slot.stream.begin_sending(self.net, number as u32, &plan);
                self.turns.queue(id, &mut slot.place);
            }
        }
    }

    fn begin_hold(&mut self) {
        self.enter(Phase::Hold);
        if let Some(control) = &mut self.control {
            control.begin_hold(self.now);
        }
        self.mark_free();
    }

    fn hold(&mut self) {
        for number in 0..self.lanes.len() {
            if !self.lanes[number].is_done && self.lanes[number].track.is_exceeded(&self.rules) {
                self.lane_done(number);
            }
        }
        let mut held = self.lanes.iter().filter(|lane| lane.track.is_held);
        if held.all(|lane| lane.is_done || lane.track.is_past_hold()) {
            self.silence = self
                .control
                .as_ref()
                .and_then(|control| control.silence(self.now));
            self.mark_free();
            return self.enter(Phase::Resume);
        }
        let mut held = self.lanes.iter().filter(|lane| lane.track.is_held);
        let is_settled =
            held.all(|lane| lane.is_done || lane.track.is_past_hold() || lane.track.is_settled());
        if is_settled && !self.resume_sent {
            self.resume_sent = true;
            self.end_hold();
        }
    }

    /// Every sender has stalled: the hold need not go on.
    fn end_hold(&mut self) {
        if self.direction == Direction::Up {
            if let Some(control) = &mut self.control {
                control.send(Command::Resume);
            }
            return self.wake_control();
        }
        let now = self.now;
        for lane in &mut self.lanes {
            let Some((id, slot)) = lane.id.and_then(|id| Some((id, self.slots.get_mut(id)?)))
            else {
                continue;
            };
            if let Some(receiver) = &mut slot.stream.receiver
                && receiver.end_hold(now)
                && let Some(report) = slot.stream.report(self.net)
            {
                lane.track.note_receiver(now, report);
            }
            self.turns.queue(id, &mut slot.place);
        }
    }

    fn wake_control(&mut self) {
        if let Some((id, slot)) = self
            .control_slot
            .and_then(|id| Some((id, self.slots.get_mut(id)?)))
        {
            self.turns.queue(id, &mut slot.place);
        }
    }

    fn mark_free(&mut self) {
        for lane in self.lanes.iter_mut().filter(|lane| !lane.track.is_held) {
            lane.track.mark_free();
        }
    }

    fn any_held(&self, is: impl Fn(&Track) -> bool) -> bool {
        let mut held = self.lanes.iter().filter(|lane| lane.track.is_held);
        held.any(|lane| is(&lane.track))
    }

    /// Whether every held receiver has come to the end of its schedule.
    fn is_resume_over(&self) -> bool {
        let last = self.options.schedule.len().saturating_sub(1) as u64;
        let mut held = self.lanes.iter().filter(|lane| lane.track.is_held);
        held.all(|lane| {
            let receiver = lane.track.receiver.as_ref();
            let hold = lane.track.hold.as_ref();
            let is_late = hold
                .and_then(|hold| hold.ended_at)
                .is_some_and(|at| self.now >= at + self.after_hold());
            lane.is_done || is_late || receiver.is_some_and(|report| report.step >= last)
        })
    }

    /// What the schedule does behind its last hold, by the clock.
    fn after_hold(&self) -> Duration {
        let steps = self.options.schedule.iter().rev();
        let behind = steps.take_while(|step| !matches!(step, super::schedule::Step::Hold(_)));
        behind.filter_map(|step| step.time()).sum()
    }

    fn finish(&mut self) {
        self.enter(Phase::Finish);
        self.finish_at = Some(self.now);
        for lane in &self.lanes {
            let Some((id, slot)) = lane.id.and_then(|id| Some((id, self.slots.get_mut(id)?)))
            else {
                continue;
            };
            match &mut slot.stream.receiver {
                Some(receiver) => receiver.drain(self.now),
                None => slot.stream.finish(),
            }
            self.turns.queue(id, &mut slot.place);
        }
        if let Some(control) = &mut self.control {
            control.send(Command::Stop);
        }
        self.wake_control();
    }

    fn look_whether_over(&mut self) {
        if !self.lanes.iter().all(|lane| lane.is_done) {
            return;
        }
        // Whether the other end is gone, or only the chain in front of it, shows in the control connection.
        let has_failed = self.lanes.iter().any(|lane| lane.track.error.is_some());
        if has_failed && self.control.is_some() && !self.is_control_lost {
            let until = *self.gone_until.get_or_insert(self.now + PROBE_GONE_WAIT);
            if self.now < until {
                return;
            }
        }
        self.enter(Phase::Over);
    }

    // ---- What is seen -------------------------------------------------------------------------------------

    fn sample(&mut self) {
        let late = self.now.saturating_duration_since(self.next_sample_at);
        if late > PROBE_LATE {
            self.late_samples += 1;
        }
        while self.next_sample_at <= self.now {
            self.next_sample_at += self.options.sample;
        }
        for number in 0..self.lanes.len() {
            self.sample_lane(number);
        }
        if let (Some(control), Some((id, slot))) = (
            &mut self.control,
            self.control_slot
                .and_then(|id| Some((id, self.slots.get_mut(id)?))),
        ) && matches!(slot.opening.stage, Stage::Running(_))
            && self.phase >= Phase::Warmup
        {
            control.step(&mut slot.stream, true);
            self.turns.queue(id, &mut slot.place);
        }
        self.show_progress();
    }

    fn sample_lane(&mut self, number: usize) {
        let (now, direction) = (self.now, self.direction);
        let lane = &mut self.lanes[number];
        if lane.is_done || !lane.is_made {
            return;
        }
        let Some(slot) = lane.id.and_then(|id| self.slots.get_mut(id)) else {
            return;
        };
        let mut gone = None;
        match direction {
            Direction::Up => {
                if let Some(view) = slot.stream.sender_view(self.net) {
                    lane.track.note_sender(now, view, &self.rules);
                }
                if lane.track.receiver.is_none() {
                    self.follow_the_clock(number);
                }
            }
            Direction::Down => {
                if let Some(report) = slot.stream.report(self.net) {
                    lane.track.note_receiver(now, report);
                }
                // A receiver that holds does not read; the end shows as an edge.
                if lane.track.is_in_hold()
                    && slot.stream.link.has_ended()
                    && self.options.messages == 0
                {
                    let failure = self.net.failure(slot.stream.link.socket());
                    gone = Some(ending(failure.err().as_ref()));
                }
            }
        }
        self.note_stall(number);
        if self.output.is_wanted() {
            self.sample_event(number);
        }
        match gone {
            Some(error) => self.lane_failed(number, error),
            None => self.look_whether_done(number),
        }
    }

    /// Without a word from the receiver its schedule is followed by this end's clock.
    fn follow_the_clock(&mut self, number: usize) {
        let Some(flowing_at) = self.flowing_at else {
            return;
        };
        let lane = &mut self.lanes[number];
        // Word may only be late.
        let patience = match lane.is_sink {
            true => Duration::ZERO,
            false => Duration::from_secs(1),
        };
        let hold_at = flowing_at + self.options.warmup() + patience;
        if !lane.track.is_held || self.now < hold_at || self.options.is_classic {
            return;
        }
        lane.track.begin_hold(self.now);
        let is_over = lane.is_sink && lane.track.is_settled();
        if is_over || self.now >= hold_at + self.rules.hold {
            lane.track.end_hold(self.now);
        }
    }

    fn note_view(&mut self, view: &Map<String, Value>) {
        let number = wire::optional(view, "conn").and_then(|number| usize::try_from(number).ok());
        let Some((number, lane)) =
            number.and_then(|number| Some((number, self.lanes.get_mut(number)?)))
        else {
            return;
        };
        let now = self.net.now();
        let part = |name: &str| view.get(name).and_then(Value::as_object);
        if self.direction == Direction::Up
            && let Some(Ok(report)) = part("rx").map(Report::of)
        {
            lane.track.note_receiver(now, report);
        }
        if self.direction == Direction::Down
            && let Some(sender) = part("tx").and_then(SenderView::of)
        {
            lane.track.note_sender(now, sender, &self.rules);
            let is = |name: &str| view.get(name) == Some(&Value::Bool(true));
            lane.track.is_sender_done |= is("done");
            lane.track.is_complete |= is("complete");
        }
        self.note_stall(number);
        self.look_whether_done(number);
    }

    fn note_stall(&mut self, number: usize) {
        let lane = &mut self.lanes[number];
        let stall_min = self.rules.stall_min.as_secs_f64();
        let blocked = lane.track.sender.as_ref().and_then(|sender| sender.blocked);
        let is_stalled = blocked.is_some_and(|blocked| blocked.length >= stall_min);
        if is_stalled != lane.was_stalled {
            lane.was_stalled = is_stalled;
            let name = if is_stalled {
                "stall_begin"
            } else {
                "stall_end"
            };
            let accepted = lane.track.sender.as_ref().map(|sender| sender.accepted);
            self.event(name, json!({"conn": number, "accepted": accepted}));
        }
    }

    fn note_interval(&mut self, number: usize, interval: Interval) {
        self.event(
            "blocked",
            json!({"conn": number, "start": milli(interval.start),
                "seconds": milli(interval.length), "accepted": interval.accepted_before,
                "class": interval.class.name()}),
        );
    }

    fn sample_event(&mut self, number: usize) {
        let seconds = self.options.sample.as_secs_f64();
        let lane = &mut self.lanes[number];
        let (sender, receiver) = (&lane.track.sender, &lane.track.receiver);
        let accepted = sender.as_ref().map(|sender| sender.accepted);
        let consumed = receiver.as_ref().map(|report| report.consumed);
        let before = lane.last;
        lane.last = (accepted.unwrap_or(0), consumed.unwrap_or(0));
        let rate = |now: Option<u64>, before: u64| {
            now.map(|now| (now.saturating_sub(before) as f64 / seconds).round())
        };
        let mut tcp = sender
            .as_ref()
            .and_then(|sender| sender.tcp.clone())
            .map_or(Value::Null, Value::Object);
        if let (Value::Object(tcp), Some(sender)) = (&mut tcp, sender) {
            let all = sender.unsent.zip(sender.unacked);
            let all = all.map(|(unsent, unacked)| unsent + unacked);
            tcp.insert("outq".into(), all.into());
            tcp.insert("outq_unsent".into(), sender.unsent.into());
            let unread = receiver.as_ref().and_then(|report| report.unread);
            tcp.insert("inq".into(), unread.into());
        }
        let value = json!({"conn": number, "accepted": accepted, "consumed": consumed,
            "rate_tx": rate(accepted, before.0), "rate_rx": rate(consumed, before.1),
            "blocked": sender.as_ref().map(|sender| sender.blocked.is_some()), "tcp": tcp});
        self.event("sample", value);
    }

    fn event(&mut self, name: &str, mut value: Value) {
        if self.output.is_wanted() {
            value["ev"] = name.into();
            let at = self.net.now().saturating_duration_since(self.began_at);
            value["t"] = milli(at.as_secs_f64()).into();
            self.output.write(format!("{value}\n"));
        }
    }

    /// One line for people: every second on a terminal, else every five.
    fn show_progress(&mut self) {
        if !self.live.is_wanted() || self.now < self.next_live_at {
            return;
        }
        let interval = if self.is_terminal { 1 } else { 5 };
        self.next_live_at = self.now + Duration::from_secs(interval);
        let tracks = || self.lanes.iter().map(|lane| &lane.track);
        let accepted: u64 = tracks()
            .filter_map(|track| Some(track.sender.as_ref()?.accepted))
            .sum();
        let consumed: u64 = tracks()
            .filter_map(|track| Some(track.receiver.as_ref()?.consumed))
            .sum();
        let blocked = tracks()
            .filter_map(|track| track.sender.as_ref()?.blocked)
            .count();
        let elapsed = self.now.saturating_duration_since(self.began_at);
        let line = format!(
            "{:>5.1} s  {:<7} {}  sent {:>9}  received {:>9}  absorbed {:>9}  blocked {blocked}",
            elapsed.as_secs_f64(),
            self.phase.name(),
            self.direction.name(),
            show_size(accepted),
            show_size(consumed),
            show_size(accepted.saturating_sub(consumed)),
        );
        self.live.write(match self.is_terminal {
            true => format!("\r\x1b[K{line}"),
            false => format!("{line}\n"),
        });
    }

    // ---- The end ------------------------------------------------------------------------------------------

    fn judge(&mut self, is_interrupted: bool) -> Outcome {
        let is_gone = self.is_control_lost;
        let mut worst = None;
        let mut entries = Vec::new();
        for (number, lane) in self.lanes.iter().enumerate() {
            let mut verdict = match self.error {
                Some(_) => (Verdict::Inconclusive, Reason::NotConnected),
                None => lane.track.verdict(&self.rules, is_gone),
            };
            if self.is_timed_out && verdict.0 == Verdict::Yes && !lane.is_done {
                verdict = (Verdict::Inconclusive, Reason::Timeout);
            }
            // Others are there to be compared with, but bytes must not be wrong on them either.
            if lane.track.is_held || verdict.0 == Verdict::Corrupt {
                worst = worst.max(Some(verdict.0));
            }
            entries.push(result::connection(
                number,
                &lane.track,
                self.began_at,
                verdict,
            ));
        }
        let verdict = worst.unwrap_or(Verdict::Inconclusive);
        let isolation = self.isolation();
        let is_isolated = isolation["ok"] != false;
        // A classic run asks nothing; it is good when everything was sent.
        let is_sent = self.lanes.iter().all(|lane| lane.track.is_complete);
        let exit = match (&self.error, verdict) {
            _ if is_interrupted => super::exit_by_signal(self.net),
            (Some(_), _) => EXIT_CONNECT,
            (None, _) if self.options.is_classic && is_sent => EXIT_YES,
            (None, Verdict::Corrupt) => EXIT_CORRUPT,
            (None, Verdict::Inconclusive) => EXIT_INCONCLUSIVE,
            (None, verdict) => {
                let is_yes = verdict == Verdict::Yes && is_isolated;
                match is_yes == self.options.expects_yes {
                    true => EXIT_YES,
                    false => EXIT_NO,
                }
            }
        };
        let expected = if self.options.expects_yes {
            "yes"
        } else {
            "no"
        };
        let elapsed = self.net.now().saturating_duration_since(self.began_at);
        let result = json!({
            "ev": "result",
            "t": milli(elapsed.as_secs_f64()),
            "schema": "probe-result/1",
            "verdict": verdict.name(),
            "expected": expected,
            "exit": exit,
            "run": self.id.to_string(),
            "direction": self.direction.name(),
            "transport": self.options.transport(),
            "url": self.options.target.url,
            "via": self.options.via.as_ref().map(|(host, port)| format!("http://{host}:{port}")),
            "connections": self.options.connections,
            "slow": self.options.slow,
            "verified": self.options.verify,
            "seconds": milli(elapsed.as_secs_f64()),
            "interrupted": is_interrupted,
            "classic": self.options.is_classic.then(|| json!({
                "requests": self.options.messages,
                "expected_s": match self.options.messages_per_second {
                    0 => None,
                    pace => Some(milli(self.options.messages as f64 / pace as f64)),
                },
                "fired_s": self.flowing_at.map(|at| {
                    milli(self.net.now().saturating_duration_since(at).as_secs_f64())
                }),
            })),
            "isolation": isolation,
            "control_gap_s": self.silence.map(|silence| milli(silence.as_secs_f64())),
            "late_samples": self.late_samples,
            "dropped_events": self.output.dropped(),
            "netstat": super::netstat::growth(&self.netstat),
            "error": self.error,
            "conns": entries,
        });
        let Value::Object(result) = result else {
            unreachable!("written as an object above")
        };
        Outcome {
            exit,
            result,
            is_interrupted,
        }
    }

    fn isolation(&self) -> Value {
        if !self.options.checks_isolation() {
            return json!({"checked": false});
        }
        let free = self.lanes.iter().filter(|lane| !lane.track.is_held);
        let seen: Vec<(f64, f64)> = free.filter_map(|lane| lane.track.isolation()).collect();
        let least = seen.iter().map(|(percent, _)| *percent).reduce(f64::min);
        let gap = seen.iter().map(|(_, gap)| *gap).reduce(f64::max);
        let is_whole = seen.len() as u32 == self.options.connections - self.options.slow;
        let ok = least.filter(|_| is_whole).zip(gap).map(|(least, gap)| {
            least >= self.options.isolation_percent && gap < self.rules.stall_min.as_secs_f64()
        });
        json!({
            "checked": true,
            "ok": ok,
            "min_percent": least.map(milli),
            "max_gap_s": gap.map(milli),
            "head_of_line": gap.map(|gap| gap >= self.rules.stall_min.as_secs_f64()),
        })
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

/// One turn of a connection that is being made.
fn open(net: &mut MioNet, slot: &mut Slot, buffer: &mut [u8]) -> Result<Progress, String> {
    let Slot {
        opening, stream, ..
    } = slot;
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

/// A report on the payload connection, or over HTTP the head and the body of the answer.
fn note_text(now: Instant, slot: &mut Slot, lane: &mut Lane, text: &[u8]) {
    if matches!(slot.stream.intake, Intake::Head(_)) {
        slot.stream.intake = match control::body_length(text) {
            Ok(length) => Intake::Body(length, Vec::new()),
            Err(_) => Intake::Discard,
        };
        return;
    }
    // A sink may say what it likes.
    if let Ok(object) = wire::object(text)
        && let Ok(report) = Report::of(&object)
    {
        lane.track.note_receiver(now, report);
    }
    if matches!(slot.stream.intake, Intake::Body(..)) {
        slot.stream.intake = Intake::Discard;
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
