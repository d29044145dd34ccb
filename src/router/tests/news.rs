//! Two workers that want the same list and guide: who asks for them, and who gets them.

use std::net::TcpStream;
use std::sync::Arc;

use super::library::{LIST, answer, asked, settle};
use super::{Bench, Errand, clock};
use crate::area::{Area, Seat, Worker};
use crate::config::Config;
use crate::limits::LIST_LINES_PER_TURN;
use crate::playlist::{DocumentAddress, Refresh, Schedule};

/// Two workers of one program whose list is on the origin of the first. Each has a client that stays, since a bench is
/// over with the last one.
struct Pair {
    one: Bench,
    other: Bench,
    area: Arc<Area>,
    _clients: [TcpStream; 2],
}

impl Pair {
    fn new() -> Self {
        let area = Arc::new(Area::new(clock::now(), 0, 1).expect("memory"));
        let bench = |worker| {
            let seat = Seat::of(worker).next().expect("a seat");
            Bench::of(Worker::new(Arc::clone(&area), seat), Config::default())
        };
        let (one, mut other) = (bench(0), bench(1));
        other.origin = one.origin.try_clone().expect("the same origin");
        let mut pair = Self {
            _clients: [one.client(), other.client()],
            one,
            other,
            area,
        };
        pair.reload("/list");
        pair
    }

    /// There is a new configuration, which only the first has heard of.
    fn begin_reload(&mut self, target: &str) -> Config {
        let origin = self.one.origin.local_addr().expect("an address");
        let address = DocumentAddress::parse(&format!("http://{origin}{target}"));
        let config = Config {
            external_m3u: Some(address.expect("a URL")),
            workers: 2,
            ..Config::default()
        };
        self.area.begin_generation();
        self.one.router.reconfigure(config.clone().into());
        config
    }

    /// There is a new configuration, and both have it.
    fn reload(&mut self, target: &str) {
        let config = self.begin_reload(target);
        self.other.router.reconfigure(config.into());
    }

    /// The other hears the bell, which its poll does not know here, and has a turn.
    fn ring(&mut self) {
        self.other.router.answer_bell();
        self.turn();
    }

    fn turn(&mut self) {
        let ticked = self
            .other
            .router
            .tick_after(Some(std::time::Duration::ZERO));
        ticked.expect("a tick");
    }

    /// Answers a request of the first for the list, which is to have a guide.
    fn answer_with_guide(&self, origin: &TcpStream, list: &str) {
        let host = self.one.origin.local_addr().expect("an address");
        let header = format!("#EXTM3U x-tvg-url=\"http://{host}/guide\"");
        answer(origin, "200 OK", &list.replace("#EXTM3U", &header));
    }

    /// Answers a request of the first for the guide, and waits until it has it.
    fn answer_guide(&mut self, origin: &TcpStream, guide: &str) {
        let before = guide_of(&self.one);
        answer(origin, "200 OK", guide);
        while guide_of(&self.one) == before {
            self.one.tick();
        }
    }

    /// Whether the other asks for something.
    fn other_asks(&self) -> bool {
        !self.other.router.upstreams.is_empty()
    }
}

fn guide_of(bench: &Bench) -> Option<[u8; 16]> {
    bench.router.library.digest(Errand::Guide)
}

/// A list that is not read in one turn.
fn long_list() -> String {
    (0..LIST_LINES_PER_TURN).fold(LIST.to_owned(), |list, number| {
        list + &format!("#EXTINF:-1,B{number}\nrtp://239.0.0.2\n")
    })
}

#[test]
fn one_asks_and_both_have_list_and_guide() {
    let mut pair = Pair::new();
    let origin = asked(&mut pair.one, "/list");
    for _ in 0..3 {
        pair.ring();
        assert!(!pair.other_asks());
    }
    pair.answer_with_guide(&origin, LIST);
    let guide = asked(&mut pair.one, "/guide");
    pair.ring();
    settle(&mut pair.other, "/A", true);
    pair.turn();
    assert!(!pair.other_asks(), "the first has the guide in hand");
    pair.answer_guide(&guide, "<tv/>");
    pair.ring();
    assert_eq!(guide_of(&pair.one), guide_of(&pair.other));
    // They agree upon what is next, too.
    let next = |bench: &Bench| {
        let at = bench.router.errands.deadline();
        at.map(|at| pair.area.uptime(at).as_millis())
    };
    assert_eq!(next(&pair.one), next(&pair.other));
    // Nobody takes for news what he has told himself.
    pair.one.router.answer_bell();
    pair.one.tick();
    assert!(pair.one.router.upstreams.is_empty());
}

#[test]
fn guide_that_comes_while_its_list_is_read_is_taken_afterwards() {
    let mut pair = Pair::new();
    for (round, list) in [LIST.to_owned(), long_list()].iter().enumerate() {
        let origin = asked(&mut pair.one, "/list");
        pair.answer_with_guide(&origin, list);
        let guide = asked(&mut pair.one, "/guide");
        pair.answer_guide(&guide, &format!("<tv>{round}</tv>"));
        pair.ring();
        while pair.other.router.library.is_reading() {
            assert!(!pair.other_asks());
            pair.turn();
        }
        pair.turn();
        assert!(!pair.other_asks());
        assert_eq!(guide_of(&pair.one), guide_of(&pair.other));
        let now = pair.one.router.shared.now;
        let again = Schedule::new(Refresh::Once, now);
        pair.one.router.errands.course(Errand::List).schedule = again;
    }
}

#[test]
fn what_is_there_is_taken_when_it_is_due() {
    let mut pair = Pair::new();
    let origin = asked(&mut pair.one, "/list");
    answer(&origin, "200 OK", LIST);
    settle(&mut pair.one, "/A", true);
    settle(&mut pair.other, "/A", true);
    assert!(!pair.other_asks());
}

#[test]
fn failure_of_one_is_a_failure_of_both() {
    let mut pair = Pair::new();
    let origin = asked(&mut pair.one, "/list");
    pair.turn();
    answer(&origin, "404 Not Found", "");
    while !pair.one.router.upstreams.is_empty() {
        pair.one.tick();
    }
    pair.ring();
    assert!(!pair.other_asks());
    let deadline = pair.other.router.errands.deadline().expect("a retry");
    assert!(deadline > pair.other.router.shared.now);
    // Whoever is first tries again.
    let now = pair.other.router.shared.now;
    pair.other.router.errands.hurry(now);
    pair.turn();
    assert!(pair.other_asks());
    let origin = asked(&mut pair.other, "/list");
    answer(&origin, "200 OK", LIST);
    settle(&mut pair.other, "/A", true);
    pair.one.router.answer_bell();
    settle(&mut pair.one, "/A", true);
    assert!(pair.one.router.upstreams.is_empty());
}

#[test]
fn worker_that_dies_or_leaves_leaves_it_to_the_other() {
    let mut pair = Pair::new();
    let _origin = asked(&mut pair.one, "/list");
    pair.turn();
    assert!(!pair.other_asks());
    pair.area.reclaim(Seat::of(0).next().expect("a seat"));
    pair.ring();
    assert!(pair.other_asks());
    pair.other.router.stop();
    assert!(
        pair.area
            .handout(0)
            .take(Seat::of(0).next().expect("a seat"))
    );
}

#[test]
fn list_of_the_configuration_before_is_no_answer() {
    let mut pair = Pair::new();
    let origin = asked(&mut pair.one, "/list");
    answer(&origin, "200 OK", LIST);
    settle(&mut pair.one, "/A", true);
    pair.ring();
    settle(&mut pair.other, "/A", true);
    // The first is done before the other has heard of the reload.
    let config = pair.begin_reload("/list");
    let origin = asked(&mut pair.one, "/list");
    answer(&origin, "200 OK", &LIST.replace(",A", ",B"));
    settle(&mut pair.one, "/B", true);
    pair.ring();
    settle(&mut pair.other, "/A", true);
    pair.other.router.reconfigure(config.into());
    settle(&mut pair.other, "/B", true);
    assert!(!pair.other_asks());
    // Nor is one from another address.
    let config = pair.begin_reload("/another");
    let origin = asked(&mut pair.one, "/another");
    answer(&origin, "200 OK", LIST);
    settle(&mut pair.one, "/A", true);
    let own = DocumentAddress::parse("file:///nowhere").expect("an address");
    let config = Config {
        external_m3u: Some(own),
        ..config
    };
    pair.other.router.reconfigure(config.into());
    pair.ring();
    settle(&mut pair.other, "/B", true);
}

#[test]
fn worker_that_begins_has_the_list_and_asks_for_nothing() {
    let mut pair = Pair::new();
    let origin = asked(&mut pair.one, "/list");
    answer(&origin, "200 OK", LIST);
    settle(&mut pair.one, "/A", true);
    let seat = Seat::of(2).next().expect("a seat");
    let worker = Worker::new(Arc::clone(&pair.area), seat);
    let config = pair.one.router.shared.config.as_ref().clone();
    let mut third = Bench::of(worker.clone(), config.clone());
    assert!(third.router.named("/A").is_ok_and(|named| named.is_some()));
    third.tick();
    assert!(third.router.upstreams.is_empty());
    // After a reload that nobody has answered yet it has the list, and asks.
    pair.area.begin_generation();
    let mut fourth = Bench::of(worker, config);
    assert!(fourth.router.named("/A").is_ok_and(|named| named.is_some()));
    fourth.tick();
    assert!(!fourth.router.upstreams.is_empty());
}
