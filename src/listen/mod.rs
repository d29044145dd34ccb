//! What the program listens on: from the configuration's addresses to open sockets, all of them before anything is
//! served.
//!
//! Owns the sockets and the paths of the Unix ones for the life of the program, and gives each worker descriptors
//! of its own ([`Listeners::for_worker`]). A worker that dies so loses no connection that waits: its successor is given
//! the same socket. A reload makes a new set out of the old one ([`Listeners::reopen`]); whichever of the two is
//! dropped takes with it what only it has. Nothing is accepted here.

mod tcp;
mod unix;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::config::ListenAddr;
use crate::limits::LISTENERS_MAX;
use crate::net::{Listener, Place};
use tcp::TcpPlace;
pub use unix::UnixError;
use unix::UnixPlace;

/// Who may connect to Unix sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Permissions, at most `0o777`; connecting takes the permission to write.
    pub mode: u32,
    /// User and group that are given the socket, instead of those that the process has.
    pub owner: Option<(u32, u32)>,
}

/// Everything that is listened on; by default nothing.
#[derive(Debug, Default)]
pub struct Listeners {
    tcp: Vec<TcpPlace>,
    unix: Vec<UnixPlace>,
}

impl Listeners {
    /// Opens whatever `wanted` says, Unix sockets first, for so many workers.
    ///
    /// May block for as long as the system's resolver does.
    ///
    /// # Errors
    ///
    /// The first listener that cannot be opened; none is open then, since half a service helps nobody.
    pub fn open(
        wanted: &[ListenAddr],
        workers: usize,
        access: &Access,
    ) -> Result<Listeners, ListenError> {
        Listeners::default().reopen(wanted, workers, access)
    }

    /// The set for another configuration. What is wanted still stays open and loses no connection; the rest is
    /// opened. To drop the old set commits to the new one, to drop the new one is to roll back.
    ///
    /// # Errors
    ///
    /// As [`Listeners::open`]; `self` is as it was.
    pub fn reopen(
        &self,
        wanted: &[ListenAddr],
        workers: usize,
        access: &Access,
    ) -> Result<Listeners, ListenError> {
        let mut opening = Opening {
            old: self,
            taken: vec![false; self.tcp.len()],
            all: Vec::new(),
            opened: Vec::new(),
            workers,
            new: Listeners::default(),
        };
        for wanted in wanted {
            if let ListenAddr::Unix { path } = wanted {
                opening.open_unix(path, access)?;
            }
        }
        let tcp: Vec<(&ListenAddr, Vec<SocketAddr>)> = wanted
            .iter()
            .filter(|wanted| !matches!(wanted, ListenAddr::Unix { .. }))
            .map(|wanted| Ok((wanted, wanted.resolve()?)))
            .collect::<Result<_, String>>()
            .map_err(ListenError::Resolve)?;
        opening.all = tcp.iter().flat_map(|(_, all)| all).copied().collect();
        for (wanted, addresses) in tcp {
            opening.open_tcp(wanted, addresses)?;
        }
        if !opening.new.unix.is_empty() {
            // Nothing is ever sent so, but automation looks for these words (server spec §15).
            log::warn!("Zero-copy send disabled because Unix socket listener is configured");
        }
        Ok(opening.new)
    }

    /// Where clients can connect: TCP first, otherwise in the order of the configuration.
    pub fn places(&self) -> Vec<Place> {
        let tcp = self.tcp.iter().map(|place| Place::Tcp(place.bound()));
        let unix = self
            .unix
            .iter()
            .map(|place| Place::Unix(place.path().to_owned()));
        tcp.chain(unix).collect()
    }

    /// Descriptors for worker `index`, from 0 on, of everything it is to accept from. Each call makes new ones.
    ///
    /// # Errors
    ///
    /// That descriptors have run out.
    pub fn for_worker(&self, index: usize) -> io::Result<Vec<Listener>> {
        let mut listeners = Vec::new();
        for place in &self.tcp {
            let socket = place.socket(index)?;
            listeners.push(Listener::new(socket, Place::Tcp(place.bound())));
        }
        for place in &self.unix {
            let path = place.path().to_owned();
            listeners.push(Listener::new(place.socket()?, Place::Unix(path)));
        }
        Ok(listeners)
    }
}

/// What of `wanted` can never be opened on this host, whoever else listens: names without an address, and paths of
/// Unix sockets that are too long or given twice. Opens nothing, and may block as [`Listeners::open`].
pub fn check(wanted: &[ListenAddr]) -> Vec<ListenError> {
    let mut problems = Vec::new();
    let mut paths: Vec<&Path> = Vec::new();
    for wanted in wanted {
        match wanted {
            ListenAddr::Unix { path } if paths.contains(&&**path) => {
                problems.push(UnixError::duplicate(path).into());
            }
            ListenAddr::Unix { path } => {
                problems.extend(unix::check_length(path).err().map(ListenError::from));
                paths.push(path);
            }
            _ => problems.extend(wanted.resolve().err().map(ListenError::Resolve)),
        }
    }
    problems
}

/// A set on its way.
struct Opening<'a> {
    old: &'a Listeners,
    /// Which TCP places of the old set are in the new one already.
    taken: Vec<bool>,
    /// Every address of TCP that is wanted, some of them perhaps twice.
    all: Vec<SocketAddr>,
    /// Those that have been dealt with.
    opened: Vec<SocketAddr>,
    workers: usize,
    new: Listeners,
}

impl Opening<'_> {
    fn count_one_more(&self) -> Result<(), ListenError> {
        if self.new.tcp.len() + self.new.unix.len() < LISTENERS_MAX {
            Ok(())
        } else {
            Err(ListenError::TooMany)
        }
    }

    fn open_unix(&mut self, path: &Path, access: &Access) -> Result<(), ListenError> {
        self.count_one_more()?;
        let is_same = |place: &&UnixPlace| place.path() == path;
        if self.new.unix.iter().any(|place| is_same(&place)) {
            return Err(UnixError::duplicate(path).into());
        }
        let place = match self.old.unix.iter().find(is_same) {
            Some(kept) => {
                log::info!("Keeping Unix socket listener {}", path.display());
                kept.clone()
            }
            None => {
                let place = UnixPlace::open(path, access)?;
                log::info!("Listening on {}", Place::Unix(path.to_owned()));
                place
            }
        };
        self.new.unix.push(place);
        Ok(())
    }

    fn open_tcp(
        &mut self,
        wanted: &ListenAddr,
        addresses: Vec<SocketAddr>,
    ) -> Result<(), ListenError> {
        let mut opened = false;
        let mut unsupported = None;
        for address in addresses {
            if self.is_covered(address) {
                log::info!("{} is listened on already", Place::Tcp(address));
                opened = true;
                continue;
            }
            self.opened.push(address);
            self.count_one_more()?;
            match self.open_address(address) {
                Ok(place) => {
                    self.new.tcp.push(place);
                    opened = true;
                }
                // A host without IPv6 still serves IPv4.
                Err(error) if tcp::is_unsupported(&error) => unsupported = Some(error),
                Err(error) => {
                    return Err(ListenError::Tcp {
                        address: address.to_string(),
                        error,
                    });
                }
            }
        }
        match unsupported {
            Some(error) if !opened => Err(ListenError::Tcp {
                address: wanted.to_string(),
                error,
            }),
            _ => Ok(()),
        }
    }

    /// Whether another entry brings the clients of this address: the same one, or all addresses on its port.
    fn is_covered(&self, address: SocketAddr) -> bool {
        let is_wider = |other: &SocketAddr| {
            let is_same_family = other.is_ipv4() == address.is_ipv4();
            is_same_family && other.port() == address.port() && other.ip().is_unspecified()
        };
        let is_wide = address.ip().is_unspecified();
        // The system chooses another port for each entry with 0.
        address.port() != 0
            && (self.opened.contains(&address) || !is_wide && self.all.iter().any(is_wider))
    }

    fn open_address(&mut self, address: SocketAddr) -> io::Result<TcpPlace> {
        let mut kept = self.old.tcp.iter().zip(&mut self.taken);
        if let Some((place, taken)) =
            kept.find(|(place, taken)| place.wanted() == address && !**taken)
        {
            *taken = true;
            return Ok(place.resized(self.workers));
        }
        // All of a host in place of one of its addresses, or the other way round.
        let is_beside = |place: &&TcpPlace| place.bound().port() == address.port();
        let mut beside_own = false;
        for place in self.old.tcp.iter().filter(is_beside) {
            place.share()?;
            beside_own = true;
        }
        let place = TcpPlace::open(address, self.workers, beside_own)?;
        log::info!("Listening on {}", Place::Tcp(place.bound()));
        Ok(place)
    }
}

/// Why a listener cannot be opened.
#[derive(Debug)]
pub enum ListenError {
    /// A name has no addresses; the text says which and why.
    Resolve(String),
    /// There would be more than [`LISTENERS_MAX`].
    TooMany,
    /// A TCP listener.
    Tcp {
        /// What was to be listened on.
        address: String,
        /// Why not.
        error: io::Error,
    },
    /// A Unix socket.
    Unix(UnixError),
}

impl ListenError {
    /// The exit status of a program that cannot start for this reason (server spec §14.5).
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Unix(_) => 255,
            Self::Resolve(_) | Self::TooMany | Self::Tcp { .. } => 1,
        }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(text) => f.write_str(text),
            Self::TooMany => write!(f, "more than {LISTENERS_MAX} addresses to listen on"),
            Self::Tcp { address, error } => write!(f, "cannot listen on {address}: {error}"),
            Self::Unix(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ListenError {}

impl From<UnixError> for ListenError {
    fn from(error: UnixError) -> Self {
        Self::Unix(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::PathBuf;

    /// Everything may be done, so that the mask, which is the whole process's, does not change.
    const ACCESS: Access = Access {
        mode: 0o777,
        owner: None,
    };

    fn unix(scratch: &Scratch, name: &str) -> (PathBuf, ListenAddr) {
        let path = scratch.path(name);
        (path.clone(), ListenAddr::Unix { path })
    }

    fn loopback(port: u16) -> ListenAddr {
        ListenAddr::parse(&format!("127.0.0.1:{port}")).expect("an address")
    }

    fn open(wanted: &[ListenAddr]) -> Result<Listeners, ListenError> {
        Listeners::open(wanted, 1, &ACCESS)
    }

    fn places(listeners: &Listeners) -> Vec<Place> {
        let listeners = listeners.for_worker(0).expect("descriptors");
        let places = listeners.iter().map(Listener::place);
        places.cloned().collect()
    }

    /// Where the first listener of TCP is.
    fn address(listeners: &Listeners) -> SocketAddr {
        let address = places(listeners).into_iter().find_map(|place| match place {
            Place::Tcp(address) => Some(address),
            Place::Unix(_) => None,
        });
        address.expect("a listener of TCP")
    }

    #[test]
    fn everything_wanted_is_opened_and_can_be_accepted_from() {
        let scratch = Scratch::new();
        let (path, unix) = unix(&scratch, "s");
        let listeners = open(&[loopback(0), unix, loopback(0)]).expect("opened");
        let _tcp = TcpStream::connect(address(&listeners)).expect("a connection");
        let _unix = UnixStream::connect(&path).expect("a connection");
        let mut accepted = 0;
        for listener in listeners.for_worker(0).expect("descriptors") {
            let place = listener.place().clone();
            let descriptor = listener.into_descriptor();
            let is_there = match place {
                Place::Tcp(_) => TcpListener::from(descriptor).accept().is_ok(),
                Place::Unix(_) => UnixListener::from(descriptor).accept().is_ok(),
            };
            accepted += usize::from(is_there);
        }
        assert_eq!((places(&listeners).len(), accepted), (3, 2));
    }

    #[test]
    fn nothing_is_left_open_when_one_fails() {
        let scratch = Scratch::new();
        let (path, unix) = unix(&scratch, "s");
        let occupied = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = occupied.local_addr().expect("bound").port();
        let error = open(&[unix.clone(), loopback(port)]).expect_err("the port is busy");
        assert_eq!(error.exit_status(), 1);
        let expected = format!("cannot listen on 127.0.0.1:{port}: Address already in use");
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert!(!path.exists());

        let _occupied = UnixListener::bind(&path).expect("a free path");
        let error = open(&[loopback(0), unix]).expect_err("the path is busy");
        assert_eq!(error.exit_status(), 255);
    }

    #[test]
    fn same_path_twice_is_refused() {
        let scratch = Scratch::new();
        let (path, unix) = unix(&scratch, "s");
        let error = open(&[unix.clone(), unix]).expect_err("twice");
        assert!(error.to_string().ends_with("is given twice"), "{error}");
        assert_eq!(error.exit_status(), 255);
        assert!(!path.exists());
    }

    #[test]
    fn there_is_a_limit() {
        let mut wanted = vec![loopback(0); LISTENERS_MAX];
        open(&wanted).expect("as many as there may be");
        wanted.push(loopback(0));
        let error = open(&wanted).expect_err("one too many");
        assert_eq!(error.to_string(), "more than 32 addresses to listen on");
    }

    #[test]
    fn reload_keeps_what_is_still_wanted_with_the_connections_that_wait() {
        let scratch = Scratch::new();
        let [(kept, kept_unix), (gone, gone_unix), (new, new_unix)] =
            ["kept", "gone", "new"].map(|name| unix(&scratch, name));
        let old = open(&[loopback(0), kept_unix.clone(), gone_unix]).expect("opened");
        let port = address(&old);
        let _waiting = TcpStream::connect(port).expect("a connection");
        let set = old
            .reopen(&[new_unix, kept_unix, loopback(0)], 1, &ACCESS)
            .expect("reopened");
        assert_eq!(address(&set), port);
        drop(old);
        assert!(kept.exists() && new.exists() && !gone.exists());
        UnixStream::connect(&kept).expect("a connection");
        let mut listeners = set.for_worker(0).expect("descriptors").into_iter();
        let tcp = listeners.next().expect("the one of TCP").into_descriptor();
        TcpListener::from(tcp).accept().expect("it still waits");
        drop(set);
        assert!(!kept.exists() && !new.exists());
    }

    #[test]
    fn reload_that_fails_or_is_given_up_changes_nothing() {
        let scratch = Scratch::new();
        let [(kept, kept_unix), (new, new_unix)] = ["kept", "new"].map(|name| unix(&scratch, name));
        let old = open(std::slice::from_ref(&kept_unix)).expect("opened");
        let occupied = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let busy = loopback(occupied.local_addr().expect("bound").port());
        let wanted = [new_unix.clone(), kept_unix.clone(), busy];
        old.reopen(&wanted, 1, &ACCESS).expect_err("busy");
        assert!(kept.exists() && !new.exists());
        drop(
            old.reopen(&[new_unix, kept_unix], 1, &ACCESS)
                .expect("opened"),
        );
        assert!(kept.exists() && !new.exists());
        UnixStream::connect(&kept).expect("a connection");
    }

    #[test]
    fn address_can_become_all_addresses_on_the_same_port() {
        let old = open(&[loopback(0)]).expect("opened");
        let port = address(&old).port();
        let all = ListenAddr::Host {
            host: "0.0.0.0".to_owned(),
            port,
        };
        let new = old.reopen(&[all], 1, &ACCESS).expect("reopened");
        drop(old);
        let expected: SocketAddr = ([0, 0, 0, 0], port).into();
        assert_eq!(address(&new), expected);
        TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    }

    #[test]
    fn addresses_that_others_cover_are_opened_once() {
        let free = open(&[loopback(0)]).expect("opened");
        let port = address(&free).port();
        drop(free);
        let all = ListenAddr::Host {
            host: "0.0.0.0".to_owned(),
            port,
        };
        let one = loopback(port);
        let wide: SocketAddr = ([0, 0, 0, 0], port).into();
        let narrow: SocketAddr = ([127, 0, 0, 1], port).into();
        for (wanted, expected) in [
            (vec![one.clone(), one.clone()], narrow),
            (vec![all.clone(), one.clone()], wide),
            (vec![one.clone(), all.clone(), all.clone()], wide),
        ] {
            let listeners = open(&wanted).expect("opened");
            assert_eq!(places(&listeners), [Place::Tcp(expected)], "{wanted:?}");
            // Also when a reload makes it so.
            let old = open(std::slice::from_ref(&one));
            assert!(old.is_err(), "the port is taken");
            let again = listeners.reopen(&wanted, 1, &ACCESS).expect("reopened");
            assert_eq!(places(&again), [Place::Tcp(expected)]);
        }
    }

    #[test]
    fn paths_go_with_the_set_and_not_with_a_workers_descriptors() {
        let scratch = Scratch::new();
        let (path, unix) = unix(&scratch, "s");
        let listeners = open(&[unix]).expect("opened");
        let worker = listeners.for_worker(0).expect("descriptors");
        UnixStream::connect(&path).expect("a connection");
        drop(worker);
        assert!(path.exists());
        drop(listeners);
        UnixStream::connect(&path).expect_err("nobody listens");
        assert!(!path.exists());
    }
}
