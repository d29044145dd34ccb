//! flowgate: a stream router with real flow control.
#![deny(unsafe_code)]

pub mod arena;
pub mod limits;
pub mod net;
pub mod pool;
pub mod proto;
pub mod sys;
