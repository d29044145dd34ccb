//! The status page as a person sees it: in Chromium, while streams run.
//!
//! Every test ends with the question whether the page complained or asked anybody else. Pictures for those who look
//! at the run are kept below `target/tmp/pictures`.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::support::browser::{self, Browser, Screen};
use crate::support::namespace::{WEST, with_links, with_loopback_only};
use crate::support::sender::{Framing, Sender, Source};
use crate::support::server::Server;
use crate::support::{SOON, http, wait_for};

const GROUP: &str = "239.8.0.1:5000";
/// What a flow takes to show: queues fill, and the page looks at them once a second.
const FLOW_WAIT: Duration = Duration::from_secs(30);

/// A client that reads in a thread of its own, until it is dropped or the server ends it.
struct Reader {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
}

impl Reader {
    /// Asks for `path`. `bytes_per_second` holds it back, and then its kernel does not read ahead either.
    fn start(server: &Server, path: &str, bytes_per_second: Option<usize>) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        if bytes_per_second.is_some() {
            socket.set_recv_buffer_size(4 << 10).expect("a socket");
        }
        let server = SockAddr::from(SocketAddr::from(([127, 0, 0, 1], server.port)));
        socket.connect_timeout(&server, SOON).expect("connected");
        let mut stream = TcpStream::from(socket);
        stream.write_all(&http::get(path)).expect("asked");
        stream
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("valid");
        let address = stream.local_addr().expect("an address");
        let (stop, ended) = (Arc::default(), Arc::default());
        let reader = Self {
            address,
            stop: Arc::clone(&stop),
            ended: Arc::clone(&ended),
        };
        std::thread::spawn(move || {
            read(&mut stream, bytes_per_second, &stop);
            ended.store(true, Ordering::Relaxed);
        });
        reader
    }

    /// Selects the row of this client.
    fn row(&self) -> String {
        format!("#client-table tr[data-id^=\"{}-\"]", self.address)
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn read(stream: &mut TcpStream, bytes_per_second: Option<usize>, stop: &AtomicBool) {
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(len) => {
                if let Some(rate) = bytes_per_second {
                    std::thread::sleep(Duration::from_secs_f64(len as f64 / rate as f64));
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// An HTTP server whose only answer never ends; returns the path at which the router fetches it.
fn start_endless_origin() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            std::thread::spawn(move || {
                let mut head = [0; 2048];
                let _ = stream.read(&mut head);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
                while stream.write_all(&[0x47; 16 << 10]).is_ok() {}
            });
        }
    });
    // Decoded, this would run if the page took it for markup.
    format!("/http/{address}/%3Cimg%20src=x%20onerror=%22document.title='taken'%22%3E")
}

/// A router with a channel that is sent to, and a small pool, so that queues fill soon.
fn start_busy_router(arguments: &[&str]) -> (Server, Sender) {
    let fixed = ["-b", "1024", "--fast-start", "off", "-m", "600"];
    let server = Server::start(&[&fixed, arguments].concat());
    let sender = Source::new("west", WEST, GROUP, Framing::Rtp).run(1000);
    (server, sender)
}

/// Opens the page of a router and waits for its first figures.
fn open(browser: &Browser, server: &Server, path: &str) {
    browser.open(&server.url(path));
    wait_for_link(browser, "live");
}

fn wait_for_link(browser: &Browser, state: &str) {
    browser.wait_within(
        FLOW_WAIT,
        &format!("return document.querySelector('#link').dataset.link === '{state}'"),
    );
}

fn wait_for_flow(browser: &Browser, client: &Reader, flow: &str) {
    let script = format!(
        "return document.querySelector('{}')?.dataset.flow === '{flow}'",
        client.row()
    );
    browser.wait_within(FLOW_WAIT, &script);
}

/// What the API says at this moment.
fn snapshot(server: &Server) -> Value {
    let answer = server.get("/status/api/status");
    assert_eq!(answer.status, 200, "{}", answer.head);
    serde_json::from_slice(&answer.body).expect("JSON")
}

fn client_of<'a>(snapshot: &'a Value, client: &Reader) -> &'a Value {
    let address = client.address.to_string();
    let mut clients = snapshot["clients"].as_array().expect("a list").iter();
    let found = clients.find(|found| found["clientAddr"] == address.as_str());
    found.unwrap_or_else(|| panic!("{address} is not in {snapshot}"))
}

/// Bytes out of a text such as `12.3 MB`.
fn bytes_of(text: &str) -> f64 {
    let (value, unit) = text
        .split_once('\u{a0}')
        .unwrap_or_else(|| panic!("{text:?} has no unit"));
    let scale = ["B", "kB", "MB", "GB"]
        .iter()
        .position(|known| *known == unit);
    let scale = scale.unwrap_or_else(|| panic!("{text:?} has another unit"));
    value.parse::<f64>().expect("a number") * 1000_f64.powi(scale as i32)
}

/// How many points at the top of a client's queue chart have about this colour (red, green, blue). Only pauses and
/// skips reach up there: the upper watermark is a quarter below.
fn points(browser: &Browser, client: &Reader, colour: [u8; 3]) -> u64 {
    browser.points(&format!("{} canvas.queue", client.row()), Some(5), colour)
}

/// The page neither complained nor asked anybody else.
fn assert_quiet_and_at_home(browser: &Browser, server: &Server) {
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let home = server.url("/");
    let requests = browser.requests();
    let abroad: Vec<&String> = requests
        .iter()
        .filter(|url| url.starts_with("http") && !without_password(url).starts_with(&home))
        .collect();
    assert!(!requests.is_empty() && abroad.is_empty(), "{abroad:?}");
}

/// A URL without the name and password in front of its host.
fn without_password(url: &str) -> String {
    match url
        .split_once("//")
        .and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?)))
    {
        Some((scheme, (_, rest))) => format!("{scheme}//{rest}"),
        None => url.to_owned(),
    }
}

#[test]
fn throttled_and_congested_clients_are_told_apart_at_a_glance() {
    if !browser::available() {
        return;
    }
    with_links(|| {
        let (server, _sender) = start_busy_router(&[]);
        let group = format!("/rtp/{GROUP}");
        let flowing = Reader::start(&server, &group, None);
        let congested = Reader::start(&server, &group, Some(100_000));
        let throttled = Reader::start(&server, &start_endless_origin(), Some(100_000));
        let browser = Browser::start("en-US");
        open(&browser, &server, "/status");
        wait_for_flow(&browser, &flowing, "flowing");
        wait_for_flow(&browser, &congested, "congested");
        wait_for_flow(&browser, &throttled, "throttled");

        let now = snapshot(&server);
        assert!(
            client_of(&now, &congested)["droppedPackets"].as_u64() > Some(0),
            "{now}"
        );
        assert_eq!(client_of(&now, &congested)["backpressureEvents"], 0);
        assert!(
            client_of(&now, &throttled)["backpressureEvents"].as_u64() > Some(0),
            "{now}"
        );
        assert_eq!(client_of(&now, &throttled)["droppedPackets"], 0);

        let (amber, red) = ([0x93, 0x55, 0x00], [0xc0, 0x1f, 0x3a]);
        wait_for(FLOW_WAIT, "pauses in the chart", || {
            (points(&browser, &throttled, amber) > 10).then_some(())
        });
        wait_for(FLOW_WAIT, "skips in the chart", || {
            (points(&browser, &congested, red) > 10).then_some(())
        });
        assert_eq!(points(&browser, &throttled, red), 0);
        assert_eq!(points(&browser, &congested, amber), 0);
        assert_eq!(points(&browser, &flowing, amber), 0);
        assert_eq!(points(&browser, &flowing, red), 0);

        let pictures = [
            ("desktop-light", Screen::DESKTOP),
            ("desktop-dark", Screen::DESKTOP.dark()),
            ("phone-light", Screen::PHONE),
            ("phone-dark", Screen::PHONE.dark()),
        ];
        for (name, screen) in pictures {
            browser.show_on(screen);
            let theme = if screen.is_dark { "dark" } else { "light" };
            browser.wait(&format!(
                "return document.documentElement.dataset.theme === '{theme}'"
            ));
            browser.wait("return document.documentElement.scrollWidth <= innerWidth");
            browser.keep_picture(name);
        }
        browser.show_on(Screen::DESKTOP);
        browser.click(&format!("{} .open", throttled.row()));
        browser.wait("return !document.querySelector('#inspector').hidden");
        let shown = browser.text("#inspector [data-key=stream] dd");
        assert!(shown.contains("<img src=x onerror="), "{shown}");
        browser.keep_picture("client");
        let images = browser.run("return document.images.length");
        assert_eq!(images, 0, "a URL became markup");
        assert_ne!(browser.run("return document.title"), "taken");
        assert_quiet_and_at_home(&browser, &server);
    });
}

#[test]
fn numbers_move_and_are_those_of_the_api() {
    if !browser::available() {
        return;
    }
    with_links(|| {
        let (server, _sender) = start_busy_router(&[]);
        let client = Reader::start(&server, &format!("/rtp/{GROUP}"), None);
        let browser = Browser::start("en-US");
        open(&browser, &server, "/status");
        wait_for_flow(&browser, &client, "flowing");
        assert_eq!(browser.text("#total-clients"), "1");
        assert_eq!(browser.text("#max-clients"), "of 600");
        let sent = format!("{} .c-sent", client.row());
        let mut last = 0.0;
        for _ in 0..3 {
            let before = snapshot(&server);
            let before = client_of(&before, &client)["bytesSent"]
                .as_f64()
                .expect("a number");
            // Three digits are shown.
            let shown = wait_for(SOON, "the page to come after the API", || {
                let shown = bytes_of(&browser.text(&sent));
                (shown > last && shown >= before * 0.99).then_some(shown)
            });
            let after = snapshot(&server);
            let after = client_of(&after, &client)["bytesSent"]
                .as_f64()
                .expect("a number");
            assert!(shown <= after * 1.01, "{shown} is shown, {after} are sent");
            last = shown;
        }
        // 1000 datagrams of 1316 bytes a second.
        browser.wait_within(FLOW_WAIT, "return /^(9|10|11)\\.\\d.Mbit/.test(document.querySelector('#total-bandwidth').textContent + '\\u00a0' + document.querySelector('#total-unit').textContent)");
        browser.click("#tab-channels");
        browser.wait(&format!(
            "return document.querySelector('#channel-table')?.textContent.includes('{GROUP}')"
        ));
        browser.click("#tab-workers");
        browser.wait("return document.querySelector('#worker-cards dd')?.textContent");
        let worker = &snapshot(&server)["workers"][0];
        assert_eq!(
            browser.text("#worker-cards [data-key=pid] dd"),
            worker["pid"].to_string()
        );
        assert_quiet_and_at_home(&browser, &server);
    });
}

#[test]
fn every_action_asks_does_and_says_so() {
    if !browser::available() {
        return;
    }
    with_links(|| {
        let (server, _sender) = start_busy_router(&[]);
        let client = Reader::start(&server, &format!("/rtp/{GROUP}"), None);
        let browser = Browser::start("en-US");
        open(&browser, &server, "/status");
        wait_for_flow(&browser, &client, "flowing");

        let disconnect = format!("{} .c-action button", client.row());
        browser.click(&disconnect);
        browser.click("#confirm-no");
        browser.wait("return !document.querySelector('dialog[open]')");
        assert!(!client.has_ended(), "it was not confirmed");
        browser.click(&disconnect);
        let named = browser.text("#confirm-object");
        assert!(named.contains(&client.address.to_string()), "{named}");
        browser.click("#confirm-yes");
        wait_for(SOON, "the client to be disconnected", || {
            client.has_ended().then_some(())
        });
        wait_for_toast(&browser, "is being disconnected");
        browser.wait("return document.querySelector('#total-clients').textContent === '0'");
        browser.wait("return document.querySelector('#client-table .empty')");
        browser.keep_picture("nobody");

        browser.click("#tab-log");
        browser.wait("return document.querySelectorAll('#log-lines li').length > 0");
        browser.click("#log-level option[value='2']");
        wait_for_toast(&browser, "records WARN");
        assert_eq!(snapshot(&server)["currentLogLevel"], 2);
        browser.click("#log-level option[value='4']");
        wait_for_toast(&browser, "records DEBUG");
        // Clearing empties the list; what is logged afterwards comes in again.
        browser.run("document.querySelector('#log-lines').dataset.before = document.querySelector('#log-lines li').textContent");
        browser.click("#log-clear");
        browser.click("#confirm-yes");
        wait_for_toast(&browser, "is cleared");
        browser.wait("const list = document.querySelector('#log-lines'); return list.firstChild?.textContent !== list.dataset.before");
    });
}

fn wait_for_toast(browser: &Browser, text: &str) {
    browser.wait(&format!(
        "return [...document.querySelectorAll('.toast')].some((toast) => toast.textContent.includes('{text}'))"
    ));
    assert_eq!(
        browser.run("return document.querySelectorAll('.toast.bad').length"),
        0
    );
}

#[test]
fn reload_and_restart_are_confirmed_and_survived() {
    if !browser::available() {
        return;
    }
    with_loopback_only(|| {
        let server = Server::start(&[]);
        let browser = Browser::start("en-US");
        open(&browser, &server, "/status");
        let first = server.worker();
        for (button, done) in [
            ("#reload", "is being read again"),
            ("#restart", "are being restarted"),
        ] {
            browser.click("#menu");
            browser.click(button);
            browser.click("#confirm-yes");
            wait_for_toast(&browser, done);
        }
        browser.click("#tab-workers");
        // It goes on telling about whoever serves now.
        let script = format!(
            "const pid = document.querySelector('#worker-cards [data-key=pid] dd')?.textContent;
             return Number(pid) > 0 && pid !== '{first}'"
        );
        browser.wait_within(FLOW_WAIT, &script);
        wait_for_link(&browser, "live");
    });
}

#[test]
fn failed_action_says_why() {
    if !browser::available() {
        return;
    }
    with_links(|| {
        let (server, _sender) = start_busy_router(&[]);
        let client = Reader::start(&server, &format!("/rtp/{GROUP}"), None);
        let browser = Browser::start("en-US");
        open(&browser, &server, "/status");
        wait_for_flow(&browser, &client, "flowing");
        browser.click(&format!("{} .c-action button", client.row()));
        // Gone before it is confirmed.
        let stop = Arc::clone(&client.stop);
        stop.store(true, Ordering::Relaxed);
        wait_for(SOON, "the client to leave", || {
            client.has_ended().then_some(())
        });
        wait_for(SOON, "the server to notice", || {
            snapshot(&server)["clients"]
                .as_array()
                .is_some_and(Vec::is_empty)
                .then_some(())
        });
        browser.click("#confirm-yes");
        browser.wait(
            "return document.querySelector('.toast.bad')?.textContent.includes('Client not found')",
        );
        assert_eq!(
            browser.run("return document.querySelector('.toast.bad').getAttribute('role')"),
            "alert"
        );
        browser.keep_picture("failed-action");
    });
}

#[test]
fn page_says_when_the_server_is_gone_and_finds_it_again() {
    if !browser::available() {
        return;
    }
    with_loopback_only(|| {
        let server = Server::start(&[]);
        let port = server.port;
        let browser = Browser::start("en-US");
        open(&browser, &server, "/status");
        server.stop();
        wait_for_link(&browser, "lost");
        assert!(browser.text("#banner-text").contains("is lost"));
        browser.keep_picture("connection-lost");
        let again = Server::start(&["-l", &format!("127.0.0.1:{port}")]);
        wait_for_link(&browser, "live");
        browser.wait("return document.querySelector('#banner').hidden");
        let uptime = browser.run("return document.querySelector('#uptime').textContent");
        assert!(
            uptime.as_str().is_some_and(|text| text.starts_with("0:")),
            "{uptime}"
        );
        // That requests failed while nobody was there is no fault of the page.
        browser.complaints();
        let until = Instant::now() + Duration::from_millis(2500);
        wait_for(SOON, "some events", || {
            (Instant::now() >= until).then_some(())
        });
        assert_eq!(browser.complaints(), Vec::<String>::new());
        drop(again);
    });
}

#[test]
fn five_hundred_clients_make_no_more_rows_than_fit() {
    if !browser::available() {
        return;
    }
    with_links(|| {
        let (server, _sender) = start_busy_router(&["-b", "16384"]);
        let clients: Vec<Reader> = (0..500)
            .map(|_| Reader::start(&server, "/rtp/239.8.0.2:5000", None))
            .collect();
        let mut source = Source::new("west", WEST, "239.8.0.2:5000", Framing::Rtp);
        let feeding = Arc::new(AtomicBool::new(true));
        let feed = Arc::clone(&feeding);
        std::thread::spawn(move || {
            while feed.load(Ordering::Relaxed) {
                source.send();
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let browser = Browser::start("en-US");
        open(&browser, &server, "/status");
        browser.wait_within(
            FLOW_WAIT,
            "return document.querySelector('#total-clients').textContent === '500'",
        );
        let rows = "return document.querySelectorAll('#client-table tbody tr:not(.pad)').length";
        let count = browser.wait(rows).as_u64().expect("a count");
        assert!(count < 60, "{count} rows");
        browser.run("scrollTo(0, document.documentElement.scrollHeight)");
        browser
            .wait("return document.querySelector('#client-table tbody tr[aria-rowindex=\"501\"]')");
        assert!(browser.run(rows).as_u64().expect("a count") < 60);
        browser.keep_picture("five-hundred");
        browser.type_into("#client-search", &clients[77].address.port().to_string());
        browser.wait(&format!(
            "return document.querySelector('{}')",
            clients[77].row()
        ));
        feeding.store(false, Ordering::Relaxed);
        assert_quiet_and_at_home(&browser, &server);
    });
}

#[test]
fn page_fits_every_screen_and_every_size_of_text() {
    if !browser::available() {
        return;
    }
    with_links(|| {
        let (server, _sender) = start_busy_router(&["-w", "3"]);
        let _client = Reader::start(
            &server,
            &format!("/rtp/{GROUP}?{}", "long=&".repeat(40)),
            None,
        );
        let browser = Browser::start("en-US");
        for (width, text_percent) in [
            (320, 100),
            (360, 100),
            (768, 100),
            (830, 100),
            (900, 100),
            (1000, 100),
            (1280, 100),
            (1600, 100),
            (360, 200),
            (768, 200),
            (1280, 200),
            (2560, 200),
        ] {
            browser.show_on(Screen {
                width,
                ..Screen::DESKTOP
            });
            open(&browser, &server, "/status");
            browser.run(&format!(
                "document.documentElement.style.fontSize = '{text_percent}%'"
            ));
            for view in ["clients", "channels", "upstreams", "workers", "log"] {
                browser.run(&format!("document.querySelector('#tab-{view}').click()"));
                let wider = browser.run(
                    "const page = document.documentElement;
                     return page.scrollWidth > page.clientWidth ? page.scrollWidth : 0",
                );
                assert_eq!(wider, 0, "{view} at {width} with text at {text_percent} %");
            }
            browser.run("document.querySelector('#tab-channels').click()");
            let group = browser.wait(
                "const cell = document.querySelector('#channel-table td.c-group');
                 return cell && `${cell.clientWidth} of ${cell.scrollWidth}`",
            );
            let (shown, whole) = group
                .as_str()
                .and_then(|text| text.split_once(" of "))
                .expect("a text");
            assert!(
                shown == whole || width <= 360,
                "{group} points of the group at {width} with text at {text_percent} %"
            );
        }
        assert_quiet_and_at_home(&browser, &server);
    });
}

#[test]
fn page_speaks_chinese_and_switches() {
    if !browser::available() {
        return;
    }
    with_loopback_only(|| {
        let server = Server::start(&[]);
        let browser = Browser::start("zh-CN");
        browser.show_on(Screen::PHONE);
        open(&browser, &server, "/status");
        assert_eq!(
            browser.run("return document.documentElement.lang"),
            "zh-Hans"
        );
        assert_eq!(browser.text("#tab-clients span"), "客户端");
        browser.keep_picture("phone-chinese");
        browser.click("#language");
        assert_eq!(browser.text("#tab-clients span"), "Clients");
        browser.click("#theme");
        browser.click("#theme");
        assert_eq!(
            browser.run("return document.documentElement.dataset.theme"),
            "dark"
        );
        // Both choices are kept.
        open(&browser, &server, "/status/");
        assert_eq!(browser.text("#tab-clients span"), "Clients");
        assert_eq!(
            browser.run("return document.documentElement.dataset.theme"),
            "dark"
        );
        assert_quiet_and_at_home(&browser, &server);
    });
}

#[test]
fn page_works_with_a_token_below_a_prefix() {
    if !browser::available() {
        return;
    }
    with_loopback_only(|| {
        let server = Server::start(&[
            "-T",
            "s3cret key&",
            "--app-path-prefix",
            "/tv",
            "-s",
            "/panel",
        ]);
        let browser = Browser::start("en-US");
        assert_eq!(server.get("/tv/panel").status, 401);
        open(&browser, &server, "/tv/panel?r2h-token=s3cret%20key%26");
        // From now on the cookie does.
        open(&browser, &server, "/tv/panel");
        assert_eq!(browser.text("#tab-clients span"), "Clients");
        let config = browser.run("return __RTP2HTTPD_CONFIG__.appPathPrefix");
        assert_eq!(config, "/tv");
        assert!(
            !browser
                .run("return document.documentElement.outerHTML")
                .to_string()
                .contains("s3cret")
        );
        assert_quiet_and_at_home(&browser, &server);
    });
}

#[test]
fn page_works_with_name_and_password() {
    if !browser::available() {
        return;
    }
    with_loopback_only(|| {
        let server = Server::start(&["--status-auth", "admin:s3cret"]);
        let browser = Browser::start("en-US");
        for path in ["/status", "/status/sse", "/status/api/status"] {
            assert_eq!(server.get(path).status, 401, "{path}");
        }
        browser.open(&format!(
            "http://admin:s3cret@127.0.0.1:{}/status",
            server.port
        ));
        wait_for_link(&browser, "live");
        browser.click("#tab-log");
        browser.click("#log-level option[value='3']");
        wait_for_toast(&browser, "records INFO");
        assert_quiet_and_at_home(&browser, &server);
    });
}

#[test]
fn channel_that_loses_packets_is_seen_from_every_view() {
    if !browser::available() {
        return;
    }
    with_links(|| {
        let server = Server::start(&["--fast-start", "off"]);
        let _client = Reader::start(&server, "/rtp/239.8.0.2:5000", None);
        let mut source = Source::new("west", WEST, "239.8.0.2:5000", Framing::Rtp);
        let feeding = Arc::new(AtomicBool::new(true));
        let feed = Arc::clone(&feeding);
        std::thread::spawn(move || {
            for count in 0_u32.. {
                if !feed.load(Ordering::Relaxed) {
                    return;
                }
                source.send();
                if count % 20 == 0 {
                    // Numbered, but never sent.
                    source.make();
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let browser = Browser::start("en-US");
        open(&browser, &server, "/status");
        browser.wait_within(
            FLOW_WAIT,
            "return document.querySelector('#tab-channels .count').dataset.bad === 'true'",
        );
        let said = browser.run("return document.querySelector('#tab-channels').title");
        assert_eq!(said, "1 channel loses packets on the way to the router");
        browser.click("#tab-channels");
        browser
            .wait("return document.querySelector('#channel-table .tag').textContent === 'losing'");
        browser.keep_picture("losing");
        // The last row ends in the round corners of its table.
        let style = "const cell = document.querySelector('#channel-table tr:not(.pad):has(+ .pad) td');\
                     const { boxShadow, borderBottomLeftRadius } = getComputedStyle(cell);\
                     return `${boxShadow} ${borderBottomLeftRadius}`";
        assert_eq!(browser.run(style), "none 13px");
        feeding.store(false, Ordering::Relaxed);
        assert_quiet_and_at_home(&browser, &server);
    });
}

#[test]
fn newest_lines_of_the_log_are_seen_without_scrolling_the_page() {
    if !browser::available() {
        return;
    }
    with_loopback_only(|| {
        let server = Server::start(&["-v", "3"]);
        for _ in 0..60 {
            assert_eq!(server.get("/nothing").status, 404);
        }
        let browser = Browser::start("en-US");
        open(&browser, &server, "/status");
        browser.click("#tab-log");
        browser.wait(
            "const line = document.querySelector('#log-lines li:last-child')?.getBoundingClientRect();\
             return line && line.top > 0 && line.bottom <= innerHeight",
        );
        assert_quiet_and_at_home(&browser, &server);
    });
}

#[test]
fn browser_is_shown_what_is_wrong_and_where_to_go_on() {
    if !browser::available() {
        return;
    }
    with_loopback_only(|| {
        let server = Server::start(&["--app-path-prefix", "/tv"]);
        let browser = Browser::start("en-US");
        browser.open(&server.url("/tv/rtp/nonsense"));
        let why = server.get("/tv/rtp/nonsense");
        let why = why.header("X-Flowgate-Error").expect("a reason").to_owned();
        assert_eq!(browser.text("h1"), "Not Found 404");
        assert_eq!(browser.text("p"), why);
        browser.open(&server.url("/tv/"));
        assert_eq!(browser.text("p"), "There is nothing at this address.");
        browser.show_on(Screen::PHONE.dark());
        // The page has its style.
        let ground = "return getComputedStyle(document.body).backgroundColor";
        assert_eq!(browser.run(ground), "rgb(9, 11, 26)");
        browser.keep_picture("lost");
        browser.click("nav a:last-child");
        wait_for_link(&browser, "live");
        // The address of the page was answered with 404, which Chromium notes as an error.
        let others = browser.complaints();
        let others: Vec<_> = others.iter().filter(|text| !text.contains("404")).collect();
        assert!(others.is_empty(), "{others:?}");
    });
}
