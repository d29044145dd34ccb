//! The page of `probe server` as a person sees it: in Chromium, with bytes that flow, are held and go on.
//!
//! Every test ends with the question whether the page complained. Pictures for those who look at
//! the run are kept below `target/tmp/pictures`.

use std::time::Duration;

use super::{ProbeServer, probe};
use crate::support::browser::{self, Browser, Screen};

/// Bytes flow, stall for a second and go on: what that takes on a busy machine.
const FLOW_WAIT: Duration = Duration::from_secs(40);

impl ProbeServer {
    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

/// The numbers of one column, a socket each, as the page shows them; `null` until there are rows.
fn column(number: usize) -> String {
    format!(
        "Array.from(document.querySelectorAll('#rows td:nth-child({number})'), (td) => td.textContent)"
    )
}

const CONSUMED: usize = 3;

/// Waits until every one of `sockets` has had more than a mebibyte consumed, by the text in the table.
fn wait_for_mebibytes(browser: &Browser, sockets: usize) {
    let texts = column(CONSUMED);
    browser.wait_within(
        FLOW_WAIT,
        &format!(
            "const texts = {texts};
             return texts.length === {sockets} && texts.every((text) => /MiB|GiB/.test(text));"
        ),
    );
}

/// Colours of the chart (red, green, blue).
const FIRST_SOCKET: [u8; 3] = [0x2a, 0x7d, 0xe1];
const STALLED: [u8; 3] = [0xc3, 0x33, 0x33];
const LIGHT_INK: [u8; 3] = [0x1c, 0x1c, 0x1c];
const DARK_INK: [u8; 3] = [0xe8, 0xe8, 0xe8];

/// Holds what flows on the page and lets it go again, and expects to be told so.
fn hold_and_let_go(browser: &Browser, sockets: usize, picture: &str) {
    browser.click("#start");
    wait_for_mebibytes(browser, sockets);
    browser.wait_within(
        FLOW_WAIT,
        "return document.querySelector('#chart').width > 300",
    );
    let before = browser.points("#chart", None, STALLED);
    browser.click("#hold");
    browser.wait_within(
        FLOW_WAIT,
        &format!("return document.querySelectorAll('#rows tr.stalled').length === {sockets}"),
    );
    browser.wait_within(
        FLOW_WAIT,
        "return document.querySelector('#verdict').textContent.startsWith('Back pressure: YES')",
    );
    browser.wait_within(
        FLOW_WAIT,
        "return document.querySelectorAll('#watch tr').length > 0",
    );
    // The chart takes a sample a second, so the stall shows a moment later.
    crate::support::wait_for(FLOW_WAIT, "the stall in the chart", || {
        (browser.points("#chart", None, STALLED) > before).then_some(())
    });
    assert!(
        browser.points("#chart", None, FIRST_SOCKET) > 0,
        "a line for the first socket"
    );
    for (name, screen) in [
        ("desktop-light", Screen::DESKTOP),
        ("desktop-dark", Screen::DESKTOP.dark()),
        ("phone-light", Screen::PHONE),
        ("phone-dark", Screen::PHONE.dark()),
    ] {
        browser.show_on(screen);
        let wide =
            "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
        assert_eq!(
            browser.run(wide),
            false,
            "{name}: the page does not fit the screen"
        );
        let ink = if screen.is_dark { DARK_INK } else { LIGHT_INK };
        crate::support::wait_for(FLOW_WAIT, "words in the chart that can be read", || {
            (browser.points("#chart", None, ink) > 0).then_some(())
        });
        browser.keep_picture(&format!("probe-{picture}-{name}"));
    }
    browser.show_on(Screen::DESKTOP);
    let consumed = browser.run(&format!("return {}", column(CONSUMED)));
    browser.click("#hold");
    browser.wait_within(
        FLOW_WAIT,
        &format!(
            "return JSON.stringify({}) !== '{consumed}'",
            column(CONSUMED)
        ),
    );
    assert!(
        browser.text("#verdict").starts_with("Back pressure: YES"),
        "it stays said"
    );
    browser.click("#stop");
    browser.wait_within(
        FLOW_WAIT,
        "return !document.querySelector('#start').disabled",
    );
}

/// The page has not complained: its own policy forbids it to ask anybody else, and the browser would say so.
fn assert_quiet(browser: &Browser) {
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_page_that_sends_sees_its_sockets_stall_and_go_on() {
    if !browser::available() {
        return;
    }
    let server = ProbeServer::start(&[]);
    let browser = Browser::start_for_websockets();
    browser.open(&server.url("/client?payload=65536&rate=0&total=0&sockets=2"));
    hold_and_let_go(&browser, 2, "up");
    assert_quiet(&browser);
}

#[test]
fn a_page_that_receives_holds_the_server_back_by_not_reading() {
    if !browser::available() {
        return;
    }
    let server = ProbeServer::start(&[]);
    let browser = Browser::start_for_websockets();
    browser.open(&server.url("/?payload=65536&rate=0&total=0&sockets=1&direction=down"));
    hold_and_let_go(&browser, 1, "down");
    assert_quiet(&browser);
}

#[test]
fn the_classic_experiment_runs_from_the_page_to_its_end() {
    if !browser::available() {
        return;
    }
    let server = ProbeServer::start(&[]);
    let browser = Browser::start_for_websockets();
    // Five messages of 1000 bytes as ever, only faster.
    browser.open(&server.url("/client?rate=20"));
    browser.click("#start");
    browser.wait_within(
        FLOW_WAIT,
        "return !document.querySelector('#start').disabled",
    );
    let row = browser.run("return document.querySelector('#rows tr').innerText");
    let row = row.as_str().expect("a text");
    let words: Vec<&str> = row.split('\t').map(str::trim).collect();
    assert_eq!(words[1..4], ["4.9 KiB", "4.9 KiB", "0 B"], "{row}");
    assert_eq!(words[7], "closed (1000)", "{row}");
    assert_quiet(&browser);
}

#[test]
fn an_experiment_is_over_when_the_last_byte_is_consumed_and_not_when_it_is_sent() {
    if !browser::available() {
        return;
    }
    let server = ProbeServer::start(&[]);
    let browser = Browser::start_for_websockets();
    browser.open(&server.url("/client?rate=2&total=10"));
    browser.click("#start");
    browser.click("#hold");
    let cell = |number: usize| format!("({})[0]", column(number));
    browser.wait_within(FLOW_WAIT, &format!("return {} === '9.8 KiB'", cell(2)));
    // The server is told to read on only when the page has shown for a while that all is sent.
    browser.wait_within(
        FLOW_WAIT,
        "return experiment.lanes[0].history.at(-1).sent === 0",
    );
    let consumed = browser.run(&format!("return {}", cell(CONSUMED)));
    assert_ne!(consumed, "9.8 KiB", "nothing was held");
    browser.click("#hold");
    browser.wait_within(
        FLOW_WAIT,
        "return !document.querySelector('#start').disabled",
    );
    let consumed = browser.run(&format!("return {}", cell(CONSUMED)));
    assert_eq!(consumed, "9.8 KiB");
    assert_quiet(&browser);
}

#[test]
fn the_page_watches_runs_of_the_command_line() {
    if !browser::available() {
        return;
    }
    let server = ProbeServer::start(&[]);
    let browser = Browser::start_for_websockets();
    browser.open(&server.url("/"));
    let url = format!("tcp://127.0.0.1:{}", server.port);
    let client = std::thread::spawn(move || probe(&url, &["-c", "3", "--hold", "3s"]));
    browser.wait_within(
        FLOW_WAIT,
        "return document.querySelectorAll('#watch tr.stalled').length === 3",
    );
    let run = client.join().expect("no panic");
    run.expect_yes();
    // What is over is forgotten.
    browser.wait_within(
        FLOW_WAIT,
        "return document.querySelectorAll('#watch tr').length === 0",
    );
    assert_quiet(&browser);
}
