//! Live channels: pictures, changing over, searching, languages.

use super::{
    SHOWN, assert_moves, assert_quiet_and_at_home, available, press, row, send, serve,
    wait_for_picture, wait_for_text,
};
use crate::support::browser::{Browser, Screen};
use crate::support::namespace::with_links;

const CHANNELS: &str = "#EXTINF:-1 group-title=\"News\",First News\nrtp://239.8.1.1:5000\n\
     #EXTINF:-1 group-title=\"Sport;News\",Second Sport\nrtp://239.8.1.2:5000\n\
     #EXTINF:-1 group-title=\"影视\",电影频道\nrtp://239.8.1.1:5000\n";

#[test]
fn page_fits_every_screen_and_every_size_of_text() {
    if !available() {
        return;
    }
    with_links(|| {
        let long = "A channel with a name that is longer than anybody would make it".repeat(3);
        let configured = serve(
            "",
            &format!("{CHANNELS}#EXTINF:-1,{long}\nrtp://239.8.1.9:5000\n"),
        );
        let browser = Browser::start("en-US");
        for (width, height, text_percent) in [
            (320, 640, 100),
            (640, 360, 100),
            (900, 800, 100),
            (360, 640, 200),
            (768, 1024, 200),
            (1280, 800, 200),
        ] {
            browser.show_on(Screen {
                width,
                height,
                ..Screen::DESKTOP
            });
            browser.open(&configured.server.url("/player#4"));
            browser.run("document.documentElement.style.fontSize = ''");
            let size = "return parseFloat(getComputedStyle(document.querySelector('#channel-list b')).fontSize)";
            let before = browser.wait(size).as_f64().expect("a size");
            browser.run(&format!(
                "document.documentElement.style.fontSize = '{text_percent}%'"
            ));
            let after = browser.wait(size).as_f64().expect("a size");
            assert_eq!(after, before * f64::from(text_percent) / 100.0);
            let wider = browser.run(
                "return [document.documentElement, ...document.querySelectorAll('.stage, .side, .bar, .row')]
                   .filter((part) => part.scrollWidth > part.clientWidth + 1)
                   .map((part) => `${part.className} ${part.scrollWidth} > ${part.clientWidth}`).join()",
            );
            assert_eq!(wider, "", "at {width} with text at {text_percent} %");
        }
    });
}

#[test]
fn picture_moves_and_channels_change_by_click_key_number_and_address() {
    if !available() {
        return;
    }
    with_links(|| {
        let configured = serve("", CHANNELS);
        let _senders = [
            send("239.8.1.1:5000", "640x360"),
            send("239.8.1.2:5000", "320x180"),
        ];
        let browser = Browser::start("en-US");
        let page = configured.server.url("/player");
        browser.open(&page);
        wait_for_picture(&browser, 640);
        assert_eq!(browser.text("#now-name"), "First News");
        assert_eq!(browser.run("return document.title"), "First News");
        assert_eq!(browser.run("return location.hash"), "#First%20News");
        wait_for_text(&browser, "#badges", "640×360");
        wait_for_text(&browser, "#badges", "H.264");
        // A live picture lags no more than a few seconds behind what has arrived.
        let behind = format!(
            "const v = {SHOWN}; return v.buffered.end(v.buffered.length - 1) - v.currentTime < 6.5"
        );
        browser.wait(&behind);

        browser.click(&row(2));
        wait_for_picture(&browser, 320);
        // Before the page was touched it could not be heard.
        assert_eq!(browser.run(&format!("return {SHOWN}.muted")), false);
        assert_eq!(
            browser.run("return document.querySelectorAll('video.shown').length"),
            1
        );
        browser.wait("return document.querySelector('[aria-current=true]').dataset.number === '2'");
        press(&browser, "ArrowUp");
        wait_for_picture(&browser, 640);
        press(&browser, "2");
        assert_eq!(browser.text("#digits-name"), "Second Sport");
        wait_for_picture(&browser, 320);
        browser.run("location.hash = '#3'");
        wait_for_picture(&browser, 640);
        assert_eq!(browser.text("#now-name"), "电影频道");

        for (name, screen) in [
            ("player-desktop", Screen::DESKTOP),
            ("player-phone", Screen::PHONE),
        ] {
            browser.show_on(screen);
            browser.wait("return document.documentElement.scrollWidth <= innerWidth");
            browser.run("dispatchEvent(new Event('pointermove'))");
            browser.keep_picture(name);
        }
        // The channel is found again the next time.
        browser.open(&page);
        wait_for_picture(&browser, 640);
        assert_eq!(browser.text("#now-name"), "电影频道");
        let keys = browser.run(
            "return Object.keys(localStorage).every((key) => key.startsWith('rtp2httpd-player-'))",
        );
        assert_eq!(keys, true);
        assert_quiet_and_at_home(&browser, &configured);
    });
}

#[test]
fn channels_change_where_only_one_client_is_served() {
    if !available() {
        return;
    }
    with_links(|| {
        let configured = serve("maxclients = 1\n", CHANNELS);
        let _senders = [
            send("239.8.1.1:5000", "640x360"),
            send("239.8.1.2:5000", "320x180"),
        ];
        let browser = Browser::start("en-US");
        browser.open(&configured.server.url("/player"));
        wait_for_picture(&browser, 640);
        browser.click(&row(2));
        wait_for_picture(&browser, 320);
        assert!(browser.run("return document.querySelector('#problem').hidden") == true);
    });
}

#[test]
fn long_list_has_rows_where_they_are_looked_at() {
    if !available() {
        return;
    }
    with_links(|| {
        let list: String = (1..=400)
            .map(|number| format!("#EXTINF:-1,Channel {number}\nrtp://239.8.2.1:{number}\n"))
            .collect();
        let configured = serve("", &list);
        let browser = Browser::start("en-US");
        browser.open(&configured.server.url("/player"));
        let rows = "return document.querySelectorAll('.channel').length";
        let first = browser.wait(rows).as_u64().expect("a count");
        assert!(first < 300, "{first} rows");
        assert_eq!(browser.text("#many"), "400 channels");
        for _ in 0..2 {
            browser.run("const list = document.querySelector('#channel-list').parentElement; list.scrollTop = list.scrollHeight");
            let more = format!("return document.querySelectorAll('.channel').length > {first}");
            browser.wait(&more);
        }
        browser.run("location.hash = '#390'");
        let chosen = "const row = document.querySelector('[aria-current=true]'); const box = row?.getBoundingClientRect();
             return row?.dataset.number === '390' && box.top > 0 && box.bottom < innerHeight";
        browser.wait(chosen);
        browser.type_into("#search", "399");
        browser.wait("return document.querySelectorAll('.channel').length === 1");
    });
}

#[test]
fn pause_gives_the_stream_back_and_space_goes_on() {
    if !available() {
        return;
    }
    with_links(|| {
        let configured = serve("", CHANNELS);
        let _sender = send("239.8.1.1:5000", "640x360");
        let browser = Browser::start("en-US");
        browser.open(&configured.server.url("/player"));
        wait_for_picture(&browser, 640);
        press(&browser, " ");
        browser.wait("return document.querySelector('#app').dataset.state === 'paused'");
        // Who pauses a live channel does not hold it.
        configured.server.log().wait("239.8.1.1:5000: left");
        press(&browser, " ");
        wait_for_picture(&browser, 640);
        assert_moves(&browser);
    });
}

#[test]
fn list_is_searched_and_speaks_chinese() {
    if !available() {
        return;
    }
    with_links(|| {
        let configured = serve("", CHANNELS);
        let browser = Browser::start("zh-TW");
        browser.show_on(Screen::PHONE);
        browser.open(&configured.server.url("/player"));
        browser.wait("return document.querySelectorAll('.channel').length === 3");
        assert_eq!(
            browser.run("return document.documentElement.lang"),
            "zh-Hant"
        );
        assert_eq!(browser.text("#tab-channels"), "頻道");
        browser.click("#language option[value='zh-Hans']");
        assert_eq!(browser.text("#tab-channels"), "频道");
        browser.keep_picture("player-chinese");
        browser.click("#language option[value='en']");
        assert_eq!(browser.text("#tab-channels"), "Channels");

        let names = || {
            browser.run("return [...document.querySelectorAll('.channel b')].map((name) => name.textContent)")
        };
        browser.type_into("#search", "sport sec");
        assert_eq!(names(), serde_json::json!(["Second Sport"]));
        browser.type_into("#search", "\u{e007}");
        browser.wait("return document.title === 'Second Sport'");
        browser.run("const field = document.querySelector('#search'); field.value = ''; field.dispatchEvent(new Event('input'))");
        browser.click("#group option[value='News']");
        assert_eq!(names(), serde_json::json!(["First News", "Second Sport"]));
        browser.type_into("#search", "电");
        assert_eq!(names(), serde_json::json!([]));
        browser.wait("return !document.querySelector('#nothing').hidden");
    });
}
