//! Memberships made known again and again (`-R`), and the stream that must not notice.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::namespace::{WEST, WEST_V6, with_links};
use crate::support::sender::{Framing, Source};
use crate::support::server::{PROGRAM, Server};
use crate::support::tool::{self, Tool};
use crate::support::{SOON, sniffer, ts};

/// The server without any privilege, whoever runs it.
fn unprivileged() -> Command {
    let mut command = Command::new("setpriv");
    command.args([
        "--bounding-set=-all",
        "--inh-caps=-all",
        "--no-new-privs",
        PROGRAM,
    ]);
    command
}

/// Streams for several refreshes and insists on every packet.
fn follow_through_refreshes(
    server: &Server,
    path: &str,
    from: &str,
    group: &str,
    sniffer: &Tool,
    report: &str,
) {
    let _sender = Source::new("west", from, group, Framing::Rtp).run(1000);
    let mut body = server.open(path);
    let count = || sniffer.stdout.count(|line| line.contains(report));
    let (began, before) = (Instant::now(), count());
    // One each second, but the kernel may make one report of several when it is busy; the stream is taken meanwhile.
    let mut bytes = body.take_for(Duration::from_millis(5500));
    while count() - before < 4 && began.elapsed() < 3 * SOON {
        bytes.extend(body.take_for(Duration::from_millis(500)));
    }
    let seconds = began.elapsed().as_secs() as usize;
    let (first, last) = ts::assert_gapless(&bytes);
    // Of seven thousand each second; a busy machine sends fewer.
    assert!(last - first > 10_000);
    let reports = count() - before;
    assert!(
        (4..=3 * seconds).contains(&reports),
        "{report}: {reports} in {seconds} s\n{}",
        sniffer.stdout.all().join("\n")
    );
    let bad = sniffer
        .stdout
        .count(|line| line.contains("bad igmp cksum") || line.contains("wrong icmp6 cksum"));
    assert_eq!(bad, 0);
    drop(body);
    let left = server.log().wait(": left; ");
    assert!(left.contains(" 0 lost, 0 reordered, 0 overrun"), "{left}");
    assert_eq!(
        server
            .log()
            .count(|line| line.contains("refreshing the membership failed")),
        0
    );
}

#[test]
fn privileged_refresh_sends_the_reports_of_both_versions() {
    with_links(|| {
        let Some(sniffer) = sniffer::start("igmp") else {
            return;
        };
        let server = Server::start(&["-R", "1", "--channel-linger", "0"]);
        // Mode is exclude nobody: the current state, which the kernel only tells when asked.
        let v3 = "224.0.0.22: igmp v3 report, 1 group record(s) [gaddr 239.6.0.1 is_ex { }]";
        follow_through_refreshes(
            &server,
            "/rtp/239.6.0.1:5000",
            WEST,
            "239.6.0.1:5000",
            &sniffer,
            v3,
        );
        let v2 = "> 239.6.0.1: igmp v2 report 239.6.0.1";
        let both = sniffer.stdout.all();
        assert!(
            both.iter().filter(|line| line.contains(v2)).count() >= 4,
            "{both:?}"
        );
        // The line before says how: time to live 1, Router Alert.
        let at = both
            .iter()
            .position(|line| line.contains(v2))
            .expect("at least four");
        let header = &both[at - 1];
        assert!(
            header.contains("ttl 1,") && header.contains("options (RA)"),
            "{header}"
        );
        // The membership itself was never given up meanwhile.
        let left = both
            .iter()
            .filter(|line| line.contains("gaddr 239.6.0.1 to_in"));
        assert!(left.count() <= 2, "{both:?}");
    });
}

#[test]
fn privileged_refresh_names_the_source() {
    with_links(|| {
        let Some(sniffer) = sniffer::start("igmp") else {
            return;
        };
        let server = Server::start(&["-R", "1", "--channel-linger", "0", "-r", "west"]);
        let report = "[gaddr 232.6.0.2 is_in { 10.1.0.1 }]";
        let path = "/rtp/10.1.0.1@232.6.0.2:5000";
        follow_through_refreshes(&server, path, WEST, "232.6.0.2:5000", &sniffer, report);
        assert_eq!(sniffer.stdout.count(|line| line.contains("v2 report")), 0);
    });
}

#[test]
fn unprivileged_refresh_makes_the_kernel_report() {
    if !tool::have(&["setpriv"]) {
        return;
    }
    with_links(|| {
        let Some(sniffer) = sniffer::start("igmp") else {
            return;
        };
        let server = Server::start_as(unprivileged(), &["-R", "1", "--channel-linger", "0"]);
        // The source that nobody has is readmitted.
        let report = "gaddr 239.6.0.3 ";
        follow_through_refreshes(
            &server,
            "/rtp/239.6.0.3:5000",
            WEST,
            "239.6.0.3:5000",
            &sniffer,
            report,
        );
    });
}

#[test]
fn unprivileged_refresh_of_one_source_makes_the_kernel_report() {
    if !tool::have(&["setpriv"]) {
        return;
    }
    with_links(|| {
        let Some(sniffer) = sniffer::start("igmp") else {
            return;
        };
        let server = Server::start_as(unprivileged(), &["-R", "1", "--channel-linger", "0"]);
        let path = "/rtp/10.1.0.1@232.6.0.4:5000";
        follow_through_refreshes(
            &server,
            path,
            WEST,
            "232.6.0.4:5000",
            &sniffer,
            "gaddr 232.6.0.4 ",
        );
    });
}

#[test]
fn refresh_of_ipv6_groups_makes_the_kernel_report() {
    if !tool::have(&["setpriv"]) {
        return;
    }
    with_links(|| {
        let Some(sniffer) = sniffer::start("ip6 and not udp") else {
            return;
        };
        let server = Server::start(&["-R", "1", "--channel-linger", "0", "-r", "west"]);
        let report = "gaddr ff15::66 ";
        follow_through_refreshes(
            &server,
            "/rtp/[ff15::66]:5000",
            WEST_V6,
            "[ff15::66]:5000",
            &sniffer,
            report,
        );
        let server = Server::start_as(
            unprivileged(),
            &["-R", "1", "--channel-linger", "0", "-r", "west"],
        );
        let report = "gaddr ff35::66 ";
        let path = "/rtp/[fd00:1::1]@[ff35::66]:5000";
        follow_through_refreshes(&server, path, WEST_V6, "[ff35::66]:5000", &sniffer, report);
    });
}
