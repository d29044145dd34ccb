//! Process tests: the real binary, real sockets, and peers that share no code with it.
//!
//! Traffic stays on loopback or in a network namespace that the test makes for itself. One program for all of
//! them, so that short tests run beside the long ones of [`endurance`], which come first.

#![allow(
    clippy::disallowed_methods,
    reason = "the tests watch the program from outside and have a clock of their own"
)]

mod access_log;
mod config;
mod endurance;
mod http;
mod log;
mod membership;
mod notify;
mod permission;
mod pid_file;
mod player_page;
mod probe;
mod process;
mod proxy;
mod refusal;
mod rtsp;
mod services;
mod sharing;
mod status;
mod status_page;
mod stream;
mod supervisor;
mod support;
mod unix_socket;
mod user;
