//! RTSP, the client's side: a session with one server that carries one MPEG-TS (RFC 2326), and its decoders.
//!
//! Sans-I/O. [`Session`] knows the protocol and nothing else; whoever drives it (the shell) owns the sockets and
//! knows nothing of the protocol. The shell carries out [`Action`]s in their order and reports what came of them:
//!
//! ```text
//!  the shell                                          the session
//!  ─────────                                          ───────────
//!  begins                            open ──────────▶
//!  resolves, connects, TLS                ◀────────── Connect { host, port, tls }
//!     with both ends        connected ──────────▶     (or connect_failed)
//!  binds an even port and the next        ◀────────── OpenSockets { address, random }      only if UDP may
//!     with the even one     sockets_opened ─────▶     (or None)                            be offered
//!  asks a STUN server                     ◀────────── SendDatagram { Rtp, host, … }        if one is configured
//!     what the port says    datagram ───────────▶     (or stun_failed)
//!  writes                                 ◀────────── Send(request)
//!     what it reads         receive ────────────▶
//!  opens the way through NAT              ◀────────── SendDatagram { Rtp | Rtcp, … }       UDP only
//!  sends its head                         ◀────────── Playing(metadata)
//!  sends on                               ◀────────── Media(slice), Packet(rtp)
//!     the client is full    set_paused ─────────▶
//!     the clock             expire ─────────────▶     by deadline
//!     end of input          finish ─────────────▶     (or broken)
//!     the client is gone    close ──────────────▶
//!  tells the client                       ◀────────── End | Failed | Described | Duration   at most one
//!  closes everything                      ◀────────── Done                                  exactly one, last
//! ```
//!
//! What the shell has to know:
//!
//! - **Order.** Actions may ask for an answer that is known at once (`OpenSockets`); the calls it leads to append to
//!   the same list, behind what is there.
//! - **Interface.** Every socket, TCP and UDP, is bound to the interface configured for RTSP before it connects or
//!   binds. The line of the log that names it, `RTSP: Upstream interface NAME, local endpoint IP:PORT`, is the shell's.
//! - **Ports.** The session learns one number, the even port of RTP; RTCP has the next one.
//!   [`transport::port_pairs`] lists what to try. A pair in use means the next pair, any other error means `None`.
//!   A pair lives until `CloseSockets` or `Done`, also through a redirect.
//! - **Media.** [`Slice`] says where the bytes are: in the input of the call, or in [`Session::joined`] for what
//!   arrived in pieces. Both are good until the next `receive`. Media over TCP comes in order and is sent on as it
//!   is. Over UDP, `Packet` is to be put in order (`reorder`); `Media` goes past that.
//! - **Reading datagrams.** Only while [`Session::datagrams_wanted`], behind the control connection in the same turn:
//!   then nothing that comes before the answer to PLAY is lost. RTCP's socket is read and given likewise.
//! - **End of input.** All that was received, on every socket, is given before `finish`.
//! - **Pausing.** For media over TCP the control connection is not read while the client is full. The session is
//!   told, and writes keep-alives meanwhile. After `close` there is no client, and nothing is to be paused. This is
//!   all the pausing there is: PAUSE (RFC 2326 §10.6) is not sent. Its answer would stand behind the media that is
//!   not read, and PLAY after it goes on elsewhere: at the present if the stream is live, and with a recording where
//!   the server has stopped, or at the beginning, or nowhere, for servers differ. TCP goes on at the next byte.
//! - **Unsent bytes.** A server that sends requests but does not read the answers could make the shell queue without
//!   bound; it stops reading while [`UNSENT_BYTES_MAX`] bytes are unsent.
//! - **The client and the sockets end apart.** `End` and `Failed` are about the client, which may be let go at once.
//!   The session goes on until `Done`, at most some seconds, to end what the server holds for it. Before it closes,
//!   the shell writes what the socket takes.
//!
//! | Module | Is |
//! |---|---|
//! | [`session`] | the state machine |
//! | [`request`](Request), [`error`](Error) | what it is asked for; how it fails, and with which status |
//! | [`url`] | RTSP URLs, references, redirects |
//! | [`message`], [`interleaved`] | messages; frames and messages on one connection |
//! | [`sdp`], [`transport`], [`auth`] | what DESCRIBE, SETUP and 401 say |
//! | [`traversal`], [`stun`], [`rtcp`] | UDP: addresses, probes, whose datagrams are taken; STUN; receiver reports |
//! | [`metadata`] | what the client is told in `R2H-` headers |

pub mod auth;
mod error;
pub mod interleaved;
pub mod message;
pub mod metadata;
mod request;
pub mod rtcp;
pub mod sdp;
pub mod session;
pub mod stun;
pub mod transport;
pub mod traversal;
pub mod url;

pub use error::{ConnectError, Error, RedirectError};
pub use interleaved::{Buffer, Slice};
pub use metadata::{MediaTransport, Metadata, Payload};
pub use request::{Purpose, Request};
pub use session::{Action, Session, UdpSocket};

/// Bytes the shell keeps unsent on the control connection before it stops reading.
pub const UNSENT_BYTES_MAX: usize = 64 * 1024;
