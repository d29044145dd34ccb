//! The parts of the page that know nothing of it, run in the browser: playlist, guide, links to recordings, streams.

use serde_json::{Value, json};

use crate::support::browser::{self, Browser};

const PLAYLIST: &str = include_str!("../../src/web/player/playlist.js");
const GUIDE: &str = concat!(
    include_str!("../../src/web/player/playlist.js"),
    include_str!("../../src/web/player/xmltv.js"),
    include_str!("../../src/web/player/guide.js")
);
const CATCHUP: &str = include_str!("../../src/web/player/catchup.js");
const LANGUAGE: &str = concat!(
    "const remembered = () => 'en';",
    include_str!("../../src/web/player/text.js"),
    include_str!("../../src/web/language.js")
);
const TRANSPORT: &str = include_str!("../../src/web/player/transport.js");

/// What a script returns that may use these sources.
fn evaluate(browser: &Browser, sources: &str, script: &str) -> Value {
    browser.run(&format!("{sources}\n{script}"))
}

/// The text as it stands in a script.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[test]
fn one_channel_is_not_called_channels() {
    if !browser::available() {
        return;
    }
    let browser = Browser::start("en-US");
    let script =
        "return [t('all', 1), t('all', 2), t('all', 0), t('many', 1, 400), t('many', 0, 1)]";
    let said = json!([
        "1 channel",
        "2 channels",
        "0 channels",
        "1 of 400 channels",
        "0 of 1 channel"
    ]);
    assert_eq!(evaluate(&browser, LANGUAGE, script), said);
}

#[test]
fn playlists_are_read_as_they_are_written() {
    if !browser::available() {
        return;
    }
    let browser = Browser::start("en-US");
    let text = "#EXTM3U x-tvg-url=\"http://tv:5140/p/epg.xml.gz?r2h-token=a\"\r\n\r\n\
        #EXTINF:-1 tvg-id=\"s1\" tvg-name=\"a, b\" group-title=\"Sport;News\" catchup=\"default\" \
        catchup-source=\"http://tv:5140/p/S/catchup?playseek={utc:YmdHMS}-{utcend:YmdHMS}\",S, One\n\
        http://tv:5140/p/Sport/S%20One/4K?t={utc}&r2h-token=a$4K\n\
        #EXTINF:-1 tvg-logo='http://logos/x.png' group-title=\"Sport\" group-title=\"News\",S, One\n\
        # a remark\nhttp://tv:5140/p/x?to=${now}\n\
        #EXTINF:-1,Elsewhere\nhttps://other/x.m3u8\n\
        igmp://239.0.0.1\n\
        #EXTINF:-1 catchup=\"append\" catchup-source=\"?a={utc}\",Appended\n/p/y$HD\n";
    let script = format!("return parsePlaylist({}, 'http://proxy:80')", quoted(text));
    let read = evaluate(&browser, PLAYLIST, &script);
    assert_eq!(read["guide"], "/p/epg.xml.gz?r2h-token=a");
    let channels = read["channels"].as_array().expect("a list");
    let names: Vec<&Value> = channels.iter().map(|channel| &channel["name"]).collect();
    assert_eq!(names, ["S, One", "Elsewhere", "Appended"]);
    let first = &channels[0];
    assert_eq!(first["number"], 1);
    assert_eq!(first["groups"], json!(["Sport", "News"]));
    assert_eq!(first["logo"], "http://logos/x.png");
    assert_eq!(first["guideIds"], json!(["s1", "a, b", "S, One"]));
    assert_eq!(
        first["sources"],
        json!([
            {
                "url": "/p/Sport/S%20One/4K?t={utc}&r2h-token=a$4K", "foreign": false, "label": "4K",
                "recordings": "/p/S/catchup?playseek={utc:YmdHMS}-{utcend:YmdHMS}"
            },
            { "url": "/p/x?to=${now}", "foreign": false, "label": "", "recordings": "" },
        ])
    );
    assert_eq!(channels[1]["sources"][0]["foreign"], true);
    assert_eq!(channels[2]["sources"][0]["recordings"], "/p/y?a={utc}");

    let found = |words: &str| {
        let script = format!(
            "const {{ channels }} = parsePlaylist({}, ''); return findChannels(channels, '{words}', '').map((c) => c.number)",
            quoted(text)
        );
        evaluate(&browser, PLAYLIST, &script)
    };
    assert_eq!(found("one"), json!([1]));
    assert_eq!(found("3"), json!([3]));
    assert_eq!(found("e e"), json!([1, 2, 3]));
    let by_hash = |hash: &str| {
        let script = format!(
            "const {{ channels }} = parsePlaylist({}, ''); return channelOfHash(channels, '{hash}')?.number ?? 0",
            quoted(text)
        );
        evaluate(&browser, PLAYLIST, &script)
    };
    for (hash, number) in [
        ("#2", 2),
        ("#s%2C%20one", 1),
        ("#4", 0),
        ("#", 0),
        ("#%zz", 0),
    ] {
        assert_eq!(by_hash(hash), number, "{hash}");
    }
}

#[test]
fn guide_is_read_in_pieces_of_any_size() {
    if !browser::available() {
        return;
    }
    let browser = Browser::start("en-US");
    let text = "<?xml version='1.0'?><tv><!-- <channel id=\"none\"> --><channel id=\"1\"><display-name lang=\"zh\">CCTV&#49; &amp; x</display-name>\
        <display-name>One</display-name></channel><channels-are/>\
        <programme start=\"20250310193000 +0800\" stop=\"20250310203000 +0800\" channel=\"1\"><title>N &lt;b&gt;</title><desc>d</desc></programme>\
        <programme channel='1' start='202503101230'><title><![CDATA[A & <b>]]></title></programme>\
        <programme start=\"20250310140000\" channel=\"1\"/>\
        <programme start=\"20250310140000\" stop=\"20250310150000\" channel=\"1\"><title/></programme>\
        <programme start=\"bad\" channel=\"1\"><title>No</title></programme></tv>";
    for size in [1, 7, 64, 10_000] {
        let script = format!(
            "const text = {}; const reader = new GuideReader(0, Infinity);
             for (let at = 0; at < text.length; at += {size}) reader.push(text.slice(at, at + {size}));
             const {{ names, programmes }} = reader.finish();
             return [[...names], programmes.get('1').map((each) => [each.start / 1000, each.stop / 1000, each.title])]",
            quoted(text)
        );
        let read = evaluate(&browser, GUIDE, &script);
        assert_eq!(read[0], json!([["1", ["CCTV1 & x", "One"]]]), "{size}");
        assert_eq!(
            read[1],
            json!([
                [1_741_606_200, 1_741_609_800, "N <b>"],
                [1_741_609_800, 1_741_615_200, "A & <b>"],
                [1_741_615_200, 1_741_618_800, ""],
            ]),
            "{size}"
        );
    }
}

#[test]
fn gaps_in_the_guide_are_filled_where_there_are_recordings() {
    if !browser::available() {
        return;
    }
    let browser = Browser::start("en-US");
    let script = "const hours = (n) => new Date(2025, 2, 10, n).getTime();
        const told = [{ start: hours(3), stop: hours(5), title: 'A' }, { start: hours(5), stop: hours(6), title: 'B' }];
        const guide = new Guide(new Map([['x', ['One']]]), new Map([['x', told]]));
        const channel = (recordings) => ({ guideIds: ['one'], sources: [{ recordings }] });
        const list = guide.of(channel('/r'), hours(9));
        const last = list.slice(-5).map((each) => [(each.start - hours(0)) / HOUR, (each.stop - hours(0)) / HOUR, each.title]);
        return [last, guide.of(channel(''), hours(9)).length, guide.at(channel('/r'), hours(4)).title,
          guide.at(channel(''), hours(7)), guide.at(channel('/r'), hours(7)).start === hours(6)]";
    let answer = evaluate(&browser, GUIDE, script);
    assert_eq!(
        answer,
        json!([
            [
                [2, 3, ""],
                [3, 5, "A"],
                [5, 6, "B"],
                [6, 8, ""],
                [8, 10, ""]
            ],
            2,
            "A",
            null,
            true
        ])
    );
}

#[test]
fn templates_are_filled_as_the_specification_says() {
    if !browser::available() {
        return;
    }
    let browser = Browser::start("en-US");
    let begin = 1_741_606_200_000_u64;
    for (template, expected) in [
        (
            "/a?s={utc}&e=${end}",
            "/a?s=2025-03-10T11:30:00.000Z&e=2025-03-10T13:00:00.000Z",
        ),
        (
            "{utc:YmdHMS}-{utcend:YmdHMS}",
            "20250310113000-20250310130000",
        ),
        ("${start:yyyy-MM-dd HH:mm:ss}", "2025-03-10 11:30:00"),
        ("${(b)yyyyMMdd|UTC}T${(b)HHmmss|UTC}", "20250310T113000"),
        ("{(e)YmdHMS|UTC}", "20250310130000"),
        (
            "${(b)timestamp}&d=${duration}&o={offset}",
            "1741606200&d=5400&o=9000",
        ),
        ("{Y}{m}{d}{H}{M}{S}/${yyyy}${MM}", "20250310113000/202503"),
        (
            "{now:Y} ${timestamp} {lutc}",
            "2025 1741615200 2025-03-10T14:00:00.000Z",
        ),
        (
            "{foo} ${Y} {yyyy} {duration:x} ${(c)yyyy}",
            "{foo} ${Y} {yyyy} {duration:x} ${(c)yyyy}",
        ),
        ("{{utc:Y}} {unclosed", "{2025} {unclosed"),
        ("{utc:}|", "|"),
    ] {
        let script = format!(
            "return fillTemplate({}, {begin}, {}, {})",
            quoted(template),
            begin + 5_400_000,
            begin + 9_000_000
        );
        assert_eq!(evaluate(&browser, CATCHUP, &script), expected, "{template}");
    }
    // Patterns of begin and end are in the viewer's time.
    browser.move_to("Asia/Shanghai");
    let script = format!(
        "return fillTemplate('${{(b)ddHHmm}} ${{(b)ddHHmm|UTC}} {{utc:dHM}}', {begin}, 0, 0)"
    );
    let filled = evaluate(&browser, CATCHUP, &script);
    assert_eq!(filled, "101930 101130 101130");
}

#[test]
fn recordings_are_asked_for_in_parts_that_join() {
    if !browser::available() {
        return;
    }
    let browser = Browser::start("en-US");
    let parts = |start: i64, now: i64| {
        let script = format!(
            "return recordingParts({start} * SECOND, {now} * SECOND).map((part) => [part.begin / SECOND, part.end / SECOND])"
        );
        let list = evaluate(&browser, CATCHUP, &script);
        let list = list.as_array().expect("a list").clone();
        for pair in list.windows(2) {
            assert_eq!(pair[0][1], pair[1][0]);
        }
        list
    };
    let short = parts(100_000, 100_600);
    assert_eq!(
        short[..2],
        [json!([100_000, 100_590]), json!([100_590, 100_890])]
    );
    assert!(short[short.len() - 1][1].as_i64() >= Some(100_600 + 8 * 3600));
    // Not nearer than thirty seconds, and not longer than five hours.
    assert_eq!(parts(100_595, 100_600)[0], json!([100_570, 100_590]));
    let long = parts(100_000, 150_000);
    assert_eq!(long[0], json!([100_000, 118_000]));
    assert_eq!(long[2], json!([136_000, 149_990]));
    let link = evaluate(
        &browser,
        CATCHUP,
        "return partLink('/r?p={utc:S}-{utcend:S}', { begin: 5000, end: 9000 }, false, 0)",
    );
    assert_eq!(
        link,
        json!({ "url": "/r?p=04-09", "begin": 4000, "skip": 1000 })
    );
}

/// A packet of a table, or one of media that begins a frame, padded with stuffing.
const PACKETS: &str = "
    const packet = (pid, bytes) => {
      const all = new Uint8Array(188).fill(0xff);
      all.set([0x47, 0x40 | (pid >> 8), pid & 255, 0x10, ...bytes]);
      return all;
    };
    const pat = packet(0, [0, 0, 0xb0, 13, 0, 1, 0xc1, 0, 0, 0, 1, 0xe1, 0, 1, 2, 3, 4]);
    const pmt = (...entries) => {
      const body = entries.flatMap(([type, pid, ...more]) => [type, 0xe0 | (pid >> 8), pid & 255, 0xf0, more.length, ...more]);
      return packet(256, [0, 2, 0xb0, 13 + body.length, 0, 1, 0xc1, 0, 0, 0xe1, 1, 0xf0, 0, ...body, 1, 2, 3, 4]);
    };
    const audio = (pid, second) => packet(pid, [0, 0, 1, 0xc0, 0, 0, 0x80, 0, 0, 0xff, second, 0, 0]);
    const join = (...packets) => { const all = new Uint8Array(188 * packets.length); packets.forEach((each, i) => all.set(each, 188 * i)); return all; };
    const tell = (reader) => [reader.picture?.name ?? null, reader.sound?.name ?? null, reader.silentSound?.name ?? null];
    const reader = (none) => new TransportReader((mime, name) => !none || !(mime + name).includes(none));";

#[test]
fn streams_are_looked_into_and_cut_into_packets() {
    if !browser::available() {
        return;
    }
    let browser = Browser::start("en-US");
    let sources = format!("{TRANSPORT}{PACKETS}");
    let tell = |script: &str| evaluate(&browser, &sources, script);
    // AAC is known from the table alone.
    let aac = tell(
        "const r = reader(); const out = r.take(join(pat, pmt([0x1b, 257], [0x0f, 258]), audio(258, 0xf1))); return [...tell(r), out.length]",
    );
    assert_eq!(aac, json!(["H.264", "AAC", null, 564]));
    // Of MPEG sound the layer decides, and until it is known nothing goes on; then nothing is missing.
    let mpeg = "const r = reader(); const first = r.take(join(pat, pmt([0x1b, 257], [0x03, 258]), packet(257, [0])));
        const then = r.take(audio(258, LAYER)); return [...tell(r), first.length, then.length, then[188 + 22]]";
    assert_eq!(
        tell(&mpeg.replace("LAYER", "0xfd")),
        json!(["H.264", "MP2", null, 0, 752, 0x03])
    );
    assert_eq!(
        tell(&mpeg.replace("LAYER", "0xfb")),
        json!(["H.264", "MP3", null, 0, 752, 0x03])
    );
    let deaf = mpeg
        .replace("LAYER", "0xfd")
        .replace("reader()", "reader('MP2')");
    assert_eq!(tell(&deaf), json!(["H.264", null, "MP2", 0, 752, 0xfe]));
    // Where one sound can be played the others are hidden, and European AC-3 is found.
    let many = "const r = reader('ac-3'); const out = r.take(join(pat, pmt([0x24, 257], [6, 258, 0x6a, 1, 0], [0x0f, 259]), audio(259, 0xf1)));
        return [...tell(r), out[188 + 22], out[188 + 22 + 8]]";
    assert_eq!(tell(many), json!(["H.265", "AAC", null, 0xfe, 0x0f]));
    // However it arrives, the same packets come out.
    let cut = "const all = join(pat, pmt([0x1b, 257], [0x03, 258]), packet(257, [0]), audio(258, 0xfd), packet(257, [1]));
        const whole = [...reader().take(all)];
        for (const size of [1, 100, 187, 189, 500]) {
          const r = reader(); const out = [];
          for (let at = 0; at < all.length; at += size) out.push(...r.take(all.slice(at, at + size)));
          if (out.join() !== whole.join()) return size;
        }
        return 'same'";
    assert_eq!(tell(cut), "same");
    // What stands before the first packet is passed over, and what is none is found out.
    let late = "const r = reader(); const all = join(packet(0, [0]), pat, pmt([0x1b, 257]), packet(257, [0])); return r.take(all.slice(60)).length";
    assert_eq!(tell(late), 564);
    assert_eq!(
        tell("const r = reader(); r.take(new Uint8Array(5000)); return r.isStrange"),
        true
    );
}
