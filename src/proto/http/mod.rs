//! HTTP/1 (RFC 9110, RFC 9112): decoders for what arrives.
//!
//! Heads are decoded as a whole; bodies are counted and checked as they pass. Nothing here decides what to
//! answer or to ask.

mod body;
mod chunked;
mod framing;
mod head;
mod headers;
mod lines;
mod response;
#[cfg(test)]
mod smuggling;

pub use body::{Body, BodyError, Relay};
pub use chunked::{ChunkError, Chunked, Piece, SIZE_LINE_BYTES_MAX, TRAILER_BYTES_MAX};
pub use framing::{
    BODY_BYTES_MAX, Framing, FramingError, content_length, request_framing, response_framing,
};
pub use head::{Head, Method, TARGET_BYTES_MAX, decode};
pub use headers::Headers;
pub use lines::{HEAD_BYTES_MAX, HEADERS_MAX, HeadError};
pub use response::{ResponseHead, decode_response};
