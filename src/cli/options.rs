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
    /// What is sent, and the memory for it.
    Output,
    /// The diagnostic log.
    Logging,
    /// The rest.
    Other,
}

impl Group {
    /// All headings in the order of the help text.
    pub const ALL: [Group; 5] = [
        Group::Listening,
        Group::Channels,
        Group::Output,
        Group::Logging,
        Group::Other,
    ];

    /// The heading's text.
    pub fn title(self) -> &'static str {
        match self {
            Group::Listening => "Listening",
            Group::Channels => "Channels",
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

static OPTIONS: [OptionSpec; 19] = [
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
        description: "do not let clients name a source in the URL (/rtp/..., /udp/...)",
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
