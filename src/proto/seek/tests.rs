//! The whole of [`resolve`]: the tables of the time spec, its weaknesses, and what must hold for any input.

use proptest::prelude::*;

use super::*;

/// 2025-03-10 12:00:00 UTC, the time of the worked examples of time spec §7.
const NOW: i64 = 1_741_608_000;

fn ask(url: &str, user_agent: &str, service: Service) -> Result<Resolved, SeekError> {
    let client = ClientClock {
        user_agent: Some(user_agent.as_bytes()),
        now: NOW,
    };
    resolve(url, &client, service)
}

/// The URL that both services get.
fn url_for(url: &str, user_agent: &str) -> String {
    let resolved = |service| {
        let resolved = ask(url, user_agent, service);
        resolved
            .unwrap_or_else(|error| panic!("{url}: {error}"))
            .url
    };
    let http = resolved(Service::Http);
    assert_eq!(http, resolved(Service::Rtsp), "{url}");
    http
}

fn error_for(url: &str) -> SeekError {
    let http = ask(url, "", Service::Http).expect_err(url);
    assert_eq!(ask(url, "", Service::Rtsp), Err(http), "{url}");
    http
}

fn rtsp(url: &str) -> Resolved {
    ask(url, "", Service::Rtsp).unwrap_or_else(|error| panic!("{url}: {error}"))
}

#[test]
fn control_parameters_are_removed_and_the_rest_stays() {
    for (url, expected) in [
        ("/a?b=1&R2H-Token=s&r2h-ifname=eth1&c=2", "/a?b=1&c=2"),
        ("/a?r2h-token=s&R2H-TOKEN=t", "/a"),
        ("/a?r2h-ifname-fcc=eth0", "/a"),
        (
            "/a?r2h-seek-mode=range&r2h-seek-zone=UTC&r2h-seek-offset=5&r2h-seek-name=x",
            "/a",
        ),
        (
            "/a?r2h-seek-offset=%zz&r2h-seek-mode=%&r2h-seek-name=%0a&r2h-seek-offset=1",
            "/a",
        ),
        ("/a?xr2h-token=s&r2h-token", "/a?xr2h-token=s&r2h-token"),
        (
            "/a?snapshot=2&fcc=%41&fec=5&B=+&&c",
            "/a?snapshot=2&fcc=%41&fec=5&B=+&&c",
        ),
        ("/a?", "/a?"),
        ("/a", "/a"),
        ("/a?x=1&playseek=live&y=2", "/a?x=1&y=2&playseek=live"),
        ("/a?playseek=&b=1", "/a?b=1"),
        ("/a?playseek=", "/a"),
        ("/a?b=1#x?playseek=1", "/a?b=1"),
    ] {
        assert_eq!(url_for(url, ""), expected, "{url}");
    }
}

#[test]
fn interfaces_are_reported() {
    let resolved = rtsp("/a?r2h-ifname=et%68%31&R2H-ifname=b&r2h-ifname-fcc=eth2");
    assert_eq!(resolved.interface.as_deref(), Some("eth1"));
    assert_eq!(resolved.interface_fcc.as_deref(), Some("eth2"));
    for url in [
        "/a?r2h-ifname=",
        "/a?r2h-ifname=abcdefghijklmnop&r2h-ifname=b",
        "/a?r2h-ifname=%0a",
    ] {
        assert_eq!(rtsp(url).interface, None, "{url}");
    }
}

#[test]
fn the_seek_parameter_is_found_by_its_rank() {
    for (url, expected) in [
        (
            "/a?tvdr=10&playseek=20&r2h-seek-offset=1",
            "/a?tvdr=10&playseek=21",
        ),
        ("/a?TvDr=10&r2h-seek-offset=1", "/a?TvDr=11"),
        (
            "/a?PlaySeek=10&playseek=20&r2h-seek-offset=1",
            "/a?PlaySeek=11",
        ),
        (
            "/a?r2h-seek-name=go&go=10&playseek=5&r2h-seek-offset=1",
            "/a?playseek=5&go=11",
        ),
        ("/a?r2h-seek-name=GO&go=10&r2h-seek-offset=1", "/a?GO=11"),
        (
            "/a?r2h-seek-name=go&r2h-seek-name=playseek&playseek=1&r2h-seek-offset=1",
            "/a?playseek=1",
        ),
        (
            "/a?r2h-seek-name=&playseek=1&r2h-seek-offset=1",
            "/a?playseek=1",
        ),
        (
            "/a?r2h-seek-name=%&playseek=1&r2h-seek-offset=1",
            "/a?playseek=2",
        ),
        ("/a?x=1?playseek=1&r2h-seek-offset=1", "/a?x=1&playseek=2"),
    ] {
        assert_eq!(url_for(url, ""), expected, "{url}");
    }
    let long = format!(
        "/a?r2h-seek-name={}&playseek=1&r2h-seek-offset=1",
        "x".repeat(128)
    );
    assert_eq!(url_for(&long, ""), "/a?playseek=2");
}

#[test]
fn a_value_without_braces_comes_first() {
    assert_eq!(
        url_for("/a?playseek={utc}&playseek=1741635000", ""),
        "/a?playseek=1741635000"
    );
    assert_eq!(
        url_for("/a?playseek={x}&playseek={y}", ""),
        "/a?playseek=%7Bx%7D"
    );
    assert_eq!(url_for("/a?playseek={utc}&playseek=", ""), "/a");
}

#[test]
fn values_are_appended_as_the_table_says() {
    for (value, offset, expected) in [
        (
            "20250310193000-20250310210000",
            "",
            "20250310113000-20250310130000",
        ),
        (
            "20250310193000-20250310210000",
            "3600",
            "20250310123000-20250310140000",
        ),
        ("20250310193000-", "-30", "20250310112930-"),
        (
            "20250310193000GMT-20250310210000GMT",
            "",
            "20250310193000GMT-20250310210000GMT",
        ),
        (
            "20250310193000GMT-20250310210000GMT",
            "3600",
            "20250310203000GMT-20250310220000GMT",
        ),
        (
            "20250310T193000-20250310T210000",
            "",
            "20250310T113000-20250310T130000",
        ),
        ("20250310T193000+09:00", "60", "20250310T193100+09:00"),
        ("20250310T193000%2B09:00", "60", "20250310T193100+09:00"),
        // The fraction keeps its width (time spec §12, weakness 6).
        ("2025-03-10T19:30:00.5", "", "2025-03-10T11:30:00.5"),
        ("2025-03-10T19:30:00Z", "", "2025-03-10T19:30:00Z"),
        ("1741635000-1741640400", "30,-60", "1741635030-1741640340"),
        (
            "20250310193000-20250310210000",
            "30,-60",
            "20250310113030-20250310125900",
        ),
        (
            "20250310193000-20250310210000",
            "%2B30,+60",
            "20250310113030-20250310130100",
        ),
        ("20250310193000", "30,-60", "20250310113030"),
        ("20250310193000", "1,2,3", "20250310113000"),
        (
            "20250310193000",
            "00000000000000000000000000000060",
            "20250310113000",
        ),
        ("live", "3600", "live"),
    ] {
        let url = format!("/a?playseek={value}&r2h-seek-offset={offset}");
        assert_eq!(
            url_for(&url, "TZ/UTC+8"),
            format!("/a?playseek={expected}"),
            "{url}"
        );
    }
    assert_eq!(
        url_for("/a?playseek=20250310193000", "TZ/UTC-5"),
        "/a?playseek=20250311003000"
    );
}

#[test]
fn range_mode_engages_as_the_examples_say() {
    for (query, user_agent, url, clock) in [
        (
            "playseek=20250310193000&r2h-seek-mode=range(UTC+8)",
            "",
            "/a",
            Some("20250310T113000Z"),
        ),
        (
            "playseek=20250310193000&r2h-seek-mode=range(UTC%2B8)",
            "",
            "/a",
            Some("20250310T113000Z"),
        ),
        (
            "playseek=20250310193000&r2h-seek-mode=range",
            "TZ/UTC+8",
            "/a",
            Some("20250310T113000Z"),
        ),
        (
            "playseek=20250310193000&r2h-seek-mode=range",
            "",
            "/a?playseek=20250310193000",
            None,
        ),
        (
            "playseek=20250310180000&r2h-seek-mode=range(UTC+8)",
            "",
            "/a?playseek=20250310180000",
            None,
        ),
        (
            "playseek=20250310193000&r2h-seek-offset=-3600&r2h-seek-mode=range(UTC+8)",
            "",
            "/a?playseek=20250310183000",
            None,
        ),
        (
            "playseek=20250310T113000Z&r2h-seek-mode=range(UTC+9)",
            "TZ/UTC+8",
            "/a",
            Some("20250310T113000Z"),
        ),
        (
            "playseek=20250310193000-20250310194000&r2h-seek-mode=range(UTC+8)&a=1",
            "",
            "/a?a=1",
            Some("20250310T113000Z"),
        ),
        (
            "playseek=live&r2h-seek-mode=range",
            "",
            "/a?playseek=live",
            None,
        ),
        ("r2h-seek-mode=range", "", "/a", None),
    ] {
        let resolved = ask(&format!("/a?{query}"), user_agent, Service::Rtsp).unwrap();
        assert_eq!(
            (resolved.url.as_str(), resolved.clock.as_deref()),
            (url, clock),
            "{query}"
        );
    }
}

#[test]
fn range_mode_ends_at_the_window_and_bears_clocks_that_differ() {
    let clock = |begin: i64| rtsp(&format!("/a?playseek={begin}&r2h-seek-mode=range(60)")).clock;
    assert_eq!(clock(NOW - 59).as_deref(), Some("20250310T115901Z"));
    assert_eq!(clock(NOW - 60), None);
    assert_eq!(clock(NOW).as_deref(), Some("20250310T120000Z"));
    assert_eq!(clock(NOW + 10).as_deref(), Some("20250310T120000Z"));
    assert_eq!(clock(NOW + 11), None);
}

#[test]
fn range_mode_fills_templates_in_the_clients_zone() {
    let url = "/{(b)HM}/{H}{M}?playseek=20250310193000Z&r2h-seek-mode=range(UTC-3)";
    let resolved = ask(url, "TZ/UTC+8", Service::Rtsp).unwrap();
    assert_eq!(
        (resolved.url.as_str(), resolved.clock),
        ("/0330/1930", None)
    );
    let url = "/{(b)HM}/{H}{M}?playseek=20250310113000&r2h-seek-mode=range(UTC)";
    let resolved = ask(url, "TZ/UTC+8", Service::Rtsp).unwrap();
    assert_eq!(resolved.url, "/1130/0330");
    assert_eq!(resolved.clock.as_deref(), Some("20250310T113000Z"));
}

#[test]
fn range_mode_does_nothing_for_http() {
    let url = "/a?playseek=20250310113000&r2h-seek-mode=range(UTC)";
    let resolved = ask(url, "", Service::Http).unwrap();
    assert_eq!(resolved.url, "/a?playseek=20250310113000");
    assert_eq!(resolved.clock, None);
}

#[test]
fn play_times_are_for_rtsp() {
    for (url, start, duration) in [
        ("/a?b=1&r2h-start=90", Some("90"), false),
        ("/a?b=1&R2H-Start=90.5&r2h-start=1", Some("90.5"), false),
        ("/a?b=1&r2h-start=0:01:30.25", Some("0:01:30.25"), false),
        ("/a?b=1&r2h-start=now", Some("now"), false),
        ("/a?b=1&r2h-start=", None, false),
        ("/a?b=1&R2H-Duration=1&r2h-duration=2", None, true),
        ("/a?b=1&r2h-duration=0", None, false),
        ("/a?b=1&xr2h-start=5", None, false),
    ] {
        let resolved = rtsp(url);
        assert_eq!(
            (resolved.start.as_deref(), resolved.duration),
            (start, duration),
            "{url}"
        );
        assert_eq!(
            resolved.url.starts_with("/a?b=1&x"),
            url.contains("&x"),
            "{url}"
        );
    }
    let http = ask("/a?r2h-start=%0a&r2h-duration=1", "", Service::Http).unwrap();
    assert_eq!(http.url, "/a?r2h-start=%0a&r2h-duration=1");
    assert_eq!((http.start, http.duration), (None, false));
}

#[test]
fn wrong_play_times_are_refused() {
    for value in [
        "5%0d%0aX:y",
        "-5",
        "1:2",
        "1:2:3:4",
        "x",
        "1.2.3",
        "5-9",
        "1%20",
        "%zz",
        ":",
        ".5",
    ] {
        let error = ask(&format!("/a?r2h-start={value}"), "", Service::Rtsp);
        assert_eq!(error, Err(SeekError::Start), "{value}");
    }
    let long = format!("/a?r2h-start={}", "1".repeat(64));
    assert_eq!(
        ask(&long, "", Service::Rtsp),
        Err(too_long("r2h-start", 63))
    );
}

#[test]
fn scales_are_numbers_within_bounds() {
    for (value, expected) in [
        ("2", Some("2")),
        ("0.5", Some("0.5")),
        ("-4", Some("-4")),
        ("%2D1.250000", Some("-1.250000")),
        ("128", Some("128")),
        ("-128.0", Some("-128.0")),
        ("0.000001", Some("0.000001")),
        ("", None),
    ] {
        let resolved = rtsp(&format!("/a?R2H-Scale={value}&b=1&r2h-scale=9"));
        assert_eq!(resolved.scale.as_deref(), expected, "{value}");
        assert_eq!(resolved.url, "/a?b=1", "{value}");
    }
    for value in [
        "0",
        "-0",
        "0.000",
        "128.1",
        "-129",
        "1000",
        "+2",
        "--2",
        "2x",
        "1.",
        ".5",
        "1.2.3",
        "1e1",
        "inf",
        "NaN",
        "0.0000001",
        "1%0d%0aX:y",
        "1%20",
        "%zz",
        "٢",
    ] {
        let error = ask(&format!("/a?r2h-scale={value}"), "", Service::Rtsp);
        assert_eq!(error, Err(SeekError::Scale), "{value}");
    }
    let http = ask("/a?r2h-scale=x", "", Service::Http).unwrap();
    assert_eq!((http.url.as_str(), http.scale), ("/a?r2h-scale=x", None));
}

#[test]
fn a_picture_is_not_asked_of_an_rtsp_server() {
    for (url, expected) in [
        ("/a?snapshot=1", "/a"),
        ("/a?b=1&Snapshot=1&snapshot=1&c=2", "/a?b=1&c=2"),
        // What asks this server for nothing is the other's own.
        ("/a?snapshot=10&snapshot=", "/a?snapshot=10&snapshot="),
        ("/a?xsnapshot=1", "/a?xsnapshot=1"),
    ] {
        assert_eq!(rtsp(url).url, expected, "{url}");
        assert_eq!(ask(url, "", Service::Http).unwrap().url, url);
    }
}

#[test]
fn range_mode_goes_before_a_play_time() {
    let resolved = rtsp(&format!(
        "/a?playseek={}&r2h-seek-mode=range&r2h-start=5",
        NOW - 5
    ));
    assert_eq!(resolved.url, "/a");
    assert!(resolved.clock.is_some() && resolved.start.is_none());
}

#[test]
fn templates_are_filled_and_nothing_is_appended() {
    let seek = "playseek=20250310193000-20250310210000";
    for (url, expected) in [
        (
            format!("/a/${{(b)yyyyMMddHHmmss}}/${{(e)yyyyMMddHHmmss}}.m3u8?{seek}"),
            "/a/20250310193000/20250310210000.m3u8",
        ),
        (
            format!(
                "/a/${{(b)yyyyMMddHHmmss}}/${{(e)yyyyMMddHHmmss}}.m3u8?{seek}&r2h-seek-offset=60,-60"
            ),
            "/a/20250310193100/20250310205900.m3u8",
        ),
        (
            format!("/a?s={{utc}}&k=1&{seek}"),
            "/a?s=2025-03-10T11:30:00.000Z&k=1",
        ),
        (
            "/a?s={utc}&playseek=2025-03-10T19:30:00.75".to_owned(),
            "/a?s=2025-03-10T11:30:00.000Z",
        ),
        ("/a?s={offset}&playseek=1741604400".to_owned(), "/a?s=3600"),
    ] {
        assert_eq!(url_for(&url, "TZ/UTC+8"), expected, "{url}");
    }
    let url = "/v.m3u8?starttime=${(b)yyyyMMdd|UTC}T${(b)HHmmss|UTC}&endtime=${(e)yyyyMMdd|UTC}T${(e)HHmmss|UTC}\
               &r2h-seek-offset=3600&playseek=20250310T113000-20250310T130000";
    assert_eq!(
        url_for(url, ""),
        "/v.m3u8?starttime=20250310T123000&endtime=20250310T140000"
    );
}

#[test]
fn local_patterns_show_a_time_without_zone_as_it_came() {
    for user_agent in ["", "TZ/UTC+8", "TZ/UTC-3:30"] {
        assert_eq!(
            url_for("/${(b)HHmm}?playseek=20250310193000", user_agent),
            "/1930"
        );
    }
    assert_eq!(
        url_for("/${(b)HHmm}?playseek=2025-03-10T11:30:00Z", "TZ/UTC+8"),
        "/1930"
    );
    assert_eq!(
        url_for("/${(b)HHmm}?playseek=2025-03-10T19:30:00%2B08:00", ""),
        "/1130"
    );
}

#[test]
fn templates_without_seek_value_stay() {
    for url in [
        "/a/{utc}?x=${(e)yyyy}",
        "/a?x={(b)Y}",
        "/a?{duration}{offset}",
    ] {
        assert_eq!(url_for(url, ""), url);
        assert_eq!(url_for(&format!("{url}&playseek="), ""), url);
    }
}

// What follows are the weaknesses of time spec §12, by number.

#[test]
fn w1_nothing_can_be_injected() {
    for value in [
        "1%0d%0aX-A:%20b",
        "1%00",
        "%7f",
        "live%0a",
        "%ff",
        "1%C2%85",
    ] {
        assert_eq!(
            error_for(&format!("/a?playseek={value}")),
            SeekError::Value(UrlError::Text),
            "{value}"
        );
    }
    for (value, expected) in [
        ("a%20b", "a%20b"),
        ("a%26b=c%23d", "a%26b%3Dc%23d"),
        ("a%3Fplayseek=1;b", "a%3Fplayseek%3D1%3Bb"),
        ("%2525", "%2525"),
        ("%C3%A9\"<>", "%C3%A9%22%3C%3E"),
        ("a+b", "a+b"),
    ] {
        assert_eq!(
            url_for(&format!("/a?playseek={value}"), ""),
            format!("/a?playseek={expected}")
        );
    }
    let named = "/a?r2h-seek-name=x%0ay&playseek=1";
    assert_eq!(url_for(named, ""), "/a?playseek=1");
    assert_eq!(url_for("/a?r2h-seek-name=%78%3F&x?=1", ""), "/a?x%3F=1");
    for url in ["/a b", "/a\r\nX: y", "/a?x=\u{7f}", "/a\0"] {
        assert_eq!(error_for(url), SeekError::Url, "{url:?}");
    }
    assert_eq!(
        url_for("/a?r2h-seek-name=r2h-token&r2h-token=secret", ""),
        "/a"
    );
}

#[test]
fn w2_zones_have_minutes() {
    assert_eq!(
        url_for("/a?playseek=20250310193000", "TZ/UTC+5:30"),
        "/a?playseek=20250310140000"
    );
    let resolved = rtsp("/a?playseek=20250310173000&r2h-seek-mode=range(UTC%2B0530)");
    assert_eq!(resolved.clock.as_deref(), Some("20250310T120000Z"));
}

#[test]
fn w3_fields_are_checked_the_same_everywhere() {
    for value in ["20251399120000", "20250230120000", "20250310T250000Z"] {
        let plain = format!("/a?playseek={value}");
        assert_eq!(
            url_for(&format!("{plain}&r2h-seek-offset=60"), "TZ/UTC+8"),
            plain
        );
        assert_eq!(
            error_for(&format!("/{{utc}}?playseek={value}")),
            SeekError::NotATime
        );
        let range = rtsp(&format!("{plain}&r2h-seek-mode=range"));
        assert_eq!((range.url, range.clock), (plain, None));
    }
}

#[test]
fn w4_basic_zones_are_kept_whole() {
    let url = "/a?playseek=20250310T193000-0500&r2h-seek-offset=60";
    assert_eq!(url_for(url, "TZ/UTC+8"), "/a?playseek=20250310T193100-0500");
    let url = "/a?playseek=2025-03-10T19:30:00%2B0530-2025-03-10T21:00:00%2B0530";
    assert_eq!(
        url_for(url, "TZ/UTC+8"),
        "/a?playseek=2025-03-10T19:30:00+0530-2025-03-10T21:00:00+0530"
    );
}

#[test]
fn w5_text_behind_a_time_is_not_dropped() {
    assert_eq!(
        url_for("/a?playseek=2025-03-10T19:30:00Z$$x&r2h-seek-offset=60", ""),
        "/a?playseek=2025-03-10T19:30:00Z%24%24x"
    );
}

#[test]
fn w6_fractions_of_any_width_are_times() {
    let url = "/a?playseek=2025-03-10T19:30:00.123456-20250310T210000.5";
    assert_eq!(
        url_for(url, "TZ/UTC+8"),
        "/a?playseek=2025-03-10T11:30:00.123456-20250310T130000.5"
    );
}

#[test]
fn w7_days_and_milliseconds_are_times() {
    let url = "/a?playseek=20250310-20250311&r2h-seek-offset=3600";
    assert_eq!(url_for(url, "TZ/UTC+8"), "/a?playseek=20250310-20250311");
    assert_eq!(
        url_for("/{utc}?playseek=20250310", "TZ/UTC+8"),
        "/2025-03-09T16:00:00.000Z"
    );
    let url = "/a?playseek=1741635000123&r2h-seek-offset=30";
    assert_eq!(url_for(url, "TZ/UTC+8"), "/a?playseek=1741635030123");
    assert_eq!(
        url_for("/{(b)timestamp}?playseek=1741635000123", ""),
        "/1741635000"
    );
}

#[test]
fn w8_names_that_end_alike_do_not_hide_the_seek_parameter() {
    assert_eq!(
        url_for("/a?xplayseek=1&playseek=2&r2h-seek-offset=5", ""),
        "/a?xplayseek=1&playseek=7"
    );
}

#[test]
fn w9_unknown_placeholders_make_no_template() {
    assert_eq!(
        url_for("/a?sig=${x}&b=${&playseek=5", ""),
        "/a?sig=${x}&b=${&playseek=5"
    );
}

#[test]
fn w10_a_templated_seek_parameter_is_filled_beside_others() {
    let configured = "/p?playseek={utc:YmdHMS}-{utcend:YmdHMS}&len={duration}&x=1";
    assert_eq!(
        url_for(&format!("{configured}&playseek=1741606200-1741611600"), ""),
        "/p?playseek=20250310113000-20250310130000&len=5400&x=1"
    );
    // Alone, it is a link that the player has appended to, and the number goes on as it is.
    let url = "/p?playseek={utc}-{utcend}&x=1&playseek=1741606200-1741611600";
    assert_eq!(url_for(url, ""), "/p?x=1&playseek=1741606200-1741611600");
}

#[test]
fn w10_an_unfilled_seek_parameter_is_refused() {
    for url in [
        "/p?playseek={utc:YmdHMS}-{utcend:YmdHMS}",
        "/p?playseek=${(b)yyyy}&len={duration}",
        "/p?playseek=%7Butc%7D",
    ] {
        assert_eq!(error_for(url), SeekError::Unfilled, "{url}");
    }
}

#[test]
fn w11_the_present_is_filled_in_without_seek_value() {
    assert_eq!(
        url_for("/a?t={timestamp}&n=${lutc}&b={utc}", ""),
        "/a?t=1741608000&n=2025-03-10T12:00:00.000Z&b={utc}"
    );
}

#[test]
fn w12_what_has_no_end_lasts_until_now() {
    for value in ["20250310113000", "20250310113000-"] {
        let url = format!("/a?e={{end}}&d={{duration}}&playseek={value}&r2h-seek-offset=0,60");
        assert_eq!(
            url_for(&url, ""),
            "/a?e=2025-03-10T12:00:00.000Z&d=1800",
            "{value}"
        );
    }
    assert_eq!(
        error_for("/a?e={end}&playseek=20250310120001"),
        SeekError::EndMissing
    );
    assert_eq!(
        url_for("/a?e={utc}&playseek=20250310120001", ""),
        "/a?e=2025-03-10T12:00:01.000Z"
    );
}

#[test]
fn w13_components_are_those_of_utc() {
    assert_eq!(
        url_for("/{Y}{H}/${HH}?playseek=20250310193000", "TZ/UTC+8"),
        "/202511/11"
    );
}

#[test]
fn w14_the_utc_mark_works_with_every_form() {
    let url = "/${(b)timestamp|UTC}/{(b)|UTC}?playseek=20250310193000";
    assert_eq!(
        url_for(url, "TZ/UTC+8"),
        "/1741606200/2025-03-10T11:30:00.000Z"
    );
}

#[test]
fn w15_w19_the_zone_can_be_said_in_the_url() {
    let url = "/a?playseek=20250310193000&r2h-seek-zone=";
    assert_eq!(
        url_for(&format!("{url}UTC"), "TZ/UTC+8"),
        "/a?playseek=20250310193000"
    );
    assert_eq!(
        url_for(&format!("{url}UTC%2B8"), ""),
        "/a?playseek=20250310113000"
    );
    assert_eq!(
        url_for(&format!("{url}UTC+8"), "TZ/UTC-3"),
        "/a?playseek=20250310113000"
    );
    assert_eq!(
        url_for(&format!("{url}Mars"), "TZ/UTC+8"),
        "/a?playseek=20250310113000"
    );
}

#[test]
fn w16_malformed_escapes_are_refused_by_both_services() {
    assert_eq!(
        error_for("/a?playseek=%zz"),
        SeekError::Value(UrlError::Escape)
    );
    assert_eq!(
        error_for("/a?playseek=1&playseek=%"),
        SeekError::Value(UrlError::Escape)
    );
}

#[test]
fn w17_plus_is_a_plus() {
    assert_eq!(
        url_for("/a?playseek=20250310T193000+08:00", ""),
        "/a?playseek=20250310T193000+08:00"
    );
    assert_eq!(
        error_for("/{utc}?playseek=2025-03-10+19:30:00"),
        SeekError::NotATime
    );
}

#[test]
fn times_beyond_the_calendar_are_refused() {
    assert_eq!(
        error_for("/a?playseek=99991231235959&r2h-seek-offset=1"),
        SeekError::OutOfRange
    );
    assert_eq!(
        error_for("/{utc}?playseek=99991231235959&r2h-seek-offset=1"),
        SeekError::OutOfRange
    );
}

#[test]
fn lengths_are_limited() {
    let url = |bytes: usize| format!("/{}", "x".repeat(bytes - 1));
    assert!(ask(&url(8000), "", Service::Http).is_ok());
    assert_eq!(error_for(&url(8001)), too_long("the URL", 8000));
    let expanding = format!("/{}?playseek=1", "{utc}".repeat(400));
    assert_eq!(
        error_for(&expanding),
        too_long("the URL for the upstream", 8000)
    );
    let text = |bytes: usize| format!("/a?playseek={}", "x".repeat(bytes));
    assert_eq!(url_for(&text(127), ""), text(127));
    assert_eq!(error_for(&text(128)), too_long("the seek value", 127));
}

#[test]
fn errors_say_what_is_accepted() {
    for error in [
        SeekError::Url,
        SeekError::Value(UrlError::Escape),
        SeekError::Unfilled,
        SeekError::NotATime,
        SeekError::EndMissing,
        SeekError::OutOfRange,
        SeekError::Start,
        SeekError::Scale,
        too_long("the URL", URL_BYTES_MAX),
    ] {
        let text = error.to_string();
        assert!(
            text.len() > 20 && !text.contains(char::is_control),
            "{text}"
        );
    }
}

fn any_url() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        3 => Just("playseek".to_owned()),
        1 => Just("TVDR".to_owned()),
        1 => Just("r2h-seek-name".to_owned()),
        1 => Just("r2h-seek-offset".to_owned()),
        1 => Just("r2h-seek-mode".to_owned()),
        1 => Just("r2h-seek-zone".to_owned()),
        1 => Just("r2h-ifname".to_owned()),
        1 => Just("r2h-token".to_owned()),
        1 => Just("r2h-start".to_owned()),
        1 => Just("r2h-scale".to_owned()),
        1 => "[a-z]{1,3}",
    ];
    let value = prop_oneof![
        2 => "(%[0-9a-f]{2}|[a-z0-9é;:?=+{}$-]){0,12}",
        2 => "[12][0-9]{9}(-([12][0-9]{9})?)?",
        2 => "20[0-9]{2}(0[1-9]|1[0-2])[0-2][1-9]T?[01][0-9][0-5]{4}(\\.[0-9]{1,6})?(Z|GMT|[+-]0[0-9]:?30)?-?",
        1 => "-?[0-9]{1,9}(,-?[0-9]{1,9})?",
        1 => "range(\\((UTC[+-][0-9])?/?[0-9]{0,5}\\))?",
        1 => "(\\$?\\{(utc|end|\\(b\\)[yYmH]{1,4}|duration|x)\\}){1,2}",
    ];
    let parameters = prop::collection::vec((name, value), 0..5);
    ("/[a-z]{0,4}(\\{(Y|utcend|now)\\})?", parameters).prop_map(|(path, parameters)| {
        let query: Vec<String> = parameters
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        format!("{path}?{}", query.join("&"))
    })
}

proptest! {
    #[test]
    fn what_comes_out_is_safe_to_send(
        url in prop_oneof![3 => any_url(), 1 => "[ -~é\\x00-\\x20\\x7f]{0,40}"],
        user_agent in prop::collection::vec(any::<u8>(), 0..20),
        now in prop_oneof![Just(NOW), any::<i64>()],
        is_rtsp in any::<bool>(),
    ) {
        let client = ClientClock { user_agent: Some(&user_agent), now };
        let service = if is_rtsp { Service::Rtsp } else { Service::Http };
        match resolve(&url, &client, service) {
            Err(error) => prop_assert!(!error.to_string().is_empty()),
            Ok(resolved) => {
                let sent = &resolved.url;
                prop_assert!(sent.len() <= URL_BYTES_MAX);
                prop_assert!(sent.bytes().all(|byte| byte > b' ' && byte != 0x7f && byte != b'#'), "{}", sent);
                // Not a parameter more than there were, wherever the seek value has gone.
                let count = |url: &str| url.matches('&').count() + url.matches('?').count();
                prop_assert!(count(sent) <= count(&url), "{}", sent);
                prop_assert_eq!(query::parameters(sent, "r2h-token").next(), None, "{}", sent);
                let is_clock = |c: char| c.is_ascii_digit() || c == 'T' || c == 'Z';
                prop_assert!(resolved.clock.iter().all(|clock| clock.len() == 16 && clock.chars().all(is_clock)));
                let is_play_time = |c: char| c.is_ascii_digit() || ":.now".contains(c);
                let is_scale = |c: char| c.is_ascii_digit() || ".-".contains(c);
                prop_assert!(resolved.scale.iter().all(|scale| scale.chars().all(is_scale)));
                prop_assert!(resolved.start.iter().all(|start| start.chars().all(is_play_time)));
            }
        }
    }

    #[test]
    fn a_url_without_any_of_this_is_left_alone(url in "/[a-z%$(){}/]{0,10}(\\?[a-z0-9%$=&;:+{}]{0,30})?") {
        prop_assume!(!template::is_template(&url));
        prop_assert_eq!(url_for(&url, "TZ/UTC+8"), url);
    }
}
