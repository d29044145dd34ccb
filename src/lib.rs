//! flowgate: a stream router with real flow control.
//!
//! The library exists so that benches and fuzz targets can link the code; the product is one binary.
//!
//! | Module | Is |
//! |---|---|
//! | [`cli`], [`config`], [`logger`] | start: arguments become a checked configuration |
//! | [`supervisor`] | the processes: workers are made, looked after, replaced |
//! | [`listen`], [`pid_file`], [`privilege`] | start: what is opened and locked, and privileges given up, before serving |
//! | [`notify`] | what a service manager is told |
//! | [`router`] | the loop and all relations: tick, turns, deadlines, slots, ready, attach, fanout, flow, close |
//! | [`client`] | downstream HTTP: request, answer |
//! | [`channel`] | a live source shared by its subscribers: lossy, never paused |
//! | [`upstream`] | a source owned by one client: paused, never lossy |
//! | [`playlist`] | channel lists: named services, and the playlist that leads to them |
//! | [`proto`] | sans-I/O cores: RTP, reordering, MPEG-TS, HTTP heads, URLs |
//! | [`shared`] | what any entity may use: network, pool, counters, configuration, the time |
//! | [`net`], [`sys`] | `trait Net`, mio behind it, name look-ups; system calls, the only `unsafe` |
//! | [`status`] | what is told about all this: JSON, event stream, API, metrics |
//! | [`stats`] | counters |
//! | [`access_log`] | a line per media request, in a file |
//! | [`web`] | the status page, its icons and its manifest |
//! | [`area`] | what the processes share: client limit, log lines, what workers publish |
//! | [`sequencer`], [`tick`] | datagrams in order, gathered into runs; when their socket is read |
//! | [`send_queue`] | what waits to be written to a socket |
//! | [`arena`], [`pool`], [`timers`], [`limits`] | ids that notice what is gone; buffers; deadlines; every bound |
//! | [`demo`] | the test source of `flowgate demo` |
//! | [`probe`] | `flowgate probe`: does back pressure travel through a chain of proxies? |
//!
//! Dependencies point down this list; `layering` (tests) holds the rule. Entities never import one another or
//! the router: the router keeps the ids that join them.
#![deny(unsafe_code)]

pub mod access_log;
pub mod area;
pub mod arena;
pub mod channel;
pub mod cli;
pub mod client;
pub mod config;
pub mod demo;
#[cfg(test)]
mod layering;
pub mod limits;
#[cfg(test)]
mod link_order;
pub mod listen;
pub mod logger;
pub mod net;
pub mod notify;
pub mod pid_file;
pub mod playlist;
pub mod pool;
pub mod privilege;
pub mod probe;
pub mod proto;
pub mod router;
#[cfg(test)]
mod scratch;
pub mod send_queue;
pub mod sequencer;
pub mod shared;
#[cfg(test)]
mod sim;
pub mod stats;
pub mod status;
pub mod supervisor;
pub mod sys;
pub mod tick;
pub mod timers;
pub mod upstream;
pub mod web;
