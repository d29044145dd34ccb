//! The `Transport` header: what we offer and what the server chose (RFC 2326 §12.39).
//!
//! The profile a server names does not decide how media is read: every packet is told by its content. So an
//! answer is read for only two things, which socket media comes by and where the server's own ports are.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::super::url::{self, Host};
use super::interleaved::Channels;
use super::message::decimal;

/// First RTP port that is tried; even (RTSP spec §12.2).
const PORT_FIRST: u16 = 10_000;
/// How many pairs of ports there are to try.
const PORT_PAIRS: u16 = 5_000;

/// RTP ports to try in turn: all even ones from 10000 to 19998, beginning somewhere. RTCP is one above.
pub fn port_pairs(random: u64) -> impl Iterator<Item = u16> + Clone {
    // The remainder is below 5000.
    let start = (random % u64::from(PORT_PAIRS)) as u16;
    (0..PORT_PAIRS).map(move |step| PORT_FIRST + 2 * ((start + step) % PORT_PAIRS))
}

/// Which transports a SETUP offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// All at once, TCP first.
    All,
    /// Only RTP over the control connection: for a server that refused the list.
    TcpOnly,
    /// Only RTP over UDP, in the words of RFC 2326: for a server that refused that as well. VLC, for one, knows
    /// neither TCP nor `client_address`.
    UdpOnly,
}

/// Ports of ours, as the server is to see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientPorts {
    /// For RTP.
    pub rtp: u16,
    /// For RTCP.
    pub rtcp: u16,
    /// Our address, named only to servers that get `client_address` and `mode=PLAY`.
    pub address: Option<Ipv4Addr>,
}

impl Offer {
    /// The header's value; without ports nothing is offered over UDP. Empty if there is nothing to offer.
    pub fn encode(self, ports: Option<ClientPorts>) -> String {
        let tcp: &[&str] = match self {
            Offer::All => &["MP2T/RTP/TCP", "MP2T/TCP", "RTP/AVP/TCP"],
            Offer::TcpOnly => &["RTP/AVP/TCP"],
            Offer::UdpOnly => &[],
        };
        let udp: &[&str] = match self {
            Offer::All => &["MP2T/RTP/UDP", "MP2T/UDP", "RTP/AVP"],
            Offer::TcpOnly => &[],
            Offer::UdpOnly => &["RTP/AVP"],
        };
        let tcp = tcp
            .iter()
            .map(|profile| format!("{profile};unicast;interleaved=0-1"));
        let udp = ports.into_iter().flat_map(|ports| {
            udp.iter().map(move |profile| {
                let address = ports.address.filter(|_| self == Offer::All);
                let (address, mode) = match address {
                    Some(address) => (format!("client_address={address};"), ";mode=PLAY"),
                    None => (String::new(), ""),
                };
                let (rtp, rtcp) = (ports.rtp, ports.rtcp);
                format!("{profile};unicast;{address}client_port={rtp}-{rtcp}{mode}")
            })
        });
        tcp.chain(udp).collect::<Vec<_>>().join(",")
    }
}

/// What the server chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Frames on the control connection.
    Interleaved(Channels),
    /// Datagrams.
    Udp(UdpServer),
}

/// What a server says about its side of a UDP transport.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UdpServer {
    /// Where media comes from, if that is named; a name is to be resolved.
    pub source: Option<Host>,
    /// Its ports for RTP and RTCP, if they are named.
    pub ports: Option<(u16, u16)>,
}

/// A `Transport` that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// The server answers with a multicast group, which was not offered.
    Multicast,
    /// The server chose UDP, but there are no sockets.
    NoSockets,
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TransportError::Multicast => "server chose multicast, which was not offered",
            TransportError::NoSockets => "server chose UDP, for which there are no sockets",
        })
    }
}

impl std::error::Error for TransportError {}

/// Decodes the `Transport` of a SETUP response.
///
/// `TCP` anywhere or `interleaved=` means interleaved, anything else UDP. Names are case-insensitive. Numbers
/// that make no sense count as absent: channels then are 0 and 1, server ports unknown.
///
/// # Errors
///
/// `Multicast`.
pub fn decode(header: &str) -> Result<Choice, TransportError> {
    let text = header.to_ascii_lowercase();
    let parameters = || text.split([';', ',']).map(str::trim);
    let value = |name: &str| {
        let mut pairs = parameters().filter_map(|parameter| parameter.split_once('='));
        pairs.find_map(|(key, value)| (key.trim() == name).then(|| value.trim()))
    };
    let interleaved = value("interleaved");
    if text.contains("tcp") || interleaved.is_some() {
        let channels = interleaved.and_then(decode_channels);
        return Ok(Choice::Interleaved(channels.unwrap_or_default()));
    }
    if parameters().any(|parameter| parameter == "multicast") {
        return Err(TransportError::Multicast);
    }
    Ok(Choice::Udp(UdpServer {
        source: value("source").and_then(decode_source),
        ports: value("server_port").and_then(decode_ports),
    }))
}

fn decode_channels(text: &str) -> Option<Channels> {
    let (media, control) = decode_pair(text)?;
    Some(Channels {
        media: media.try_into().ok()?,
        control: control.try_into().ok()?,
    })
}

fn decode_ports(text: &str) -> Option<(u16, u16)> {
    let (rtp, rtcp) = decode_pair(text)?;
    let ports = (u16::try_from(rtp).ok()?, u16::try_from(rtcp).ok()?);
    (ports.0 != 0).then_some(ports)
}

/// `A-B`, or `A` for A and the number behind it.
fn decode_pair(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| decimal(text.trim()).filter(|_| !text.trim().is_empty());
    match text.split_once('-') {
        Some((first, second)) => Some((number(first)?, number(second)?)),
        None => number(text).and_then(|first| Some((first, first.checked_add(1)?))),
    }
}

fn decode_source(text: &str) -> Option<Host> {
    let text = text.trim_start_matches('"');
    let text = text.split('"').next().unwrap_or_default();
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() => None,
        Ok(address) => Some(Host::from(address)),
        Err(_) => url::parse_endpoint(text).ok().map(|(host, _)| host),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn offer_lists_tcp_before_udp() {
        let ports = ClientPorts {
            rtp: 10_000,
            rtcp: 10_001,
            address: Some(Ipv4Addr::new(192, 0, 2, 2)),
        };
        assert_eq!(
            Offer::All.encode(Some(ports)),
            "MP2T/RTP/TCP;unicast;interleaved=0-1,MP2T/TCP;unicast;interleaved=0-1,\
             RTP/AVP/TCP;unicast;interleaved=0-1,\
             MP2T/RTP/UDP;unicast;client_address=192.0.2.2;client_port=10000-10001;mode=PLAY,\
             MP2T/UDP;unicast;client_address=192.0.2.2;client_port=10000-10001;mode=PLAY,\
             RTP/AVP;unicast;client_address=192.0.2.2;client_port=10000-10001;mode=PLAY"
        );
        assert_eq!(
            Offer::All.encode(None),
            "MP2T/RTP/TCP;unicast;interleaved=0-1,MP2T/TCP;unicast;interleaved=0-1,\
             RTP/AVP/TCP;unicast;interleaved=0-1"
        );
        assert_eq!(
            Offer::UdpOnly.encode(Some(ports)),
            "RTP/AVP;unicast;client_port=10000-10001"
        );
        let ports = ClientPorts {
            address: None,
            ..ports
        };
        assert!(
            Offer::All
                .encode(Some(ports))
                .ends_with(",RTP/AVP;unicast;client_port=10000-10001")
        );
        assert_eq!(
            Offer::TcpOnly.encode(Some(ports)),
            "RTP/AVP/TCP;unicast;interleaved=0-1"
        );
        assert_eq!(
            Offer::UdpOnly.encode(Some(ports)),
            "RTP/AVP;unicast;client_port=10000-10001"
        );
        assert_eq!(Offer::UdpOnly.encode(None), "");
    }

    #[test]
    fn choices_are_decoded() {
        let interleaved = |media, control| Choice::Interleaved(Channels { media, control });
        let udp = |source: Option<&str>, ports| {
            let source = source.map(|text| Host::from(text.parse::<IpAddr>().unwrap()));
            Choice::Udp(UdpServer { source, ports })
        };
        for (header, expected) in [
            ("RTP/AVP/TCP;unicast;interleaved=4-5", interleaved(4, 5)),
            ("MP2T/RTP/TCP;unicast", interleaved(0, 1)),
            ("RTP/AVP;unicast;interleaved=2", interleaved(2, 3)),
            (
                " rtp/avp/tcp ; unicast ; INTERLEAVED = 4 - 5 ",
                interleaved(4, 5),
            ),
            ("RTP/AVP; unicast; Interleaved = 6-7", interleaved(6, 7)),
            (
                "RTP/AVP ; Unicast ; Source = 10.0.0.1 ; Server_Port = 6970 - 6971",
                udp(Some("10.0.0.1"), Some((6970, 6971))),
            ),
            ("RTP/AVP/TCP;interleaved=300-301", interleaved(0, 1)),
            ("RTP/AVP/TCP;interleaved=255", interleaved(0, 1)),
            ("RTP/AVP/TCP;interleaved=-", interleaved(0, 1)),
            (
                "MP2T/RTP/UDP;unicast;client_port=10000-10001;server_port=6970-6971;source=10.0.0.1",
                udp(Some("10.0.0.1"), Some((6970, 6971))),
            ),
            (
                "RTP/AVP;unicast;Server_Port=6970",
                udp(None, Some((6970, 6971))),
            ),
            ("RTP/AVP;server_port=65535", udp(None, None)),
            ("RTP/AVP;server_port=0-1", udp(None, None)),
            (
                "RTP/AVP;source=\"2001:db8::1\"",
                udp(Some("2001:db8::1"), None),
            ),
            (
                "RTP/AVP;source=[2001:db8::1]",
                udp(Some("2001:db8::1"), None),
            ),
            ("RTP/AVP;source=0.0.0.0", udp(None, None)),
            ("RTP/AVP;source=a b", udp(None, None)),
            ("", udp(None, None)),
        ] {
            assert_eq!(decode(header), Ok(expected), "{header}");
        }
        let Ok(Choice::Udp(server)) = decode("RTP/AVP;source=tv.example") else {
            panic!("not UDP");
        };
        assert_eq!(server.source, Some(Host::Name("tv.example".into())));
        assert_eq!(
            decode("RTP/AVP;multicast;destination=239.1.1.1"),
            Err(TransportError::Multicast)
        );
    }

    #[test]
    fn every_pair_of_ports_is_tried_once() {
        let mut ports: Vec<u16> = port_pairs(u64::MAX).collect();
        assert_eq!(ports.first(), Some(&(10_000 + 2 * 1615)));
        ports.sort_unstable();
        assert!(ports.iter().copied().eq((10_000..20_000).step_by(2)));
    }

    proptest! {
        #[test]
        fn any_header_is_survived(header in "(source|server_port|interleaved|;|=|,|\"|-|\\[|[0-9:.]{1,6}|\\PC){0,12}") {
            let _ = decode(&header);
        }
    }
}
