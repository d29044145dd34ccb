//! What supervisor and workers say to each other, as bytes and descriptors of a [`Channel`].
//!
//! Both ends are the same program, one a copy of the other, so that there are no versions. A message that makes no
//! sense is an error all the same.
//!
//! ```text
//! kind: 1 byte, then
//! Relieved, Dismissed   milliseconds
//! ReopenAccessLog       nothing
//! Configure             has authorities (0 or 1), then for each listener: length, kind and address
//! ```
//!
//! Numbers are 32 bits, little-endian. The address of a listener is `t` and an address as text, or `u` and a path.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::crew::Word;
use crate::net::{Listener, Place};
use crate::sys::channel::{Channel, Received};

const RELIEVED: u8 = 1;
const DISMISSED: u8 = 2;
const STOP: u8 = 3;
const STOP_NOW: u8 = 4;
const CONFIGURE: u8 = 5;
const REOPEN_ACCESS_LOG: u8 = 6;
const READY: u8 = 65;
const REFUSED: u8 = 66;
const RELOAD: u8 = 67;
const RESTART_WORKERS: u8 = 68;

/// What a worker is told.
#[derive(Debug)]
pub(super) enum Order {
    /// About its own end.
    Word(Word),
    /// There is a new configuration.
    Configure(Change),
    /// The file of the access log may have been moved away: for one that drains, which keeps its configuration.
    ReopenAccessLog,
}

/// A new configuration, checked by the supervisor, with all that is needed to apply it.
#[derive(Debug)]
pub(super) struct Change {
    /// The text of the configuration file, in memory.
    pub(super) text: OwnedFd,
    /// The authorities of `--tls-ca`, in memory.
    pub(super) authorities: Option<OwnedFd>,
    /// Everything to listen on from now on; what is not here is given up.
    pub(super) listeners: Vec<Listener>,
}

/// What a worker tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// It takes clients from now on.
    Ready,
    /// It could not apply the new configuration, and wants to be replaced.
    Refused,
    /// Somebody has asked for a reload on the status pages.
    Reload,
    /// The same for a restart of the workers.
    RestartWorkers,
}

/// What one end of a channel hears.
#[derive(Debug)]
pub(super) enum Heard<T> {
    /// This.
    Message(T),
    /// Nothing now.
    Nothing,
    /// The other end is gone.
    End,
}

impl Order {
    /// Sends it; the descriptors stay this process's too.
    ///
    /// # Errors
    ///
    /// As [`Channel::send`].
    pub(super) fn send(&self, channel: &Channel) -> io::Result<()> {
        let mut descriptors: Vec<BorrowedFd<'_>> = Vec::new();
        let bytes = match self {
            Self::Word(Word::Relieved(drain)) => with_time(RELIEVED, *drain),
            Self::Word(Word::Dismissed(drain)) => with_time(DISMISSED, *drain),
            Self::Word(Word::Stop) => vec![STOP],
            Self::Word(Word::StopNow) => vec![STOP_NOW],
            Self::ReopenAccessLog => vec![REOPEN_ACCESS_LOG],
            Self::Configure(change) => {
                descriptors.push(change.text.as_fd());
                descriptors.extend(change.authorities.as_ref().map(AsFd::as_fd));
                descriptors.extend(change.listeners.iter().map(AsFd::as_fd));
                let mut bytes = vec![CONFIGURE];
                push(&mut bytes, u32::from(change.authorities.is_some()));
                for listener in &change.listeners {
                    push_place(&mut bytes, listener.place());
                }
                bytes
            }
        };
        channel.send(&bytes, &descriptors)
    }

    /// Takes the next order.
    ///
    /// # Errors
    ///
    /// As [`Channel::receive`], and `InvalidData` for what is no order.
    pub(super) fn receive(channel: &Channel) -> io::Result<Heard<Self>> {
        hear(channel, Self::decode)
    }

    fn decode(bytes: &[u8], descriptors: Vec<OwnedFd>) -> Option<Self> {
        let (kind, mut rest) = bytes.split_first()?;
        let rest = &mut rest;
        let order = match *kind {
            RELIEVED => Self::Word(Word::Relieved(time(rest)?)),
            DISMISSED => Self::Word(Word::Dismissed(time(rest)?)),
            STOP => Self::Word(Word::Stop),
            STOP_NOW => Self::Word(Word::StopNow),
            REOPEN_ACCESS_LOG => Self::ReopenAccessLog,
            CONFIGURE => {
                let mut descriptors = descriptors.into_iter();
                let has_authorities = number(rest)? != 0;
                let text = descriptors.next()?;
                let authorities = match has_authorities {
                    true => Some(descriptors.next()?),
                    false => None,
                };
                let listeners = descriptors
                    .map(|socket| Some(Listener::new(socket, place(rest)?)))
                    .collect::<Option<Vec<_>>>()?;
                Self::Configure(Change {
                    text,
                    authorities,
                    listeners,
                })
            }
            _ => return None,
        };
        rest.is_empty().then_some(order)
    }
}

impl Report {
    /// Sends it.
    ///
    /// # Errors
    ///
    /// As [`Channel::send`].
    pub(super) fn send(self, channel: &Channel) -> io::Result<()> {
        let kind = match self {
            Self::Ready => READY,
            Self::Refused => REFUSED,
            Self::Reload => RELOAD,
            Self::RestartWorkers => RESTART_WORKERS,
        };
        channel.send(&[kind], &[])
    }

    /// Takes the next report.
    ///
    /// # Errors
    ///
    /// As [`Channel::receive`], and `InvalidData` for what is no report.
    pub(super) fn receive(channel: &Channel) -> io::Result<Heard<Self>> {
        hear(channel, |bytes, _| match bytes {
            [READY] => Some(Self::Ready),
            [REFUSED] => Some(Self::Refused),
            [RELOAD] => Some(Self::Reload),
            [RESTART_WORKERS] => Some(Self::RestartWorkers),
            _ => None,
        })
    }
}

fn hear<T>(
    channel: &Channel,
    decode: impl FnOnce(&[u8], Vec<OwnedFd>) -> Option<T>,
) -> io::Result<Heard<T>> {
    match channel.receive()? {
        Received::Message(bytes, descriptors) => decode(&bytes, descriptors)
            .map(Heard::Message)
            .ok_or_else(|| io::ErrorKind::InvalidData.into()),
        Received::Nothing => Ok(Heard::Nothing),
        Received::End => Ok(Heard::End),
    }
}

fn with_time(kind: u8, time: Duration) -> Vec<u8> {
    let mut bytes = vec![kind];
    push(
        &mut bytes,
        u32::try_from(time.as_millis()).unwrap_or(u32::MAX),
    );
    bytes
}

fn push(bytes: &mut Vec<u8>, number: u32) {
    bytes.extend_from_slice(&number.to_le_bytes());
}

fn push_place(bytes: &mut Vec<u8>, place: &Place) {
    let mut text = Vec::new();
    match place {
        Place::Tcp(address) => {
            text.push(b't');
            text.extend_from_slice(address.to_string().as_bytes());
        }
        Place::Unix(path) => {
            text.push(b'u');
            text.extend_from_slice(path.as_os_str().as_bytes());
        }
    }
    // A socket's path has at most 107 bytes.
    push(bytes, text.len() as u32);
    bytes.extend_from_slice(&text);
}

fn time(rest: &mut &[u8]) -> Option<Duration> {
    number(rest).map(|milliseconds| Duration::from_millis(milliseconds.into()))
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    let (first, others) = rest.split_first_chunk()?;
    *rest = others;
    Some(u32::from_le_bytes(*first))
}

fn place(rest: &mut &[u8]) -> Option<Place> {
    let len = usize::try_from(number(rest)?).ok()?;
    let (text, others) = rest.split_at_checked(len)?;
    *rest = others;
    match text.split_first()? {
        (b't', address) => {
            let address = str::from_utf8(address).ok()?;
            Some(Place::Tcp(address.parse().ok()?))
        }
        (b'u', path) => Some(Place::Unix(OsStr::from_bytes(path).into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LISTENERS_MAX;
    use proptest::prelude::*;
    use std::fs::File;

    fn descriptor() -> OwnedFd {
        File::open("/dev/null").expect("a file").into()
    }

    fn heard(order: &Order) -> Order {
        let (near, far) = Channel::pair().expect("a pair");
        order.send(&near).expect("sent");
        match Order::receive(&far).expect("received") {
            Heard::Message(order) => order,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn words_come_out_as_they_went_in() {
        for word in [
            Word::Relieved(Duration::from_millis(1500)),
            Word::Dismissed(Duration::ZERO),
            Word::Stop,
            Word::StopNow,
        ] {
            assert!(matches!(heard(&Order::Word(word)), Order::Word(other) if other == word));
        }
        let reopen = heard(&Order::ReopenAccessLog);
        assert!(matches!(reopen, Order::ReopenAccessLog));
    }

    #[test]
    fn a_change_keeps_its_descriptors_apart() {
        for authorities in [false, true] {
            let places = [
                Place::Tcp("[::1]:5140".parse().expect("an address")),
                Place::Unix("/run/a b.sock".into()),
                Place::Tcp("0.0.0.0:80".parse().expect("an address")),
            ];
            let listeners = places.iter().cloned();
            let change = Change {
                text: descriptor(),
                authorities: authorities.then(descriptor),
                listeners: listeners
                    .map(|place| Listener::new(descriptor(), place))
                    .collect(),
            };
            let Order::Configure(change) = heard(&Order::Configure(change)) else {
                panic!("something else");
            };
            assert_eq!(change.authorities.is_some(), authorities);
            let heard: Vec<Place> = change
                .listeners
                .iter()
                .map(|listener| listener.place().clone())
                .collect();
            assert_eq!(heard, places);
        }
    }

    #[test]
    fn as_many_listeners_as_there_may_be_fit_into_a_message() {
        let path = format!("/{}", "x".repeat(106));
        let change = Change {
            text: descriptor(),
            authorities: Some(descriptor()),
            listeners: (0..LISTENERS_MAX)
                .map(|_| Listener::new(descriptor(), Place::Unix(path.clone().into())))
                .collect(),
        };
        assert!(matches!(
            heard(&Order::Configure(change)),
            Order::Configure(_)
        ));
    }

    #[test]
    fn reports_come_out_as_they_went_in() {
        let (near, far) = Channel::pair().expect("a pair");
        for report in [
            Report::Ready,
            Report::Refused,
            Report::Reload,
            Report::RestartWorkers,
        ] {
            report.send(&near).expect("sent");
            let heard = Report::receive(&far).expect("received");
            assert!(matches!(heard, Heard::Message(other) if other == report));
        }
        drop(near);
        assert!(matches!(Report::receive(&far), Ok(Heard::End)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, descriptors in 0..4_usize) {
            let descriptors = (0..descriptors).map(|_| descriptor()).collect();
            let _ = Order::decode(&bytes, descriptors);
        }
    }
}
