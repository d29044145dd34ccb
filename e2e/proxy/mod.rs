//! The HTTP proxy (`/http/…`, `/https/…`) between peers that are not ours: nginx, Python, ffmpeg and curl; and
//! between sockets on which every byte is given by the test (http-proxy spec, time spec §3 to §9).

mod access;
mod body;
mod failure;
pub(crate) mod flow;
mod hls;
pub(crate) mod nginx;
mod playlist;
mod relay;
mod reuse;
mod seek;
mod smuggling;
#[cfg(feature = "tls")]
mod tls;
mod tools;
pub(crate) mod wire;
