//! flowgate: a stream router with real flow control.
#![deny(unsafe_code)]

pub mod demo;
pub mod proto;
pub mod sys;
