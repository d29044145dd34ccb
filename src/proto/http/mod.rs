//! HTTP/1 (RFC 9110, RFC 9112): decoders for what arrives.

mod framing;
mod head;
mod headers;
mod lines;
mod response;

pub use framing::{
    BODY_BYTES_MAX, Framing, FramingError, content_length, request_framing, response_framing,
};
pub use head::{Head, Method, TARGET_BYTES_MAX, decode};
pub use headers::Headers;
pub use lines::{HEAD_BYTES_MAX, HEADERS_MAX, HeadError};
pub use response::{ResponseHead, decode_response};
