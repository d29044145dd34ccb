//! HTTP/1 (RFC 9110, RFC 9112): decoders for what arrives.

mod head;

pub use head::{
    HEAD_BYTES_MAX, HEADERS_MAX, Head, HeadError, Headers, Method, TARGET_BYTES_MAX, decode,
};
