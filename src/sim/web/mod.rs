//! The HTTP side of the simulation: clients that ask for what other servers have, and those servers.

mod exchange;
mod replies;
mod scenario;
mod server;
mod site;
mod veil;
mod verdict;
mod wire;

pub(super) use exchange::Exchange;
pub(super) use replies::Replies;
pub(super) use scenario::draw_web;
pub(super) use server::Server;
pub(super) use site::{Lookup, Reach, Site};
pub(super) use veil::{Mirror, Veil};
pub(super) use verdict::{Excuses, judge_replies};
