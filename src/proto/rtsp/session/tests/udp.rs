//! Media in datagrams: sockets, probes, reports and STUN.

use super::*;

#[test]
fn udp_media_is_probed_for_received_and_reported() {
    let mut talk = Talk::to_udp(URL);
    talk.answer(200, "");
    talk.answer(200, "");
    let said = talk.answer(200, UDP);
    let probes = ["Rtp 192.0.2.1:6970 84 bytes", "Rtcp 192.0.2.1:6971 8 bytes"].repeat(3);
    assert_eq!(said[..6], probes);
    assert!(said[6].starts_with("send PLAY "));
    assert!(!talk.session.datagrams_wanted());
    talk.answer(200, "");
    assert!(talk.session.datagrams_wanted());
    let said = talk.datagram(UdpSocket::Rtp, PEER, &rtp_packet(5));
    assert_eq!(said, ["playing rtsp udp mp2t-rtp", "packet 5"]);
    assert_eq!(talk.datagram(UdpSocket::Rtp, PEER, &ts(1)), ["media 188"]);
    for other in [&b"ZXV10STB echo of 84 bytes"[..], b"", &[0x80, 200, 0, 1]] {
        assert_eq!(talk.datagram(UdpSocket::Rtp, PEER, other), [""; 0]);
        assert_eq!(talk.datagram(UdpSocket::Rtcp, PEER, other), [""; 0]);
    }
    assert_eq!(talk.wait(5 * SECOND), ["Rtcp 192.0.2.1:6971 52 bytes"]);
    talk.session.timers.media = None;
    let said = talk.wait(25 * SECOND);
    assert!(
        said.iter()
            .any(|text| text.starts_with("send GET_PARAMETER "))
    );
    assert_eq!(
        said.iter().filter(|text| text.contains("84 bytes")).count(),
        3
    );
    let reports = said.iter().filter(|text| text.contains("52 bytes"));
    assert_eq!(reports.count(), 5);
    let said = talk.close();
    assert_eq!(said[0], "close sockets");
    assert!(said[1].starts_with("send TEARDOWN "));
    assert_eq!(talk.datagram(UdpSocket::Rtp, PEER, &ts(1)), [""; 0]);
}

#[test]
fn named_source_is_probed_and_strangers_are_not_heard() {
    let mut talk =
        Talk::playing("Session: a\r\nTransport: MP2T/UDP;server_port=6970;source=192.0.2.77\r\n");
    assert!(talk.session.server.udp().is_some());
    assert_eq!(
        talk.datagram(UdpSocket::Rtp, "192.0.2.77:1", &ts(1)).len(),
        2
    );
    assert_eq!(
        talk.datagram(UdpSocket::Rtp, "198.51.100.1:1", &ts(1)),
        [""; 0]
    );
    assert_eq!(
        talk.datagram(UdpSocket::Rtp, "[::ffff:192.0.2.1]:1", &ts(1))
            .len(),
        1
    );
}

#[test]
fn no_probe_without_ports() {
    let mut talk = Talk::to_udp(URL);
    talk.answer(200, "");
    talk.answer(200, "");
    let said = talk.answer(200, "Transport: RTP/AVP;unicast\r\n");
    assert_eq!(said.len(), 1, "{said:?}");
}

#[test]
fn ipv6_has_no_extensions() {
    let mut talk = Talk::with(Request::new("rtsp://[2001:db8::1]/x", AGENT).unwrap());
    talk.call(|session, now, actions| session.open(now, actions));
    talk.call(|session, now, actions| {
        let (local, peer) = ("[2001:db8::2]:5".parse(), "[2001:db8::1]:554".parse());
        session.connected(now, local.unwrap(), peer.unwrap(), actions);
    });
    talk.answer(200, "");
    assert!(!talk.last().contains("x-NAT"));
    assert_eq!(talk.answer(200, "")[0], "open sockets ::");
    assert!(
        talk.last()
            .contains(",RTP/AVP;unicast;client_port=10000-10001\r\n\r\n")
    );
    // Without source= nothing is sent to an IPv6 peer; with it, a plain probe.
    let said = talk.answer(
        200,
        "Transport: RTP/AVP;server_port=6970;source=2001:db8::9\r\n",
    );
    assert_eq!(said[0], "Rtp [2001:db8::9]:6970 12 bytes");
}

fn with_stun() -> Talk {
    let mut request = Request::new(URL, AGENT).unwrap();
    request.stun = Some((Host::Name("stun.example".into()), 3478));
    Talk::with(request)
}

#[test]
fn stun_result_is_advertised() {
    let mut talk = with_stun();
    let said = talk.connect();
    assert_eq!(said[1], "open sockets 192.0.2.2");
    assert_eq!(said[3], "Rtp stun.example:3478 20 bytes");
    assert!(talk.session.datagrams_wanted());
    assert_eq!(talk.answer(200, ""), [""; 0], "DESCRIBE waits");
    let Stun::Asking { transaction, .. } = talk.session.stun else {
        panic!("not asking");
    };
    let mut response = stun::encode_request(transaction);
    response[..4].copy_from_slice(&[1, 1, 0, 12]);
    response.extend(b"\x00\x01\x00\x08\x00\x01\x9c\x40\xcb\x00\x71\x09");
    assert_eq!(
        talk.datagram(UdpSocket::Rtp, "198.51.100.5:3478", &[0; 20]),
        [""; 0]
    );
    let said = talk.datagram(UdpSocket::Rtp, "198.51.100.5:3478", &response);
    assert!(said[0].contains("x-NAT: 203.0.113.9:40000\r\n"));
    talk.answer(200, "");
    assert!(
        talk.last()
            .contains("client_address=203.0.113.9;client_port=40000-40001;")
    );
}

#[test]
fn silent_stun_server_delays_but_does_not_stop() {
    let mut talk = with_stun();
    talk.connect();
    talk.answer(200, "");
    let said = talk.wait(4 * SECOND);
    assert_eq!(said[..2], ["Rtp stun.example:3478 20 bytes"; 2]);
    assert!(said[2].starts_with("send DESCRIBE ") && said[2].contains("x-NAT: 192.0.2.2:50972"));

    let mut talk = with_stun();
    talk.connect();
    talk.answer(200, "");
    let said = talk.call(|session, now, actions| session.stun_failed(now, actions));
    assert!(said[0].starts_with("send DESCRIBE "));
}

#[test]
fn sockets_that_cannot_be_opened_leave_tcp() {
    let mut talk = Talk::with(Request::new(URL, AGENT).unwrap());
    talk.connect();
    talk.answer(200, "");
    let mut actions = Vec::new();
    let cseq = talk.session.cseq;
    let reply = format!("RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\n\r\n");
    talk.session
        .receive(talk.now, reply.as_bytes(), &mut actions);
    assert!(matches!(actions[..], [Action::OpenSockets { .. }]));
    talk.call(|session, now, actions| session.sockets_opened(now, None, actions));
    assert!(
        talk.last()
            .contains("RTP/AVP/TCP;unicast;interleaved=0-1\r\nx-NAT")
    );
}

#[test]
fn sockets_survive_a_redirect_unless_the_address_changes() {
    for (local, closes) in [("192.0.2.2:5", false), ("192.0.2.3:5", true)] {
        let mut talk = with_stun();
        talk.connect();
        let said = talk.answer(302, "Location: rtsp://h/\r\n");
        assert_eq!(said, ["connect h:554"]);
        let said = talk.call(|session, now, actions| {
            session.connected(now, local.parse().unwrap(), PEER.parse().unwrap(), actions);
        });
        assert_eq!(said[0] == "close sockets", closes, "{said:?}");
    }
}
