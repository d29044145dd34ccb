//! The client's side against rustls as a server, over a network of two byte queues that gives edges only after a
//! call has been `Blocked`.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    HandshakeKind, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
    version::{TLS12, TLS13},
};

use super::{CertificateProblem, TlsConfig, TlsError, TlsStage};
use crate::arena::Id;
use crate::limits::{TLS_HELD_BYTES_MAX, TLS_READ_BYTES, TLS_READS_PER_CALL, TLS_WRITE_BYTES_MAX};
use crate::net::{
    Accepted, Batch, Edge, Event, GroupAddress, Io, Joined, Layout, LookupId, Net, PipeId, ReadId,
    SocketId, Stage, Watched,
};
use crate::pool::Packet;

const NAME: &str = "server.example";

// ---- Both ends -----------------------------------------------------------------------------------------------

/// Signs the servers' certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        Self::named("an authority")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    fn client(&self) -> TlsConfig {
        let mut store = RootCertStore::empty();
        store.add(self.0.der().clone()).expect("an authority");
        TlsConfig::trusting(store)
    }

    /// A server whose certificate is for `names`, changed by `change`.
    fn server(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> ServerConfig {
        let key = KeyPair::generate().expect("a key");
        let certificate = params(names, change)
            .signed_by(&key, &self.0)
            .expect("a certificate");
        server_config(&[&TLS12, &TLS13], certificate.der().clone(), &key)
    }
}

fn params(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("parameters");
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "a server");
    change(&mut params);
    params
}

fn server_config(
    versions: &[&'static SupportedProtocolVersion],
    certificate: CertificateDer<'static>,
    key: &KeyPair,
) -> ServerConfig {
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a private key");
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a server");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// The network: what is under way in both directions.
struct Wire {
    to_client: VecDeque<u8>,
    to_server: VecDeque<u8>,
    /// What either queue holds at most.
    capacity: usize,
    /// The server has closed the connection.
    ended: bool,
    /// What a read finds when `to_client` is empty.
    failure: Option<io::ErrorKind>,
    /// The client waits for an edge.
    read_blocked: bool,
    write_blocked: bool,
    calls: usize,
    /// What one read brings at most.
    piece: usize,
    /// Makes reads and writes short.
    random: Option<u64>,
}

impl Wire {
    fn new() -> Self {
        Self {
            to_client: VecDeque::new(),
            to_server: VecDeque::new(),
            capacity: 1 << 20,
            ended: false,
            failure: None,
            read_blocked: true,
            write_blocked: true,
            calls: 0,
            piece: usize::MAX,
            random: None,
        }
    }

    fn edges(&mut self, socket: &mut Watched) {
        let something = !self.to_client.is_empty() || self.ended || self.failure.is_some();
        let readable = self.read_blocked && something;
        let writable = self.write_blocked && self.to_server.len() < self.capacity;
        self.read_blocked &= !readable;
        self.write_blocked &= !writable;
        socket.note(Edge {
            readable,
            writable,
            ended: self.ended || self.failure.is_some(),
        });
    }

    /// At most `len` and at least 1, or 0 for a call that is blocked although it need not be.
    fn short(&mut self, len: usize) -> usize {
        let Some(random) = &mut self.random else {
            return len;
        };
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        match *random % 8 {
            0 => 0,
            1 => len.min(1),
            2 => len.min(7),
            3 => len.min(1 + (*random >> 8) as usize % 3000),
            _ => len.min(1 + (*random >> 8) as usize % (100 << 10)),
        }
    }
}

impl Net for Wire {
    #[allow(clippy::disallowed_methods, reason = "nobody asks")]
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn read(&mut self, _: SocketId, bytes: &mut [u8]) -> io::Result<Io<usize>> {
        self.calls += 1;
        if self.to_client.is_empty() {
            if let Some(kind) = self.failure {
                return Err(kind.into());
            }
            if self.ended {
                return Ok(Io::Done(0));
            }
        }
        let count = self.short(bytes.len().min(self.to_client.len()).min(self.piece));
        if count == 0 {
            self.read_blocked = true;
            return Ok(Io::Blocked);
        }
        self.to_client.read_exact(&mut bytes[..count])?;
        // The rest, if there is any, arrives later.
        self.read_blocked |= count < bytes.len();
        Ok(Io::Done(count))
    }

    fn write(&mut self, _: SocketId, parts: &[IoSlice<'_>]) -> io::Result<Io<usize>> {
        self.calls += 1;
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let count = self.short(len.min(self.capacity - self.to_server.len()));
        if count == 0 {
            self.write_blocked = true;
            return Ok(Io::Blocked);
        }
        let bytes = parts.iter().flat_map(|part| part.iter());
        self.to_server.extend(bytes.take(count));
        Ok(Io::Done(count))
    }

    fn poll(&mut self, _: Option<Duration>, _: &mut Vec<Event>) -> io::Result<()> {
        unsupported()
    }
    fn adopt_listener(&mut self, _: OwnedFd) -> io::Result<SocketId> {
        unsupported()
    }
    fn close_listener(&mut self, _: SocketId) {
        unreachable!("not for a stage")
    }
    fn local_address(&self, _: SocketId) -> io::Result<SocketAddr> {
        unsupported()
    }
    fn accept(&mut self, _: SocketId) -> io::Result<Io<Accepted>> {
        unsupported()
    }
    fn wall_time(&self) -> Duration {
        unreachable!("not for a stage")
    }

    fn own_addresses(&self) -> Vec<IpAddr> {
        unreachable!("not for a stage")
    }

    fn is_connected(&self, _: SocketId) -> io::Result<bool> {
        unreachable!("not for a stage")
    }

    fn secure(&mut self, _: &str) -> io::Result<Box<dyn Stage>> {
        unreachable!("not for a stage")
    }

    fn open_pipe(&mut self) -> io::Result<PipeId> {
        unreachable!("not for a stage")
    }

    fn fill_pipe(&mut self, _: PipeId, _: SocketId, _: usize) -> io::Result<Io<usize>> {
        unreachable!("not for a stage")
    }

    fn drain_pipe(&mut self, _: PipeId, _: SocketId, _: usize) -> io::Result<Io<usize>> {
        unreachable!("not for a stage")
    }

    fn close_pipe(&mut self, _: PipeId) {
        unreachable!("not for a stage")
    }

    fn set_receive_low_water(&mut self, _: SocketId, _: usize) -> io::Result<()> {
        unreachable!("not for a stage")
    }

    fn unread_bytes(&self, _: SocketId) -> io::Result<usize> {
        unreachable!("not for a stage")
    }

    fn connect(&mut self, _: SocketAddr, _: Option<&str>) -> io::Result<SocketId> {
        unsupported()
    }
    fn write_pages(&mut self, _: SocketId, _: &Packet) -> io::Result<Io<usize>> {
        unsupported()
    }
    fn finish(&mut self, _: SocketId) {}
    fn break_at_close(&mut self, _: SocketId) {}
    fn unacknowledged_bytes(&self, _: SocketId) -> io::Result<usize> {
        unsupported()
    }
    fn unanswered(&self, _: SocketId) -> io::Result<u8> {
        unsupported()
    }
    fn join(&mut self, _: &GroupAddress, _: usize) -> io::Result<Joined> {
        unsupported()
    }
    fn set_receive_buffer(&mut self, _: SocketId, _: usize) -> io::Result<usize> {
        unsupported()
    }
    fn rejoin(&mut self, _: SocketId, _: &GroupAddress) -> io::Result<()> {
        unsupported()
    }
    fn renew(&mut self, _: SocketId, _: &GroupAddress) -> io::Result<()> {
        unsupported()
    }
    fn watch(&mut self, _: SocketId) -> io::Result<()> {
        unsupported()
    }
    fn unwatch(&mut self, _: SocketId) -> io::Result<()> {
        unsupported()
    }
    fn receive(
        &mut self,
        _: SocketId,
        _: &mut Batch,
        _: &mut [u8],
        _: Layout,
    ) -> io::Result<Io<usize>> {
        unsupported()
    }
    fn random(&mut self) -> u64 {
        0
    }
    fn bind_pair(&mut self, _: SocketAddr, _: Option<&str>, _: usize) -> io::Result<[SocketId; 2]> {
        unsupported()
    }
    fn send_to(&mut self, _: SocketId, _: SocketAddr, _: &[u8]) -> io::Result<Io<()>> {
        unsupported()
    }
    fn receive_from(
        &mut self,
        _: SocketId,
        _: &mut Batch,
        _: &mut [u8],
        _: Layout,
    ) -> io::Result<Io<usize>> {
        unsupported()
    }
    fn resolve(&mut self, _: LookupId, _: Vec<String>) -> io::Result<()> {
        unsupported()
    }
    fn read_file(&mut self, _: ReadId, _: std::path::PathBuf, _: usize) -> io::Result<()> {
        unsupported()
    }
    fn close(&mut self, _: SocketId) {}
}

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A client and a server.
struct Pair {
    stage: TlsStage,
    socket: Watched,
    wire: Wire,
    server: ServerConnection,
    /// What the client has told the server.
    heard: Vec<u8>,
    /// What the server makes of the client.
    complaint: Option<rustls::Error>,
}

impl Pair {
    fn new(client: &TlsConfig, host: &str, server: ServerConfig) -> Self {
        Self::with(client, host, &Arc::new(server))
    }

    fn with(client: &TlsConfig, host: &str, server: &Arc<ServerConfig>) -> Self {
        Self {
            stage: client.connect(host).expect("a host"),
            socket: Watched::new(Id::from_parts(0, 0)),
            wire: Wire::new(),
            server: ServerConnection::new(server.clone()).expect("a server"),
            heard: Vec::new(),
            complaint: None,
        }
    }

    /// With a certificate that is in order.
    fn sound() -> Self {
        let authority = Authority::new();
        Self::new(&authority.client(), NAME, authority.server(&[NAME], |_| {}))
    }

    /// Past the handshake.
    fn connected() -> Self {
        let mut pair = Self::sound();
        pair.handshake().expect("a handshake");
        pair
    }

    /// The server takes what has come and sends what it has.
    fn serve(&mut self) {
        while !self.wire.to_server.is_empty() && self.complaint.is_none() {
            self.server
                .read_tls(&mut self.wire.to_server)
                .expect("a queue");
            self.complaint = self.server.process_new_packets().err();
            // `WouldBlock` ends it.
            let _ = self.server.reader().read_to_end(&mut self.heard);
        }
        while self.server.wants_write() && self.wire.to_client.len() < self.wire.capacity {
            self.server
                .write_tls(&mut self.wire.to_client)
                .expect("a queue");
        }
    }

    /// As the router would: works only when there is something to be done, and never in vain for ever.
    fn handshake(&mut self) -> io::Result<()> {
        for _ in 0..1000 {
            self.serve();
            self.wire.edges(&mut self.socket);
            if !self.stage.can_flush(&self.socket) {
                assert!(!self.stage.is_handshaking(), "the handshake has got stuck");
                return Ok(());
            }
            self.stage.flush(&mut self.socket, &mut self.wire)?;
        }
        panic!("the handshake takes for ever");
    }

    fn handshake_error(&mut self) -> TlsError {
        let error = self.handshake().expect_err("refused");
        reason(error)
    }

    fn read(&mut self, plain: &mut [u8]) -> io::Result<Io<usize>> {
        self.wire.edges(&mut self.socket);
        self.stage.read(&mut self.socket, &mut self.wire, plain)
    }

    fn write(&mut self, plain: &[u8]) -> io::Result<Io<usize>> {
        self.wire.edges(&mut self.socket);
        self.stage
            .write(&mut self.socket, &mut self.wire, &[IoSlice::new(plain)])
    }

    fn server_says(&mut self, bytes: &[u8]) {
        self.server.writer().write_all(bytes).expect("a writer");
        self.serve();
    }
}

/// The TLS error within an error of a call.
fn reason(error: io::Error) -> TlsError {
    let inner = error.into_inner().expect("a reason");
    *inner.downcast().expect("a TLS error")
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + (i >> 8) * 7) as u8).collect()
}

// ---- Connections that work -----------------------------------------------------------------------------------

#[test]
fn the_handshake_names_the_server_and_the_protocol() {
    let mut pair = Pair::sound();
    assert!(pair.stage.is_handshaking());
    pair.handshake().expect("a handshake");
    assert_eq!(pair.server.server_name(), Some(NAME));
    assert_eq!(pair.server.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(!pair.stage.wants_write());
}

#[test]
fn reading_alone_brings_the_handshake_to_its_end() {
    let mut pair = Pair::sound();
    let mut plain = [0; 16];
    assert_eq!(pair.write(b"question").expect("early"), Io::Done(8));
    for _ in 0..10 {
        assert_eq!(pair.read(&mut plain).expect("nothing yet"), Io::Blocked);
        pair.serve();
    }
    assert_eq!(pair.heard, b"question");
}

#[test]
fn megabytes_pass_both_ways_in_pieces_of_any_size() {
    let authority = Authority::new();
    let key = KeyPair::generate().expect("a key");
    let certificate = params(&[NAME], |_| {})
        .signed_by(&key, &authority.0)
        .expect("a certificate");
    for (seed, version) in [(1, &TLS13), (2, &TLS12), (3, &TLS13)] {
        let server = server_config(&[version], certificate.der().clone(), &key);
        let mut pair = Pair::new(&authority.client(), NAME, server);
        pair.wire.random = Some(0x9e37_79b9_7f4a_7c15 ^ seed);
        pair.wire.capacity = 200_000;
        exchange(&mut pair, &pattern(5 << 20));
    }
}

/// Sends `bytes` both ways at once, and acts only upon what `can_…` say.
fn exchange(pair: &mut Pair, bytes: &[u8]) {
    let (mut told, mut said) = (0, 0);
    let mut heard: Vec<u8> = Vec::new();
    let mut plain = vec![0; 256 << 10];
    let mut idle = 0;
    while heard.len() < bytes.len() || pair.heard.len() < bytes.len() {
        if !pair.server.is_handshaking() {
            // Half way there are new keys, which the client has to answer.
            if said < bytes.len() / 2 && said + 100_000 > bytes.len() / 2 {
                let _ = pair.server.refresh_traffic_keys();
            }
            said += pair
                .server
                .writer()
                .write(&bytes[said..])
                .expect("a writer");
        }
        pair.serve();
        pair.wire.edges(&mut pair.socket);
        let (socket, wire) = (&mut pair.socket, &mut pair.wire);
        let mut worked = false;
        if pair.stage.can_flush(socket) {
            pair.stage.flush(socket, wire).expect("flushed");
            worked = true;
        }
        if told < bytes.len() && pair.stage.can_write(socket) {
            let rest = &bytes[told..];
            let (first, second) = rest.split_at(rest.len().min(1000));
            let parts = [IoSlice::new(first), IoSlice::new(second)];
            if let Io::Done(count) = pair.stage.write(socket, wire, &parts).expect("written") {
                told += count;
            }
            worked = true;
        }
        if pair.stage.can_read(socket) {
            let len = 1 + wire.short(plain.len() - 1);
            if let Io::Done(count) = pair
                .stage
                .read(socket, wire, &mut plain[..len])
                .expect("read")
            {
                assert_ne!(count, 0, "the end");
                heard.extend(&plain[..count]);
            }
            worked = true;
        }
        assert!(pair.stage.held_bytes() <= TLS_HELD_BYTES_MAX);
        idle = if worked { 0 } else { idle + 1 };
        assert!(
            idle < 3,
            "both sides wait: told {told}, heard {}",
            heard.len()
        );
    }
    assert!(heard == bytes && pair.heard == bytes, "bytes have changed");
}

#[test]
fn a_record_larger_than_the_buffer_of_the_user_needs_no_second_edge() {
    let mut pair = Pair::connected();
    pair.server_says(&pattern(10_000));
    let mut heard: Vec<u8> = Vec::new();
    let mut plain = [0; 999];
    pair.wire.edges(&mut pair.socket);
    while pair.stage.can_read(&pair.socket) {
        match pair
            .stage
            .read(&mut pair.socket, &mut pair.wire, &mut plain)
        {
            Ok(Io::Done(count)) => heard.extend(&plain[..count]),
            Ok(Io::Blocked) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(heard, pattern(10_000));
}

#[test]
fn certificates_may_be_for_addresses() {
    for (address, host) in [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("2001:db8::7", "[2001:db8::7]"),
    ] {
        let authority = Authority::new();
        assert!(address.parse::<IpAddr>().is_ok());
        let server = authority.server(&[address], |_| {});
        let mut pair = Pair::new(&authority.client(), host, server);
        pair.handshake().expect("a handshake");
        assert_eq!(pair.server.server_name(), None);
    }
}

#[test]
fn a_second_connection_resumes_the_session_of_the_first() {
    let authority = Authority::new();
    let client = authority.client();
    let server = Arc::new(authority.server(&[NAME], |_| {}));
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let mut pair = Pair::with(&client.clone(), NAME, &server);
        pair.handshake().expect("a handshake");
        // The ticket comes after the handshake.
        assert_eq!(pair.read(&mut [0; 16]).expect("a ticket"), Io::Blocked);
        kinds.push(pair.server.handshake_kind().expect("a kind"));
    }
    assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
}

/// A certificate of `names` signed by itself and changed by `change`: `openssl req -x509` makes it that of an authority.
fn ruling_itself(
    names: &[&str],
    change: impl FnOnce(&mut CertificateParams),
) -> (CertificateDer<'static>, KeyPair) {
    let key = KeyPair::generate().expect("a key");
    let mut params = params(names, change);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.der().clone(), key)
}

fn trusting(certificate: &CertificateDer<'static>) -> TlsConfig {
    let mut store = RootCertStore::empty();
    store.add(certificate.clone()).expect("an authority");
    TlsConfig::trusting(store)
}

#[test]
fn a_server_may_show_the_very_certificate_that_is_trusted() {
    let (certificate, key) = ruling_itself(&[NAME, "192.0.2.7"], |_| {});
    for (version, host) in [(&TLS12, NAME), (&TLS13, NAME), (&TLS13, "192.0.2.7")] {
        let server = server_config(&[version], certificate.clone(), &key);
        let mut pair = Pair::new(&trusting(&certificate), host, server);
        pair.handshake().expect("a handshake");
    }
}

#[test]
fn a_trusted_certificate_still_is_for_its_name_and_time_alone() {
    let (other, other_key) = ruling_itself(&["other.example"], |_| {});
    let (expired, expired_key) = ruling_itself(&[NAME], |params| {
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    // Somebody else of the same name has another key.
    let (sound, _) = ruling_itself(&[NAME], |_| {});
    let (double, double_key) = ruling_itself(&[NAME], |_| {});
    for (trusted, shown, key, problem) in [
        (&other, &other, &other_key, CertificateProblem::WrongName),
        (
            &expired,
            &expired,
            &expired_key,
            CertificateProblem::Expired,
        ),
        (&sound, &double, &double_key, CertificateProblem::Authority),
    ] {
        let server = server_config(&[&TLS13], shown.clone(), key);
        let mut pair = Pair::new(&trusting(trusted), NAME, server);
        let TlsError::Certificate { problem: found, .. } = pair.handshake_error() else {
            panic!("another error");
        };
        assert_eq!(found, problem);
    }
}

// ---- Bounds --------------------------------------------------------------------------------------------------

#[test]
fn a_user_who_does_not_read_stops_the_socket() {
    let mut pair = Pair::connected();
    pair.wire.capacity = 10 << 20;
    pair.server.set_buffer_limit(None);
    pair.server_says(&pattern(9 << 20));
    // One byte brings in one piece of ciphertext, and then nothing more.
    assert_eq!(pair.read(&mut [0]).expect("a byte"), Io::Done(1));
    let under_way = pair.wire.to_client.len();
    for _ in 0..100 {
        pair.wire.edges(&mut pair.socket);
        let flushed = pair.stage.flush(&mut pair.socket, &mut pair.wire);
        assert_eq!(flushed.expect("flushed"), Io::Done(()));
        assert!(pair.stage.can_read(&pair.socket));
        assert_eq!(pair.read(&mut [0]).expect("a byte"), Io::Done(1));
        assert!(pair.stage.held_bytes() <= TLS_READ_BYTES + (16 << 10));
    }
    assert_eq!(pair.wire.to_client.len(), under_way);
}

#[test]
fn large_reads_take_few_calls() {
    let mut pair = Pair::connected();
    pair.wire.capacity = 10 << 20;
    pair.server.set_buffer_limit(None);
    pair.server_says(&pattern(4 << 20));
    let mut plain = vec![0; 256 << 10];
    assert!(matches!(pair.read(&mut plain), Ok(Io::Done(_))));
    let calls = pair.wire.calls;
    assert_eq!(pair.read(&mut plain).expect("bytes"), Io::Done(256 << 10));
    // 17 records, three and a piece of the next at a time.
    assert!(pair.wire.calls - calls <= 6);
}

#[test]
fn one_call_reads_the_socket_only_so_often() {
    let mut pair = Pair::connected();
    assert_eq!(pair.read(&mut [0; 16]).expect("tickets"), Io::Blocked);
    pair.server_says(&pattern(1000));
    pair.wire.piece = 1;
    // Behind an end that has been reported, short reads prove nothing.
    pair.wire.ended = true;
    let mut plain = [0; 1000];
    let mut turns = 0;
    loop {
        let calls = pair.wire.calls;
        let read = pair.read(&mut plain).expect("read");
        assert!(pair.wire.calls - calls <= TLS_READS_PER_CALL);
        if read == Io::Done(1000) {
            break;
        }
        // No edge will come: the socket has more.
        assert_eq!(read, Io::Blocked);
        assert!(pair.stage.can_read(&pair.socket));
        turns += 1;
    }
    assert_eq!(turns, 1000 / TLS_READS_PER_CALL + 1);
}

#[test]
fn what_is_written_is_bounded_during_the_handshake_and_after() {
    let mut pair = Pair::sound();
    pair.wire.capacity = 0;
    let bytes = pattern(1 << 20);
    let mut told = 0;
    while let Io::Done(count) = pair.write(&bytes[told..]).expect("written") {
        told += count;
        assert!(pair.stage.held_bytes() <= TLS_HELD_BYTES_MAX);
    }
    assert!((1..=TLS_WRITE_BYTES_MAX).contains(&told));
    assert!(!pair.stage.can_write(&pair.socket));

    pair.wire.capacity = 1 << 20;
    pair.handshake().expect("a handshake");
    pair.serve();
    assert_eq!(pair.heard, &bytes[..told]);

    pair.wire.capacity = 0;
    let early = told;
    while let Io::Done(count) = pair.write(&bytes[told..]).expect("written") {
        told += count;
        assert!(pair.stage.held_bytes() <= TLS_HELD_BYTES_MAX);
    }
    assert!((1..=TLS_WRITE_BYTES_MAX).contains(&(told - early)));
    assert!(pair.stage.wants_write() && !pair.stage.can_write(&pair.socket));

    pair.wire.capacity = 1 << 20;
    pair.wire.edges(&mut pair.socket);
    let flushed = pair.stage.flush(&mut pair.socket, &mut pair.wire);
    assert_eq!(flushed.expect("flushed"), Io::Done(()));
    pair.serve();
    assert_eq!(pair.heard, &bytes[..told]);
}

#[test]
fn a_server_that_says_nothing_is_not_asked_again_and_again() {
    let mut pair = Pair::sound();
    pair.wire.edges(&mut pair.socket);
    let mut turns = 0;
    while pair.stage.can_flush(&pair.socket) || pair.stage.can_read(&pair.socket) {
        let flushed = pair.stage.flush(&mut pair.socket, &mut pair.wire);
        assert_eq!(flushed.expect("flushed"), Io::Blocked);
        turns += 1;
        pair.wire.edges(&mut pair.socket);
        assert!(turns < 3, "spins");
    }
    assert!(pair.stage.is_handshaking());
    assert_eq!(pair.read(&mut [0; 16]).expect("nothing"), Io::Blocked);
}

// ---- Ends ----------------------------------------------------------------------------------------------------

#[test]
fn an_announced_end_is_an_end() {
    let mut pair = Pair::connected();
    pair.server.writer().write_all(b"last").expect("a writer");
    pair.server.send_close_notify();
    pair.serve();
    pair.wire.ended = true;
    let mut plain = [0; 16];
    assert_eq!(pair.read(&mut plain).expect("bytes"), Io::Done(4));
    assert!(pair.stage.can_read(&pair.socket));
    assert_eq!(pair.read(&mut plain).expect("the end"), Io::Done(0));
}

#[test]
fn an_end_without_announcement_is_an_error_after_all_bytes() {
    for cut in [0, 1, 10] {
        let mut pair = Pair::connected();
        pair.server_says(b"first");
        pair.server_says(b"second");
        let len = pair.wire.to_client.len() - cut;
        pair.wire.to_client.truncate(len);
        pair.wire.ended = true;
        let mut plain = [0; 64];
        let expected = if cut == 0 { 11 } else { 5 };
        assert_eq!(pair.read(&mut plain).expect("bytes"), Io::Done(expected));
        assert!(pair.stage.can_read(&pair.socket));
        let error = pair.read(&mut plain).expect_err("cut off");
        let (kind, text) = match cut {
            0 => (
                io::ErrorKind::UnexpectedEof,
                "server.example ended the TLS connection without announcing it (close_notify), so what has no \
                 length may be incomplete",
            ),
            _ => (
                io::ErrorKind::ConnectionAborted,
                "the TLS connection to server.example was cut off",
            ),
        };
        assert_eq!((error.kind(), &*error.to_string()), (kind, text));
    }
}

#[test]
fn a_reset_is_reported_after_all_bytes() {
    let mut pair = Pair::connected();
    pair.server_says(b"bytes");
    pair.wire.failure = Some(io::ErrorKind::ConnectionReset);
    let mut plain = [0; 64];
    assert_eq!(pair.read(&mut plain).expect("bytes"), Io::Done(5));
    assert!(pair.stage.can_read(&pair.socket));
    let error = pair.read(&mut plain).expect_err("reset");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn an_end_during_the_handshake_is_told_apart() {
    let mut pair = Pair::sound();
    pair.wire.ended = true;
    let error = pair.handshake().expect_err("closed");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(
        error.to_string(),
        "server.example closed the connection during the TLS handshake"
    );
}

#[test]
fn closing_announces_the_end() {
    let mut pair = Pair::connected();
    assert_eq!(pair.write(b"bytes").expect("written"), Io::Done(5));
    pair.stage.close(&mut pair.socket, &mut pair.wire);
    pair.serve();
    let mut byte = [0];
    assert_eq!(pair.heard, b"bytes");
    assert_eq!(pair.server.reader().read(&mut byte).expect("an end"), 0);
}

// ---- Servers that are not trusted or not servers -------------------------------------------------------------

#[test]
fn certificates_that_prove_nothing_are_refused_with_a_reason() {
    let authority = Authority::new();
    let expired = authority.server(&[NAME], |params| {
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let early = authority.server(&[NAME], |params| {
        params.not_before = date_time_ymd(2200, 1, 1);
        params.not_after = date_time_ymd(2201, 1, 1);
    });
    let other = authority.server(&["other.example", "192.0.2.7"], |_| {});
    let stranger = Authority::named("a stranger").server(&[NAME], |_| {});
    let key = KeyPair::generate().expect("a key");
    let alone = params(&[NAME], |_| {}).self_signed(&key).expect("signed");
    let alone = server_config(&[&TLS13], alone.der().clone(), &key);
    let ruler = authority.server(&[NAME], |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    for (server, text) in [
        (expired, "the certificate of server.example has expired"),
        (
            early,
            "the certificate of server.example is not valid yet, or the clock here is wrong",
        ),
        (
            other,
            "the certificate of server.example is for another name",
        ),
        (
            stranger,
            "the certificate of server.example was issued by an unknown authority",
        ),
        (
            alone,
            "the certificate of server.example is signed by itself and not trusted",
        ),
        (
            ruler,
            "the certificate of server.example is that of an authority and not of a server",
        ),
    ] {
        let mut pair = Pair::new(&authority.client(), NAME, server);
        let error = pair.handshake_error();
        assert_eq!(error.to_string(), text);
        assert!(matches!(error, TlsError::Certificate { .. }), "{error:?}");
        // The server is told.
        pair.serve();
        let complaint = pair.complaint.expect("an alert");
        assert!(matches!(complaint, rustls::Error::AlertReceived(_)));
    }
}

#[test]
fn an_address_is_not_proved_by_a_name() {
    let authority = Authority::new();
    let server = authority.server(&[NAME], |_| {});
    let mut pair = Pair::new(&authority.client(), "192.0.2.7", server);
    let TlsError::Certificate { server, problem } = pair.handshake_error() else {
        panic!("another error");
    };
    assert_eq!(server, "192.0.2.7");
    assert_eq!(problem, CertificateProblem::WrongName);
}

#[test]
fn a_server_that_does_not_speak_tls_is_refused_at_once() {
    for garbage in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"220 ftp.example ready\r\n",
        &[0; 5],
        &[0xff; 100_000],
        &[22, 3, 3, 0, 4, 0, 0, 0, 0],
        &[23, 3, 3, 0xff, 0xff, 1],
    ] {
        let mut pair = Pair::sound();
        pair.wire.to_client.extend(garbage);
        pair.wire.edges(&mut pair.socket);
        let flushed = pair.stage.flush(&mut pair.socket, &mut pair.wire);
        let error = flushed.expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let text = error.to_string();
        assert!(text.contains(NAME), "{text}");
        assert!(matches!(reason(error), TlsError::Protocol { .. }));
    }
}

#[test]
fn bytes_changed_under_way_are_an_error() {
    let mut pair = Pair::connected();
    assert_eq!(pair.read(&mut [0; 16]).expect("tickets"), Io::Blocked);
    pair.server_says(b"true");
    pair.server_says(b"false");
    *pair.wire.to_client.back_mut().expect("a record") ^= 1;
    let mut plain = [0; 64];
    assert_eq!(pair.read(&mut plain).expect("bytes"), Io::Done(4));
    let error = pair.read(&mut plain).expect_err("forged");
    assert_eq!(
        error.to_string(),
        "TLS with server.example: cannot decrypt peer's message"
    );
}

// ---- Settings ------------------------------------------------------------------------------------------------

/// A file that goes away with its value.
struct TemporaryFile(std::path::PathBuf);

impl TemporaryFile {
    fn new(name: &str, content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("flowgate-{}-{name}", std::process::id()));
        std::fs::write(&path, content).expect("a file");
        Self(path)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn the_authorities_of_a_file_are_trusted() {
    let authority = Authority::new();
    let file = TemporaryFile::new("authority.pem", &authority.0.pem());
    let client = TlsConfig::load(Some(&file.0)).expect("settings");
    let mut pair = Pair::new(&client, NAME, authority.server(&[NAME], |_| {}));
    pair.handshake().expect("a handshake");
}

#[test]
fn a_file_without_authorities_is_refused_at_start() {
    let empty = TemporaryFile::new("empty.pem", "nothing\n");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let broken = TemporaryFile::new("broken.pem", broken);
    let missing = std::path::Path::new("/nonexistent/authority.pem");
    for (file, text) in [
        (empty.0.as_path(), "there is no certificate in it"),
        (broken.0.as_path(), "BadEncoding"),
        (missing, "No such file"),
    ] {
        let error = TlsConfig::load(Some(file))
            .expect_err("refused")
            .to_string();
        assert!(error.contains(text), "{error}");
        assert!(error.contains(&file.display().to_string()), "{error}");
    }
}

#[test]
fn what_is_no_host_is_refused() {
    let client = Authority::new().client();
    for host in ["", "a b", "[", "fe80::1%eth0", "a..b"] {
        let error = client.connect(host).expect_err("refused");
        assert_eq!(error, TlsError::Host(host.to_owned()));
    }
}
