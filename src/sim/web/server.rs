//! The server's end of one connection that the router has made.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use super::super::media::Rng;
use super::super::peers::earlier;
use super::super::world::World;
use super::exchange::{Flaw, upload_byte};
use super::site::{Farewell, Habits, Reach, SiteTrouble};
use super::veil::Mirror;
use super::wire::Body;

/// Bytes of an answer that wait for the router at most, more or less.
const WINDOW_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(in crate::sim) struct Server {
    site: usize,
    habits: Habits,
    reach: Reach,
    trouble: SiteTrouble,
    begun: Instant,
    rng: Rng,
    mirror: Option<Mirror>,
    established: bool,
    done: bool,
    /// Nothing more is read, and the connection ends with the answer.
    deaf: bool,
    /// What came and was not understood yet.
    plain: Vec<u8>,
    read_bytes: u64,
    stalled: bool,
    next_read: Option<Instant>,
    next_send: Option<Instant>,
    job: Option<Job>,
    served: u32,
    idle_since: Option<Instant>,
}

/// A request that is being answered.
#[derive(Debug)]
struct Job {
    number: usize,
    body: Body,
    uploaded: u64,
    wire: Rc<[u8]>,
    sent: usize,
    /// When the answer begins, once enough of the request is there.
    reply_at: Option<Instant>,
    /// Not only the interim responses.
    answers: bool,
    stalled: bool,
}

impl Server {
    pub(in crate::sim) fn new(site: usize, address: usize, world: &World, seed: u64) -> Self {
        let its = &world.sites[site];
        Self {
            site,
            habits: its.habits,
            reach: its.addresses[address],
            trouble: its.trouble,
            begun: world.now,
            rng: Rng::new(seed),
            mirror: its.secure.then(Mirror::default),
            established: false,
            done: false,
            deaf: false,
            plain: Vec::new(),
            read_bytes: 0,
            stalled: false,
            next_read: None,
            next_send: None,
            job: None,
            served: 0,
            idle_since: None,
        }
    }

    pub(in crate::sim) fn act(&mut self, index: usize, world: &mut World) -> Option<Instant> {
        if self.done {
            return None;
        }
        if world.connection(index).router_closed {
            self.done = true;
            return None;
        }
        if !self.established
            && let Some(at) = self.establish(index, world)
        {
            return at;
        }
        let mut next = self.read(index, world);
        self.understand(index, world);
        next = earlier(next, self.answer(index, world));
        next = earlier(next, self.leave(index, world));
        world.touch(index);
        if self.done { None } else { next }
    }

    /// Returns when to try again unless the connection is made now.
    fn establish(&mut self, index: usize, world: &mut World) -> Option<Option<Instant>> {
        let after = match self.reach {
            Reach::Answers { after } | Reach::Refuses { after } => after,
            Reach::RefusesAtOnce | Reach::Silent => return Some(None),
        };
        if world.now < self.begun + after {
            return Some(Some(self.begun + after));
        }
        if matches!(self.reach, Reach::Refuses { .. }) {
            world.connection(index).refused = true;
            world.note("connect failed");
            world.touch(index);
            self.done = true;
            return Some(None);
        }
        self.established = true;
        world.connection(index).established = true;
        if self.trouble == SiteTrouble::Garbage {
            let garbage = b"HTTP/1.1 400 Bad Request\r\n\r\n".iter().copied();
            world.connection(index).to_router.extend(garbage);
            self.deaf = true;
        }
        None
    }

    fn read(&mut self, index: usize, world: &mut World) -> Option<Instant> {
        if self.deaf || self.trouble == SiteTrouble::Mute {
            return None;
        }
        let now = world.now;
        let (most, every) = self.habits.reads;
        while world.connection(index).to_peer > 0 {
            if let Some(at) = self.next_read.filter(|at| *at > now) {
                return Some(at);
            }
            if let Some((after, time)) = self.habits.stall
                && !self.stalled
                && self.read_bytes >= after
            {
                self.stalled = true;
                self.next_read = Some(now + time);
                world.note("server stops reading");
                continue;
            }
            let connection = world.connection(index);
            let count = connection.to_peer.min(most);
            let bytes = connection.take_received(count, now);
            self.read_bytes += count as u64;
            self.next_read = Some(now + every);
            match &mut self.mirror {
                None => self.plain.extend(bytes),
                Some(mirror) => {
                    let mut out = VecDeque::new();
                    mirror.receive(&bytes, &mut self.rng, &mut self.plain, &mut out);
                    if mirror.is_ready() && !out.is_empty() {
                        world.note("handshake complete");
                    }
                    world.connection(index).to_router.extend(out);
                }
            }
        }
        None
    }

    /// Takes heads and bodies out of what has been read, and checks every byte.
    fn understand(&mut self, index: usize, world: &mut World) {
        while !self.plain.is_empty() && !self.deaf {
            match &mut self.job {
                None => {
                    let end = self.plain.windows(4).position(|four| four == b"\r\n\r\n");
                    let Some(end) = end else { return };
                    let head: Vec<u8> = self.plain.drain(..end + 4).collect();
                    if !self.begin(&head, index, world) {
                        return;
                    }
                }
                Some(job) => {
                    assert_ne!(job.body, Body::Complete, "a request before its time");
                    let (number, mut at) = (job.number, job.uploaded);
                    let used = job.body.take(&self.plain, |data| {
                        for &byte in data {
                            let due = upload_byte(number, at);
                            assert_eq!(byte, due, "byte {at} uploaded in exchange {number}");
                            at += 1;
                        }
                    });
                    job.uploaded = at;
                    self.plain.drain(..used);
                    self.note_upload(world);
                    self.retire(world);
                }
            }
        }
    }

    /// Looks at a head. False if the connection ends with it.
    fn begin(&mut self, head: &[u8], index: usize, world: &mut World) -> bool {
        let head = std::str::from_utf8(head).expect("a request is ASCII");
        let mut words = head.split(' ');
        let (method, path) = (words.next(), words.next().unwrap_or_default());
        let number = path.strip_prefix("/x/").and_then(|it| it.parse().ok());
        let number: usize = number.unwrap_or_else(|| panic!("nobody asked for this: {head}"));
        let (now, dropped) = (
            world.now,
            self.served > 0
                && self.habits.drops_one_in > 0
                && self.rng.one_in(self.habits.drops_one_in),
        );
        let exchange = &mut world.exchanges[number];
        assert_eq!(exchange.site, self.site, "a request for somebody else");
        assert_eq!(method, Some(exchange.method));
        assert!(head.contains(" HTTP/1.1\r\n"), "{head}");
        exchange.asked += 1;
        assert!(
            exchange.asked == 1 || exchange.repeatable(),
            "exchange {number} must not be repeated"
        );
        let value = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.find_map(|(key, value)| (key == name).then_some(value))
        };
        let length = value("Content-Length").map(|text| text.parse::<u64>().expect("a length"));
        let chunked = value("Transfer-Encoding");
        let body = match exchange.upload {
            None => {
                assert_eq!((length, chunked), (None, None), "a body nobody sends");
                Body::Complete
            }
            Some(upload) if upload.chunked => {
                assert_eq!((length, chunked), (None, Some("chunked")));
                Body::chunked()
            }
            Some(upload) => {
                assert_eq!((length, chunked), (Some(upload.bytes), None));
                Body::length(upload.bytes)
            }
        };
        if self.served > 0 {
            world.note("connection reused");
        }
        if dropped {
            world.exchanges[number].dropped = true;
            world.note("kept connection dropped");
            self.hang_up(self.rng.clone().one_in(2), index, world);
            return false;
        }
        let exchange = &mut world.exchanges[number];
        exchange.asked_at = Some(now);
        self.idle_since = None;
        self.job = Some(Job {
            number,
            body,
            uploaded: 0,
            wire: Rc::clone(&exchange.reply.wire.0),
            answers: false,
            sent: 0,
            reply_at: None,
            stalled: false,
        });
        self.note_upload(world);
        true
    }

    /// Decides whether enough of the request is there to answer it.
    fn note_upload(&mut self, world: &mut World) {
        let Some(job) = &mut self.job else { return };
        let exchange = &mut world.exchanges[job.number];
        let reply = &exchange.reply;
        let whole = job.body == Body::Complete;
        if whole && !exchange.uploaded {
            if let Some(upload) = exchange.upload {
                assert!(!upload.broken, "a broken body seems whole");
                assert_eq!(
                    job.uploaded, upload.bytes,
                    "the body of exchange {}",
                    job.number
                );
            }
            exchange.uploaded = true;
            exchange.asked_at = Some(world.now);
        }
        let early = reply.early.is_some_and(|(after, _)| job.uploaded >= after);
        // Whoever waits to be told to go on is told so by the head of the answer at the latest.
        let asked = exchange.upload.is_some_and(|upload| upload.expects);
        let interim = asked && job.wire.starts_with(b"HTTP/1.1 100");
        if job.reply_at.is_none() && interim {
            job.reply_at = Some(world.now);
        }
        if !job.answers && (whole || early) {
            job.answers = true;
            job.reply_at = Some(world.now + reply.head_delay);
            if early && !whole {
                self.deaf = reply.early.is_some_and(|(_, reads_on)| !reads_on);
                world.note("early answer");
            }
        }
    }

    /// Forgets a request that was answered before it was complete, once it is.
    fn retire(&mut self, world: &mut World) {
        let over = |job: &mut Job| {
            let sent = job.answers && job.sent == job.wire.len();
            sent && job.body == Body::Complete
        };
        let Some(job) = self.job.take_if(over) else {
            return;
        };
        self.served += 1;
        self.idle_since = Some(world.now);
        self.deaf |= world.exchanges[job.number].reply.surplus > 0;
    }

    fn answer(&mut self, index: usize, world: &mut World) -> Option<Instant> {
        let now = world.now;
        let job = self.job.as_mut()?;
        let at = job.reply_at?.max(self.next_send.unwrap_or(now));
        if at > now {
            return Some(at);
        }
        let reply = world.exchanges[job.number].reply.clone();
        let last = match reply.flaw {
            Flaw::Finish(at) | Flaw::Reset(at) | Flaw::Silence(at) => at,
            _ => job.wire.len(),
        };
        let last = if job.answers {
            last
        } else {
            last.min(reply.interim_bytes)
        };
        let room = WINDOW_BYTES.saturating_sub(world.connection(index).to_router.len());
        let resets = matches!(reply.flaw, Flaw::Reset(_));
        if room == 0 && resets {
            // The router has stopped reading: the best time.
            self.hang_up(true, index, world);
            return None;
        }
        let mut count = room.min(reply.bytes_at_a_time).min(last - job.sent);
        if let Some((stall, time)) = reply.stall
            && !job.stalled
            && job.sent + count >= stall
            && stall + reply.surplus < last
        {
            count = stall.saturating_sub(job.sent);
            job.stalled = true;
            self.next_send = Some(now + time);
            world.note("server stops inside an answer");
        } else {
            self.next_send = Some(now + reply.every);
        }
        // What nobody asked for comes at once with what was.
        if job.answers && reply.surplus > 0 && job.sent + count + reply.surplus >= last {
            count = last - job.sent;
        }
        let wire = Rc::clone(&job.wire);
        let bytes = &wire[job.sent..job.sent + count];
        job.sent += count;
        let (sent, whole, answers) = (job.sent, job.body == Body::Complete, job.answers);
        let mut out = VecDeque::new();
        match &mut self.mirror {
            None => out.extend(bytes),
            Some(mirror) => mirror.seal(bytes, &mut self.rng, &mut out),
        }
        world.connection(index).to_router.extend(out);
        if !answers && sent == last {
            return None;
        }
        if sent < last {
            // A full window opens when the router reads, which wakes this server.
            return if room > count || resets {
                self.next_send
            } else {
                None
            };
        }
        if let (Flaw::Reset(_), Some(job)) = (reply.flaw, &mut self.job)
            && !job.stalled
        {
            // Mostly the client is full by then.
            job.stalled = true;
            self.next_send = Some(now + self.rng.millis(0, 2000));
            return self.next_send;
        }
        match reply.flaw {
            Flaw::Silence(_) => {
                self.deaf = true;
                self.job = None;
                world.note("server falls silent");
            }
            Flaw::Reset(_) => self.hang_up(true, index, world),
            Flaw::None if reply.keeps && whole => {
                self.job = None;
                self.served += 1;
                self.idle_since = Some(now);
                if reply.surplus > 0 {
                    self.deaf = true;
                    world.note("surplus");
                }
            }
            // The answer is out, and the rest of the request is still read.
            Flaw::None if reply.keeps && !self.deaf => {
                self.next_send = None;
                if let Some(job) = &mut self.job {
                    job.reply_at = None;
                }
            }
            flaw => {
                if !reply.cut && flaw == Flaw::None {
                    self.take_leave(index, world);
                } else if self.mirror.is_some() {
                    world.note("end without a farewell");
                }
                self.hang_up(false, index, world);
            }
        }
        None
    }

    /// The router has just looked whether the connection is still good: the worst time to end it.
    pub(in crate::sim) fn ambush(&mut self, now: Instant) {
        if let (Some(since), Some((after, _))) = (&mut self.idle_since, self.habits.leaves)
            && self.rng.one_in(3)
        {
            *since = now - after;
        }
    }

    /// Ends a kept connection when its time has come.
    fn leave(&mut self, index: usize, world: &mut World) -> Option<Instant> {
        let since = self.idle_since.filter(|_| !self.done)?;
        let (after, farewell) = self.habits.leaves?;
        let at = since + after;
        if at > world.now {
            return Some(at);
        }
        let connection = world.connection(index);
        let inside = self.mirror.as_ref().is_some_and(Mirror::is_inside_record);
        let asked = connection.to_peer > 0 || !self.plain.is_empty() || inside;
        if asked || !connection.to_router.is_empty() {
            // A request has come, or somebody has yet to read the last answer.
            return None;
        }
        world.note("kept connection ended");
        if farewell == Farewell::Unasked {
            let text = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n";
            let mut out = VecDeque::new();
            match &mut self.mirror {
                None => out.extend(text),
                Some(mirror) => mirror.seal(text, &mut self.rng, &mut out),
            }
            world.connection(index).to_router.extend(out);
            world.note("unasked");
        }
        if farewell != Farewell::Reset {
            self.take_leave(index, world);
        }
        self.hang_up(farewell == Farewell::Reset, index, world);
        None
    }

    fn take_leave(&mut self, index: usize, world: &mut World) {
        if let Some(mirror) = &mut self.mirror {
            let mut out = VecDeque::new();
            mirror.take_leave(&mut out);
            world.connection(index).to_router.extend(out);
        }
    }

    fn hang_up(&mut self, resets: bool, index: usize, world: &mut World) {
        let connection = world.connection(index);
        if resets {
            connection.reset = true;
            connection.to_router.clear();
        } else {
            connection.to_router_finished = true;
        }
        self.done = true;
        world.touch(index);
    }
}
