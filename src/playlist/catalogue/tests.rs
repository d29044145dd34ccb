//! What becomes of lists: names, links, recordings, faults.

use proptest::prelude::*;

use super::*;
use crate::proto::seek::template;

fn naming() -> Naming {
    Naming {
        status_page_path: "/status".to_owned(),
        player_page_path: "/player".to_owned(),
        ..Naming::default()
    }
}

/// The catalogue of one list of the operator's, and what is wrong with its lines, by number.
fn read_as(naming: Naming, list: &str) -> (Catalogue, Vec<(usize, Fault)>) {
    let mut builder = Builder::new(naming);
    builder.begin(Origin::Operator);
    let mut faults = Vec::new();
    for (number, line) in (1..).zip(list.lines()) {
        faults.extend(builder.take(line).err().map(|fault| (number, fault)));
    }
    faults.extend(builder.end().err().map(|fault| (0, fault)));
    (builder.finish(), faults)
}

#[track_caller]
fn read(list: &str) -> Catalogue {
    let (catalogue, faults) = read_as(naming(), list);
    assert_eq!(faults, []);
    catalogue
}

fn text(catalogue: &Catalogue) -> String {
    String::from_utf8(catalogue.playlist().write("B/", None)).expect("text")
}

/// The playlist without its header.
fn body(catalogue: &Catalogue) -> String {
    let text = text(catalogue);
    let body = text.strip_prefix("#EXTM3U\n\n").expect("a header");
    body.to_owned()
}

/// The path of the link on a line, without its query, as a request has it.
fn link(line: &str) -> Option<&str> {
    let link = line.strip_prefix('B')?;
    Some(link.split(['?', '$']).next().unwrap_or_default())
}

fn links(catalogue: &Catalogue) -> Vec<String> {
    let body = body(catalogue);
    body.lines().filter_map(link).map(str::to_owned).collect()
}

fn found(catalogue: &Catalogue, target: &str) -> Option<(String, Option<String>)> {
    let (service, query) = catalogue.find(target)?;
    Some((service.source.url(), query.map(str::to_owned)))
}

#[test]
fn headers_for_players_stay_behind_the_link_except_for_secrets() {
    let catalogue = read(
        "#EXTM3U\n#EXTINF:-1 catchup-source=\"http://h/r?s={utc}|User-Agent=A\",One\nhttp://h/a?b=1|User-Agent=A/1&Referer=http://x/\n\
         #EXTINF:-1,Two\nhttp://h/b$HD|Cookie=s=1&user-agent=A&authorization=Basic%20x\n\
         #EXTINF:-1,Three\nhttp://h/c|Cookie=s=1\n",
    );
    let lines = body(&catalogue);
    let links: Vec<_> = lines.lines().filter(|line| line.starts_with('B')).collect();
    assert_eq!(
        links,
        [
            "B/One|User-Agent=A/1&Referer=http://x/",
            "B/Two/HD$HD|user-agent=A",
            "B/Three"
        ]
    );
    assert!(
        lines.contains(" catchup-source=\"B/One/catchup?playseek={utc}\""),
        "{lines}"
    );
    for (target, url, query) in [
        ("/One", "http://h/a?b=1", None),
        // A player that knows nothing of it asks for all.
        (
            "/One|User-Agent=A/1&Referer=http://x/",
            "http://h/a?b=1",
            None,
        ),
        ("/Two/HD?c=2|user-agent=A", "http://h/b", Some("c=2")),
        (
            "/One/catchup?playseek=1|User-Agent=A",
            "http://h/r?s={utc}",
            Some("playseek=1"),
        ),
    ] {
        let expected = (url.to_owned(), query.map(str::to_owned));
        assert_eq!(found(&catalogue, target), Some(expected), "{target}");
    }
}

#[test]
fn entries_become_links_as_the_specification_shows() {
    let catalogue = read(
        "#EXTM3U\n#EXTINF:-1 tvg-id=\"s1\" group-title=\"Sport\",S One\nrtp://239.9.9.1:5140?fcc=10.0.0.9:15970$4K\n\
         #EXTINF:-1,Cam\nhttp://10.0.0.9/c.m3u8?auth=1&t={utc}\n",
    );
    assert_eq!(
        body(&catalogue),
        "#EXTINF:-1 tvg-id=\"s1\" group-title=\"Sport\",S One\nB/Sport/S%20One/4K$4K\n\n\
         #EXTINF:-1,Cam\nB/Cam?t={utc}\n\n"
    );
    for (target, url) in [
        (
            "/Sport/S%20One/4K$4K",
            "rtp://239.9.9.1:5140?fcc=10.0.0.9:15970",
        ),
        (
            "/Sport%2FS%20One/4K/",
            "rtp://239.9.9.1:5140?fcc=10.0.0.9:15970",
        ),
        ("/Cam", "http://10.0.0.9/c.m3u8?auth=1&t={utc}"),
    ] {
        assert_eq!(
            found(&catalogue, target),
            Some((url.to_owned(), None)),
            "{target}"
        );
    }
    for target in [
        "/",
        "/sport/S%20One/4K",
        "/Cam//",
        "/Cam/x",
        "/Cam%zz",
        "Cam",
    ] {
        assert_eq!(found(&catalogue, target), None, "{target}");
    }
}

#[test]
fn query_of_a_request_is_kept_behind_a_label_too() {
    let catalogue = read("#EXTINF:-1,A\nrtp://239.0.0.1$HD");
    for (target, query) in [
        ("/A/HD?x=1", Some("x=1")),
        ("/A/HD$HD?x=1", Some("x=1")),
        ("/A/HD?x=1$HD", Some("x=1")),
        ("/A/HD?t=${utc}&y=1$HD", Some("t=${utc}&y=1")),
        ("/A/HD?", Some("")),
        ("/A/HD$HD", None),
    ] {
        let (_, found) = found(&catalogue, target).expect(target);
        assert_eq!(found.as_deref(), query, "{target}");
    }
}

#[test]
fn equal_names_are_numbered_in_their_order() {
    for (names, expected) in [
        (&["B", "B", "B"][..], &["/B", "/B/2", "/B/3"][..]),
        (&["B/2", "B", "B"], &["/B/2", "/B/3", "/B/4"]),
        (&["B", "B/1000", "B"], &["/B", "/B/1000", "/B/2"]),
        (&["B/999", "B", "B"], &["/B/999", "/B/1000", "/B/1001"]),
        (&["B/02", "B"], &["/B/02", "/B/3"]),
        (&["B/2/2", "B/2", "B"], &["/B/2/2", "/B/2/3", "/B"]),
    ] {
        let list: String = names
            .iter()
            .map(|name| format!("#EXTINF:-1,{name}\nrtp://239.0.0.1\n"))
            .collect();
        assert_eq!(links(&read(&list)), expected, "{names:?}");
    }
    let list = "#EXTINF:-1 group-title=\"G\",A\nrtp://239.0.0.1\n#EXTINF:-1 group-title=\"G\",A\nrtp://239.0.0.2$HD\n\
                #EXTINF:-1 group-title=\"G\",A\nrtp://239.0.0.3$HD\n";
    assert_eq!(links(&read(list)), ["/G/A", "/G/A/HD", "/G/A/HD/2"]);
}

#[test]
fn names_that_could_not_be_asked_for_are_changed() {
    for (name, expected) in [
        ("playlist.m3u", "/services/playlist.m3u"),
        ("status", "/services/status"),
        ("status/api/x", "/services/status/api/x"),
        ("statuses", "/statuses"),
        ("assets/x", "/services/assets/x"),
        ("a$b", "/a%24b"),
        ("A/", "/A/"),
        ("/A", "//A"),
        ("../A/.", "/__/A/_"),
        ("a\u{7}b", "/a%20b"),
        ("é%?#", "/%C3%A9%25%3F%23"),
    ] {
        let catalogue = read(&format!("#EXTINF:-1,{name}\nrtp://239.0.0.1\n"));
        assert_eq!(links(&catalogue), [expected], "{name}");
        assert!(found(&catalogue, expected).is_some(), "{name}");
    }
}

#[test]
fn long_names_are_cut_between_characters() {
    let name = "é".repeat(100);
    let group = "ü".repeat(100);
    let catalogue = read(&format!(
        "#EXTINF:-1 group-title=\"{group}\",{name}\nrtp://239.0.0.1\n"
    ));
    let expected = format!("/{}/{name}", "ü".repeat(27));
    assert_eq!(links(&catalogue), [url::percent_encode(&expected)]);
}

#[test]
fn what_players_must_fetch_themselves_is_copied() {
    let list = "#KODIPROP:a=b\n#EXTINF:-1 catchup=\"append\" catchup-source=\"?x={utc}\",A\nhttps://h/a$HD\n\n\
                #EXTINF:-1,B\nigmp://239.0.0.1\n\n";
    assert_eq!(body(&read(list)), list);
    let (catalogue, faults) = read_as(naming(), "#EXTINF:-1,C\nrtp://239.0.0.1?fcc=$x\n");
    assert_eq!(body(&catalogue), "#EXTINF:-1,C\nrtp://239.0.0.1?fcc=$x\n\n");
    assert!(
        matches!(&faults[..], [(2, Fault::PassedOn(_))]),
        "{faults:?}"
    );
    assert!(catalogue.is_empty());
}

#[test]
fn comments_go_before_the_entry_they_stand_in() {
    let list = "#EXTINF:-1,A\n#EXTVLCOPT:x=y\nrtp://239.0.0.1\n";
    assert_eq!(body(&read(list)), "#EXTVLCOPT:x=y\n#EXTINF:-1,A\nB/A\n\n");
}

#[test]
fn lines_that_lead_nowhere_are_named() {
    let (catalogue, faults) = read_as(
        naming(),
        "\u{feff}rtp://239.0.0.1\n#EXTINF:-1,A\n#EXTINF:-1,B\nrtp://239.0.0.1\n#EXTINF:-1\nrtp://239.0.0.2\n\
         rtp://239.0.0.3\n#EXTINF:-1,C\n",
    );
    let expected = [
        (1, Fault::NoEntry),
        (3, Fault::NoUrl),
        (5, Fault::NoName),
        (7, Fault::NoEntry),
        (0, Fault::NoUrl),
    ];
    assert_eq!(faults, expected);
    assert_eq!(links(&catalogue), ["/B"]);
    let long = "x".repeat(PLAYLIST_LINE_BYTES_MAX);
    let (catalogue, faults) = read_as(
        naming(),
        &format!(
            "#EXTINF:-1,A{long}\nrtp://239.0.0.1\n#EXTINF:-1,B\nhttp://h/{long}\n#EXTINF:-1,C\nrtp://239.0.0.1\n"
        ),
    );
    assert_eq!(faults, [(1, Fault::TooLong), (4, Fault::TooLong)]);
    assert_eq!(links(&catalogue), ["/C"]);
}

#[test]
fn token_stands_in_every_link() {
    let naming = Naming {
        token: Some("k%20y".to_owned()),
        ..naming()
    };
    let list = "#EXTINF:-1 catchup=\"default\" catchup-source=\"?t={utc}\",A\nhttp://h/a?x={now}$HD\n\
                #EXTINF:-1,B\nrtp://239.0.0.1\n";
    let (catalogue, _) = read_as(naming, list);
    assert_eq!(
        body(&catalogue),
        "#EXTINF:-1 catchup=\"default\" catchup-source=\"B/A/HD/catchup?playseek={utc}&r2h-token=k%20y\",A\n\
         B/A/HD?x={now}&r2h-token=k%20y$HD\n\n#EXTINF:-1,B\nB/B?r2h-token=k%20y\n\n"
    );
}

#[test]
fn recordings_are_led_to_whatever_the_line_looks_like() {
    for (attributes, written) in [
        (
            "catchup=\"append\" catchup-source=\"?t={utc}\" x=y",
            "catchup=\"default\" catchup-source=\"B/A/catchup?playseek={utc}\" x=y",
        ),
        (
            "catchup-source='http://h/b' catchup=shift",
            "catchup-source=\"B/A/catchup\" catchup=shift",
        ),
        (
            "Catchup-Source=rtsp://h/{utc}",
            "Catchup-Source=\"B/A/catchup?playseek={utc}\"",
        ),
        // Not ours to serve: a whole URL that is no source.
        (
            "catchup=\"append\" catchup-source=\"https://h/{utc}\"",
            "catchup=\"append\" catchup-source=\"https://h/{utc}\"",
        ),
        (
            "catchup=\"append\" catchup-source=\"\"",
            "catchup=\"append\" catchup-source=\"\"",
        ),
        ("catchup=\"default\"", "catchup=\"default\""),
    ] {
        let catalogue = read(&format!("#EXTINF:-1 {attributes},A\nhttp://h/a\n"));
        assert_eq!(
            body(&catalogue),
            format!("#EXTINF:-1 {written},A\nB/A\n\n"),
            "{attributes}"
        );
    }
}

#[test]
fn entries_have_what_the_header_says_of_all() {
    let list = "#EXTM3U catchup=\"append\" catchup-source=\"&t={utc}\" x-tvg-url=\"http://e/\"\n\
                #EXTINF:-1,A\nhttp://h/a?b\n#EXTINF:-1 catchup=\"append\",B\nhttp://h/b\n";
    let catalogue = read(list);
    assert_eq!(
        body(&catalogue),
        "#EXTINF:-1 catchup=\"default\" catchup-source=\"B/A/catchup?playseek={utc}\",A\nB/A\n\n\
         #EXTINF:-1 catchup=\"default\" catchup-source=\"B/B/catchup?playseek={utc}\",B\nB/B\n\n"
    );
    let (url, _) = found(&catalogue, "/A/catchup").expect("recordings");
    assert_eq!(url, "http://h/a?b&t={utc}");
    let guide = catalogue.guide().map(|guide| guide.address.as_str());
    assert_eq!(guide, Some("http://e/"));
}

#[test]
fn last_list_that_names_a_guide_decides() {
    let mut builder = Builder::new(naming());
    for (origin, line) in [
        (Origin::Operator, "#EXTM3U x-tvg-url=\"http://a/\""),
        (Origin::Provider, "#EXTM3U x-tvg-url=\"http://b/\""),
        (Origin::Provider, "#EXTM3U"),
    ] {
        builder.begin(origin);
        builder.take(line).expect("a header");
    }
    let catalogue = builder.finish();
    let guide = catalogue.guide().expect("a guide");
    assert_eq!(
        (guide.address.as_str(), guide.origin),
        ("http://b/", Origin::Provider)
    );
    assert!(catalogue.playlist().is_empty());
}

/// A line of a list: often one that means something.
fn line() -> impl Strategy<Value = String> {
    let name = "(a|B|é|/|\\$|\\.\\.|,|status|[0-9]|playlist\\.m3u){1,3}";
    let url = "(rtp://239.0.0.1|http://h/a|rtsp://h/\\{utc\\}|https://h/b|x)(\\?a=\\$\\{utc\\}|\\$HD|\\$2|\\PC){0,2}";
    let catchup = "( catchup=\"append\")?( catchup-source=\"(\\?t=\\{utc\\}|http://h/\\{end\\}|\\PC{0,4})\")?( group-title=\"(G|a/b|\\PC)\")?";
    prop_oneof![
        (catchup, name).prop_map(|(attributes, name)| format!("#EXTINF:-1{attributes},{name}")),
        url.prop_map(|url| url),
        "#EXTM3U( catchup-source=\"x\\{utc\\}\")?|#EXTGRP|\\PC{0,9}".prop_map(|line| line),
    ]
}

proptest! {
    #[test]
    fn whatever_a_list_says_every_link_leads_to_a_service(lines in prop::collection::vec(line(), 0..30)) {
        let (catalogue, _) = read_as(naming(), &lines.join("\n"));
        let text = String::from_utf8(catalogue.playlist().write("base://", None)).expect("text");
        let mut names = Vec::new();
        for line in text.lines() {
            let inside = line.match_indices("base://").map(|(at, base)| &line[at + base.len()..]);
            for link in inside {
                let link = link.split('"').next().unwrap_or_default();
                let target = format!("/{link}");
                prop_assert!(catalogue.find(&target).is_some(), "{} in {}", target, text);
                let path = link.split('?').next().unwrap_or_default();
                names.push(url::strip_label(path).to_owned());
            }
        }
        prop_assert_eq!(names.len(), catalogue.len(), "{}", text);
        names.sort_unstable();
        names.dedup();
        prop_assert_eq!(names.len(), catalogue.len());
        prop_assert!(!template::is_template(&names.join(" ")));
    }
}
