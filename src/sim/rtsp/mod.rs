//! The RTSP side of the simulation: clients that ask for streams, and the servers of those streams.

mod guard;
mod media;
mod play;
mod scenario;
mod server;
mod stun;
mod verdict;

pub(super) use play::Play;
pub(super) use scenario::draw_plays;
pub(super) use server::Server;
pub(super) use stun::{STUN_ADDRESS, Stun};
pub(super) use verdict::{Watched, judge_play};
