//! One request and its answer: what is sent byte for byte, what goes wrong on purpose, and what was seen of it.

use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::super::media::{Rng, body_byte};
use super::site::{Lookup, Reach, Site, SiteTrouble};

/// A reply is told apart from every other by this header.
pub(in crate::sim) const NUMBER_HEADER: &str = "X-Exchange";
/// What a server says behind an answer without being asked.
const SURPLUS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong";

#[derive(Debug)]
pub(in crate::sim) struct Exchange {
    pub(in crate::sim) site: usize,
    pub(in crate::sim) method: &'static str,
    /// The `x` of the client's `HTTP/1.x`.
    pub(in crate::sim) minor: u8,
    pub(in crate::sim) client_closes: bool,
    pub(in crate::sim) upload: Option<Upload>,
    pub(in crate::sim) reply: Reply,
    /// Heads of this request that servers have read whole.
    pub(in crate::sim) asked: u32,
    /// When the last of them had the whole request.
    pub(in crate::sim) asked_at: Option<Instant>,
    /// A server has closed a kept connection instead of answering.
    pub(in crate::sim) dropped: bool,
    /// A server has the whole body of the request.
    pub(in crate::sim) uploaded: bool,
}

/// The body of a request.
#[derive(Debug, Clone, Copy)]
pub(in crate::sim) struct Upload {
    pub(in crate::sim) bytes: u64,
    pub(in crate::sim) chunked: bool,
    /// The chunks make no sense from some point on.
    pub(in crate::sim) broken: bool,
    /// The client waits for 100 before it sends the body.
    pub(in crate::sim) expects: bool,
}

/// An answer, as its server sends it.
#[derive(Debug, Clone)]
pub(in crate::sim) struct Reply {
    pub(in crate::sim) wire: Wire,
    /// Interim responses, at the front of `wire`.
    pub(in crate::sim) interim_bytes: usize,
    /// The last bytes of `wire` that were not asked for; they come together with the end of the body.
    pub(in crate::sim) surplus: usize,
    pub(in crate::sim) status: u16,
    pub(in crate::sim) body_bytes: u64,
    /// The client sees the end of the body only where the connection ends.
    pub(in crate::sim) until_close: bool,
    /// What `Location` must have become.
    pub(in crate::sim) location: Option<String>,
    /// The server keeps the connection.
    pub(in crate::sim) keeps: bool,
    pub(in crate::sim) flaw: Flaw,
    pub(in crate::sim) head_delay: Duration,
    pub(in crate::sim) bytes_at_a_time: usize,
    pub(in crate::sim) every: Duration,
    /// Silence for a while, at this byte of `wire`.
    pub(in crate::sim) stall: Option<(usize, Duration)>,
    /// Answered after so many bytes of the request's body; whether the rest is still read.
    pub(in crate::sim) early: Option<(u64, bool)>,
    /// The end of the connection is not announced by the stage.
    pub(in crate::sim) cut: bool,
}

/// Bytes too many to be shown.
#[derive(Clone)]
pub(in crate::sim) struct Wire(pub(in crate::sim) Rc<[u8]>);

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let front = &self.0[..self.0.len().min(150)];
        write!(f, "{} bytes: {}", self.0.len(), front.escape_ascii())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Flaw {
    None,
    /// The head makes no sense.
    Head,
    /// The chunks make no sense from some point on.
    Body,
    /// The connection ends at this byte of `wire`.
    Finish(usize),
    Reset(usize),
    /// Nothing comes any more from this byte of `wire` on.
    Silence(usize),
}

/// How an exchange has to end for a client that stays and sends all of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sim) enum Fate {
    /// The answer arrives whole.
    Whole,
    /// It does not; one of these statuses, or an answer that is visibly cut.
    Fails(&'static [u16]),
    /// Either, the statuses included.
    Open(&'static [u16]),
}

impl Exchange {
    pub(in crate::sim) fn repeatable(&self) -> bool {
        self.upload.is_none() && self.method != "POST"
    }

    pub(in crate::sim) fn fate(&self, site: &Site) -> Fate {
        if self.upload.is_some_and(|upload| upload.broken) {
            return Fate::Open(&[400, 502, 504]);
        }
        match site.lookup {
            Some(Lookup::Fails) => return Fate::Fails(&[502]),
            Some(Lookup::Never) => return Fate::Fails(&[504]),
            Some(Lookup::Answers(_)) | None => {}
        }
        let answers = |reach: &Reach| matches!(reach, Reach::Answers { .. });
        if !site.addresses.iter().any(answers) {
            let silent = site.addresses.iter().all(|reach| *reach == Reach::Silent);
            let refuses = !site.addresses.contains(&Reach::Silent);
            return Fate::Fails(match (silent, refuses) {
                (true, _) => &[504],
                (_, true) => &[502],
                _ => &[502, 504],
            });
        }
        match site.trouble {
            SiteTrouble::Garbage => return Fate::Fails(&[502]),
            SiteTrouble::Mute => return Fate::Fails(&[504]),
            SiteTrouble::None => {}
        }
        if self.dropped || (!self.repeatable() && site.habits.hangs_up()) {
            return Fate::Open(&[502, 504]);
        }
        match self.reply.flaw {
            Flaw::None if self.reply.cut && self.reply.until_close => Fate::Open(&[502]),
            Flaw::None => Fate::Whole,
            Flaw::Head => Fate::Fails(&[502]),
            Flaw::Body if self.reply.until_close => Fate::Open(&[502]),
            Flaw::Body => Fate::Fails(&[502]),
            // Where only the end of the connection ends the body, a part of it looks like the whole.
            Flaw::Finish(_) | Flaw::Reset(_) if self.reply.until_close => Fate::Open(&[502]),
            Flaw::Finish(_) | Flaw::Reset(_) => Fate::Fails(&[502]),
            Flaw::Silence(_) if self.reply.until_close => Fate::Open(&[504]),
            Flaw::Silence(_) => Fate::Fails(&[504]),
        }
    }

    /// The request: its head, and its body behind it.
    pub(in crate::sim) fn request(
        &self,
        number: usize,
        site: &Site,
        rng: &mut Rng,
    ) -> (Vec<u8>, Vec<u8>) {
        let mut head = format!(
            "{} {} HTTP/1.{}\r\nHost: sim\r\n",
            self.method,
            site.proxied(number),
            self.minor
        );
        let mut body = Vec::new();
        if let Some(upload) = self.upload {
            let plain: Vec<u8> = (0..upload.bytes)
                .map(|offset| upload_byte(number, offset))
                .collect();
            if upload.chunked {
                head += "Transfer-Encoding: chunked\r\n";
                body = chunks(&plain, upload.broken, rng);
            } else {
                head += &format!("Content-Length: {}\r\n", upload.bytes);
                body = plain;
            }
            if upload.expects {
                head += "Expect: 100-continue\r\n";
            }
        }
        if self.client_closes {
            head += "Connection: close\r\n";
        } else if self.minor == 0 {
            head += "Connection: keep-alive\r\n";
        }
        head += "\r\n";
        (head.into_bytes(), body)
    }
}

/// Byte `offset` of what is uploaded in exchange `number`.
pub(in crate::sim) fn upload_byte(number: usize, offset: u64) -> u8 {
    body_byte(number.wrapping_add(7), offset)
}

/// Draws the answer to exchange `number`; `location` is what a redirect leads to, as the server says it and as it
/// must arrive.
pub(in crate::sim) fn draw_reply(
    number: usize,
    is_head: bool,
    client_minor: u8,
    upload: Option<Upload>,
    secure: bool,
    location: Option<(String, String)>,
    rng: &mut Rng,
) -> Reply {
    let status = match location {
        Some(_) => rng.pick(&[301, 302, 307]),
        None => rng.pick(&[200, 200, 200, 200, 200, 206, 404, 500, 204, 304]),
    };
    let has_body = !is_head && !matches!(status, 204 | 304);
    let early = upload
        .filter(|upload| upload.bytes > 0 && rng.one_in(3))
        .map(|upload| (rng.range(0, upload.bytes - 1), rng.one_in(2)));
    let body_bytes = match early {
        // Both directions at once.
        Some(_) => rng.pick(&[300, 300_000, 1_200_000]),
        None => rng.pick(&[0, 1, 300, 5000, 40_000, 300_000, 1_200_000]),
    };
    let body_bytes = rng.range(body_bytes / 2, body_bytes);
    let framing = rng.pick(&["length", "length", "chunked", "chunked", "close"]);
    let minor = if framing != "chunked" && rng.one_in(6) {
        0
    } else {
        1
    };
    let closes = framing == "close" || minor == 0 || rng.one_in(5);
    let mut wire = Vec::new();
    let interims = match upload {
        Some(upload) if upload.expects && rng.one_in(2) => 1,
        _ if rng.one_in(6) => rng.count(1, 3),
        _ => 0,
    };
    for _ in 0..interims {
        let interim = rng.pick(&["100 Continue\r\n", "103 Early Hints\r\nLink: </a>\r\n"]);
        wire.extend(format!("HTTP/1.1 {interim}\r\n").bytes());
    }
    let interim_bytes = wire.len();
    wire.extend(format!("HTTP/1.{minor} {status} Sim\r\n{NUMBER_HEADER}: {number}\r\n").bytes());
    match framing {
        // A length of what is not sent is no more than a remark.
        "length" if has_body || rng.one_in(2) => {
            wire.extend(format!("Content-Length: {body_bytes}\r\n").bytes());
        }
        "chunked" if has_body || rng.one_in(2) => {
            wire.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        _ => {}
    }
    if closes && (minor == 1 || rng.one_in(2)) {
        wire.extend_from_slice(b"Connection: close\r\n");
    }
    if let Some((told, _)) = &location {
        wire.extend(format!("Location: {told}\r\n").bytes());
    }
    wire.extend_from_slice(b"\r\n");
    let head_bytes = wire.len();
    let mut flaw = Flaw::None;
    if rng.one_in(12) {
        wire.truncate(interim_bytes);
        wire.extend(flawed_head(number, is_head, rng));
        flaw = Flaw::Head;
    } else if has_body {
        let plain: Vec<u8> = (0..body_bytes)
            .map(|offset| body_byte(number, offset))
            .collect();
        if framing == "chunked" {
            let broken = rng.one_in(8);
            wire.extend(chunks(&plain, broken, rng));
            if broken {
                flaw = Flaw::Body;
            }
        } else {
            wire.extend(plain);
        }
    }
    // Long ones are often ended while they are paused.
    let long = wire.len() > 100_000;
    if flaw == Flaw::None && rng.one_in(if long { 3 } else { 6 }) {
        let at = if rng.one_in(3) {
            rng.count(0, head_bytes - 1)
        } else {
            rng.count(0, wire.len() - 1)
        };
        let mut flaws = vec![Flaw::Finish(at), Flaw::Silence(at), Flaw::Reset(at)];
        if long {
            flaws.extend([Flaw::Reset(at); 2]);
        }
        flaw = rng.pick(&flaws);
    }
    let surplus = flaw == Flaw::None && !closes && rng.one_in(8);
    if surplus {
        wire.extend_from_slice(SURPLUS);
    }
    let bytes_at_a_time = rng.pick(&[1, 7, 100, 1000, 10_000, 100_000]);
    let bytes_at_a_time = bytes_at_a_time.max(wire.len() / 300);
    Reply {
        stall: rng
            .one_in(8)
            .then(|| (rng.count(0, wire.len()), rng.millis(1, 2000))),
        wire: Wire(wire.into()),
        interim_bytes,
        surplus: if surplus { SURPLUS.len() } else { 0 },
        status,
        body_bytes: if has_body { body_bytes } else { 0 },
        until_close: has_body
            && (framing == "close" || (framing == "chunked" && client_minor == 0)),
        location: location.map(|(_, arrived)| arrived),
        keeps: !closes,
        flaw,
        head_delay: if rng.one_in(3) {
            rng.millis(0, 1500)
        } else {
            Duration::ZERO
        },
        bytes_at_a_time,
        every: rng.micros(10, 10_000),
        early,
        cut: secure && rng.one_in(4),
    }
}

/// A body in chunks of every size, with extensions and trailers; if it is `broken`, something in it is wrong.
fn chunks(mut plain: &[u8], broken: bool, rng: &mut Rng) -> Vec<u8> {
    let mut wire = Vec::with_capacity(plain.len() + plain.len() / 16 + 64);
    let largest = rng
        .pick(&[3, 100, 5000, 100_000])
        .max(plain.len() / 500 + 1);
    let mut trouble = if broken { rng.count(0, 3) } else { usize::MAX };
    while !plain.is_empty() {
        let count = rng.count(1, largest).min(plain.len());
        if trouble == 0 && rng.one_in(4) {
            // Longer than it says.
            wire.extend(format!("{count:x}\r\n").bytes());
            wire.extend_from_slice(&plain[..count]);
            wire.extend_from_slice(b"xx\r\n0\r\n\r\n");
            return wire;
        }
        if trouble == 0 {
            wire.extend_from_slice(rng.pick(&[
                &b"zz\r\n"[..],
                b" 5\r\nabcde\r\n",
                b"-1\r\n",
                b"5\nabcde\n",
                b"fffffffffffffffff\r\n",
                b"\r\n",
                b";a\r\n",
            ]));
            return wire;
        }
        trouble = trouble.saturating_sub(1);
        let size = match rng.range(0, 3) {
            0 => format!("{count:X}"),
            1 => format!("00{count:x}"),
            _ => format!("{count:x}"),
        };
        let extension = rng.pick(&["", "", ";a", ";name=value;b=\"c\""]);
        wire.extend(format!("{size}{extension}\r\n").bytes());
        wire.extend_from_slice(&plain[..count]);
        wire.extend_from_slice(b"\r\n");
        plain = &plain[count..];
    }
    let end: &[u8] = if broken {
        rng.pick(&[&b"0\r\nno trailer\r\n\r\n"[..], b"0\r\n\rx", b"0x\r\n\r\n"])
    } else {
        rng.pick(&[
            &b"0\r\n\r\n"[..],
            b"0;x\r\n\r\n",
            b"000\r\nA: b\r\nC: d\r\n\r\n",
        ])
    };
    wire.extend_from_slice(end);
    wire
}

/// A head that must not be relayed, and bytes behind it that must not be taken for its body.
fn flawed_head(number: usize, is_head: bool, rng: &mut Rng) -> Vec<u8> {
    let lines = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n",
        "HTTP/2.0 200 OK\r\n",
        "HTTP/1.1 2x0 OK\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n",
        "HTTP/1.1 200 OK\r\n A: b\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n",
        "220 mail ready\r\n",
    ];
    // Framing does not matter where no body can come: the first six.
    let from = if is_head { 6 } else { 0 };
    let lines = lines[rng.count(from, lines.len() - 1)];
    let filler = "x".repeat(if rng.one_in(8) { 40_000 } else { 0 });
    format!("{lines}{NUMBER_HEADER}: {number}{filler}\r\n\r\n5\r\nwrong\r\n0\r\n\r\n").into_bytes()
}
