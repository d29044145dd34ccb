//! The checked configuration: what the router is told once, at start.
//!
//! Owns the settings, their defaults and their bounds. [`parse`] makes single settings out of text; where
//! the text comes from (the command line, later a file) is not known here. Nothing here opens a socket;
//! [`ListenAddr::resolve`] asks the system's resolver and may block, so it belongs to the start.

mod listen;
pub mod parse;
mod policy;

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::limits;

pub use listen::ListenAddr;
pub use policy::{Class, Denied, POLICY_ENTRIES_MAX, UpstreamPolicy};

/// The port of a listen address that names none.
pub const PORT_DEFAULT: u16 = 5140;

/// Accepted [`Config::clients_max`]. The compatible router stops at 256; we have no such table.
pub const CLIENTS_MAX: RangeInclusive<usize> = 1..=65_536;
/// Accepted [`Config::pool_buffers_max`]: from 96 KiB, below which no stream runs, to 6 GiB.
pub const POOL_BUFFERS_MAX: RangeInclusive<usize> = limits::POOL_UNITS_MIN..=4_194_304;
/// Accepted [`Config::udp_receive_buffer_bytes`].
pub const UDP_RECEIVE_BUFFER_BYTES: RangeInclusive<usize> = 65_536..=1_073_741_824;
/// Accepted seconds of [`Config::mcast_rejoin_interval`], 0 for none; chosen: a day.
pub const MCAST_REJOIN_SECONDS: RangeInclusive<usize> = 0..=86_400;
/// Accepted [`Config::channel_linger`].
pub const CHANNEL_LINGER: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);
/// Accepted [`Config::channels_lingering_max`]; chosen: more groups than a host is allowed to join.
pub const CHANNELS_LINGERING_MAX: RangeInclusive<usize> = 0..=4096;
/// Accepted KiB of [`Config::fast_start_bytes`] unless it is off.
pub const FAST_START_KIB: RangeInclusive<usize> = 64..=65_536;
/// Accepted [`Config::flush_interval`] unless it is automatic.
pub const FLUSH_INTERVAL: RangeInclusive<Duration> = Duration::ZERO..=limits::FLUSH_INTERVAL_MAX;
/// Accepted [`Config::no_data_timeout`].
pub const NO_DATA_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(3600);

/// Everything the router is told at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where clients connect, in the order given; 1 to [`LISTENERS_MAX`](limits::LISTENERS_MAX) addresses.
    /// Default: all addresses, port [`PORT_DEFAULT`].
    pub listen: Vec<ListenAddr>,
    /// Clients served at a time, within [`CLIENTS_MAX`]. Default 5.
    pub clients_max: usize,
    /// Buffers of the pool at most, each of [`POOL_UNIT_BYTES`](limits::POOL_UNIT_BYTES), within [`POOL_BUFFERS_MAX`].
    /// Default 16384.
    pub pool_buffers_max: usize,
    /// Bytes of kernel buffer asked for each UDP socket, within [`UDP_RECEIVE_BUFFER_BYTES`].
    /// Default 524288.
    pub udp_receive_buffer_bytes: usize,
    /// Whether clients may name a source in the URL (`/rtp/…`, `/udp/…`). Default true.
    pub udpxy: bool,
    /// Interface for all upstream traffic, 1 to [`INTERFACE_BYTES_MAX`](crate::proto::url::INTERFACE_BYTES_MAX) bytes. Default: the system's
    /// choice.
    pub upstream_interface: Option<String>,
    /// Interface for multicast in place of `upstream_interface`, same form; see
    /// [`Config::multicast_interface`]. Default none.
    pub upstream_interface_multicast: Option<String>,
    /// How often memberships are made known again, without leaving: whole seconds within
    /// [`MCAST_REJOIN_SECONDS`], never zero. Default `None`, never.
    pub mcast_rejoin_interval: Option<Duration>,
    /// How long a channel stays joined after its last subscriber, within [`CHANNEL_LINGER`]; zero leaves
    /// at once. Default 2 seconds.
    pub channel_linger: Duration,
    /// Channels that may linger at a time, within [`CHANNELS_LINGERING_MAX`]. Default 8.
    pub channels_lingering_max: usize,
    /// Bytes kept per channel for starting new clients at once: 0 for none, or a whole number of KiB
    /// within [`FAST_START_KIB`]. Default 4 MiB.
    pub fast_start_bytes: usize,
    /// How long live payload may be gathered before it is written, within [`FLUSH_INTERVAL`]; zero writes
    /// every packet at once. Default `None`: the router chooses.
    pub flush_interval: Option<Duration>,
    /// How long a source may stay silent before it counts as failed, within [`NO_DATA_TIMEOUT`].
    /// Default 5 seconds.
    pub no_data_timeout: Duration,
    /// What is logged. Default [`Verbosity::Error`].
    pub verbosity: Verbosity,
    /// Whether log lines carry time and level even if standard error is no terminal. Default false.
    pub log_timestamps: bool,
}

impl Config {
    /// The defaults of `flowgate demo`: this host only, room for a load test, warnings shown.
    pub fn demo() -> Config {
        Config {
            listen: vec![ListenAddr::Host {
                host: "127.0.0.1".to_owned(),
                port: PORT_DEFAULT,
            }],
            clients_max: 64,
            verbosity: Verbosity::Warn,
            ..Config::default()
        }
    }

    /// The interface multicast is joined on: its own if one is set, else the general one.
    pub fn multicast_interface(&self) -> Option<&str> {
        self.upstream_interface_multicast
            .as_deref()
            .or(self.upstream_interface.as_deref())
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: vec![ListenAddr::All { port: PORT_DEFAULT }],
            clients_max: limits::CLIENTS_MAX_DEFAULT,
            pool_buffers_max: limits::POOL_UNITS_DEFAULT,
            udp_receive_buffer_bytes: limits::UDP_RECEIVE_BUFFER_BYTES_DEFAULT,
            udpxy: true,
            upstream_interface: None,
            upstream_interface_multicast: None,
            mcast_rejoin_interval: None,
            channel_linger: limits::CHANNEL_LINGER_DEFAULT,
            channels_lingering_max: limits::CHANNELS_LINGERING_MAX_DEFAULT,
            fast_start_bytes: limits::FAST_START_BYTES_DEFAULT,
            flush_interval: None,
            no_data_timeout: limits::NO_DATA_TIMEOUT_DEFAULT,
            verbosity: Verbosity::Error,
            log_timestamps: false,
        }
    }
}

/// The least important messages still shown; each level shows all before it.
///
/// The discriminant is the number users know it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Verbosity {
    /// The program ends; [`crate::logger::fatal`].
    Fatal = 0,
    /// The router cannot do its job.
    Error = 1,
    /// An operator should look.
    Warn = 2,
    /// Start, stop, channels up and down.
    Info = 3,
    /// The life of each client and upstream.
    Debug = 4,
    /// Every packet and call.
    Trace = 5,
}

impl Verbosity {
    /// All levels, the quietest first, so that the index is the number.
    pub const ALL: [Verbosity; 6] = [
        Verbosity::Fatal,
        Verbosity::Error,
        Verbosity::Warn,
        Verbosity::Info,
        Verbosity::Debug,
        Verbosity::Trace,
    ];

    /// The name in capitals, as it is accepted and logged.
    pub fn name(self) -> &'static str {
        match self {
            Verbosity::Fatal => "FATAL",
            Verbosity::Error => "ERROR",
            Verbosity::Warn => "WARN",
            Verbosity::Info => "INFO",
            Verbosity::Debug => "DEBUG",
            Verbosity::Trace => "TRACE",
        }
    }
}

impl From<Verbosity> for log::LevelFilter {
    /// `log` has no level above error, so `Fatal` lets nothing of `log` pass.
    fn from(verbosity: Verbosity) -> log::LevelFilter {
        match verbosity {
            Verbosity::Fatal => log::LevelFilter::Off,
            Verbosity::Error => log::LevelFilter::Error,
            Verbosity::Warn => log::LevelFilter::Warn,
            Verbosity::Info => log::LevelFilter::Info,
            Verbosity::Debug => log::LevelFilter::Debug,
            Verbosity::Trace => log::LevelFilter::Trace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_their_bounds() {
        for config in [Config::default(), Config::demo()] {
            assert!((1..=limits::LISTENERS_MAX).contains(&config.listen.len()));
            assert!(CLIENTS_MAX.contains(&config.clients_max));
            assert!(POOL_BUFFERS_MAX.contains(&config.pool_buffers_max));
            assert!(UDP_RECEIVE_BUFFER_BYTES.contains(&config.udp_receive_buffer_bytes));
            assert!(CHANNEL_LINGER.contains(&config.channel_linger));
            assert!(CHANNELS_LINGERING_MAX.contains(&config.channels_lingering_max));
            assert!(FAST_START_KIB.contains(&(config.fast_start_bytes / 1024)));
            assert!(NO_DATA_TIMEOUT.contains(&config.no_data_timeout));
        }
    }

    #[test]
    fn multicast_interface_goes_before_the_general_one() {
        let mut config = Config::default();
        assert_eq!(config.multicast_interface(), None);
        config.upstream_interface = Some("eth0".to_owned());
        assert_eq!(config.multicast_interface(), Some("eth0"));
        config.upstream_interface_multicast = Some("eth1".to_owned());
        assert_eq!(config.multicast_interface(), Some("eth1"));
    }

    #[test]
    fn verbosity_is_its_number() {
        for (number, verbosity) in Verbosity::ALL.into_iter().enumerate() {
            assert_eq!(verbosity as usize, number);
            assert_eq!(log::LevelFilter::from(verbosity) as usize, number);
        }
    }
}
