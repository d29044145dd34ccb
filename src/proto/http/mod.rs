//! HTTP/1 (RFC 9110, RFC 9112): decoders for what arrives, and the session with an upstream.
//!
//! Heads are decoded as a whole; bodies are counted and checked as they pass. A [`Forward`] is a request on its
//! way to an upstream, an [`Exchange`] what is remembered of it, a [`Session`] what becomes of the response.

mod body;
mod chunked;
mod exchange;
mod framing;
mod head;
mod headers;
mod lines;
mod relay;
mod response;
mod session;
#[cfg(test)]
mod smuggling;

pub use body::{Body, BodyError, Relay};
pub use chunked::{ChunkError, Chunked, Piece, SIZE_LINE_BYTES_MAX, TRAILER_BYTES_MAX};
pub use exchange::Exchange;
pub use framing::{
    BODY_BYTES_MAX, Framing, FramingError, content_length, request_framing, response_framing,
};
pub use head::{Head, Method, TARGET_BYTES_MAX, decode};
pub use headers::{Headers, OwnedHeaders, list_elements};
pub use lines::{HEAD_BYTES_MAX, HEADERS_MAX, HeadError};
pub use relay::{Forward, ReplyHead};
pub use response::{ResponseHead, decode_response, mend};
pub use session::{Action, Session, SessionError};
