//! Sans-I/O protocol cores: bytes and `now` in, items and actions out.
//!
//! Nothing here knows a socket, a clock, a random source or an entity of the router. There are two forms
//! only. A *decoder* is a pure function over the front of its input; a *session* is a state machine whose
//! every call leaves its list of actions complete. Items name ranges of the input instead of copying it.

pub mod authority;
pub mod grid;
pub mod http;
pub mod mpegts;
pub mod origin;
pub mod origins;
pub mod query;
pub mod reference;
pub mod reorder;
pub mod rewrite;
pub mod rtp;
pub mod rtsp;
pub mod seek;
pub mod url;
pub mod user_info;
pub mod websocket;
