//! Tells a service manager how the program is doing (`sd_notify(3)`).
//!
//! Owns nothing but the address; each message is one datagram from a socket of its own. That they are rare makes this
//! good enough, and lets the service manager be restarted. Written here because the crate for it (`sd-notify`) waits
//! when the manager does not read, and knows no abstract sockets. Who else is told, and when, is not known here.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::sys::process::monotonic_micros;

/// The variable that names the socket.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// The service manager, if there is one that wants to be told.
///
/// Only the main process of the service is listened to, as a rule. What cannot be delivered is logged and is no reason
/// to do anything else.
#[derive(Debug, Clone)]
pub struct Notifier {
    address: Option<SocketAddr>,
}

impl Notifier {
    /// The socket that `name`, the value of [`VARIABLE`], stands for: an absolute path, or `@` and a name of the
    /// abstract namespace.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn new(name: Option<&OsStr>) -> Result<Notifier, String> {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Ok(Notifier { address: None });
        };
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            [b'/', ..] => SocketAddr::from_pathname(name),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        };
        match address {
            Ok(address) => Ok(Notifier {
                address: Some(address),
            }),
            Err(error) => Err(format!(
                "{VARIABLE} is {name:?}, neither an absolute path nor @name: {error}"
            )),
        }
    }

    /// Everything is set up, or set up again after a reload.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}\n", one_line(status)));
    }

    /// A reload has begun; [`Notifier::ready`] says that it is over, whether it went well or not.
    pub fn reloading(&self) {
        // The manager tells by the time which of its requests is meant.
        let micros = monotonic_micros();
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\n"));
    }

    /// The program is about to end.
    pub fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\nSTATUS={}\n", one_line(status)));
    }

    /// What the program is doing, in one line for people.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}\n", one_line(status)));
    }

    fn send(&self, message: &str) {
        let Some(address) = &self.address else { return };
        let send = || {
            let socket = UnixDatagram::unbound()?;
            // A manager that does not read must not hold up the program.
            socket.set_nonblocking(true)?;
            socket.send_to_addr(message.as_bytes(), address)
        };
        if let Err(error) = send() {
            log::warn!("the service manager cannot be told: {error}");
        }
    }
}

/// A line break would begin another assignment.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manager at an address that nobody else has.
    fn manager(name: &str) -> (UnixDatagram, Notifier) {
        let name = format!("flowgate-notify-{}-{name}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("an address");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        let notifier = Notifier::new(Some(OsStr::new(&format!("@{name}")))).expect("a name");
        (socket, notifier)
    }

    fn told(socket: &UnixDatagram) -> String {
        socket.set_nonblocking(true).expect("it does not block");
        let mut bytes = [0; 512];
        let len = socket.recv(&mut bytes).expect("a message");
        String::from_utf8(bytes[..len].to_vec()).expect("text")
    }

    #[test]
    fn manager_is_told_in_its_own_words() {
        let (socket, notifier) = manager("words");
        notifier.ready("serving\nMAINPID=1");
        assert_eq!(told(&socket), "READY=1\nSTATUS=serving MAINPID=1\n");
        notifier.status("12 clients");
        assert_eq!(told(&socket), "STATUS=12 clients\n");
        notifier.stopping("draining");
        assert_eq!(told(&socket), "STOPPING=1\nSTATUS=draining\n");
        let before = monotonic_micros();
        notifier.reloading();
        let told = told(&socket);
        let micros = told.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        let micros: u64 = micros
            .and_then(|rest| rest.trim_end().parse().ok())
            .unwrap_or_else(|| panic!("{told:?}"));
        assert!((before..=monotonic_micros()).contains(&micros));
    }

    #[test]
    fn manager_that_does_not_read_holds_nobody_up() {
        let (_socket, notifier) = manager("full");
        for _ in 0..10_000 {
            notifier.status("still here");
        }
    }

    #[test]
    fn without_a_manager_nothing_is_said() {
        for name in [None, Some(OsStr::new(""))] {
            let notifier = Notifier::new(name).expect("no manager");
            assert!(notifier.address.is_none());
            notifier.ready("serving");
        }
        let path = format!("/{}", "a".repeat(200));
        for name in ["relative", "vsock:2:1", &path] {
            let error = Notifier::new(Some(OsStr::new(name))).expect_err("no address");
            assert!(error.contains(name), "{error}");
        }
        let nobody = Notifier::new(Some(OsStr::new("/nonexistent/notify"))).expect("a path");
        nobody.ready("nobody is told, and nothing else happens");
    }
}
