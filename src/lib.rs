//! flowgate: a stream router with real flow control.
#![deny(unsafe_code)]

pub mod arena;
pub mod channel;
pub mod cli;
pub mod client;
pub mod config;
pub mod demo;
pub mod limits;
pub mod logger;
pub mod net;
pub mod pool;
pub mod proto;
pub mod router;
pub mod shared;
#[cfg(test)]
mod sim;
pub mod stats;
pub mod sys;
pub mod upstream;
