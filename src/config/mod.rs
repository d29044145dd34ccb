//! The checked configuration: what the router is told once, at start.
//!
//! Owns the settings, their defaults and their bounds. [`settings`] describes each of them once; [`parse`] makes
//! single values out of text; a [`Draft`] puts texts from several sources together. Nothing here opens a socket;
//! [`ListenAddr::resolve`] asks the system's resolver and may block, so it belongs to the start.

mod draft;
pub mod file;
mod hostname;
pub mod ini;
mod listen;
pub mod parse;
mod policy;
mod print;
pub mod problem;
mod service;
pub mod settings;
mod show;
mod status_auth;
mod token;
mod user_name;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use crate::limits;
use crate::playlist::{self, DocumentAddress, Naming, Origin, Refresh};
use crate::proto::url::Host;

pub use draft::{Draft, Source, Sources};
pub use hostname::Hostname;
pub use listen::ListenAddr;
pub use policy::{Class, Denied, POLICY_ENTRIES_MAX, UpstreamPolicy};
pub use print::file_text;
pub use problem::{Problem, Severity};
pub use status_auth::StatusAuth;
pub use token::{TOKEN_BYTES_MAX, Token};
pub use user_name::UserName;

/// The port of a listen address that names none.
pub const PORT_DEFAULT: u16 = 5140;

/// Greatest [`Config::unix_mode`]: sticky and set-id bits mean nothing on a socket.
pub const UNIX_MODE_MAX: u32 = 0o777;
/// Accepted [`Config::clients_max`]. The compatible router stops at 256; we have no such table.
pub const CLIENTS_MAX: RangeInclusive<usize> = 1..=65_536;
/// Accepted [`Config::workers`] (server spec §2.2).
pub const WORKERS: RangeInclusive<usize> = 1..=limits::WORKERS_MAX;
/// Accepted [`Config::drain_timeout`].
pub const DRAIN_TIMEOUT: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);
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
/// Accepted [`Config::http_connect_timeout`]; the kernel itself gives up after about two minutes.
pub const HTTP_CONNECT_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(120);
/// Accepted [`Config::http_head_timeout`].
pub const HTTP_HEAD_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(3600);
/// Accepted [`Config::http_idle_timeout`]; chosen: up to a day.
pub const HTTP_IDLE_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(86_400);
/// Longest [`Config::http_proxy_user_agent`] and [`Config::cors_allow_origin`] in bytes; chosen.
pub const HEADER_VALUE_BYTES_MAX: usize = 512;
/// Longest [`Config::log_format`] in bytes; chosen.
pub const LOG_FORMAT_BYTES_MAX: usize = 2048;
/// Longest [`Config::app_path_prefix`] in bytes; chosen to leave room in a request target.
pub const APP_PATH_PREFIX_BYTES_MAX: usize = 255;
/// Longest [`Config::status_page_path`] and [`Config::player_page_path`] in bytes; chosen like that of the prefix.
pub const PAGE_PATH_BYTES_MAX: usize = 255;

/// Accepted seconds of [`Config::external_m3u_refresh`], 0 for once; chosen: up to a year.
pub const EXTERNAL_M3U_SECONDS: RangeInclusive<usize> = 0..=31_536_000;

/// Everything the router is told at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where clients connect, in the order given; 1 to [`LISTENERS_MAX`](limits::LISTENERS_MAX) addresses.
    /// Default: all addresses, port [`PORT_DEFAULT`].
    pub listen: Vec<ListenAddr>,
    /// Permissions of Unix sockets, at most [`UNIX_MODE_MAX`]; connecting takes the permission to write. Default 0666:
    /// whoever may enter the directory may connect, as anybody may connect to a port.
    pub unix_mode: u32,
    /// Where the number of the process is written. Default none.
    pub pid_file: Option<PathBuf>,
    /// Whom the program becomes once everything is open. Default none: it stays who it is.
    pub user: Option<UserName>,
    /// Worker processes, within [`WORKERS`]. Default 1.
    pub workers: usize,
    /// How long clients of a worker that is replaced or given up may go on, within [`DRAIN_TIMEOUT`]. Default 5
    /// seconds.
    pub drain_timeout: Duration,
    /// Clients served at a time, within [`CLIENTS_MAX`]. Default 5.
    pub clients_max: usize,
    /// Buffers of the pool at most, each of [`POOL_UNIT_BYTES`](limits::POOL_UNIT_BYTES), within [`POOL_BUFFERS_MAX`].
    /// Default 16384.
    pub pool_buffers_max: usize,
    /// Bytes of kernel buffer asked for each UDP socket, within [`UDP_RECEIVE_BUFFER_BYTES`].
    /// Default 524288.
    pub udp_receive_buffer_bytes: usize,
    /// Whether clients may name a source in the URL (`/rtp/…`, `/rtsp/…`, `/http/…`). Default true.
    pub udpxy: bool,
    /// Interface for all upstream traffic, 1 to [`INTERFACE_BYTES_MAX`](crate::proto::url::INTERFACE_BYTES_MAX)
    /// bytes. Default: the system's choice.
    pub upstream_interface: Option<String>,
    /// Interface for multicast in place of `upstream_interface`, same form; see
    /// [`Config::multicast_interface`]. Default none.
    pub upstream_interface_multicast: Option<String>,
    /// Interface for HTTP upstreams in place of `upstream_interface`, same form; see
    /// [`Config::http_interface`]. Default none.
    pub upstream_interface_http: Option<String>,
    /// Interface for RTSP servers in place of `upstream_interface`, same form; see [`Config::rtsp_interface`].
    /// Default none.
    pub upstream_interface_rtsp: Option<String>,
    /// `User-Agent` towards RTSP servers, same form as `http_proxy_user_agent`. Default: program and version.
    pub rtsp_user_agent: Option<String>,
    /// STUN server, host and port, that tells how RTSP sessions over UDP are seen from outside. Default none.
    pub rtsp_stun_server: Option<(Host, u16)>,
    /// Replaces the `User-Agent` of clients towards HTTP upstreams: 1 to [`HEADER_VALUE_BYTES_MAX`] bytes without
    /// control characters. Default: the client's own.
    pub http_proxy_user_agent: Option<String>,
    /// Certificate authorities in PEM form that are trusted besides the system's for HTTPS upstreams. Default none.
    pub tls_ca: Option<PathBuf>,
    /// Which addresses HTTP upstreams may have. Default: other hosts, see [`UpstreamPolicy`].
    pub upstream_policy: UpstreamPolicy,
    /// How long one address of an HTTP upstream is tried, within [`HTTP_CONNECT_TIMEOUT`]. Default 3 seconds.
    pub http_connect_timeout: Duration,
    /// How long an HTTP upstream that has the request may take to answer with a complete head, within
    /// [`HTTP_HEAD_TIMEOUT`]. Default 3 seconds.
    pub http_head_timeout: Duration,
    /// How long an HTTP upstream that is not paused may send no byte of a body, within [`HTTP_IDLE_TIMEOUT`].
    /// Default 60 seconds.
    pub http_idle_timeout: Duration,
    /// The only `Host` that is answered. Default none: every one.
    pub hostname: Option<Hostname>,
    /// Whether `X-Forwarded-For`, `-Host` and `-Proto` of clients are believed. Default false.
    pub xff: bool,
    /// What clients must know. Default none: nothing.
    pub r2h_token: Option<Token>,
    /// Who may see the status pages, besides knowing the token. Default none: everybody who is served.
    pub status_auth: Option<StatusAuth>,
    /// `Access-Control-Allow-Origin` of the answers, 1 to [`HEADER_VALUE_BYTES_MAX`] bytes of visible ASCII.
    /// Default none: no CORS.
    pub cors_allow_origin: Option<String>,
    /// The path everything is below: empty, or beginning but not ending with `/`, at most
    /// [`APP_PATH_PREFIX_BYTES_MAX`] bytes. Default empty.
    pub app_path_prefix: String,
    /// Where the status page is, below the prefix: begins with `/` and does not end with one, unless it is just that;
    /// at most [`PAGE_PATH_BYTES_MAX`] bytes. Default `/status`.
    pub status_page_path: String,
    /// Where the player page is, in the same form; where both are the same, the status page is. Default `/player`.
    pub player_page_path: String,
    /// Whether links in playlists begin with the path instead of scheme and host. Default false.
    pub use_relative_path_in_m3u: bool,
    /// The channel list below `[services]`: its lines without blanks at their ends, each followed by a line feed.
    /// Default empty.
    pub services: Rc<str>,
    /// Where another channel list is, whose services come behind these. Default none.
    pub external_m3u: Option<DocumentAddress>,
    /// How often that is loaded, within [`EXTERNAL_M3U_SECONDS`]; without it, how often the programme guide is. Default
    /// every two hours.
    pub external_m3u_refresh: Refresh,
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
    /// The file of the access log. Default none.
    pub access_log: Option<PathBuf>,
    /// What its lines look like, at most [`LOG_FORMAT_BYTES_MAX`] bytes without control characters. Default empty: the
    /// form of the compatible router.
    pub log_format: String,
    /// What log lines carry besides their text. Default none: time and level if standard error is a terminal.
    pub log_style: Option<LogStyle>,
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
        self.interface_or_general(&self.upstream_interface_multicast)
    }

    /// The interface HTTP upstreams are reached through: its own if one is set, else the general one.
    pub fn http_interface(&self) -> Option<&str> {
        self.interface_or_general(&self.upstream_interface_http)
    }

    /// The interface RTSP servers are reached through: its own if one is set, else the general one.
    pub fn rtsp_interface(&self) -> Option<&str> {
        self.interface_or_general(&self.upstream_interface_rtsp)
    }

    fn interface_or_general<'a>(&'a self, own: &'a Option<String>) -> Option<&'a str> {
        own.as_deref().or(self.upstream_interface.as_deref())
    }

    /// How links in playlists lead to services.
    pub fn naming(&self) -> Naming {
        Naming {
            prefix: self.app_path_prefix.clone(),
            token: self.r2h_token.as_ref().map(Token::encoded),
            status_page_path: self.status_page_path.clone(),
            player_page_path: self.player_page_path.clone(),
        }
    }

    /// A catalogue in the making that has the services of [`Config::services`]; another list may follow.
    pub fn catalogue(&self) -> playlist::Builder {
        let mut builder = playlist::Builder::new(self.naming());
        builder.begin(Origin::Operator);
        for line in self.services.lines() {
            // Whoever read the configuration has told what is wrong.
            let _ = builder.take(line);
        }
        let _ = builder.end();
        builder
    }

    /// Whether `X-Forwarded-For` is believed: also if `hostname` is a URL, which only a proxy in front makes
    /// necessary (server spec §6.3).
    pub fn believes_forwarded_for(&self) -> bool {
        let has_scheme = |hostname: &Hostname| hostname.scheme.is_some();
        self.xff || self.hostname.as_ref().is_some_and(has_scheme)
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: vec![ListenAddr::All { port: PORT_DEFAULT }],
            unix_mode: 0o666,
            pid_file: None,
            user: None,
            workers: 1,
            drain_timeout: limits::DRAIN_TIMEOUT_DEFAULT,
            clients_max: limits::CLIENTS_MAX_DEFAULT,
            pool_buffers_max: limits::POOL_UNITS_DEFAULT,
            udp_receive_buffer_bytes: limits::UDP_RECEIVE_BUFFER_BYTES_DEFAULT,
            udpxy: true,
            upstream_interface: None,
            upstream_interface_multicast: None,
            upstream_interface_http: None,
            upstream_interface_rtsp: None,
            rtsp_user_agent: None,
            rtsp_stun_server: None,
            http_proxy_user_agent: None,
            tls_ca: None,
            upstream_policy: UpstreamPolicy::default(),
            http_connect_timeout: limits::HTTP_CONNECT_TIMEOUT_DEFAULT,
            http_head_timeout: limits::HTTP_HEAD_TIMEOUT_DEFAULT,
            http_idle_timeout: limits::HTTP_IDLE_TIMEOUT_DEFAULT,
            hostname: None,
            xff: false,
            r2h_token: None,
            status_auth: None,
            cors_allow_origin: None,
            app_path_prefix: String::new(),
            status_page_path: "/status".to_owned(),
            player_page_path: "/player".to_owned(),
            use_relative_path_in_m3u: false,
            services: Rc::default(),
            external_m3u: None,
            external_m3u_refresh: Refresh::Every(limits::EXTERNAL_M3U_INTERVAL_DEFAULT),
            mcast_rejoin_interval: None,
            channel_linger: limits::CHANNEL_LINGER_DEFAULT,
            channels_lingering_max: limits::CHANNELS_LINGERING_MAX_DEFAULT,
            fast_start_bytes: limits::FAST_START_BYTES_DEFAULT,
            flush_interval: None,
            no_data_timeout: limits::NO_DATA_TIMEOUT_DEFAULT,
            verbosity: Verbosity::Error,
            access_log: None,
            log_format: String::new(),
            log_style: None,
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

/// What log lines carry besides their text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStyle {
    /// Nothing: the form of the compatible router.
    Plain,
    /// Time (UTC) and level.
    Timestamps,
    /// The severity as `<3>`, as syslog and the journal of systemd understand it (`sd-daemon(3)`).
    Syslog,
}

impl LogStyle {
    /// All styles.
    pub const ALL: [LogStyle; 3] = [LogStyle::Plain, LogStyle::Timestamps, LogStyle::Syslog];

    /// The name by which it is chosen.
    pub fn name(self) -> &'static str {
        match self {
            LogStyle::Plain => "plain",
            LogStyle::Timestamps => "timestamps",
            LogStyle::Syslog => "syslog",
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
            assert!(WORKERS.contains(&config.workers));
            assert!(DRAIN_TIMEOUT.contains(&config.drain_timeout));
            assert!(CLIENTS_MAX.contains(&config.clients_max));
            assert!(POOL_BUFFERS_MAX.contains(&config.pool_buffers_max));
            assert!(UDP_RECEIVE_BUFFER_BYTES.contains(&config.udp_receive_buffer_bytes));
            assert!(CHANNEL_LINGER.contains(&config.channel_linger));
            assert!(CHANNELS_LINGERING_MAX.contains(&config.channels_lingering_max));
            assert!(FAST_START_KIB.contains(&(config.fast_start_bytes / 1024)));
            assert!(NO_DATA_TIMEOUT.contains(&config.no_data_timeout));
            assert!(HTTP_CONNECT_TIMEOUT.contains(&config.http_connect_timeout));
            assert!(HTTP_HEAD_TIMEOUT.contains(&config.http_head_timeout));
            assert!(HTTP_IDLE_TIMEOUT.contains(&config.http_idle_timeout));
        }
    }

    #[test]
    fn interface_of_one_kind_goes_before_the_general_one() {
        let mut config = Config::default();
        let chosen = |config: &Config| {
            [
                config.multicast_interface(),
                config.http_interface(),
                config.rtsp_interface(),
            ]
            .map(|name| name.map(str::to_owned))
        };
        let names = |names: [&str; 3]| names.map(|name| Some(name.to_owned()));
        assert_eq!(chosen(&config), [None, None, None]);
        config.upstream_interface = Some("eth0".to_owned());
        assert_eq!(chosen(&config), names(["eth0", "eth0", "eth0"]));
        config.upstream_interface_multicast = Some("eth1".to_owned());
        assert_eq!(chosen(&config), names(["eth1", "eth0", "eth0"]));
        config.upstream_interface_http = Some("eth2".to_owned());
        assert_eq!(chosen(&config), names(["eth1", "eth2", "eth0"]));
        config.upstream_interface_rtsp = Some("eth3".to_owned());
        assert_eq!(chosen(&config), names(["eth1", "eth2", "eth3"]));
    }

    #[test]
    fn forwarded_for_is_believed_behind_a_proxy_only() {
        let believed = |hostname: Option<&str>, xff| {
            let hostname = hostname.map(|text| Hostname::parse(text).expect(text));
            let config = Config {
                hostname,
                xff,
                ..Config::default()
            };
            config.believes_forwarded_for()
        };
        assert!(!believed(None, false));
        assert!(believed(None, true));
        assert!(!believed(Some("tv.home"), false));
        assert!(believed(Some("https://tv.home"), false));
    }

    #[test]
    fn verbosity_is_its_number() {
        for (number, verbosity) in Verbosity::ALL.into_iter().enumerate() {
            assert_eq!(verbosity as usize, number);
            assert_eq!(log::LevelFilter::from(verbosity) as usize, number);
        }
    }
}
