//! `Stream`: one connection of either end, as bytes: framing, and payload that is sent or received on it.
//!
//! Owns no policy. It writes what the outlet has, reads what the receiver allows, within a budget per turn, and hands
//! every text to its owner, who may change the intake before the next read.

use std::io;
use std::time::Instant;

use super::evidence::{Field, value};
use super::framing::{Framing, Intake, Item, Outlet};
use super::link::Link;
use super::pace::Pace;
use super::payload::Payload;
use super::receiver::Receiver;
use super::schedule::Permission;
use super::sender::{Interval, Sender, SenderView};
use super::wire::{Plan, Report};
use crate::limits::{PROBE_BYTES_PER_TURN, PROBE_PACED_WAIT_MAX};
use crate::net::mio::MioNet;
use crate::net::{Io, Net as _, Tuning};
use crate::proto::websocket::Opcode;

/// A connection with what travels on it.
#[derive(Debug)]
pub struct Stream {
    /// The connection.
    pub link: Link,
    /// What is to be written.
    pub outlet: Outlet,
    /// How received bytes are read.
    pub intake: Intake,
    /// Set while payload is sent here.
    pub sender: Option<Sender>,
    /// Set while payload is received here.
    pub receiver: Option<Receiver>,
    /// Largest single read, bytes.
    pub read_bytes_max: usize,
    /// Whether the sending direction of the connection is ended behind the last byte. Where the bytes themselves say
    /// that they are the last, a client leaves that to the server: proxies take it for having gone away.
    pub half_closes: bool,
    pace: Option<Pace>,
    /// Received and not looked at yet.
    pending: Vec<u8>,
    /// Bytes written, framing included.
    wire_bytes: u64,
    /// The peer will send no more.
    has_ended: bool,
    /// The sending direction is to be ended, or has been.
    finishing: Finishing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finishing {
    No,
    Wanted,
    Done,
}

/// How a turn of reading ended.
#[derive(Debug)]
pub enum Read {
    /// With a line, a message of text, or a head; more may wait.
    Text(Vec<u8>),
    /// A binary message, or for a raw stream one read, of so many bytes; more may wait.
    Message(u64),
    /// With the end of what the peer sends.
    Ended,
    /// Nothing waits, or it may not be read yet.
    Blocked,
    /// More may wait, but the turn is over.
    Budget,
}

/// What a turn of writing did.
#[derive(Debug, Default)]
pub struct Written {
    /// Blocked intervals that ended.
    pub intervals: Vec<Interval>,
    /// Payload bytes accepted.
    pub accepted: u64,
    /// The turn is over, but more could be written.
    pub is_over_budget: bool,
}

impl Stream {
    /// A connection on which nothing has happened.
    pub fn new(link: Link, intake: Intake, mask_seed: u64) -> Self {
        Self {
            link,
            outlet: Outlet::new(Framing::Raw, mask_seed),
            intake,
            sender: None,
            receiver: None,
            read_bytes_max: usize::MAX,
            half_closes: true,
            pace: None,
            pending: Vec::new(),
            wire_bytes: 0,
            has_ended: false,
            finishing: Finishing::No,
        }
    }

    /// Begins to send the payload of `connection`.
    pub fn begin_sending(&mut self, net: &MioNet, connection: u32, plan: &Plan) {
        let now = net.now();
        // A connection without these still works; what it measures says so.
        let _ = net.tune(self.link.socket(), &sender_tuning(plan));
        let seed = plan.seed.wrapping_add(u64::from(connection));
        let payload = Payload::new(seed, plan.block_bytes);
        self.outlet
            .begin(payload, plan.payload_bytes, plan.total_bytes);
        self.pace = Some(Pace::new(
            now,
            plan.payload_bytes,
            plan.bytes_per_second,
            plan.messages_per_second,
        ));
        self.sender = Some(Sender::new(now));
    }

    /// Puts bytes back in front of what is read next.
    pub fn put_back(&mut self, bytes: &[u8]) {
        self.pending.splice(0..0, bytes.iter().copied());
    }

    /// Whether the peer has sent everything.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Ends what is sent: payload with its mark, then the sending direction of the connection itself.
    pub fn finish(&mut self) {
        if self.finishing == Finishing::No {
            self.outlet.finish();
            self.finishing = Finishing::Wanted;
        }
    }

    /// Ends the sending direction once everything is written, without a mark of its own.
    pub fn shut(&mut self) {
        if self.finishing == Finishing::No {
            self.outlet.stop();
            self.finishing = Finishing::Wanted;
        }
    }

    /// Whether everything is written and the sending direction has been ended.
    pub fn is_finished(&self) -> bool {
        self.finishing == Finishing::Done
    }

    /// Whether a turn would get something done at `now`.
    pub fn is_runnable(&self, now: Instant) -> bool {
        let reads = !self.has_ended
            && (!self.pending.is_empty() || self.link.can_read())
            && self.may_read(now);
        let writes = self.link.can_write() && !self.outlet.is_idle();
        let finishes = self.finishing == Finishing::Wanted
            && self.outlet.is_idle()
            && !self.link.wants_write();
        reads || writes || finishes || self.link.can_flush()
    }

    /// When something is to be done although nothing happens on the connection.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let receiver = self.receiver.as_ref();
        let reads_at = receiver.and_then(|receiver| receiver.deadline(now));
        let is_paced = self.sender.is_some() && self.finishing == Finishing::No;
        let sends_at = self
            .pace
            .as_ref()
            .filter(|_| is_paced && !self.outlet.is_complete())
            .and_then(|pace| pace.next_at(now))
            .map(|at| at.min(now + PROBE_PACED_WAIT_MAX));
        reads_at.into_iter().chain(sends_at).min()
    }

    /// Writes what there is, for one turn.
    ///
    /// # Errors
    ///
    /// What the connection reports.
    pub fn write(&mut self, net: &mut MioNet, buffer: &mut [u8]) -> io::Result<Written> {
        self.link.flush(net)?;
        let mut written = Written::default();
        let mut budget = PROBE_BYTES_PER_TURN;
        loop {
            if let Some(pace) = &self.pace {
                self.outlet.set_limit(pace.limit_bytes(net.now()));
            }
            if self.outlet.is_idle() {
                break;
            }
            if budget == 0 {
                written.is_over_budget = true;
                break;
            }
            if !self.link.can_write() {
                self.note_blocked(net);
                break;
            }
            let room = buffer.len().min(budget);
            let filled = self.outlet.fill(&mut buffer[..room]);
            match self.link.write(net, &buffer[..filled])? {
                Io::Blocked => {
                    self.note_blocked(net);
                    break;
                }
                Io::Done(taken) => {
                    budget = budget.saturating_sub(taken.max(1));
                    self.wire_bytes += taken as u64;
                    let payload = self.outlet.advance(taken);
                    written.accepted += payload;
                    let link = &self.link;
                    if let Some(sender) = self.sender.as_mut().filter(|_| payload > 0) {
                        let now = net.now();
                        let info = || link.tcp_info(net);
                        written
                            .intervals
                            .extend(sender.note_accepted(now, payload, info));
                    }
                }
            }
        }
        if self.finishing == Finishing::Wanted && self.outlet.is_idle() && !self.link.wants_write()
        {
            self.finishing = Finishing::Done;
            if self.half_closes {
                self.link.finish(net);
            }
        }
        Ok(written)
    }

    /// Reads until there is something to tell.
    ///
    /// # Errors
    ///
    /// What the connection reports, and `InvalidData` for bytes that make no sense.
    pub fn read(
        &mut self,
        net: &mut MioNet,
        buffer: &mut [u8],
        budget: &mut usize,
    ) -> io::Result<Read> {
        loop {
            if let Some(told) = self.take_pending(net, buffer)? {
                return Ok(told);
            }
            if self.has_ended {
                return Ok(Read::Ended);
            }
            let now = net.now();
            let room = match self.permission(now) {
                Permission::NotBefore(_) => return Ok(Read::Blocked),
                Permission::Free => buffer.len(),
                Permission::UpTo(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
            };
            if !self.link.can_read() {
                return Ok(Read::Blocked);
            }
            if *budget == 0 {
                return Ok(Read::Budget);
            }
            let room = room.min(buffer.len()).min(self.read_bytes_max).max(1);
            match self.link.read(net, &mut buffer[..room])? {
                Io::Blocked => return Ok(Read::Blocked),
                Io::Done(0) => self.has_ended = true,
                Io::Done(count) => {
                    *budget = budget.saturating_sub(count);
                    if let Some(told) = self.take(net.now(), &mut buffer[..count])? {
                        return Ok(told);
                    }
                }
            }
        }
    }

    /// What this end says about its sending.
    pub fn sender_view(&mut self, net: &MioNet) -> Option<SenderView> {
        let sender = self.sender.as_mut()?;
        let info = self.link.tcp_info(net);
        if let Some(info) = &info {
            sender.see(info);
        }
        let part = match self.wire_bytes {
            0 => 1.0,
            wire => sender.accepted() as f64 / wire as f64,
        };
        let queue = self.link.send_queue(net, info.as_ref(), part);
        Some(sender.view(net.now(), &queue, info.as_ref()))
    }

    /// What this end says about its receiving.
    pub fn report(&mut self, net: &MioNet) -> Option<Report> {
        let pending = self.pending.len() as u64;
        let unread = self.link.unread_bytes(net).map(|bytes| bytes + pending);
        let info = self.link.tcp_info(net);
        let window = info.and_then(|info| value(&info, Field::RcvWnd));
        let receiver = self.receiver.as_mut()?;
        Some(receiver.report(net.now(), unread, window))
    }

    fn note_blocked(&mut self, net: &MioNet) {
        let link = &self.link;
        if let Some(sender) = self.sender.as_mut().filter(|_| self.outlet.has_payload()) {
            sender.note_blocked(net.now(), || link.tcp_info(net));
        }
    }

    fn may_read(&self, now: Instant) -> bool {
        !matches!(self.permission(now), Permission::NotBefore(_))
    }

    fn permission(&self, now: Instant) -> Permission {
        match &self.receiver {
            Some(receiver) => receiver.permission(now),
            None => Permission::Free,
        }
    }

    /// Looks at what was read before and put aside.
    fn take_pending(&mut self, net: &MioNet, buffer: &mut [u8]) -> io::Result<Option<Read>> {
        while !self.pending.is_empty() {
            let now = net.now();
            if !self.may_read(now) {
                return Ok(Some(Read::Blocked));
            }
            let count = self.pending.len().min(buffer.len());
            let (bytes, _) = buffer.split_at_mut(count);
            bytes.copy_from_slice(&self.pending[..count]);
            self.pending.drain(..count);
            if let Some(told) = self.take(now, bytes)? {
                return Ok(Some(told));
            }
        }
        // Ten thousand connections would keep what each of them needed once.
        self.pending = Vec::new();
        Ok(None)
    }

    /// Takes received bytes apart until there is something to tell; puts the rest aside.
    fn take(&mut self, now: Instant, bytes: &mut [u8]) -> io::Result<Option<Read>> {
        let mut at = 0;
        while let Some((taken, item)) = self
            .intake
            .next(&mut bytes[at..])
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
        {
            let range = at..at + taken;
            at += taken;
            let told = match item {
                Item::Nothing => None,
                Item::Payload => {
                    let is_raw = matches!(self.intake, Intake::Raw);
                    self.receiver.as_mut().and_then(|receiver| {
                        receiver.receive(now, &bytes[range.clone()]);
                        (is_raw && receiver.end_message(now)).then_some(Read::Message(taken as u64))
                    })
                }
                Item::MessageEnd => self.receiver.as_mut().and_then(|receiver| {
                    receiver
                        .end_message(now)
                        .then_some(Read::Message(receiver.message_bytes()))
                }),
                Item::Text(text) => Some(Read::Text(text)),
                Item::Ping(payload) => {
                    self.outlet.push_frame(Opcode::Pong, &payload);
                    None
                }
                Item::End => {
                    self.has_ended = true;
                    self.pending.clear();
                    return Ok(Some(Read::Ended));
                }
            };
            if told.is_some() {
                self.put_back(&bytes[at..]);
                return Ok(told);
            }
        }
        Ok(None)
    }
}

fn sender_tuning(plan: &Plan) -> Tuning {
    Tuning {
        receive_buffer_bytes: 0,
        send_buffer_bytes: plan.send_buffer_bytes as usize,
        unsent_low_water_bytes: plan.unsent_low_water_bytes as usize,
    }
}
