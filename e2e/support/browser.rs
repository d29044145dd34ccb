//! Chromium without a window, driven through its WebDriver (W3C WebDriver: JSON over HTTP).
//!
//! Whatever the page asks for and whatever it complains about is recorded from the start.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::tool::{self, Tool};
use super::{SOON, TempDir, wait_for};

/// Beginning a session starts a browser, which takes long on a busy machine.
const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// The name under which WebDriver hands out elements (W3C WebDriver §12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Whether the tests can have a browser; says so if not.
pub(crate) fn available() -> bool {
    tool::have(&["chromium", "chromedriver"])
}

/// What a page is shown on.
#[derive(Clone, Copy)]
pub(crate) struct Screen {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) is_phone: bool,
    pub(crate) is_dark: bool,
}

impl Screen {
    pub(crate) const DESKTOP: Self = Self {
        width: 1440,
        height: 900,
        is_phone: false,
        is_dark: false,
    };
    pub(crate) const PHONE: Self = Self {
        width: 390,
        height: 844,
        is_phone: true,
        is_dark: false,
    };

    pub(crate) fn dark(mut self) -> Self {
        self.is_dark = true;
        self
    }
}

/// A browser with one tab; ended when dropped.
pub(crate) struct Browser {
    driver: Tool,
    port: u16,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser that prefers this language.
    pub(crate) fn start(language: &str) -> Self {
        let logs = json!({ "browser": "ALL", "performance": "ALL" });
        Self::start_with(language, &logs)
    }

    /// As [`Browser::start`], but does not record what is asked for: with every request the driver would record every
    /// message on a WebSocket, whole.
    pub(crate) fn start_for_websockets() -> Self {
        Self::start_with("en", &json!({ "browser": "ALL" }))
    }

    fn start_with(language: &str, logs: &Value) -> Self {
        let driver = Tool::start(Command::new("chromedriver").arg("--port=0"));
        let line = driver.stdout.wait("started successfully on port ");
        let port = line.rsplit(' ').next().expect("a word");
        let port = port.trim_end_matches('.').parse().expect("a port");
        let profile = TempDir::new();
        let mut browser = Self {
            driver,
            port,
            session: String::new(),
            _profile: profile,
        };
        let options = json!({
            "args": [
                "--headless=new",
                // The tests may be run by root, for whom there is no sandbox; only pages of ours are opened.
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--hide-scrollbars",
                format!("--user-data-dir={}", browser._profile.path().display()),
            ],
            "prefs": { "intl.accept_languages": language },
        });
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": logs,
        } } });
        let session = browser
            .exchange("POST", "/session", Some(&wanted))
            .expect("a session");
        browser.session = session["sessionId"].as_str().expect("an id").to_owned();
        browser.show_on(Screen::DESKTOP);
        browser
    }

    /// Changes what the page is shown on.
    pub(crate) fn show_on(&self, screen: Screen) {
        let metrics = json!({
            "width": screen.width, "height": screen.height,
            "deviceScaleFactor": if screen.is_phone { 2 } else { 1 }, "mobile": screen.is_phone,
        });
        self.develop("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = if screen.is_dark { "dark" } else { "light" };
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.develop(
            "Emulation.setEmulatedMedia",
            json!({ "features": [feature] }),
        );
    }

    /// Puts the browser into another time zone, such as `Asia/Shanghai`.
    pub(crate) fn move_to(&self, zone: &str) {
        self.develop(
            "Emulation.setTimezoneOverride",
            json!({ "timezoneId": zone }),
        );
    }

    /// Goes to a page and waits until it is loaded.
    pub(crate) fn open(&self, url: &str) {
        self.ask("POST", "/url", Some(&json!({ "url": url })))
            .expect("the page");
    }

    /// Runs the body of a function in the page, and gives what it returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        let body = json!({ "script": script, "args": [] });
        self.ask("POST", "/execute/sync", Some(&body))
            .expect(script)
    }

    /// Waits until such a function returns something other than null, false, 0 and the empty text.
    pub(crate) fn wait(&self, script: &str) -> Value {
        self.wait_within(SOON, script)
    }

    pub(crate) fn wait_within(&self, limit: Duration, script: &str) -> Value {
        wait_for(limit, script, || {
            let value = self.run(script);
            let is_nothing = matches!(&value, Value::Null | Value::Bool(false))
                || value.as_f64() == Some(0.0)
                || value.as_str() == Some("");
            (!is_nothing).then_some(value)
        })
    }

    /// The text of the first element that a selector finds; empty if there is none.
    pub(crate) fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({selector:?})?.textContent ?? ''");
        self.run(&script).as_str().expect("a text").to_owned()
    }

    /// Clicks an element as a person would: it must come into view, and nothing may lie over it.
    pub(crate) fn click(&self, selector: &str) {
        wait_for(SOON, &format!("a click on {selector}"), || {
            let element = self.element(selector)?;
            let path = format!("/element/{element}/click");
            self.ask("POST", &path, Some(&json!({}))).ok()
        });
    }

    /// Types into an element.
    pub(crate) fn type_into(&self, selector: &str, text: &str) {
        wait_for(SOON, &format!("typing into {selector}"), || {
            let element = self.element(selector)?;
            let path = format!("/element/{element}/value");
            self.ask("POST", &path, Some(&json!({ "text": text }))).ok()
        });
    }

    fn element(&self, selector: &str) -> Option<String> {
        let wanted = json!({ "using": "css selector", "value": selector });
        let found = self.ask("POST", "/element", Some(&wanted)).ok()?;
        Some(found[ELEMENT].as_str()?.to_owned())
    }

    /// How many points of a canvas have about this colour (red, green, blue), in its uppermost `rows` rows of points or
    /// in all. The canvas is copied: reading it would change how the page draws.
    pub(crate) fn points(&self, canvas: &str, rows: Option<u32>, colour: [u8; 3]) -> u64 {
        let [red, green, blue] = colour;
        let rows = rows.map_or("copy.height".to_owned(), |rows| rows.to_string());
        let script = format!(
            "const canvas = document.querySelector({canvas:?});
             const copy = document.createElement('canvas');
             [copy.width, copy.height] = [canvas.width, canvas.height];
             const context = copy.getContext('2d', {{ willReadFrequently: true }});
             context.drawImage(canvas, 0, 0);
             const {{ data }} = context.getImageData(0, 0, copy.width, {rows});
             let found = 0;
             for (let i = 0; i < data.length; i += 4) {{
               const near = (at, value) => Math.abs(data[i + at] - value) < 24;
               if (data[i + 3] > 40 && near(0, {red}) && near(1, {green}) && near(2, {blue})) found += 1;
             }}
             return found;"
        );
        self.run(&script).as_u64().expect("a count")
    }

    /// Keeps a picture of what is on the screen for those who look at the run: below `target/tmp/pictures`.
    pub(crate) fn keep_picture(&self, name: &str) {
        let picture = self.ask("GET", "/screenshot", None).expect("a picture");
        let bytes = STANDARD
            .decode(picture.as_str().expect("base64"))
            .expect("base64");
        let folder = pictures();
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(name).with_extension("png"), bytes).expect("written");
    }

    /// What the page and the browser have complained about since the last time, except about pages of the browser's
    /// own: the one it starts with finds the network slow.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let entries = self.log("browser");
        let texts = entries
            .iter()
            .map(|entry| entry["message"].as_str().unwrap_or_default());
        texts
            .filter(|text| !text.starts_with("chrome://"))
            .map(str::to_owned)
            .collect()
    }

    /// Every URL that has been asked for since the last time, in order.
    pub(crate) fn requests(&self) -> Vec<String> {
        let entries = self.log("performance");
        let events = entries
            .iter()
            .filter_map(|entry| serde_json::from_str::<Value>(entry["message"].as_str()?).ok());
        let urls = events.filter_map(|event| {
            let event = &event["message"];
            let is_request = event["method"] == "Network.requestWillBeSent";
            let url = event["params"]["request"]["url"].as_str()?;
            is_request.then(|| url.to_owned())
        });
        urls.collect()
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        let entries = self
            .ask("POST", "/se/log", Some(&json!({ "type": kind })))
            .expect("a log");
        entries.as_array().expect("a list").clone()
    }

    /// A command of the DevTools protocol, for what WebDriver does not know.
    fn develop(&self, command: &str, parameters: Value) {
        let body = json!({ "cmd": command, "params": parameters });
        self.ask("POST", "/goog/cdp/execute", Some(&body))
            .expect(command);
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let path = format!("/session/{}{path}", self.session);
        self.exchange(method, &path, body)
    }

    /// One command to the driver; its error as text.
    fn exchange(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let port = self.port;
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the driver");
        stream.set_read_timeout(Some(ANSWER_WAIT)).expect("valid");
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let (status, body) = read_answer(&mut stream);
        let answer: Value = serde_json::from_slice(&body).expect("JSON");
        let value = answer["value"].clone();
        match status {
            200 => Ok(value),
            _ => Err(value["message"].as_str().unwrap_or_default().to_owned()),
        }
    }
}

/// Reads one answer of the driver, which keeps the connection open whatever it is told.
fn read_answer(stream: &mut TcpStream) -> (u16, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer in time");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("ASCII").to_lowercase();
    let status = head.get(9..12).and_then(|digits| digits.parse().ok());
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|text| text.trim().parse().ok());
    let mut body = vec![0; length.expect("a length")];
    stream.read_exact(&mut body).expect("an answer in time");
    (status.expect("a status"), body)
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Otherwise the browser would outlive its driver.
        if self.driver.is_running() && !self.session.is_empty() {
            let _ = self.ask("DELETE", "", None);
        }
    }
}

/// Where pictures are kept.
fn pictures() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures")
}
