//! Every bound and default watermark, with its unit and its reason, and how they relate.
//!
//! A constant says whether its value was measured, comes from a standard or was chosen. Bounds that only one
//! protocol core needs live beside it (`proto`).

use std::ops::RangeInclusive;
use std::time::Duration;

// ---- Buffers ----------------------------------------------------------------------------------------------

/// Bytes that one unit of `-b` stands for; the buffer size of rtp2httpd (server spec §11.1).
pub const POOL_UNIT_BYTES: usize = 1536;
/// Default of `-b`: 16,384 units, 24 MiB (server spec §2.2).
pub const POOL_UNITS_DEFAULT: usize = 16_384;
/// Least `-b`: below it a single run of a tick no longer fits beside the answers.
pub const POOL_UNITS_MIN: usize = 64;
/// Smallest buffer, bytes: an Ethernet datagram's payload or a response head.
pub const BUFFER_BYTES_MIN: usize = 2 << 10;
/// Largest buffer, bytes: what one channel may bring in one tick.
pub const BUFFER_BYTES_MAX: usize = 1 << 20;
/// One part in this many of the pool is kept for response heads and error answers …
pub const POOL_RESERVE_SHARE: usize = 8;
/// … but at most this many bytes.
pub const POOL_RESERVE_BYTES_MAX: usize = 96 << 10;
/// Reliable sources, which can wait, are given buffers only up to this part of the pool, percent; the rest is
/// for live ones, which cannot.
pub const POOL_PATIENT_PERCENT: usize = 80;
/// Bytes of unused buffers kept for reuse. Measured: when a tick's buffers of eight channels do not fit, the
/// heap grows and shrinks with every tick, which costs half as much again as receiving.
pub const POOL_SPARE_BYTES_MAX: usize = 2 << 20;
/// Trimming this much at a time makes it worth while to ask the allocator to give memory back.
pub const POOL_TRIM_BYTES: usize = 128 << 10;
/// Spare buffers that nobody has wanted for this long go back to the allocator.
pub const POOL_TRIM_INTERVAL: Duration = Duration::from_secs(1);
/// Runs held as memory files at a time; each costs a descriptor.
pub const SEGMENTS_MAX: usize = 256;

// ---- Client queues (server spec §11.2 to §11.4) -----------------------------------------------------------

/// Least share of the pool a client is promised, bytes: 64 units.
pub const QUEUE_SHARE_BYTES_MIN: usize = 64 * POOL_UNIT_BYTES;
/// No client may hold more than one part in this many of the pool (server spec §17.17).
pub const QUEUE_POOL_SHARE: usize = 4;
/// High watermark of a client of a TCP upstream, percent of its limit.
pub const QUEUE_HIGH_PERCENT: usize = 75;
/// Low watermark, percent of the limit; a live client that skips resumes here too.
pub const QUEUE_LOW_PERCENT: usize = 50;
/// Above one and a half shares for this long, a client is called slow.
pub const SLOW_AFTER: Duration = Duration::from_millis(3000);

// ---- Live channels ----------------------------------------------------------------------------------------

/// Default flush interval with at most [`FLUSH_FEW`] subscribers. Measured (`scripts/bench`): a wake-up per
/// packet costs four to six times the CPU, and below 5 ms nothing is gained that a viewer notices.
pub const FLUSH_INTERVAL_FEW: Duration = Duration::from_millis(5);
/// Default flush interval with at least [`FLUSH_MANY`] subscribers.
pub const FLUSH_INTERVAL_MANY: Duration = Duration::from_millis(20);
/// Up to so many subscribers are few.
pub const FLUSH_FEW: usize = 16;
/// From so many on they are many; in between the interval grows in proportion.
pub const FLUSH_MANY: usize = 64;
/// Shortest interval the tick of a fast channel shrinks to.
pub const FLUSH_INTERVAL_MIN: Duration = Duration::from_millis(1);
/// Largest `--flush-interval`.
pub const FLUSH_INTERVAL_MAX: Duration = Duration::from_millis(100);
/// A tick may come this much early, never late: the poll waits in whole milliseconds and rounds up.
pub const TICK_SLACK: Duration = Duration::from_millis(1);
/// Ticks in a row that bring nothing before a channel's socket goes back to the poll.
pub const QUIET_TICKS: u32 = 4;
/// Bytes a channel may bring in one tick before the tick is shortened.
pub const TICK_BYTES_MAX: usize = 1 << 20;
/// The same with [`SHARED_PAGES_SUBSCRIBERS`] and more: the sockets of all of them must take it. Chosen: what
/// a socket's send buffer holds without having grown to its largest.
pub const TICK_BYTES_WIDE_MAX: usize = 256 << 10;
/// Buffers a channel fills per turn; more waits for the next turn.
pub const CHANNEL_BUFFERS_PER_TURN: usize = 8;
/// Bytes after which a channel's turn ends. Chosen: what the cache of a core holds beside everything else.
pub const WARM_BYTES_MAX: usize = 256 << 10;
/// Bytes that channels have brought after which clients are given them before others have their turn, so that the
/// same few buffers serve all channels. Chosen: what is well worth a call to send it.
pub const HANDED_ON_AFTER_BYTES: usize = 16 << 10;
/// From so many subscribers on, runs go out by page reference (`sendfile`). Measured, see `scripts/bench`.
pub const SHARED_PAGES_SUBSCRIBERS: usize = 16;
/// Smallest run worth that, bytes: a few pages.
pub const SHARED_PAGES_BYTES_MIN: usize = 16 << 10;
/// The receive buffer of a channel is raised to hold this much time of its rate …
pub const RECEIVE_BUFFER_TIME: Duration = Duration::from_millis(40);
/// … but to no more bytes than this, by the kernel's accounting.
pub const RECEIVE_BUFFER_BYTES_MAX: usize = 16 << 20;
/// What the kernel charges a receive buffer for a datagram of 1328 bytes, in percent of its size.
pub const DATAGRAM_CHARGE_PERCENT: usize = 174;
/// A hole in the sequence is given up after this long. Chosen: reordering inside an access network takes a
/// few milliseconds, and a stalled picture is worse than a lost packet.
pub const HOLE_WAIT: Duration = Duration::from_millis(50);
/// A sender that was silent for this long may begin anew with numbers it has used. Chosen: longer than any network delays
/// the second copy of a packet, shorter than senders rest that play a recording in a loop (3 s, multicast spec §19).
pub const SENDER_PAUSE: Duration = Duration::from_millis(500);
/// A channel that is silent for this long is joined again, and then as often, in case its interface was made anew. Chosen:
/// a viewer forgives a second, and a socket a second costs nothing.
pub const RENEW_WAIT: Duration = Duration::from_secs(1);
/// The first packets of a channel are put in order for at most this long (multicast spec §20.4).
pub const START_WAIT: Duration = Duration::from_millis(20);
/// A client that has skipped and caught up waits this long for a point at which a decoder can start.
pub const RESUME_WAIT: Duration = Duration::from_secs(2);
/// A router that nobody uses gives its memory back after this long, and one to which nobody has come its unused code.
pub const SETTLE_WAIT: Duration = Duration::from_secs(1);
/// The addresses of this host are looked up again after this long.
pub const OWN_ADDRESSES_WAIT: Duration = Duration::from_secs(10);
/// Groups received at a time, lingering ones included.
pub const CHANNELS_MAX: usize = 1024;
/// Default of `--channel-linger`.
pub const CHANNEL_LINGER_DEFAULT: Duration = Duration::from_secs(2);
/// Default of `--channel-linger-max`.
pub const CHANNELS_LINGERING_MAX_DEFAULT: usize = 8;
/// Default of `--no-data-timeout`. Chosen: senders that loop a recording pause for about 3 s.
pub const NO_DATA_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// Default of `-B`, bytes (server spec §2.2).
pub const UDP_RECEIVE_BUFFER_BYTES_DEFAULT: usize = 512 << 10;
/// Default of `--fast-start`, bytes. Chosen: two seconds between random-access points at 16 Mbit/s.
pub const FAST_START_BYTES_DEFAULT: usize = 4096 << 10;

// ---- Configuration files ----------------------------------------------------------------------------------

/// Bytes of a configuration file at most. Chosen: an inline playlist of twenty thousand channels.
pub const CONFIG_FILE_BYTES_MAX: u64 = 4 << 20;
/// Bytes of a line of it at most, without blanks at its ends. Chosen: far above any value that is accepted.
pub const CONFIG_LINE_BYTES_MAX: usize = 64 << 10;
/// Files that may be given with `-c`; chosen.
pub const CONFIG_FILES_MAX: usize = 16;
/// Problems of one file that are reported one by one; chosen: more than a terminal shows.
pub const CONFIG_PROBLEMS_MAX: usize = 100;
/// Bytes of the system's list of services that are read; chosen: ten times the usual ones.
pub const SERVICES_FILE_BYTES_MAX: u64 = 1 << 20;

// ---- Channel lists (playlist spec) ------------------------------------------------------------------------

/// Bytes of a line of a channel list at most. Chosen: far above the longest URL of a picture that lists have.
pub const PLAYLIST_LINE_BYTES_MAX: usize = 64 << 10;
/// Services of all lists, recordings counted on their own. Chosen: the longest lists of providers have some 50,000
/// entries; a service takes about half a KiB.
pub const SERVICES_MAX: usize = 65_536;
/// Default of `--external-m3u-update-interval` (server spec §2.2).
pub const EXTERNAL_M3U_INTERVAL_DEFAULT: Duration = Duration::from_secs(7200);
/// Bytes of an external list, and of a programme guide, at most (http-proxy spec §19).
pub const DOCUMENT_BYTES_MAX: usize = 20 << 20;
/// Either must be there this long after it was asked for, redirects included (http-proxy spec §19).
pub const DOCUMENT_WAIT: Duration = Duration::from_secs(30);
/// Bytes of either that are taken in a turn. Chosen: less than what goes through a pipe, where nobody would see them.
pub const DOCUMENT_BYTES_PER_TURN: usize = 64 << 10;
/// Lines of an external list that are read in a turn. Chosen: that takes about a millisecond.
pub const LIST_LINES_PER_TURN: usize = 256;
/// Forms of the playlist that are kept, one for each base that links may begin with. Chosen: people reach a server
/// under one or two names.
pub const PLAYLISTS_WRITTEN_MAX: usize = 4;
/// Bytes of a playlist that is compressed for clients that accept it. Chosen: that takes some milliseconds, in which
/// nobody is served; a thousand channels fit.
pub const PLAYLIST_GZIP_BYTES_MAX: usize = 256 << 10;

// ---- HTTP connections -------------------------------------------------------------------------------------

/// A request head must be complete this long after the connection was made.
pub const HEAD_WAIT: Duration = Duration::from_secs(10);
/// Connections that have not sent their request yet; the oldest gives way to a new one.
pub const CONNECTIONS_READING_MAX: usize = 2048;
/// All connections; further ones wait in the listener's backlog.
pub const CONNECTIONS_MAX: usize = 65_536;
/// Listening sockets (server spec §4.2).
pub const LISTENERS_MAX: usize = 32;
/// Longest path of a Unix socket in bytes: `sun_path` of `unix(7)` without its end.
pub const UNIX_PATH_BYTES_MAX: usize = 107;
/// How often the PID file is opened anew because it was removed meanwhile.
pub const PID_FILE_ATTEMPTS_MAX: usize = 8;
/// Connections waiting to be accepted, per listener.
pub const LISTEN_BACKLOG: i32 = 1024;
/// Connections accepted per turn.
pub const ACCEPTS_PER_TURN: usize = 64;
/// When descriptors have run out, accepting is tried again this much later.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// What the kernel lacked memory for is tried again this much later; chosen: short for a stream, long for a processor.
pub const SHORTAGE_RETRY: Duration = Duration::from_millis(10);
/// A listener that is given up, but at which clients wait that cannot be accepted, is kept for so long.
pub const LISTENER_RETIRE_WAIT: Duration = Duration::from_secs(5);
const _: () = assert!(LISTENER_RETIRE_WAIT.as_millis() > 10 * ACCEPT_RETRY.as_millis());
/// After the last byte of an answer the client may take this long to close; what it sends is discarded.
pub const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// A connection that is to break waits until the client has received everything; it looks first after the one time,
/// and then ever later up to the other. Chosen: a round trip, and what costs nothing while a player pauses.
pub const BREAK_CHECK_MIN: Duration = Duration::from_millis(20);
/// See [`BREAK_CHECK_MIN`].
pub const BREAK_CHECK_MAX: Duration = Duration::from_secs(2);
/// A client that was answered and may send another request has this long to begin it.
pub const KEPT_ALIVE_WAIT: Duration = Duration::from_secs(60);
/// A client that sends the body of a request must not pause for longer than this.
pub const BODY_WAIT: Duration = Duration::from_secs(60);
/// A server may hold back a playlist that is asked for with `_HLS_msn` until its next segment is there (RFC 8216bis
/// §6.2.5.2), so its answer is waited for at least so long. Chosen: three segments of ten seconds.
pub const HLS_RELOAD_WAIT: Duration = Duration::from_secs(30);
/// Bytes read from a client before they are wanted: a head that is incomplete, or requests that come before the
/// last one is answered.
pub const READ_AHEAD_BYTES_MAX: usize = 32 << 10;
/// Bytes of what a client sends that are taken per turn.
pub const DISCARD_BYTES_PER_TURN: usize = 64 << 10;
/// A client that has closed its sending side is taken to have left once its answer has begun and nothing could be sent to
/// it for this long. Chosen: more than live media pauses for by default before it counts as ended, and far less than the
/// wait inside a body.
pub const HALF_CLOSED_WAIT: Duration = Duration::from_secs(6);
/// A client that has taken nothing for this long is asked whether it is still there.
pub const STALL_CHECK: Duration = Duration::from_secs(30);
/// After a reload has made the pool smaller than what is in use, clients that take nothing may hold it for so long.
/// Chosen: a pause of a viewer, and not an evening.
pub const OVERDRAFT_WAIT: Duration = Duration::from_secs(300);
/// Unanswered probes or retransmissions in a row after which a stalled client counts as gone. About 25 s at
/// the kernel's usual first timeout of 200 ms.
pub const UNANSWERED_MAX: u8 = 7;
/// Parts of one gathered write.
pub const WRITE_PARTS_MAX: usize = 64;
/// Bytes written to one client per turn; the rest waits for the next.
pub const WRITE_BYTES_PER_TURN: usize = 1 << 20;
/// TCP keep-alive of client connections: idle time, interval, probes (server spec §4.4).
pub const KEEPALIVE: (Duration, Duration, u32) =
    (Duration::from_secs(30), Duration::from_secs(5), 3);
/// Default of `-m` (server spec §2.2).
pub const CLIENTS_MAX_DEFAULT: usize = 5;

// ---- Names, upstreams, stopping ---------------------------------------------------------------------------

/// Name look-ups waiting for the resolver, and who waits for one of them.
pub const LOOKUPS_MAX: usize = 64;
/// Names that are looked up at a time, each by a thread; chosen: so many for which no server answers hold nobody up.
pub const RESOLVER_THREADS_MAX: usize = 8;
/// A client waits this long for a name.
pub const LOOKUP_WAIT: Duration = Duration::from_secs(5);
/// Complaints about what clients or the system do are logged at most this often; the rest is counted.
pub const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);
/// Addresses kept of one look-up.
pub const ADDRESSES_MAX: usize = 16;
/// Default of `--http-connect-timeout`, per address (http-proxy spec §8).
pub const HTTP_CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(3);
/// Default of `--http-head-timeout`: players count on an answer after about so long (http-proxy spec §9).
pub const HTTP_HEAD_TIMEOUT_DEFAULT: Duration = Duration::from_secs(3);
/// A head or a playlist that comes bit by bit may take so many times `--http-head-timeout` in all.
pub const HEAD_TRICKLE_FACTOR: u32 = 10;
/// Default of `--http-idle-timeout`. Chosen: longer than any segment a live packager waits for.
pub const HTTP_IDLE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// Bytes read from a TCP upstream at a time, so that a client which does not keep up pins little.
pub const UPSTREAM_READ_BYTES: usize = 16 << 10;
/// The same for a client that takes everything at once. Measured on bare loops: 16 KiB costs twice as much.
pub const UPSTREAM_READ_BYTES_FAST: usize = 256 << 10;
/// Bytes brought from one TCP upstream per turn, more or less.
pub const UPSTREAM_BYTES_PER_TURN: usize = 1 << 20;
/// How often in a turn a body that rushes through is moved on.
pub const UPSTREAM_ROUNDS_PER_TURN: usize = 4;
/// Size of a pipe that a body goes through, bytes: the most an unprivileged process is given (`pipe(7)`).
pub const PIPE_BYTES: usize = 1 << 20;
/// A body that has this much left, for a client that may be given as much, goes through a pipe. Chosen: opening
/// one costs about as much as copying this.
pub const PIPED_BODY_BYTES_MIN: usize = 256 << 10;
/// How fast a body moves is looked at each time so many bytes of it have come.
pub const FAST_BODY_SAMPLE_BYTES: usize = 1 << 20;
/// A fast body is taken in pieces of what comes in this time …
pub const FAST_BODY_PIECE_TIME: Duration = Duration::from_millis(5);
/// … within these bounds; a slower one as it comes. Measured: with many downloads at once, waking up for less costs
/// half as much again as the bytes themselves.
pub const FAST_BODY_PIECE_BYTES: RangeInclusive<usize> = 64 << 10..=512 << 10;
/// What has come of a piece is not left waiting for longer than this.
pub const FAST_BODY_PIECE_WAIT: Duration = Duration::from_millis(10);
/// The next address of a host is tried when the one before has been silent for this long (RFC 8305 §5 recommends
/// 250 ms).
pub const CONNECT_OVERLAP: Duration = Duration::from_millis(250);
/// Connections to TCP upstreams kept for another request.
pub const IDLE_CONNECTIONS_MAX: usize = 128;
/// They are kept for this long. Chosen: HLS segments come every 2 to 10 s, and many servers close after 15.
pub const IDLE_CONNECTION_WAIT: Duration = Duration::from_secs(14);
/// Each address of an RTSP server is tried for so long (RTSP spec §1).
pub const RTSP_CONNECT_WAIT: Duration = Duration::from_secs(3);
/// Pairs of UDP ports that are tried for one RTSP session. Chosen: more than a router that is in use ever has open.
pub const RTSP_PORT_PAIRS_MAX: usize = 1000;
/// Names that one RTSP session sends datagrams to: a STUN server, and a media source per server.
pub const RTSP_NAMES_MAX: usize = 4;
/// Datagrams of an RTSP session that wait for a name: three rounds of probes and a question to a STUN server.
pub const RTSP_DATAGRAMS_WAITING_MAX: usize = 8;
/// Bytes of a datagram that are received without going through the overflow area: what Ethernet carries.
pub const RTSP_DATAGRAM_BYTES: usize = 1536;
/// Datagrams of one batch, for which every session over UDP keeps room.
pub const RTSP_BATCH_DATAGRAMS: usize = 16;
/// Batches taken from one socket of an RTSP session per turn.
pub const RTSP_BATCHES_PER_TURN: usize = 32;
/// Turns in one when the session may be over. Chosen: together they empty a receive buffer of 8 MiB that media fills, whose
/// datagrams are charged 2304 bytes each.
pub const RTSP_LAST_TURNS_MAX: usize = 8;
/// HEAD requests for RTSP URLs that are answered at a time; they are not counted as clients.
pub const RTSP_PROBES_MAX: usize = 64;
/// After SIGTERM, clients may take what is queued, and bodies that are on their way may come to their end, for this
/// long.
pub const STOP_WAIT: Duration = Duration::from_secs(3);
/// What was queued of bodies that were cut then may still be taken for this long.
pub const STOP_FLUSH_WAIT: Duration = Duration::from_millis(500);
/// Events taken from the kernel per wait.
pub const EVENTS_PER_TICK: usize = 1024;

// ---- Memory shared by the processes, status ------------------------------------------------------------------

/// Worker processes (server spec §2.2).
pub const WORKERS_MAX: usize = 32;
/// Processes of one worker: one that serves, and one that drains or is to take over.
pub const PROCESSES_PER_WORKER: usize = 2;
/// Numbers that each process counts for the status, at most.
pub const COUNTERS_MAX: usize = 32;
/// Clients that all workers together can serve: the largest `--maxclients`.
pub const PLACES_MAX: usize = 65_536;
/// Lines of the log that are kept. Chosen: a burst of 1000 requests leaves all its lines.
pub const LOG_LINES_MAX: usize = 1024;
/// Bytes of a line of the log, newline included (server spec §15).
pub const LOG_LINE_BYTES_MAX: usize = 1023;
/// Bytes that one process can publish about itself: some 2000 clients.
pub const PUBLICATION_BYTES_MAX: usize = 1 << 20;
/// Things that one worker fetches for all: the external list and the programme guide.
pub const HANDOUTS: usize = 2;
/// Bytes that are noted of one: a few numbers, and both validators with every byte of them escaped.
pub const HANDOUT_NOTE_BYTES_MAX: usize = 4096;
/// Bytes that a worker without others leaves to the one that replaces it, since they take memory twice: an external list
/// of some 30 000 entries. What is longer is fetched again.
pub const HANDOUT_ALONE_BYTES_MAX: usize = 4 << 20;
/// Clients that a worker lists; further ones are only counted. Their facts fit a publication: a client without pauses
/// takes some 300 bytes.
pub const CLIENTS_LISTED_MAX: usize = 1000;
/// Bytes of a client's URL that are shown (server spec §10.3).
pub const SERVICE_URL_BYTES_MAX: usize = 255;
/// Viewers of the status, per worker.
pub const VIEWERS_MAX: usize = 256;
/// They are told something at least this often …
pub const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// … and at most this often (server spec §10.2).
pub const EVENT_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Bytes of events that some viewers have not taken; beyond, those who hold them up are let go.
pub const EVENT_BYTES_HELD_MAX: usize = 16 << 20;
/// Other workers have this long to publish what they know, for one who wants to know it now.
pub const STATUS_ANSWER_WAIT: Duration = Duration::from_millis(250);
/// Bytes of the form that comes with a call of the API.
pub const FORM_BYTES_MAX: usize = 4 << 10;
/// Pauses of a client that are remembered.
pub const PAUSES_KEPT_MAX: usize = 32;

// ---- Logs --------------------------------------------------------------------------------------------------

/// Standard output is made so large if it is a pipe, bytes: what waits there when nobody reads the log. Chosen: the
/// most an unprivileged process is given (`pipe(7)`), some 10,000 lines.
pub const LOG_PIPE_BYTES: usize = 1 << 20;
/// Bytes of a line of the access log at most, newline included (server spec §12).
pub const ACCESS_LINE_BYTES_MAX: usize = 8191;
/// Lines of the access log that wait for the disk; further ones are lost, and counted. Chosen: a second of more
/// requests than a router of this kind sees.
pub const ACCESS_LINES_WAITING_MAX: usize = 1024;
/// At the end of the program, what waits for the disk is waited for at most this long.
pub const ACCESS_CLOSE_WAIT: Duration = Duration::from_secs(1);

// ---- Processes (server spec §14) ---------------------------------------------------------------------------

/// Restarts of one worker after crashes within …
pub const RESTARTS_MAX: usize = 3;
/// … so long (server spec §14.2).
pub const RESTART_WINDOW: Duration = Duration::from_secs(5);
/// A new worker that does not serve after this long is killed. Chosen: it needs milliseconds.
pub const WORKER_START_WAIT: Duration = Duration::from_secs(10);
/// When no process can be made, it is tried again this much later.
pub const WORKER_RETRY: Duration = Duration::from_secs(1);
/// After SIGTERM, workers that have not ended are killed: the program must be gone within 5 s (server spec §1).
pub const STOP_KILL_WAIT: Duration = Duration::from_millis(4700);
/// The same after a second SIGTERM.
pub const STOP_NOW_KILL_WAIT: Duration = Duration::from_millis(500);
/// A worker that was told to drain is killed this long after its clients' time is over.
pub const DRAIN_KILL_WAIT: Duration = Duration::from_secs(5);
/// A worker that drains gives connections whose request has not come yet this long.
pub const DRAIN_READING_WAIT: Duration = Duration::from_secs(1);
/// Default of `--drain-timeout`. Chosen: most answers are complete by then, and a live stream, which has no end, is
/// asked for again by its player.
pub const DRAIN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

// ---- TLS towards upstreams ---------------------------------------------------------------------------------

/// Largest record, bytes: header, 2^14 bytes of plaintext and what TLS 1.2 allows for protection (RFC 5246
/// §6.2.3; RFC 8446 §5.2 allows less).
pub const TLS_RECORD_BYTES_MAX: usize = 5 + (16 << 10) + 2048;
/// Ciphertext held of one connection, and so the largest read. Chosen: a system call for three to four
/// records; 256 KiB of plaintext take five or six.
pub const TLS_READ_BYTES: usize = 64 << 10;
/// Socket reads within one call, so that empty records cannot hold up the loop.
pub const TLS_READS_PER_CALL: usize = 16;
/// Bytes taken from the user that the socket has not taken, before it is [`Blocked`](crate::net::Io).
pub const TLS_WRITE_BYTES_MAX: usize = 32 << 10;
/// Bytes that wait in one connection: ciphertext, one record of plaintext, and what is to be sent with the
/// overhead of its records. rustls joins less than 64 KiB of handshake messages besides.
pub const TLS_HELD_BYTES_MAX: usize = TLS_READ_BYTES + (16 << 10) + TLS_WRITE_BYTES_MAX + (4 << 10);
/// Servers whose sessions are kept for resumption; the oldest gives way.
pub const TLS_SESSIONS_MAX: usize = 32;

// ---- The probe (probe spec B) -----------------------------------------------------------------------------

/// Bytes read or written on one connection per turn, so that a fast one does not delay the samples of others.
pub const PROBE_BYTES_PER_TURN: usize = 256 << 10;
/// The one buffer of the probe that bytes are read into and made in, bytes.
pub const PROBE_BUFFER_BYTES: usize = 64 << 10;
/// Lines of output that wait for whoever reads them.
pub const PROBE_LINES_WAITING_MAX: usize = 8192;
/// A server looks at the first bytes of a connection for at most this long, counted from the first of them (probe spec
/// B.5.1).
pub const PROBE_DETECT_WAIT: Duration = Duration::from_millis(200);
/// A hello or a request must be complete this long after the connection was made.
pub const PROBE_HELLO_WAIT: Duration = Duration::from_secs(10);
/// A peer that has not answered a hello after this long is a sink (probe spec B.5.5).
pub const PROBE_REPLY_WAIT: Duration = Duration::from_secs(2);
/// Each address of a server is tried for so long.
pub const PROBE_CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Descriptors of a probe that are no connections, or not one that `-c` counts: standard streams, the event queue and
/// what wakes it, the listener, the control connection, files.
pub const PROBE_DESCRIPTORS_BESIDES: u64 = 32;
/// Connections that are being made at a time: what a backlog takes.
pub const PROBE_CONNECTING_MAX: usize = 256;
/// Once all connections have ended, the control connection may take this long to show whether the other end is gone.
pub const PROBE_GONE_WAIT: Duration = Duration::from_millis(500);
/// A sample that comes later than this is counted: it falsifies times.
pub const PROBE_LATE: Duration = Duration::from_millis(50);
/// Runs that a server remembers.
pub const PROBE_RUNS_MAX: usize = 64;
/// Reports and views that wait for a client, bytes; while there are more none is added.
pub const PROBE_REPORTS_WAITING_BYTES_MAX: usize = 1 << 20;
/// Interval of the views that web pages get.
pub const PROBE_WATCH_INTERVAL: Duration = Duration::from_millis(250);
/// After the last byte a peer may take this long to close.
pub const PROBE_CLOSE_WAIT: Duration = Duration::from_secs(2);
/// A paced sender looks at the clock at least this often.
pub const PROBE_PACED_WAIT_MAX: Duration = Duration::from_secs(60);

const _: () = {
    assert!(BUFFER_BYTES_MIN.is_power_of_two() && BUFFER_BYTES_MAX.is_power_of_two());
    assert!(BUFFER_BYTES_MIN >= POOL_UNIT_BYTES);
    // The smallest pool still gives a buffer of the smallest kind to media and to answers.
    assert!(POOL_UNITS_MIN * POOL_UNIT_BYTES / POOL_RESERVE_SHARE >= 2 * BUFFER_BYTES_MIN);
    assert!(POOL_UNITS_MIN * POOL_UNIT_BYTES / 8 >= BUFFER_BYTES_MIN);
    assert!(QUEUE_LOW_PERCENT < QUEUE_HIGH_PERCENT && QUEUE_HIGH_PERCENT < 100);
    // One read past the high mark stays under the limit for the least share a client is promised.
    assert!(
        QUEUE_SHARE_BYTES_MIN * QUEUE_HIGH_PERCENT / 100 + UPSTREAM_READ_BYTES
            <= QUEUE_SHARE_BYTES_MIN
    );
    assert!(TICK_BYTES_WIDE_MAX <= WARM_BYTES_MAX && HANDED_ON_AFTER_BYTES <= WARM_BYTES_MAX);
    assert!(TICK_BYTES_WIDE_MAX <= TICK_BYTES_MAX && TICK_BYTES_MAX <= BUFFER_BYTES_MAX);
    assert!(FLUSH_FEW < FLUSH_MANY);
    assert!(FLUSH_INTERVAL_MIN.as_nanos() <= FLUSH_INTERVAL_FEW.as_nanos());
    assert!(FLUSH_INTERVAL_FEW.as_nanos() < FLUSH_INTERVAL_MANY.as_nanos());
    assert!(FLUSH_INTERVAL_MANY.as_nanos() <= FLUSH_INTERVAL_MAX.as_nanos());
    assert!(CONNECTIONS_READING_MAX < CONNECTIONS_MAX);
    // A worker ends by itself before it is killed.
    let stop_ms =
        (STOP_WAIT.as_millis() + STOP_FLUSH_WAIT.as_millis()) + ACCESS_CLOSE_WAIT.as_millis();
    assert!(stop_ms < STOP_KILL_WAIT.as_millis() && stop_ms < DRAIN_KILL_WAIT.as_millis());
    assert!(UPSTREAM_READ_BYTES <= BUFFER_BYTES_MAX);
    assert!(DOCUMENT_BYTES_PER_TURN < PIPED_BODY_BYTES_MIN);
    assert!(EVENT_INTERVAL_MIN.as_nanos() < STATUS_INTERVAL.as_nanos());
    // Whatever has begun to arrive of a record, the rest finds room.
    assert!(TLS_RECORD_BYTES_MAX <= TLS_READ_BYTES);
    // A newcomer's queue takes a whole ring.
    assert!(FAST_START_BYTES_DEFAULT < POOL_UNITS_DEFAULT * POOL_UNIT_BYTES / QUEUE_POOL_SHARE);
};
