//! A request, then any bytes as its response, whole and cut: client and router must see the same, in order, and
//! one end.
#![no_main]

use std::rc::Rc;

use flowgate::proto::http::{Action, Exchange, Session};
use flowgate::proto::origin::HttpUrl;
use flowgate::proto::rewrite::Links;
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    interims: Vec<Vec<u8>>,
    head: Option<Vec<u8>>,
    body: Vec<u8>,
    end: Option<Result<bool, String>>,
}

fn relay(exchange: &Rc<Exchange>, response: &[u8], steps: u8, skipping: bool) -> Seen {
    let mut session = Session::new(Rc::clone(exchange));
    let mut seen = Seen::default();
    let mut actions = Vec::new();
    let mut rest = response;
    let mut turn = 0u32;
    loop {
        turn += 1;
        let step = match steps {
            0 => usize::MAX,
            _ => 1 + usize::from(steps.rotate_left(turn) & 31),
        };
        let opaque = usize::try_from(session.opaque_bytes()).unwrap_or(usize::MAX);
        let skips = skipping && opaque > 0;
        let len = step.min(rest.len());
        let (part, behind) = rest.split_at(if skips { len.min(opaque) } else { len });
        let is_over = part.is_empty();
        if is_over {
            session.finish(&mut actions);
        } else if skips {
            seen.body.extend_from_slice(part);
            session.skip(part.len() as u64, &mut actions);
        } else {
            session.receive(part, &mut actions);
        }
        for action in actions.drain(..) {
            assert_eq!(seen.end, None);
            match action {
                Action::Interim(head) => {
                    assert_eq!(seen.head, None);
                    seen.interims.push(head);
                }
                Action::Head(head) => {
                    assert_eq!(seen.head, None);
                    seen.head = Some(head.encode(exchange.client_minor_version, true));
                }
                Action::Body(range) => {
                    assert!(seen.head.is_some() && !range.is_empty());
                    seen.body.extend_from_slice(&part[range]);
                }
                Action::Whole(head, body) => {
                    assert!(seen.head.is_none() && seen.body.is_empty());
                    seen.head = Some(head.encode(exchange.client_minor_version, true));
                    seen.body = body;
                }
                // What is still to come would be found before the connection is used again.
                Action::End { reusable } => seen.end = Some(Ok(reusable && behind.is_empty())),
                Action::Failed(error) => seen.end = Some(Err(error.to_string())),
            }
        }
        if is_over {
            return seen;
        }
        rest = behind;
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&[kind, steps], response)) = bytes.split_first_chunk() else {
        return;
    };
    let url = match kind & 1 {
        0 => "http://media.lan/live/x.ts",
        _ => "http://media.lan/live/x.m3u8",
    };
    let exchange = Rc::new(Exchange {
        is_head: kind & 2 != 0,
        client_minor_version: u8::from(kind & 4 != 0),
        url: HttpUrl::parse(url).expect("a URL"),
        links: Some(Rc::new(Links::new("http://tv.home/".to_owned(), "", true))),
        cors_allow_origin: (kind & 8 != 0).then(|| "*".to_owned()),
        access_cookie: (kind & 16 != 0).then(|| "r2h-token=s".to_owned()),
    });
    let whole = relay(&exchange, response, 0, false);
    assert!(whole.end.is_some());
    assert_eq!(relay(&exchange, response, steps, kind & 32 != 0), whole);
});
