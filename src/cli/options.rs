//! The options: one table that drives the parser, the help text and the README's table.

use crate::config::parse::{self, Rejected};
use crate::config::{Config, ListenAddr, Verbosity};
use crate::limits::LISTENERS_MAX;

/// One option, as it is parsed and documented.
#[derive(Debug)]
pub struct OptionSpec {
    /// The letter after a single dash.
    pub short: Option<char>,
    /// The name after two dashes.
    pub long: &'static str,
    /// What the value is called in the help text; `None` for a flag.
    pub argument: Option<&'static str>,
    /// The value in effect without the option, as it would be typed; `None` if there is no such value.
    pub default: Option<&'static str>,
    /// The accepted values, if a range says it.
    pub range: Option<&'static str>,
    /// What the option does, with the unit of its value; a phrase without a full stop.
    pub description: &'static str,
    /// The heading it stands under.
    pub group: Group,
    pub(super) effect: Effect,
}

/// The headings of the help text, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Where clients connect and how many.
    Listening,
    /// What is received and how.
    Channels,
    /// Where HTTP sources are and how long they may take.
    HttpUpstreams,
    /// How RTSP servers are reached.
    RtspUpstreams,
    /// Who is served, and under which name.
    Access,
    /// What is sent, and the memory for it.
    Output,
    /// The diagnostic log.
    Logging,
    /// The rest.
    Other,
}

impl Group {
    /// All headings in the order of the help text.
    pub const ALL: [Group; 8] = [
        Group::Listening,
        Group::Channels,
        Group::HttpUpstreams,
        Group::RtspUpstreams,
        Group::Access,
        Group::Output,
        Group::Logging,
        Group::Other,
    ];

    /// The heading's text.
    pub fn title(self) -> &'static str {
        match self {
            Group::Listening => "Listening",
            Group::Channels => "Channels",
            Group::HttpUpstreams => "HTTP upstreams",
            Group::RtspUpstreams => "RTSP upstreams",
            Group::Access => "Access",
            Group::Output => "Output and memory",
            Group::Logging => "Logging",
            Group::Other => "Other",
        }
    }
}

/// What an option does to the settings.
#[derive(Debug)]
pub(super) enum Effect {
    Set(fn(&mut Draft, &str) -> Result<(), Rejected>),
    Switch(fn(&mut Config)),
    Help,
    Version,
}

/// A configuration under construction: listen addresses replace the default ones as a whole.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) config: Config,
    pub(super) listen: Vec<ListenAddr>,
}

/// All options, in the order of the help text.
pub fn options() -> &'static [OptionSpec] {
    &OPTIONS
}

static OPTIONS: [OptionSpec; 36] = [
    OptionSpec {
        short: Some('l'),
        long: "listen",
        argument: Some("[addr:]port"),
        default: Some("*:5140"),
        range: None,
        description: "address to listen on; an IPv6 address goes in brackets; may be repeated",
        group: Group::Listening,
        effect: Effect::Set(|draft, text| {
            if draft.listen.len() == LISTENERS_MAX {
                let accepted = format!("at most {LISTENERS_MAX} addresses");
                return Err(Rejected::new(text, accepted));
            }
            draft.listen.push(ListenAddr::parse(text)?);
            Ok(())
        }),
    },
    OptionSpec {
        short: Some('m'),
        long: "maxclients",
        argument: Some("n"),
        default: Some("5"),
        range: Some("1 to 65536"),
        description: "clients served at a time",
        group: Group::Listening,
        effect: Effect::Set(|draft, text| {
            draft.config.clients_max = parse::clients_max(text)?;
            Ok(())
        }),
    },
    OptionSpec {
        short: Some('U'),
        long: "noudpxy",
        argument: None,
        default: None,
        range: None,
        description: "do not let clients name a source in the URL (/rtp/..., /rtsp/..., /http/...)",
        group: Group::Listening,
        effect: Effect::Switch(|config| config.udpxy = false),
    },
    OptionSpec {
        short: Some('i'),
        long: "upstream-interface",
        argument: Some("ifname"),
        default: None,
        range: None,
        description: "network interface for all upstream traffic",
        group: Group::Channels,
        effect: Effect::Set(|draft, text| {
            draft.config.upstream_interface = Some(parse::interface(text)?);
            Ok(())
        }),
    },
    OptionSpec {
        short: Some('r'),
        long: "upstream-interface-multicast",
        argument: Some("ifname"),
        default: None,
        range: None,
        description: "network interface for multicast, in place of -i",
        group: Group::Channels,
        effect: Effect::Set(|draft, text| {
            draft.config.upstream_interface_multicast = Some(parse::interface(text)?);
            Ok(())
        }),
    },
    OptionSpec {
        short: Some('R'),
        long: "mcast-rejoin-interval",
        argument: Some("seconds"),
        default: Some("0"),
        range: Some("0 to 86400"),
        description: "make group memberships known again this often, without leaving; 0 = never",
        group: Group::Channels,
        effect: Effect::Set(|draft, text| {
            draft.config.mcast_rejoin_interval = parse::mcast_rejoin_interval(text)?;
            Ok(())
        }),
    },
    OptionSpec {
        short: None,
        long: "channel-linger",
        argument: Some("seconds"),
        default: Some("2"),
        range: Some("0 to 3600"),
        description: "keep a channel joined after its last client; 0 = leave at once",
        group: Group::Channels,
        effect: Effect::Set(|draft, text| {
            draft.config.channel_linger = parse::channel_linger(text)?;
            Ok(())
        }),
    },
    OptionSpec {
        short: None,
        long: "channel-linger-max",
        argument: Some("n"),
        default: Some("8"),
        range: Some("0 to 4096"),
        description: "channels that may linger at a time",
        group: Group::Channels,
        effect: Effect::Set(|draft, text| {
            draft.config.channels_lingering_max = parse::channels_lingering_max(text)?;
            Ok(())
        }),
    },
    OptionSpec {
        short: None,
        long: "fast-start",
        argument: Some("off|KiB"),
        default: Some("4096"),
        range: Some("64 to 65536"),
        description: "stream kept per channel to start new clients at once; off or 0 = none",
        group: Group::Channels,
        effect: Effect::Set(|draft, text| {
            draft.config.fast_start_bytes = parse::fast_start_bytes(text)?;
            Ok(())
        }),
    },
    OptionSpec {
        short: None,
        long: "no-data-timeout",
        argument: Some("seconds"),
        default: Some("5"),
        range: Some("0.1 to 3600"),
        description: "a source that is silent for so long has failed",
        group: Group::Channels,
        effect: Effect::Set(|draft, text| {
            draft.config.no_data_timeout = parse::no_data_timeout(text)?;
            Ok(())
        }),
    },
    OptionSpec {
        short: Some('B'),
        long: "udp-rcvbuf-size",
        argument: Some("bytes"),
        default: Some("524288"),
        range: Some("65536 to 1073741824"),
        description: "kernel buffer of each UDP socket",
        group: Group::Channels,
        effect: Effect::Set(|draft, text| {
            draft.config.udp_receive_buffer_bytes = parse::udp_receive_buffer_bytes(text)?;
            Ok(())
        }),
    },
    OptionSpec {
        short: Some('y'),
        long: "upstream-interface-http",
        argument: Some("ifname"),
        default: None,
        range: None,
        description: "network interface for HTTP upstreams, in place of -i",
        group: Group::HttpUpstreams,
        effect: Effect::Set(|draft, text| {
            draft.config.upstream_interface_http = Some(parse::interface(text)?);
            Ok(())
        }),
    },
    OptionSpec {
        short: None,
        long: "upstream-allow",
        argument: Some("pattern,..."),
        default: None,
        range: None,
        description: "let HTTP and RTSP requests connect to these addresses, networks, names (also *.name) or kinds (all, public, private, loopback, link-local, multicast); may be repeated; of these two options the last pattern that matches decides",
        group: Group::HttpUpstreams,
        effect: Effect::Set(|draft, text| draft.config.upstream_policy.allow(text)),
    },
    OptionSpec {
        short: None,
        long: "upstream-deny",
        argument: Some("pattern,..."),
        default: None,
        range: None,
        description: "keep HTTP and RTSP from them; without either, loopback, link-local and multicast are denied",
        group: Group::HttpUpstreams,
        effect: Effect::Set(|draft, text| draft.config.upstream_policy.deny(text)),
    },
    OptionSpec {
        short: Some('g'),
        long: "http-proxy-user-agent",
        argument: Some("text"),
        default: None,
        range: None,
        description: "replaces the client's User-Agent towards HTTP upstreams",
        group: Group::HttpUpstreams,
        effect: Effect::Set(|draft, text| {
            draft.config.http_proxy_user_agent = parse::http_proxy_user_agent(text)?;
            Ok(())
        }),
    },
    OptionSpec {
        short: None,
        long: "http-connect-timeout",
        argument: Some("seconds"),
        default: Some("3"),
        range: Some("0.1 to 120"),
        description: "each address of an HTTP upstream is tried for so long",
        group: Group::HttpUpstreams,
        effect: Effect::Set(|draft, text| {
            draft.config.http_connect_timeout = parse::http_connect_timeout(text)?;
            Ok(())
        }),
    },
    OptionSpec {
        short: None,
        long: "http-head-timeout",
        argument: Some("seconds"),
        default: Some("3"),
        range: Some("0.1 to 3600"),
        description: "an HTTP upstream without a complete response head for so long has failed",
        group: Group::HttpUpstreams,
        effect: Effect::Set(|draft, text| {
            draft.config.http_head_timeout = parse::http_head_timeout(text)?;
            Ok(())
        }),
    },
    OptionSpec {
        short: None,
        long: "http-idle-timeout",
        argument: Some("seconds"),
        default: Some("60"),
        range: Some("0.1 to 86400"),
        description: "an HTTP upstream that sends nothing of a body for so long has failed; pauses do not count",
        group: Group::HttpUpstreams,
        effect: Effect::Set(|draft, text| {
            draft.config.http_idle_timeout = parse::http_idle_timeout(text)?;
            Ok(())
        }),
    },
    OptionSpec {
        short: None,
        long: "tls-ca",
        argument: Some("file"),
        default: None,
        range: None,
        description: "PEM file of authorities to trust for https, besides the system's",
        group: Group::HttpUpstreams,
        effect: Effect::Set(|draft, text| {
            draft.config.tls_ca = Some(parse::tls_ca(text)?);
            Ok(())
        }),
    },
    OptionSpec {
        short: Some('t'),
        long: "upstream-interface-rtsp",
        argument: Some("ifname"),
        default: None,
        range: None,
        description: "network interface for RTSP servers, in place of -i",
        group: Group::RtspUpstreams,
        effect: Effect::Set(|draft, text| {
            draft.config.upstream_interface_rtsp = Some(parse::interface(text)?);
            Ok(())
        }),
    },
    OptionSpec {
        short: Some('u'),
        long: "rtsp-user-agent",
        argument: Some("text"),
        default: None,
        range: None,
        description: "User-Agent towards RTSP servers, in place of name and version",
        group: Group::RtspUpstreams,
        effect: Effect::Set(|draft, text| {
            draft.config.rtsp_user_agent = parse::http_proxy_user_agent(text)?;
            Ok(())
        }),
    },
    OptionSpec {
        short: Some('N'),
        long: "rtsp-stun-server",
        argument: Some("host[:port]"),
        default: None,
        range: None,
        description: "ask this STUN server (port 3478) which address RTSP servers are to send UDP to",
        group: Group::RtspUpstreams,
        effect: Effect::Set(|draft, text| {
            draft.config.rtsp_stun_server = parse::rtsp_stun_server(text)?;
            Ok(())
        }),
    },
    OptionSpec {
        short: Some('H'),
        long: "hostname",
        argument: Some("host"),
        default: None,
        range: None,
        description: "answer only requests whose Host is this; host[:port] or a URL, of which links are made",
        group: Group::Access,
        effect: Effect::Set(|draft, text| {
            draft.config.hostname = parse::hostname(text)?;
            Ok(())
        }),
    },
    OptionSpec {
        short: Some('X'),
        long: "xff",
        argument: None,
        default: None,
        range: None,
        description: "believe X-Forwarded-For, -Host and -Proto: only behind a proxy",
        group: Group::Access,
        effect: Effect::Switch(|config| config.xff = true),
    },
    OptionSpec {
        short: Some('T'),
        long: "r2h-token",
        argument: Some("text"),
        default: None,
        range: None,
        description: "ask for this token: ?r2h-token=, a cookie of that name, or R2HTOKEN/ in User-Agent",
        group: Group::Access,
        effect: Effect::Set(|draft, text| {
            draft.config.r2h_token = parse::r2h_token(text)?;
            Ok(())
        }),
    },
    OptionSpec {
        short: Some('O'),
        long: "cors-allow-origin",
        argument: Some("origin"),
        default: None,
        range: None,
        description: "let web pages of this origin, or of any with *, use the router (CORS)",
        group: Group::Access,
        effect: Effect::Set(|draft, text| {
            draft.config.cors_allow_origin = parse::cors_allow_origin(text)?;
            Ok(())
        }),
    },
    OptionSpec {
        short: None,
        long: "app-path-prefix",
        argument: Some("path"),
        default: None,
        range: None,
        description: "serve everything below this path",
        group: Group::Access,
        effect: Effect::Set(|draft, text| {
            draft.config.app_path_prefix = parse::app_path_prefix(text)?;
            Ok(())
        }),
    },
    OptionSpec {
        short: None,
        long: "use-relative-path-in-m3u",
        argument: None,
        default: None,
        range: None,
        description: "begin links in playlists with the path, without scheme and host",
        group: Group::Access,
        effect: Effect::Switch(|config| config.use_relative_path_in_m3u = true),
    },
    OptionSpec {
        short: Some('b'),
        long: "buffer-pool-max-size",
        argument: Some("n"),
        default: Some("16384"),
        range: Some("64 to 4194304"),
        description: "memory for packets, in buffers of 1536 bytes",
        group: Group::Output,
        effect: Effect::Set(|draft, text| {
            draft.config.pool_buffers_max = parse::pool_buffers_max(text)?;
            Ok(())
        }),
    },
    OptionSpec {
        short: None,
        long: "flush-interval",
        argument: Some("auto|ms"),
        default: Some("auto"),
        range: Some("0 to 100"),
        description: "gather live packets for so long before writing; 0 = write each at once",
        group: Group::Output,
        effect: Effect::Set(|draft, text| {
            draft.config.flush_interval = parse::flush_interval(text)?;
            Ok(())
        }),
    },
    OptionSpec {
        short: Some('v'),
        long: "verbose",
        argument: Some("level"),
        default: Some("1"),
        range: Some("0 to 5"),
        description: "what is logged: 0 FATAL, 1 ERROR, 2 WARN, 3 INFO, 4 DEBUG, 5 TRACE; \
                      number or name",
        group: Group::Logging,
        effect: Effect::Set(|draft, text| {
            draft.config.verbosity = parse::verbosity(text)?;
            Ok(())
        }),
    },
    OptionSpec {
        short: Some('q'),
        long: "quiet",
        argument: None,
        default: None,
        range: None,
        description: "the same as -v 0",
        group: Group::Logging,
        effect: Effect::Switch(|config| config.verbosity = Verbosity::Fatal),
    },
    OptionSpec {
        short: None,
        long: "log-timestamps",
        argument: None,
        default: None,
        range: None,
        description: "log time (UTC) and level even if standard error is not a terminal",
        group: Group::Logging,
        effect: Effect::Switch(|config| config.log_timestamps = true),
    },
    OptionSpec {
        short: Some('C'),
        long: "noconfig",
        argument: None,
        default: None,
        range: None,
        description: "read no configuration file (this version reads none)",
        group: Group::Other,
        effect: Effect::Switch(|_| {}),
    },
    OptionSpec {
        short: Some('h'),
        long: "help",
        argument: None,
        default: None,
        range: None,
        description: "show this text",
        group: Group::Other,
        effect: Effect::Help,
    },
    OptionSpec {
        short: Some('V'),
        long: "version",
        argument: None,
        default: None,
        range: None,
        description: "show the version",
        group: Group::Other,
        effect: Effect::Version,
    },
];
