//! flowgate: a stream router with real flow control.
#![deny(unsafe_code)]

pub mod cli;
pub mod config;
pub mod logger;
pub mod proto;
pub mod sys;
