//! Every setting, in the order of the help text.

use super::{Applies, Argument, Group, Place, Setting, Value};
use crate::config::parse::{self, Rejected};
use crate::config::{ListenAddr, show};
use crate::limits::LISTENERS_MAX;

/// A value of its own: the field of [`Config`](crate::config::Config), how it is read, how it is shown.
macro_rules! one {
    ($field:ident, $parse:path, $show:path) => {
        Value::One {
            set: |config, text| {
                config.$field = $parse(text)?;
                Ok(())
            },
            show: |config| $show(&config.$field),
        }
    };
}

/// The list that both policy settings fill, by the method of [`UpstreamPolicy`](crate::config::UpstreamPolicy).
macro_rules! policy {
    ($add:ident) => {
        Value::Many {
            list: "upstream-policy",
            add: |config, text| config.upstream_policy.$add(text),
            clear: |config| config.upstream_policy = Default::default(),
            show: |config| {
                let entries = config.upstream_policy.entries();
                entries
                    .map(|(key, pattern)| format!("{key} = {pattern}"))
                    .collect()
            },
        }
    };
}

pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        short: Some('l'),
        long: "listen",
        place: Place::Bind,
        argument: Argument::Named("[addr:]port|path"),
        default: Some("*:5140"),
        range: None,
        description: "address to listen on, an IPv6 address in brackets, or the absolute path of a Unix socket; may be repeated",
        group: Group::Listening,
        applies: Applies::Listeners,
        value: Value::Many {
            list: "bind",
            add: |config, text| {
                if config.listen.len() == LISTENERS_MAX {
                    let accepted = format!("at most {LISTENERS_MAX} addresses");
                    return Err(Rejected::new(text, accepted));
                }
                config.listen.push(ListenAddr::parse(text)?);
                Ok(())
            },
            clear: |config| config.listen.clear(),
            show: |config| config.listen.iter().map(ListenAddr::bind_line).collect(),
        },
    },
    Setting {
        short: None,
        long: "unix-mode",
        place: Place::Global("unix-mode"),
        argument: Argument::Named("mode"),
        default: Some("0666"),
        range: Some("0 to 0777"),
        description: "permissions of Unix sockets, in octal; connecting takes the permission to write",
        group: Group::Listening,
        applies: Applies::Listeners,
        value: one!(unix_mode, parse::unix_mode, show::mode),
    },
    Setting {
        short: Some('w'),
        long: "workers",
        place: Place::Global("workers"),
        argument: Argument::Named("n"),
        default: Some("1"),
        range: Some("1 to 32"),
        description: "worker processes",
        group: Group::Listening,
        applies: Applies::Listeners,
        value: one!(workers, parse::workers, show::number),
    },
    Setting {
        short: None,
        long: "drain-timeout",
        place: Place::Global("drain-timeout"),
        argument: Argument::Named("seconds"),
        default: Some("5"),
        range: Some("0 to 3600"),
        description: "clients of a worker that is replaced may go on for so long",
        group: Group::Listening,
        applies: Applies::AtOnce,
        value: one!(drain_timeout, parse::drain_timeout, show::seconds),
    },
    Setting {
        short: Some('m'),
        long: "maxclients",
        place: Place::Global("maxclients"),
        argument: Argument::Named("n"),
        default: Some("5"),
        range: Some("1 to 65536"),
        description: "clients served at a time",
        group: Group::Listening,
        applies: Applies::AtOnce,
        value: one!(clients_max, parse::clients_max, show::number),
    },
    Setting {
        short: Some('U'),
        long: "noudpxy",
        place: Place::Global("udpxy"),
        argument: Argument::Implied("no"),
        default: Some("yes"),
        range: Some("yes or no"),
        description: "clients may name a source in the URL (/rtp/..., /rtsp/..., /http/...); the option says no",
        group: Group::Listening,
        applies: Applies::AtOnce,
        value: one!(udpxy, parse::switch, show::switch),
    },
    Setting {
        short: Some('i'),
        long: "upstream-interface",
        place: Place::Global("upstream-interface"),
        argument: Argument::Named("ifname"),
        default: None,
        range: None,
        description: "network interface for all upstream traffic",
        group: Group::Channels,
        applies: Applies::NewStreams,
        value: one!(upstream_interface, parse::interface, show::optional),
    },
    Setting {
        short: Some('r'),
        long: "upstream-interface-multicast",
        place: Place::Global("upstream-interface-multicast"),
        argument: Argument::Named("ifname"),
        default: None,
        range: None,
        description: "network interface for multicast, in place of -i",
        group: Group::Channels,
        applies: Applies::NewStreams,
        value: one!(
            upstream_interface_multicast,
            parse::interface,
            show::optional
        ),
    },
    Setting {
        short: Some('R'),
        long: "mcast-rejoin-interval",
        place: Place::Global("mcast-rejoin-interval"),
        argument: Argument::Named("seconds"),
        default: Some("0"),
        range: Some("0 to 86400"),
        description: "make group memberships known again this often, without leaving; 0 = never",
        group: Group::Channels,
        applies: Applies::AtOnce,
        value: one!(
            mcast_rejoin_interval,
            parse::mcast_rejoin_interval,
            show::seconds_or_never
        ),
    },
    Setting {
        short: None,
        long: "channel-linger",
        place: Place::Global("channel-linger"),
        argument: Argument::Named("seconds"),
        default: Some("2"),
        range: Some("0 to 3600"),
        description: "keep a channel joined after its last client; 0 = leave at once",
        group: Group::Channels,
        applies: Applies::AtOnce,
        value: one!(channel_linger, parse::channel_linger, show::seconds),
    },
    Setting {
        short: None,
        long: "channel-linger-max",
        place: Place::Global("channel-linger-max"),
        argument: Argument::Named("n"),
        default: Some("8"),
        range: Some("0 to 4096"),
        description: "channels that may linger at a time",
        group: Group::Channels,
        applies: Applies::AtOnce,
        value: one!(
            channels_lingering_max,
            parse::channels_lingering_max,
            show::number
        ),
    },
    Setting {
        short: None,
        long: "fast-start",
        place: Place::Global("fast-start"),
        argument: Argument::Named("off|KiB"),
        default: Some("4096"),
        range: Some("64 to 65536"),
        description: "stream kept per channel to start new clients at once; off or 0 = none",
        group: Group::Channels,
        applies: Applies::NewStreams,
        value: one!(fast_start_bytes, parse::fast_start_bytes, show::kib_or_off),
    },
    Setting {
        short: None,
        long: "no-data-timeout",
        place: Place::Global("no-data-timeout"),
        argument: Argument::Named("seconds"),
        default: Some("5"),
        range: Some("0.1 to 3600"),
        description: "a source that is silent for so long has failed",
        group: Group::Channels,
        applies: Applies::AtOnce,
        value: one!(no_data_timeout, parse::no_data_timeout, show::seconds),
    },
    Setting {
        short: Some('B'),
        long: "udp-rcvbuf-size",
        place: Place::Global("udp-rcvbuf-size"),
        argument: Argument::Named("bytes"),
        default: Some("524288"),
        range: Some("65536 to 1073741824"),
        description: "kernel buffer of each UDP socket",
        group: Group::Channels,
        applies: Applies::NewStreams,
        value: one!(
            udp_receive_buffer_bytes,
            parse::udp_receive_buffer_bytes,
            show::number
        ),
    },
    Setting {
        short: Some('y'),
        long: "upstream-interface-http",
        place: Place::Global("upstream-interface-http"),
        argument: Argument::Named("ifname"),
        default: None,
        range: None,
        description: "network interface for HTTP upstreams, in place of -i",
        group: Group::HttpUpstreams,
        applies: Applies::NewStreams,
        value: one!(upstream_interface_http, parse::interface, show::optional),
    },
    Setting {
        short: None,
        long: "upstream-allow",
        place: Place::Global("upstream-allow"),
        argument: Argument::Named("pattern,..."),
        default: None,
        range: None,
        description: "let HTTP and RTSP requests connect to these addresses, networks, names (also *.name) or kinds (all, public, private, loopback, link-local, multicast); may be repeated; of these two options the last pattern that matches decides",
        group: Group::HttpUpstreams,
        applies: Applies::NewStreams,
        value: policy!(allow),
    },
    Setting {
        short: None,
        long: "upstream-deny",
        place: Place::Global("upstream-deny"),
        argument: Argument::Named("pattern,..."),
        default: None,
        range: None,
        description: "keep HTTP and RTSP from them; without either, loopback, link-local and multicast are denied",
        group: Group::HttpUpstreams,
        applies: Applies::NewStreams,
        value: policy!(deny),
    },
    Setting {
        short: Some('g'),
        long: "http-proxy-user-agent",
        place: Place::Global("http-proxy-user-agent"),
        argument: Argument::Named("text"),
        default: None,
        range: None,
        description: "replaces the client's User-Agent towards HTTP upstreams",
        group: Group::HttpUpstreams,
        applies: Applies::NewStreams,
        value: one!(
            http_proxy_user_agent,
            parse::http_proxy_user_agent,
            show::optional
        ),
    },
    Setting {
        short: None,
        long: "http-connect-timeout",
        place: Place::Global("http-connect-timeout"),
        argument: Argument::Named("seconds"),
        default: Some("3"),
        range: Some("0.1 to 120"),
        description: "each address of an HTTP upstream is tried for so long",
        group: Group::HttpUpstreams,
        applies: Applies::AtOnce,
        value: one!(
            http_connect_timeout,
            parse::http_connect_timeout,
            show::seconds
        ),
    },
    Setting {
        short: None,
        long: "http-head-timeout",
        place: Place::Global("http-head-timeout"),
        argument: Argument::Named("seconds"),
        default: Some("3"),
        range: Some("0.1 to 3600"),
        description: "an HTTP upstream without a complete response head for so long has failed",
        group: Group::HttpUpstreams,
        applies: Applies::AtOnce,
        value: one!(http_head_timeout, parse::http_head_timeout, show::seconds),
    },
    Setting {
        short: None,
        long: "http-idle-timeout",
        place: Place::Global("http-idle-timeout"),
        argument: Argument::Named("seconds"),
        default: Some("60"),
        range: Some("0.1 to 86400"),
        description: "an HTTP upstream that sends nothing of a body for so long has failed; pauses do not count",
        group: Group::HttpUpstreams,
        applies: Applies::AtOnce,
        value: one!(http_idle_timeout, parse::http_idle_timeout, show::seconds),
    },
    Setting {
        short: None,
        long: "tls-ca",
        place: Place::Global("tls-ca"),
        argument: Argument::Named("file"),
        default: None,
        range: None,
        description: "PEM file of authorities to trust for https, besides the system's",
        group: Group::HttpUpstreams,
        applies: Applies::Restart,
        value: one!(tls_ca, parse::path, show::path),
    },
    Setting {
        short: Some('t'),
        long: "upstream-interface-rtsp",
        place: Place::Global("upstream-interface-rtsp"),
        argument: Argument::Named("ifname"),
        default: None,
        range: None,
        description: "network interface for RTSP servers, in place of -i",
        group: Group::RtspUpstreams,
        applies: Applies::NewStreams,
        value: one!(upstream_interface_rtsp, parse::interface, show::optional),
    },
    Setting {
        short: Some('u'),
        long: "rtsp-user-agent",
        place: Place::Global("rtsp-user-agent"),
        argument: Argument::Named("text"),
        default: None,
        range: None,
        description: "User-Agent towards RTSP servers, in place of name and version",
        group: Group::RtspUpstreams,
        applies: Applies::NewStreams,
        value: one!(
            rtsp_user_agent,
            parse::http_proxy_user_agent,
            show::optional
        ),
    },
    Setting {
        short: Some('N'),
        long: "rtsp-stun-server",
        place: Place::Global("rtsp-stun-server"),
        argument: Argument::Named("host[:port]"),
        default: None,
        range: None,
        description: "ask this STUN server (port 3478) which address RTSP servers are to send UDP to",
        group: Group::RtspUpstreams,
        applies: Applies::NewStreams,
        value: one!(rtsp_stun_server, parse::rtsp_stun_server, show::endpoint),
    },
    Setting {
        short: Some('H'),
        long: "hostname",
        place: Place::Global("hostname"),
        argument: Argument::Named("host"),
        default: None,
        range: None,
        description: "answer only requests whose Host is this; host[:port] or a URL, of which links are made",
        group: Group::Access,
        applies: Applies::AtOnce,
        value: one!(hostname, parse::hostname, show::hostname),
    },
    Setting {
        short: Some('X'),
        long: "xff",
        place: Place::Global("xff"),
        argument: Argument::Implied("yes"),
        default: Some("no"),
        range: Some("yes or no"),
        description: "believe X-Forwarded-For, -Host and -Proto: only behind a proxy",
        group: Group::Access,
        applies: Applies::AtOnce,
        value: one!(xff, parse::switch, show::switch),
    },
    Setting {
        short: Some('T'),
        long: "r2h-token",
        place: Place::Global("r2h-token"),
        argument: Argument::Named("text"),
        default: None,
        range: None,
        description: "ask for this token: ?r2h-token=, a cookie of that name, or R2HTOKEN/ in User-Agent",
        group: Group::Access,
        applies: Applies::AtOnce,
        value: one!(r2h_token, parse::r2h_token, show::token),
    },
    Setting {
        short: None,
        long: "status-auth",
        place: Place::Global("status-auth"),
        argument: Argument::Named("name:password|@file"),
        default: None,
        range: None,
        description: "ask for this name and password on the status pages (HTTP Basic); @file = the first line of it",
        group: Group::Access,
        applies: Applies::AtOnce,
        value: one!(status_auth, parse::status_auth, show::status_auth),
    },
    Setting {
        short: Some('O'),
        long: "cors-allow-origin",
        place: Place::Global("cors-allow-origin"),
        argument: Argument::Named("origin"),
        default: None,
        range: None,
        description: "let web pages of this origin, or of any with *, use the router (CORS)",
        group: Group::Access,
        applies: Applies::AtOnce,
        value: one!(cors_allow_origin, parse::cors_allow_origin, show::optional),
    },
    Setting {
        short: None,
        long: "app-path-prefix",
        place: Place::Global("app-path-prefix"),
        argument: Argument::Named("path"),
        default: None,
        range: None,
        description: "serve everything below this path",
        group: Group::Access,
        applies: Applies::AtOnce,
        value: one!(app_path_prefix, parse::app_path_prefix, show::text),
    },
    Setting {
        short: Some('s'),
        long: "status-page-path",
        place: Place::Global("status-page-path"),
        argument: Argument::Named("path"),
        default: Some("/status"),
        range: None,
        description: "where the status page is, below the prefix",
        group: Group::Access,
        applies: Applies::AtOnce,
        value: one!(status_page_path, parse::page_path, show::text),
    },
    Setting {
        short: Some('p'),
        long: "player-page-path",
        place: Place::Global("player-page-path"),
        argument: Argument::Named("path"),
        default: Some("/player"),
        range: None,
        description: "where the player page is, below the prefix",
        group: Group::Access,
        applies: Applies::AtOnce,
        value: one!(player_page_path, parse::page_path, show::text),
    },
    Setting {
        short: None,
        long: "use-relative-path-in-m3u",
        place: Place::Global("use-relative-path-in-m3u"),
        argument: Argument::Implied("yes"),
        default: Some("no"),
        range: Some("yes or no"),
        description: "begin links in playlists with the path, without scheme and host",
        group: Group::Access,
        applies: Applies::AtOnce,
        value: one!(use_relative_path_in_m3u, parse::switch, show::switch),
    },
    Setting {
        short: Some('M'),
        long: "external-m3u",
        place: Place::Global("external-m3u"),
        argument: Argument::Named("url"),
        default: None,
        range: None,
        description: "load a channel list from this http, https or file URL, besides that of [services]",
        group: Group::Lists,
        applies: Applies::AtOnce,
        value: one!(external_m3u, parse::external_m3u, show::document),
    },
    Setting {
        short: Some('I'),
        long: "external-m3u-update-interval",
        place: Place::Global("external-m3u-update-interval"),
        argument: Argument::Named("seconds"),
        default: Some("7200"),
        range: Some("0 to 31536000"),
        description: "load the channel list and the programme guide anew this often; 0 = once, -1 = never",
        group: Group::Lists,
        applies: Applies::AtOnce,
        value: one!(
            external_m3u_refresh,
            parse::external_m3u_refresh,
            show::refresh
        ),
    },
    Setting {
        short: Some('b'),
        long: "buffer-pool-max-size",
        place: Place::Global("buffer-pool-max-size"),
        argument: Argument::Named("n"),
        default: Some("16384"),
        range: Some("64 to 4194304"),
        description: "memory for packets, in buffers of 1536 bytes",
        group: Group::Output,
        applies: Applies::AtOnce,
        value: one!(pool_buffers_max, parse::pool_buffers_max, show::number),
    },
    Setting {
        short: None,
        long: "flush-interval",
        place: Place::Global("flush-interval"),
        argument: Argument::Named("auto|ms"),
        default: Some("auto"),
        range: Some("0 to 100"),
        description: "gather live packets for so long before writing; 0 = write each at once",
        group: Group::Output,
        applies: Applies::NewStreams,
        value: one!(
            flush_interval,
            parse::flush_interval,
            show::milliseconds_or_auto
        ),
    },
    Setting {
        short: Some('v'),
        long: "verbose",
        place: Place::Global("verbosity"),
        argument: Argument::Named("level"),
        default: Some("1"),
        range: Some("0 to 5"),
        description: "what is logged: 0 FATAL, 1 ERROR, 2 WARN, 3 INFO, 4 DEBUG, 5 TRACE; \
                      number or name",
        group: Group::Logging,
        applies: Applies::AtOnce,
        value: one!(verbosity, parse::verbosity, show::verbosity),
    },
    Setting {
        short: Some('q'),
        long: "quiet",
        place: Place::Global("verbosity"),
        argument: Argument::Implied("0"),
        default: None,
        range: None,
        description: "the same as -v 0",
        group: Group::Logging,
        applies: Applies::AtOnce,
        value: one!(verbosity, parse::verbosity, show::verbosity),
    },
    Setting {
        short: None,
        long: "access-log",
        place: Place::Global("access-log"),
        argument: Argument::Named("file"),
        default: None,
        range: None,
        description: "write a line for each media request to this file",
        group: Group::Logging,
        applies: Applies::AtOnce,
        value: one!(access_log, parse::path, show::path),
    },
    Setting {
        short: None,
        long: "log-format",
        place: Place::Global("log-format"),
        argument: Argument::Named("text"),
        default: None,
        range: None,
        description: "what the lines of the access log look like",
        group: Group::Logging,
        applies: Applies::AtOnce,
        value: one!(log_format, parse::log_format, show::text),
    },
    Setting {
        short: None,
        long: "log-style",
        place: Place::Global("log-style"),
        argument: Argument::Named("style"),
        default: Some("auto"),
        range: Some("auto, plain, timestamps, syslog"),
        description: "what log lines begin with: timestamps = time (UTC) and level, syslog = the severity as <3>, \
                      plain = neither; auto = timestamps if standard error is a terminal, else plain",
        group: Group::Logging,
        applies: Applies::Restart,
        value: one!(log_style, parse::log_style, show::log_style),
    },
    Setting {
        short: None,
        long: "log-timestamps",
        place: Place::Global("log-style"),
        argument: Argument::Implied("timestamps"),
        default: None,
        range: None,
        description: "the same as --log-style timestamps",
        group: Group::Logging,
        applies: Applies::Restart,
        value: one!(log_style, parse::log_style, show::log_style),
    },
    Setting {
        short: None,
        long: "pid-file",
        place: Place::Global("pid-file"),
        argument: Argument::Named("path"),
        default: None,
        range: None,
        description: "write the number of the process to this file, and keep it locked",
        group: Group::Other,
        applies: Applies::AtOnce,
        value: one!(pid_file, parse::path, show::path),
    },
    Setting {
        short: None,
        long: "user",
        place: Place::Global("user"),
        argument: Argument::Named("name[:group]"),
        default: None,
        range: None,
        description: "become this user, by name or number, once everything is open",
        group: Group::Other,
        applies: Applies::Restart,
        value: one!(user, parse::user, show::user),
    },
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{by_key, settings};
    use super::*;
    use crate::config::{Config, Hostname, LogStyle, StatusAuth, Token, UserName, Verbosity};
    use crate::playlist::{DocumentAddress, Refresh};
    use crate::proto::url::Host;

    type Change = fn(&mut Config);

    /// For each option a text that is not its default, as it is shown, and what it changes.
    const EXAMPLES: &[(&str, &str, Change)] = &[
        ("listen", "* 8080", |c| {
            c.listen = vec![ListenAddr::All { port: 8080 }]
        }),
        ("unix-mode", "0660", |c| c.unix_mode = 0o660),
        ("workers", "3", |c| c.workers = 3),
        ("drain-timeout", "2.5", |c| {
            c.drain_timeout = Duration::from_millis(2500);
        }),
        ("maxclients", "6", |c| c.clients_max = 6),
        ("noudpxy", "no", |c| c.udpxy = false),
        ("upstream-interface", "eth0", |c| {
            c.upstream_interface = Some("eth0".into())
        }),
        ("upstream-interface-multicast", "eth1", |c| {
            c.upstream_interface_multicast = Some("eth1".into());
        }),
        ("mcast-rejoin-interval", "60", |c| {
            c.mcast_rejoin_interval = Some(Duration::from_secs(60));
        }),
        ("channel-linger", "0.5", |c| {
            c.channel_linger = Duration::from_millis(500)
        }),
        ("channel-linger-max", "0", |c| c.channels_lingering_max = 0),
        ("fast-start", "64", |c| c.fast_start_bytes = 65_536),
        ("no-data-timeout", "0.1", |c| {
            c.no_data_timeout = Duration::from_millis(100)
        }),
        ("udp-rcvbuf-size", "65536", |c| {
            c.udp_receive_buffer_bytes = 65_536
        }),
        ("upstream-interface-http", "eth2", |c| {
            c.upstream_interface_http = Some("eth2".into())
        }),
        ("upstream-allow", "upstream-allow = 10.0.0.0/8", |c| {
            c.upstream_policy.allow("10.0.0.0/8").expect("a pattern");
        }),
        ("upstream-deny", "upstream-deny = x.test", |c| {
            c.upstream_policy.deny("x.test").expect("a pattern");
        }),
        ("http-proxy-user-agent", "VLC/3.0", |c| {
            c.http_proxy_user_agent = Some("VLC/3.0".into())
        }),
        ("http-connect-timeout", "0.5", |c| {
            c.http_connect_timeout = Duration::from_millis(500)
        }),
        ("http-head-timeout", "30", |c| {
            c.http_head_timeout = Duration::from_secs(30)
        }),
        ("http-idle-timeout", "10", |c| {
            c.http_idle_timeout = Duration::from_secs(10)
        }),
        ("tls-ca", "/a b.pem", |c| c.tls_ca = Some("/a b.pem".into())),
        ("upstream-interface-rtsp", "eth3", |c| {
            c.upstream_interface_rtsp = Some("eth3".into())
        }),
        ("rtsp-user-agent", "x/1", |c| {
            c.rtsp_user_agent = Some("x/1".into())
        }),
        ("rtsp-stun-server", "stun.test:5", |c| {
            c.rtsp_stun_server = Some((Host::Name("stun.test".into()), 5));
        }),
        ("hostname", "https://[::1]:8/a", |c| {
            c.hostname = Some(Hostname::parse("https://[::1]:8/a").expect("a URL"));
        }),
        ("xff", "yes", |c| c.xff = true),
        ("r2h-token", "s", |c| {
            c.r2h_token = Some(Token::parse("s").expect("a token"))
        }),
        ("status-auth", "a:b", |c| {
            c.status_auth = StatusAuth::parse("a:b").ok();
        }),
        ("cors-allow-origin", "*", |c| {
            c.cors_allow_origin = Some("*".into())
        }),
        ("app-path-prefix", "/tv", |c| {
            c.app_path_prefix = "/tv".into()
        }),
        ("status-page-path", "/", |c| c.status_page_path = "/".into()),
        ("player-page-path", "/tv", |c| {
            c.player_page_path = "/tv".into()
        }),
        ("use-relative-path-in-m3u", "yes", |c| {
            c.use_relative_path_in_m3u = true
        }),
        ("external-m3u", "file:///a b.m3u", |c| {
            c.external_m3u = DocumentAddress::parse("file:///a b.m3u").ok();
        }),
        ("external-m3u-update-interval", "-1", |c| {
            c.external_m3u_refresh = Refresh::Never;
        }),
        ("buffer-pool-max-size", "64", |c| c.pool_buffers_max = 64),
        ("flush-interval", "2.5", |c| {
            c.flush_interval = Some(Duration::from_micros(2500))
        }),
        ("verbose", "3", |c| c.verbosity = Verbosity::Info),
        ("quiet", "0", |c| c.verbosity = Verbosity::Fatal),
        ("access-log", "/a b.log", |c| {
            c.access_log = Some("/a b.log".into());
        }),
        ("log-format", "$status $$", |c| {
            c.log_format = "$status $$".into()
        }),
        ("log-style", "syslog", |c| {
            c.log_style = Some(LogStyle::Syslog)
        }),
        ("log-timestamps", "timestamps", |c| {
            c.log_style = Some(LogStyle::Timestamps);
        }),
        ("pid-file", "/run/x.pid", |c| {
            c.pid_file = Some("/run/x.pid".into())
        }),
        ("user", "tv:video", |c| {
            c.user = UserName::parse("tv:video").ok()
        }),
    ];

    /// The text behind `key = ` or, of a line of `[bind]`, in the form of the option.
    fn text_of(setting: &Setting, line: &str) -> String {
        match setting.place {
            Place::Bind => line.replace(' ', ":"),
            Place::Global(key) => {
                let prefix = format!("{key} = ");
                line.strip_prefix(&prefix).unwrap_or(line).to_owned()
            }
        }
    }

    fn set(config: &mut Config, setting: &Setting, text: &str) {
        match setting.value {
            Value::One { set, .. } => set(config, text).expect(text),
            Value::Many { add, clear, .. } => {
                clear(config);
                add(config, text).expect(text);
            }
        }
    }

    #[test]
    fn every_setting_has_an_example_and_changes_its_own_field() {
        let names: Vec<_> = settings().iter().map(|setting| setting.long).collect();
        assert_eq!(
            names,
            EXAMPLES.iter().map(|(name, ..)| *name).collect::<Vec<_>>()
        );
        for (setting, (name, line, change)) in settings().iter().zip(EXAMPLES) {
            let mut config = Config::default();
            set(&mut config, setting, &text_of(setting, line));
            let mut expected = Config::default();
            change(&mut expected);
            assert_eq!(config, expected, "{name}");
            assert_ne!(config, Config::default(), "{name}");
            assert_eq!(setting.shown(&config), *line, "{name}");
        }
    }

    #[test]
    fn default_texts_are_the_defaults() {
        for setting in settings() {
            let Value::One { set, show } = setting.value else {
                continue;
            };
            let shown = show(&Config::default());
            // These only stand for a value of another option.
            if !["quiet", "log-timestamps"].contains(&setting.long) {
                assert_eq!(
                    setting.default.unwrap_or_default(),
                    shown,
                    "{}",
                    setting.long
                );
            }
            let mut config = Config::default();
            set(&mut config, &shown).expect(setting.long);
            assert_eq!(config, Config::default(), "{}", setting.long);
        }
    }

    #[test]
    fn keys_belong_to_one_subject() {
        for setting in settings() {
            let Place::Global(key) = setting.place else {
                continue;
            };
            assert!(
                key.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            );
            let found = by_key(&key.to_ascii_uppercase()).expect(key);
            assert_eq!(found.subject(), setting.subject());
            assert!(by_key(&key.replace('-', "_")).is_some());
        }
        assert!(by_key("listen").is_none() && by_key("").is_none());
    }
}
