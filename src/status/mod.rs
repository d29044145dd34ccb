//! What flowgate tells about itself: snapshots, their JSON, the event stream, the API and the metrics.
//!
//! Pure: facts in, bytes out. The router gathers the facts and decides when; the [`area`](crate::area) carries them
//! from worker to worker; the page that shows them is not here.
//!
//! | Module | Is |
//! |---|---|
//! | [`facts`], [`codec`] | what there is to tell, and how workers hand it to one another |
//! | [`snapshot`], [`json`] | the JSON object |
//! | [`metrics`] | the same in the text format of Prometheus |
//! | [`api`] | the calls that change something, and who may make them |
//! | [`rate`] | bytes per second out of a growing count |
//!
//! # The JSON object
//!
//! `S/sse` sends it as events (`data: <object>` and an empty line), `S/api/status` once. Its first fields, in this
//! order, are those of the compatible router (server spec §10.3); whoever reads it must expect more. Times are
//! milliseconds, rates bytes per second unless said otherwise, flags 0 or 1.
//!
//! | Field | Is |
//! |---|---|
//! | `serverStartTime`, `uptimeMs`, `currentLogLevel`, `version`, `maxClients` | of the program |
//! | `clients` | see below; at most [`CLIENTS_LISTED_MAX`](crate::limits::CLIENTS_LISTED_MAX) per worker |
//! | `totalClients`, `totalBytesSent`, `totalBandwidth` | over all clients, listed or not |
//! | `workers` | see below |
//! | `logsMode`, `logs` | `full`, `incremental` or `none`, and the lines: `timestamp`, `level`, `levelName`, `message`. `S/api/status` is always `full` |
//! | `logLinesMissed` | lines that came and went between the last event and this one |
//! | `clientsOmitted` | clients that are counted above and not listed |
//! | `channels`, `upstreams` | see below |
//!
//! **A client**: `clientId` (`<address>-worker<n>-seq<m>`), `workerPid`, `durationMs`, `clientAddr`, `serviceUrl`,
//! `state` (the numbers of server spec §10.6), `bytesSent`, `currentBandwidth`, `queueBytes`, `queueLimitBytes`,
//! `queueBytesHighwater`, `droppedBytes`, `slow`, and beyond the compatible router:
//!
//! | Field | Is |
//! |---|---|
//! | `droppedPackets` | datagrams it was not given: congestion |
//! | `backpressureEvents` | how often its upstream was paused: throttling |
//! | `upstreamPaused` | flag: it is paused now |
//! | `pausedMs` | how long altogether, this pause included |
//! | `pauseHistory` | the latest pauses, at most [`PAUSES_KEPT_MAX`](crate::limits::PAUSES_KEPT_MAX), the oldest first, as `[start, length]` in ms; the start since 1970. One that lasts has its length so far |
//! | `queueHighBytes`, `queueLowBytes` | the watermarks: paused from the upper on, resumed from the lower on |
//! | `workerId` | the worker's number |
//!
//! **A worker**: `id`, `pid` (0 while there is none), `activeClients`, `totalBandwidth`, `totalBytes`, `send` (`total`,
//! `completions`, `copied`, `eagain`, `enobufs`, `batch`), `pool` and `controlPool` (`total`, `free`, `used`, `max`,
//! `expansions`, `exhaustions`, `shrinks`, `utilization`; in units of 1536 bytes), and beyond the compatible router
//! `restarts`, `connections`, `channels`, `upstreams`, `droppedPackets`, `backpressureEvents`. What zero-copy sending
//! counts (`completions`, `copied`) and what our pool does not do (`expansions`, `shrinks`) is 0. Counters go on from
//! one process to the next. While a worker is replaced it has two processes: they are told as one worker with the
//! `pid` of the new one, and a client's `workerPid` is that of its own.
//!
//! **A channel**: `workerId`, `group` (`address:port`), `source` and `interface` (empty if none), `subscribers`,
//! `bitrate` (bits per second), `receivedPackets`, `receivedBytes`, `lost`, `reordered`, `recovered`, `late`,
//! `duplicates`, `overrun` (lost for want of a buffer), `joinAgeMs`, `lingering` (flag), `lingeringMs`.
//!
//! **An upstream**: `workerId`, `clientId` (empty if its client has gone), `address` (`scheme://host[:port]`, no
//! secrets), `state` (as that of a client), `transport` (`tcp`, `tls`, `interleaved`, `udp`), `bytesInFlight`
//! (brought, and not yet taken by its client), `uploadBytes` (of the request, not yet taken by it), `paused` (flag),
//! `ageMs`.

pub mod api;
pub mod codec;
pub mod facts;
pub mod json;
pub mod metrics;
pub mod rate;
pub mod snapshot;
