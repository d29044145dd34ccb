//! Where a body ends, read the way the strictest peer would: no extensions, no trailers, nothing repaired.
//!
//! Written apart from the router's own parser, so that the two can disagree.

/// The rest of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Body {
    /// So many bytes are still to come.
    Length(u64),
    Chunked(Chunk),
    /// Up to the end of the connection.
    UntilClose,
    Complete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Chunk {
    Size { size: u64, digits: u32 },
    SizeEnd { size: u64 },
    Data { left: u64 },
    DataReturn,
    DataEnd,
    LastReturn,
    LastEnd,
}

impl Body {
    pub(in crate::sim) fn length(bytes: u64) -> Self {
        match bytes {
            0 => Self::Complete,
            _ => Self::Length(bytes),
        }
    }

    pub(in crate::sim) fn chunked() -> Self {
        Self::Chunked(Chunk::Size { size: 0, digits: 0 })
    }

    /// Takes the next bytes, gives the data among them to `data`, and returns how many belong to the body.
    pub(in crate::sim) fn take(&mut self, bytes: &[u8], mut data: impl FnMut(&[u8])) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match self {
                Self::Complete => break,
                Self::UntilClose => {
                    data(rest);
                    at = bytes.len();
                }
                Self::Length(left) => {
                    let count = rest.len().min(*left as usize);
                    data(&rest[..count]);
                    at += count;
                    *self = Self::length(*left - count as u64);
                }
                Self::Chunked(Chunk::Data { left }) => {
                    let count = rest.len().min(*left as usize);
                    data(&rest[..count]);
                    at += count;
                    *left -= count as u64;
                    if *left == 0 {
                        *self = Self::Chunked(Chunk::DataReturn);
                    }
                }
                Self::Chunked(chunk) => {
                    *self = chunk.after(rest[0]);
                    at += 1;
                }
            }
        }
        at
    }
}

impl Chunk {
    fn after(self, byte: u8) -> Body {
        let next = match (self, byte) {
            (Self::Size { size, digits: 1.. }, b'\r') => Self::SizeEnd { size },
            (Self::Size { size, digits }, _) => {
                let digit = (byte as char).to_digit(16);
                let digit = digit.unwrap_or_else(|| panic!("{byte:#x} in the size of a chunk"));
                Self::Size {
                    size: size * 16 + u64::from(digit),
                    digits: digits + 1,
                }
            }
            (Self::SizeEnd { size: 0 }, b'\n') => Self::LastReturn,
            (Self::SizeEnd { size }, b'\n') => Self::Data { left: size },
            (Self::DataReturn, b'\r') => Self::DataEnd,
            (Self::DataEnd, b'\n') => Self::Size { size: 0, digits: 0 },
            (Self::LastReturn, b'\r') => Self::LastEnd,
            (Self::LastEnd, b'\n') => return Body::Complete,
            _ => panic!("{byte:#x} in a chunked body, {self:?}"),
        };
        Body::Chunked(next)
    }
}
