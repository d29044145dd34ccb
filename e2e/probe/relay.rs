//! Relays for TCP that misbehave on purpose. Threads and blocking sockets, so that nothing in them is clever.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// The kernel buffers of a relay's sockets, so that they do not blur what the relay itself holds.
const KERNEL_BUFFER: usize = 64 << 10;

/// What a relay does with what clients send; what servers send it passes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Holds at most so many bytes and then stops reading.
    Bounded(usize),
    /// Closes a connection that takes nothing for so long.
    Kills(Duration),
    /// Changes one bit of the byte at this place behind the first line.
    Flips(usize),
    /// Sends everything of all connections through one queue.
    Multiplexes,
}

/// A running relay; its threads end with the process.
pub(crate) struct Relay {
    pub(crate) port: u16,
}

impl Relay {
    /// Relays to a port on this host.
    pub(crate) fn start(to: u16, fault: Fault) -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        listener.set_recv_buffer_size(KERNEL_BUFFER).expect("set");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        listener.bind(&any.into()).expect("bound");
        listener.listen(64).expect("listens");
        let listener = TcpListener::from(listener);
        let port = listener.local_addr().expect("bound").port();
        let (queue, queued) = sync_channel(4);
        if matches!(fault, Fault::Multiplexes) {
            thread::spawn(move || pass_on_in_order(&queued));
        }
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.expect("accepted");
                let server = connect(to);
                let back = (duplicate(&server), duplicate(&client));
                thread::spawn(move || copy(back.0, back.1));
                let queue = queue.clone();
                thread::spawn(move || forward(client, server, fault, &queue));
            }
        });
        Self { port }
    }
}

type Piece = (Arc<TcpStream>, Vec<u8>);

fn connect(port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_send_buffer_size(KERNEL_BUFFER).expect("set");
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    socket.connect(&to.into()).expect("the server is there");
    socket.into()
}

fn duplicate(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a descriptor")
}

fn forward(client: TcpStream, server: TcpStream, fault: Fault, queue: &SyncSender<Piece>) {
    match fault {
        Fault::Bounded(bytes) => bounded(client, server, bytes),
        Fault::Kills(after) => {
            server.set_write_timeout(Some(after)).expect("a time");
            let both = (duplicate(&client), duplicate(&server));
            copy(client, server);
            let _ = both.0.shutdown(Shutdown::Both);
            let _ = both.1.shutdown(Shutdown::Both);
        }
        Fault::Flips(place) => flip(client, server, place),
        Fault::Multiplexes => {
            let server = Arc::new(server);
            let mut client = client;
            let mut bytes = vec![0; 16 << 10];
            while let Ok(count) = client.read(&mut bytes) {
                let piece = (Arc::clone(&server), bytes[..count].to_vec());
                if queue.send(piece).is_err() || count == 0 {
                    return;
                }
            }
        }
    }
}

/// Copies in both directions until both ends are done.
pub(crate) fn both_ways(client: TcpStream, server: TcpStream) {
    let back = (duplicate(&server), duplicate(&client));
    thread::spawn(move || copy(back.0, back.1));
    copy(client, server);
}

/// Copies until either end is gone, and passes the end on.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// A reader and a writer with a buffer between them.
fn bounded(mut from: TcpStream, mut to: TcpStream, bytes_max: usize) {
    let shared = Arc::new((Mutex::new((VecDeque::new(), false)), Condvar::new()));
    let reader = Arc::clone(&shared);
    thread::spawn(move || {
        let (state, changed) = &*reader;
        let mut bytes = vec![0; 64 << 10];
        loop {
            let mut guard = state.lock().expect("no panic");
            while guard.0.len() >= bytes_max {
                guard = changed.wait(guard).expect("no panic");
            }
            let room = (bytes_max - guard.0.len()).min(bytes.len());
            drop(guard);
            let count = from.read(&mut bytes[..room]).unwrap_or(0);
            let mut guard = state.lock().expect("no panic");
            guard.0.extend(&bytes[..count]);
            guard.1 = count == 0;
            changed.notify_all();
            if count == 0 {
                return;
            }
        }
    });
    let (state, changed) = &*shared;
    loop {
        let mut guard = state.lock().expect("no panic");
        while guard.0.is_empty() && !guard.1 {
            guard = changed.wait(guard).expect("no panic");
        }
        if guard.0.is_empty() {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
        // What is being written has not left the relay yet, so it stays in the buffer until it has.
        let (front, _) = guard.0.as_slices();
        let piece = front[..front.len().min(16 << 10)].to_vec();
        drop(guard);
        if to.write_all(&piece).is_err() {
            return;
        }
        state.lock().expect("no panic").0.drain(..piece.len());
        changed.notify_all();
    }
}

fn flip(mut from: TcpStream, mut to: TcpStream, place: usize) {
    let mut bytes = vec![0; 64 << 10];
    let (mut is_payload, mut offset) = (false, 0);
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let mut begin = 0;
        if !is_payload {
            let line_end = bytes[..count].iter().position(|byte| *byte == b'\n');
            begin = line_end.map_or(count, |at| at + 1);
            is_payload = line_end.is_some();
        }
        if is_payload {
            if let Some(at) = place.checked_sub(offset)
                && begin + at < count
            {
                bytes[begin + at] ^= 4;
            }
            offset += count - begin;
        }
        if to.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// One after the other: whoever is not taken off holds up everybody behind.
fn pass_on_in_order(queue: &Receiver<Piece>) {
    while let Ok((server, bytes)) = queue.recv() {
        let mut server = &*server;
        if bytes.is_empty() {
            let _ = server.shutdown(Shutdown::Write);
        } else {
            let _ = server.write_all(&bytes);
        }
    }
}
