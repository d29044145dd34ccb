//! flowgate: a stream router with real flow control.
#![deny(unsafe_code)]

pub mod proto;
