//! What is remembered of a client for as long as it is served, for the status and the accounts.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::area::Worker;
use crate::area::places::Place;
use crate::client::service;
use crate::limits::{PAUSES_KEPT_MAX, SERVICE_URL_BYTES_MAX};
use crate::status::rate::Rate;

/// Room for what stands behind the address in a client's id.
const CLIENT_ID_BYTES_BEHIND: usize = "-worker255-seq18446744073709551615".len();

/// What kind of source a client has asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A group.
    Multicast,
    /// A resource of an HTTP server.
    Http,
    /// A session with an RTSP server.
    Rtsp,
}

impl Kind {
    /// The state of a client that waits and has no upstream yet (server spec §10.6).
    pub fn waiting_state(self) -> u8 {
        match self {
            Self::Multicast => 0,
            Self::Rtsp => 7,
            Self::Http => 26,
        }
    }

    /// The state of a client that is given media.
    pub fn streaming_state(self) -> u8 {
        match self {
            Self::Multicast => 6,
            Self::Rtsp => 20,
            Self::Http => 29,
        }
    }
}

/// One request for a stream, from its arrival until the last byte of the answer.
#[derive(Debug)]
pub struct Record {
    /// What it has asked for.
    pub kind: Kind,
    /// The same as it was written.
    target: String,
    /// The same as it may be shown, once it has been shown.
    service_url: OnceCell<String>,
    /// Its address, or the one that a proxy in front has named.
    pub address: Rc<str>,
    /// Present once it has been admitted.
    pub admission: Option<Admission>,
    /// When its upstream was paused.
    pub pauses: Pauses,
    /// It has lost its source, or never got one.
    pub failed: bool,
}

/// A client that was taken on.
#[derive(Debug)]
pub struct Admission {
    /// Its place, as long as it counts towards the limit.
    pub place: Option<Place>,
    /// Names it in the status.
    pub client_id: String,
    /// When that was.
    pub since: Instant,
    /// What its connection had been sent before.
    pub base_bytes: u64,
    /// How fast it is sent more.
    pub rate: Rate,
}

impl Record {
    /// A request for `target`, which has lost the prefix of all paths, from `address`.
    pub fn new(kind: Kind, target: String, address: Rc<str>) -> Self {
        Self {
            kind,
            target,
            service_url: OnceCell::new(),
            address,
            admission: None,
            pauses: Pauses::default(),
            failed: false,
        }
    }

    /// What was asked for as it may be shown: at most [`SERVICE_URL_BYTES_MAX`] bytes, nothing secret.
    pub fn service_url(&self) -> &str {
        self.service_url.get_or_init(|| shown(&self.target))
    }

    /// The client has been taken on at `place`, after its connection had been sent `base_bytes` bytes.
    pub fn admit(&mut self, worker: &Worker, place: Place, base_bytes: u64, now: Instant) {
        let (number, sequence) = (worker.number(), worker.next_sequence());
        // As one piece: it is made with every request.
        let mut client_id = String::with_capacity(self.address.len() + CLIENT_ID_BYTES_BEHIND);
        client_id.push_str(&self.address);
        client_id.push_str("-worker");
        client_id.push_str(itoa::Buffer::new().format(number));
        client_id.push_str("-seq");
        client_id.push_str(itoa::Buffer::new().format(sequence));
        worker.name(place, &client_id);
        self.admission = Some(Admission {
            place: Some(place),
            client_id,
            since: now,
            base_bytes,
            rate: Rate::new(0, now),
        });
    }

    /// Another client takes the place; what is queued is still sent.
    pub fn give_way(&mut self, worker: &Worker) {
        if let Some(place) = self.admission.as_mut().and_then(|own| own.place.take()) {
            worker.release(place);
        }
    }

    /// The last byte has been sent; of the whole connection, that were `sent_bytes`.
    pub fn close(mut self, worker: &Worker, sent_bytes: u64) {
        self.give_way(worker);
        if let Some(admission) = self.admission {
            worker.count_finished(sent_bytes.saturating_sub(admission.base_bytes));
        }
    }

    /// Its place, as long as it counts towards the client limit.
    pub fn place(&self) -> Option<Place> {
        self.admission.as_ref()?.place
    }

    /// The client's id, once it has been admitted.
    pub fn client_id(&self) -> Option<&str> {
        self.admission
            .as_ref()
            .map(|admission| admission.client_id.as_str())
    }
}

/// What was asked for as people read it, and not too long; cut between characters.
fn shown(target: &str) -> String {
    let mut text = service::service_url(target);
    let mut end = text.len().min(SERVICE_URL_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// When the upstream of a client was paused: altogether, and the latest times.
#[derive(Debug, Default)]
pub struct Pauses {
    since: Option<Instant>,
    past: Duration,
    kept: VecDeque<(Instant, Duration)>,
}

impl Pauses {
    /// A pause begins, unless one lasts already.
    pub fn begin(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// The pause is over, if there is one.
    pub fn end(&mut self, now: Instant) {
        let Some(since) = self.since.take() else {
            return;
        };
        let length = now.saturating_duration_since(since);
        self.past += length;
        if self.kept.len() >= PAUSES_KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back((since, length));
    }

    /// Whether a pause lasts.
    pub fn is_paused(&self) -> bool {
        self.since.is_some()
    }

    /// How long all pauses have been, the one that lasts included.
    pub fn total(&self, now: Instant) -> Duration {
        let current = self
            .since
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.past + current
    }

    /// Begin and length of the latest pauses, the oldest first; the one that lasts comes last.
    pub fn latest(&self, now: Instant) -> impl Iterator<Item = (Instant, Duration)> {
        let current = self
            .since
            .map(|since| (since, now.saturating_duration_since(since)));
        let skipped = usize::from(current.is_some() && self.kept.len() >= PAUSES_KEPT_MAX);
        self.kept.iter().copied().skip(skipped).chain(current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_long_url_is_cut_between_characters() {
        let text = shown(&format!("/{}", "ä".repeat(300)));
        assert_eq!(text.len(), SERVICE_URL_BYTES_MAX);
        let text = shown(&format!("/a{}", "ä".repeat(300)));
        assert_eq!(text.len(), SERVICE_URL_BYTES_MAX - 1);
    }

    proptest! {
        #[test]
        fn any_target_can_be_shown(target in "/[^ ]{0,400}") {
            prop_assert!(shown(&target).len() <= SERVICE_URL_BYTES_MAX);
        }
    }

    #[test]
    fn pauses_add_up_and_the_latest_are_kept() {
        #[allow(clippy::disallowed_methods, reason = "any time will do")]
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pauses = Pauses::default();
        pauses.end(at(0));
        assert_eq!(pauses.latest(at(0)).count(), 0);
        for number in 0..PAUSES_KEPT_MAX as u64 + 3 {
            pauses.begin(at(number * 10));
            pauses.begin(at(number * 10 + 1));
            pauses.end(at(number * 10 + 2));
            pauses.end(at(number * 10 + 3));
        }
        assert!(!pauses.is_paused());
        assert_eq!(pauses.total(at(10_000)), Duration::from_secs(70));
        let two = Duration::from_secs(2);
        assert_eq!(pauses.latest(at(10_000)).next(), Some((at(30), two)));
        pauses.begin(at(1000));
        assert_eq!(pauses.total(at(1005)), Duration::from_secs(75));
        let latest: Vec<_> = pauses.latest(at(1005)).collect();
        assert_eq!(latest.len(), PAUSES_KEPT_MAX);
        assert_eq!(latest.first(), Some(&(at(40), two)));
        assert_eq!(latest.last(), Some(&(at(1000), Duration::from_secs(5))));
    }
}
