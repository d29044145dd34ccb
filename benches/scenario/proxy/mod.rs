//! The HTTP proxy against nginx, haproxy and two floors: long bodies, short ones, slow clients, first bytes.
//!
//! Origin, clients and their checks share the core of the load; where `load %` is high and `server %` is not, the
//! rate is the load's limit and only the CPU time compares. A contender that delivers a wrong byte, too few or too
//! many to any client has failed, whatever its speed. What pipes and sockets hold is the kernel's memory and in
//! nobody's figure.

mod body;
mod client;
mod contender;
mod floor;
mod origin;
pub(crate) mod rounds;

use std::io;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use body::prove_check;
pub(crate) use contender::{Contender, REFERENCES, ROUTER_FLAGS, installed};
pub(crate) use floor::{Way, run as run_floor};

use client::{Client, READ_BYTES, Turn, Waiting};
use contender::{Proxy, Tuning};
use origin::Origin;
use rounds::{Edge, Rounds};

use crate::Setup;
use crate::clock;
use crate::live::percent;
use crate::report::Measures;
use crate::server::{self, Usage};

/// The length of a body for each second of the window: 1 GiB for `proxy-1` and `proxy-16`, and 4 MiB for
/// `proxy-slow`, at the default of two seconds.
const LONG_BYTES_PER_SECOND: f64 = (1_u64 << 29) as f64;
const SLOW_BYTES_PER_SECOND: f64 = (2_u64 << 20) as f64;
const WARM_UP_BYTES: u64 = 16 << 20;
/// A proxy slower than this has failed.
const BYTES_PER_SECOND_MIN: f64 = 50e6;

const SMALL_BYTES: u64 = 10_000;
const SMALL_CLIENTS: usize = 64;

const SLOW_CLIENTS: usize = 100;
const SLOW_RATE: f64 = 50_000.0;
/// Between the reads of slow clients.
const SLOW_BEAT: Duration = Duration::from_millis(20);
/// What the socket of a slow client asks for: otherwise it would take in the body, and nobody would wait.
const SLOW_RECEIVE_BUFFER: usize = 32 << 10;

/// Between two looks at the memory of a proxy.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Reads of one client before the others have their turn.
const READS_PER_ROUND: usize = 16;

/// What clients do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    /// So many download one long body each.
    Long { clients: usize },
    /// 64 connections ask for short bodies, one after the other.
    Small,
    /// A hundred take 50 kB/s each.
    Slow,
    /// One asks for a short body again and again: on new connections and on one that it keeps.
    First,
}

impl Load {
    /// The column that contenders are compared by.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Long { .. } => "CPU s/GB",
            Self::Small => "CPU us/req",
            Self::Slow => "unique KiB",
            Self::First => "new p50 us",
        }
    }

    fn clients(self) -> usize {
        match self {
            Self::Long { clients } => clients,
            Self::Small => SMALL_CLIENTS,
            Self::Slow => SLOW_CLIENTS,
            Self::First => 1,
        }
    }

    fn tuning(self) -> Tuning {
        match self {
            Self::Long { .. } => Tuning::Throughput,
            Self::Small | Self::First => Tuning::Requests,
            Self::Slow => Tuning::Memory,
        }
    }
}

/// Runs one contender once.
pub(crate) fn measure(contender: &Contender, load: Load, setup: &Setup) -> io::Result<Measures> {
    let origin = Origin::start()?;
    // A new connection may come before the end of the one that it follows.
    let clients = 2 * load.clients() + 8;
    let mut proxy = contender.start(origin.address, clients, load.tuning(), setup.cores)?;
    match load {
        Load::Long { clients } => long(&mut proxy, clients, setup),
        Load::Small => small(&mut proxy, &origin, setup),
        Load::Slow => slow(&mut proxy, setup),
        Load::First => first(&mut proxy, setup),
    }
}

impl Proxy {
    /// The request for a body of `length` bytes.
    fn request(&self, length: u64) -> Vec<u8> {
        let (prefix, address) = (&self.prefix, self.server.address);
        let head = format!("GET {prefix}/{length} HTTP/1.1\r\nHost: {address}\r\n");
        format!("{head}User-Agent: scenario\r\nAccept: */*\r\n\r\n").into_bytes()
    }
}

/// Clients that read as fast as they can.
struct Crowd {
    rounds: Rounds,
    round: Vec<Edge>,
    clients: Vec<Client>,
    buffer: Vec<u8>,
}

impl Crowd {
    fn new() -> io::Result<Self> {
        Ok(Self {
            rounds: Rounds::new()?,
            round: Vec::new(),
            clients: Vec::new(),
            buffer: vec![0; READ_BYTES],
        })
    }

    fn connect(&self, proxy: &Proxy, token: usize) -> io::Result<Client> {
        let mut client = Client::connect(proxy.server.address, Waiting::Polled, None)?;
        self.rounds.watch(&mut client.stream, token)?;
        Ok(client)
    }

    /// Reads what there is, for `patience` at most, and returns the clients whose response is complete.
    fn receive(&mut self, patience: Duration) -> io::Result<Vec<usize>> {
        let mut complete = Vec::new();
        self.rounds.next(Some(patience), &mut self.round)?;
        for edge in &self.round {
            let Some(client) = self.clients.get_mut(edge.token) else {
                continue;
            };
            for read in 1.. {
                match client.turn(&mut self.buffer, READ_BYTES)? {
                    Turn::Blocked => break,
                    Turn::Read(_) if read == READS_PER_ROUND => {
                        self.rounds.go_on(edge.token);
                        break;
                    }
                    Turn::Read(_) => {}
                    Turn::Complete => {
                        complete.push(edge.token);
                        break;
                    }
                }
            }
        }
        Ok(complete)
    }
}

fn long(proxy: &mut Proxy, clients: usize, setup: &Setup) -> io::Result<Measures> {
    let length = (setup.window.as_secs_f64() * LONG_BYTES_PER_SECOND) as u64;
    download(proxy, clients, WARM_UP_BYTES / clients as u64, &mut 0)?;
    let mut peak = 0;
    let watch = Watch::start(proxy)?;
    download(proxy, clients, length, &mut peak)?;
    let span = watch.end(proxy)?;
    let bytes = (length * clients as u64) as f64;
    let mut measures = vec![
        ("CPU s/GB", span.cpu.as_secs_f64() * 1e9 / bytes),
        ("Gbit/s", bytes * 8.0 / span.wall.as_secs_f64() / 1e9),
        ("unique KiB", peak as f64),
    ];
    measures.extend(span.shares());
    Ok(measures)
}

/// Every client downloads one body of `length` bytes; `peak` becomes the most memory that was seen.
fn download(proxy: &mut Proxy, clients: usize, length: u64, peak: &mut u64) -> io::Result<()> {
    let request = proxy.request(length);
    let mut crowd = Crowd::new()?;
    for token in 0..clients {
        let mut client = crowd.connect(proxy, token)?;
        client.ask(&request, length)?;
        crowd.clients.push(client);
    }
    let seconds = (length * clients as u64) as f64 / BYTES_PER_SECOND_MIN;
    let deadline = clock::now() + Duration::from_secs_f64(5.0 + seconds);
    let mut look = Look::new();
    let mut waiting = clients;
    while waiting > 0 {
        look.note(proxy, peak)?;
        waiting -= crowd.receive(LOOK_INTERVAL)?.len();
        if clock::now() > deadline {
            return Err(late(&crowd.clients, length));
        }
    }
    Ok(())
}

fn small(proxy: &mut Proxy, origin: &Origin, setup: &Setup) -> io::Result<Measures> {
    let request = proxy.request(SMALL_BYTES);
    let mut crowd = Crowd::new()?;
    for token in 0..SMALL_CLIENTS {
        let mut client = crowd.connect(proxy, token)?;
        client.ask(&request, SMALL_BYTES)?;
        crowd.clients.push(client);
    }
    ask_on(&mut crowd, proxy, &request, setup.warm_up, &mut 0)?;
    let mut peak = 0;
    let accepted_before = origin.accepted();
    let watch = Watch::start(proxy)?;
    let (responses, connects) = ask_on(&mut crowd, proxy, &request, setup.window, &mut peak)?;
    let span = watch.end(proxy)?;
    let accepted = origin.accepted() - accepted_before;
    if responses == 0 {
        return Err(late(&crowd.clients, SMALL_BYTES));
    }
    let each = |total: f64| total / responses as f64;
    let mut measures = vec![
        ("CPU us/req", each(span.cpu.as_secs_f64() * 1e6)),
        ("requests/s", responses as f64 / span.wall.as_secs_f64()),
        ("connects/req", each(connects as f64)),
        ("to origin/req", each(accepted as f64)),
        ("unique KiB", peak as f64),
    ];
    measures.extend(span.shares());
    Ok(measures)
}

/// Asks again wherever a response is complete, for `duration`; returns responses and new connections.
fn ask_on(
    crowd: &mut Crowd,
    proxy: &mut Proxy,
    request: &[u8],
    duration: Duration,
    peak: &mut u64,
) -> io::Result<(u64, u64)> {
    let (mut responses, mut connects) = (0, 0);
    let deadline = clock::now() + duration;
    let mut look = Look::new();
    loop {
        let left = deadline.saturating_duration_since(clock::now());
        if left.is_zero() {
            return Ok((responses, connects));
        }
        look.note(proxy, peak)?;
        for token in crowd.receive(left.min(LOOK_INTERVAL))? {
            responses += 1;
            if !crowd.clients[token].is_reusable() {
                connects += 1;
                crowd.clients[token] = crowd.connect(proxy, token)?;
            }
            crowd.clients[token].ask(request, SMALL_BYTES)?;
        }
    }
}

fn slow(proxy: &mut Proxy, setup: &Setup) -> io::Result<Measures> {
    let length = (setup.window.as_secs_f64() * SLOW_BYTES_PER_SECOND) as u64;
    let request = proxy.request(length);
    let mut buffer = vec![0; READ_BYTES];
    let mut clients = Vec::new();
    for _ in 0..SLOW_CLIENTS {
        let address = proxy.server.address;
        let mut client = Client::connect(address, Waiting::Polled, Some(SLOW_RECEIVE_BUFFER))?;
        client.ask(&request, length)?;
        clients.push((client, false));
    }
    let mut peak = 0;
    let mut look = Look::new();
    let watch = Watch::start(proxy)?;
    let nominal = Duration::from_secs_f64(length as f64 / SLOW_RATE);
    let mut waiting = clients.len();
    while waiting > 0 {
        let elapsed = clock::now().duration_since(watch.start);
        if elapsed > nominal * 3 / 2 + Duration::from_secs(5) {
            let clients: Vec<Client> = clients.into_iter().map(|(client, _)| client).collect();
            return Err(late(&clients, length));
        }
        let due = (elapsed.as_secs_f64() * SLOW_RATE) as u64;
        for (client, complete) in clients.iter_mut().filter(|(_, complete)| !complete) {
            while !*complete && client.position() < due {
                let max = (due - client.position()) as usize;
                match client.turn(&mut buffer, max)? {
                    Turn::Blocked => break,
                    Turn::Read(_) => {}
                    Turn::Complete => {
                        *complete = true;
                        waiting -= 1;
                    }
                }
            }
        }
        look.note(proxy, &mut peak)?;
        thread::sleep(SLOW_BEAT);
    }
    let span = watch.end(proxy)?;
    let late = span.wall.saturating_sub(nominal);
    let bytes = (length * SLOW_CLIENTS as u64) as f64;
    Ok(vec![
        ("unique KiB", peak as f64),
        ("late %", percent(late, nominal)),
        ("CPU s/GB", span.cpu.as_secs_f64() * 1e9 / bytes),
    ])
}

fn first(proxy: &mut Proxy, setup: &Setup) -> io::Result<Measures> {
    let request = proxy.request(SMALL_BYTES);
    let mut buffer = vec![0; READ_BYTES];
    let mut ask = |client: &mut Client, start: Instant| {
        client.ask(&request, SMALL_BYTES)?;
        let mut turn = client.turn(&mut buffer, READ_BYTES)?;
        let wait = clock::now().duration_since(start);
        while turn != Turn::Complete {
            turn = client.turn(&mut buffer, READ_BYTES)?;
        }
        io::Result::Ok(wait)
    };
    let address = proxy.server.address;
    let (mut on_new, mut on_kept) = (Vec::new(), Vec::new());
    let mut kept = Client::connect(address, Waiting::Blocking, None)?;
    ask(&mut kept, clock::now())?;
    for _ in 0..5 * setup.zaps {
        let start = clock::now();
        let mut client = Client::connect(address, Waiting::Blocking, None)?;
        on_new.push(ask(&mut client, start)?);
        if kept.is_reusable() {
            on_kept.push(ask(&mut kept, clock::now())?);
        }
    }
    Ok(vec![
        ("new p50 us", percentile(&mut on_new, 50.0)),
        ("new p99 us", percentile(&mut on_new, 99.0)),
        ("kept p50 us", percentile(&mut on_kept, 50.0)),
        ("kept p99 us", percentile(&mut on_kept, 99.0)),
    ])
}

/// Microseconds that `percent` of the waits do not exceed; NaN when there are none.
fn percentile(waits: &mut [Duration], percent: f64) -> f64 {
    waits.sort_unstable();
    let rank = (waits.len() as f64 * percent / 100.0).ceil() as usize;
    let wait = waits.get(rank.max(1) - 1);
    wait.map_or(f64::NAN, |wait| wait.as_secs_f64() * 1e6)
}

/// What proxy and load had used at the start of a span of time.
struct Watch {
    start: Instant,
    own: Duration,
    usage: Usage,
}

/// How long it was, and what was used in it.
struct Span {
    wall: Duration,
    cpu: Duration,
    /// The proxy could have run, but something else had its core.
    waited: Duration,
    /// CPU time of origin and clients.
    own: Duration,
}

impl Watch {
    fn start(proxy: &mut Proxy) -> io::Result<Self> {
        Ok(Self {
            start: clock::now(),
            own: server::own_cpu()?,
            usage: proxy.server.usage()?,
        })
    }

    fn end(&self, proxy: &mut Proxy) -> io::Result<Span> {
        let usage = proxy.server.usage()?;
        Ok(Span {
            wall: clock::now().duration_since(self.start),
            cpu: usage.cpu.saturating_sub(self.usage.cpu),
            waited: usage.waited.saturating_sub(self.usage.waited),
            own: server::own_cpu()?.saturating_sub(self.own),
        })
    }
}

impl Span {
    fn shares(&self) -> Measures {
        vec![
            ("server %", percent(self.cpu, self.wall)),
            ("waited %", percent(self.waited, self.wall)),
            ("load %", percent(self.own, self.wall)),
        ]
    }
}

/// Looks at the memory of a proxy now and then.
struct Look {
    next: Instant,
}

impl Look {
    fn new() -> Self {
        Self { next: clock::now() }
    }

    fn note(&mut self, proxy: &mut Proxy, peak: &mut u64) -> io::Result<()> {
        let now = clock::now();
        if now >= self.next {
            self.next = now + LOOK_INTERVAL;
            *peak = (*peak).max(proxy.server.usage()?.unique_kib);
        }
        Ok(())
    }
}

fn late(clients: &[Client], length: u64) -> io::Error {
    let whole = clients.iter().filter(|client| client.position() == length);
    let bytes: u64 = clients.iter().map(Client::position).sum();
    io::Error::other(format!(
        "too slow: {} of {} clients have all, {bytes} bytes came",
        whole.count(),
        clients.len()
    ))
}
