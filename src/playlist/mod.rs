//! Channel lists in M3U form: what they say, the services that come of it, and the one playlist that leads to these
//! services (playlist spec).
//!
//! | File | Is |
//! |---|---|
//! | `tags` | the lines that mean something, and their attributes |
//! | `source` | the URL of an entry: what it wraps, its label, and the query of a request merged into it |
//! | `carrier` | the parameter of a link to a recording |
//! | `catalogue` | lines in, services and playlist out |
//! | `combined` | the playlist without the base of its links, and with it |
//! | `address` | where a list or a guide is fetched from |
//!
//! Pure: nothing is resolved, fetched or logged here. When lists are read and how documents come is the router's
//! business.

mod address;
mod carrier;
mod catalogue;
mod combined;
pub mod source;
mod tags;

pub use address::DocumentAddress;
pub use catalogue::{Builder, Catalogue, Fault, Guide, Naming, Origin, Service};
pub use combined::Combined;
pub use source::{MergeError, Source};
