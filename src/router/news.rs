//! One worker fetches for all: what workers tell each other of the channel list and the programme guide (playlist spec
//! §15, weakness 4).
//!
//! All of them keep the same schedule. Whoever finds a document due looks whether another has brought it meanwhile, and
//! otherwise takes hold of its [handout](crate::area::handout): that one loads it, and the others are held up until they
//! are told what has come of it, and when the next load is due. If it dies, the next one takes its place. A worker that
//! begins takes what is there.
//!
//! Told is what was loaded for one address under one configuration; whoever wants another takes no notice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use md5::{Digest, Md5};
use serde_json::{Value, json};

use super::Router;
use super::errand::Errand;
use crate::area::Area;
use crate::limits::{DOCUMENT_WAIT, HANDOUT_ALONE_BYTES_MAX};
use crate::playlist::download::{Document, Validators};
use crate::playlist::{DocumentAddress, Plan};

/// What has come of a load.
#[derive(Debug, PartialEq, Eq)]
struct News {
    /// Of the configuration.
    generation: u64,
    /// What the address comes to.
    address: [u8; 16],
    succeeded: bool,
    plan: Plan,
    /// What is in the handout, from this load or one before.
    document: Option<Mark>,
}

/// What a document is known by.
#[derive(Debug, PartialEq, Eq)]
struct Mark {
    digest: [u8; 16],
    validators: Validators,
}

impl Errand {
    fn handout(self) -> usize {
        self as usize
    }
}

impl Router {
    /// Begins with the list that another worker has brought, so that its services are there at once.
    pub(super) fn inherit_list(&mut self) {
        // It may be of a configuration before this one, and then it is loaded again all the same.
        if let Some((number, news)) = self.hear(Errand::List)
            && let Some(mark) = news.document
            && self.take_from_others(Errand::List, number, mark).is_some()
        {
            // Nobody is served yet who would have to wait.
            while self.library.is_reading() && !self.library.read_further() {}
            self.follow_guide();
        }
        self.take_news(Errand::List);
    }

    /// The bell has rung: another worker may have brought something, or given it up.
    pub(super) fn look_for_news(&mut self) {
        if self.leaving.is_some() {
            return;
        }
        for errand in Errand::ALL {
            self.errands.course(errand).held_up_until = None;
            self.take_news(errand);
        }
    }

    /// Whether this worker is to load a document that is due, and no other. It has to tell what comes of that, or to leave
    /// it to the others.
    pub(super) fn is_left_to_this_worker(&mut self, errand: Errand) -> bool {
        if self.take_news(errand) {
            return false;
        }
        let handout = self.worker.area().handout(errand.handout());
        if !handout.take(self.worker.seat()) {
            let until = self.shared.now + DOCUMENT_WAIT;
            self.errands.course(errand).held_up_until = Some(until);
            return false;
        }
        self.errands.course(errand).held_up_until = None;
        // Just before somebody may have let go of it.
        let is_there = self.take_news(errand);
        if is_there {
            self.leave_to_others(errand);
        }
        !is_there
    }

    /// Another worker may load it.
    pub(super) fn leave_to_others(&self, errand: Errand) {
        let seat = self.worker.seat();
        self.worker.area().let_go(errand.handout(), seat);
    }

    /// Tells what has come of a load from `address`, and hands out what it has `brought`.
    pub(super) fn tell_others(
        &mut self,
        errand: Errand,
        address: &DocumentAddress,
        brought: Option<&Document>,
        succeeded: bool,
    ) {
        let area = Arc::clone(self.worker.area());
        let handout = area.handout(errand.handout());
        let address = key(address);
        let is_for_others = self.shared.config.workers > 1;
        let most = if is_for_others {
            usize::MAX
        } else {
            HANDOUT_ALONE_BYTES_MAX
        };
        let (document, body) = match brought {
            Some(document) if document.bytes.len() <= most => {
                let mark = Mark {
                    digest: document.digest,
                    validators: document.validators.clone(),
                };
                (Some(mark), Some(document.bytes.as_slice()))
            }
            Some(_) => (None, Some(&b""[..])),
            // What is there stays.
            None => {
                let before = handout.note();
                let before = before.and_then(|(_, note)| News::decode(&note, &area));
                let before = before.filter(|before| before.address == address);
                (before.and_then(|before| before.document), None)
            }
        };
        let generation = self.errands.generation;
        let course = self.errands.course(errand);
        let news = News {
            generation,
            address,
            succeeded,
            plan: course.schedule.plan(),
            document,
        };
        course.seen = handout.put(news.encode(&area).as_bytes(), body);
    }

    /// Takes what another worker tells of a document, as if it had been loaded here. Returns whether there was something
    /// new to be taken.
    fn take_news(&mut self, errand: Errand) -> bool {
        let generation = self.errands.generation;
        let Some((number, news)) = self
            .hear(errand)
            .filter(|(_, news)| news.generation == generation)
        else {
            return false;
        };
        let mark = news.document;
        let is_new = mark.and_then(|mark| self.take_from_others(errand, number, mark));
        if news.succeeded && is_new.is_none() {
            return false;
        }
        let course = self.errands.course(errand);
        course.seen = number;
        course.held_up_until = None;
        course.schedule.follow(news.plan);
        log::debug!("{}: another worker has asked for it", errand.name());
        if let Some(is_new) = is_new.filter(|_| news.succeeded) {
            self.have_document(errand, is_new);
        }
        true
    }

    /// What another worker tells of the document that is wanted here, with its number.
    fn hear(&mut self, errand: Errand) -> Option<(u64, News)> {
        let area = Arc::clone(self.worker.area());
        let handout = area.handout(errand.handout());
        let course = self.errands.course(errand);
        if course.running.is_some() || handout.number() == course.seen {
            return None;
        }
        // Which guide there is to be is told by the list.
        if errand == Errand::Guide && self.library.is_reading() {
            return None;
        }
        let (address, _) = self.errand_address(errand)?.ok()?;
        let (number, note) = handout.note()?;
        let news = News::decode(&note, &area)?;
        (news.address == key(&address)).then_some((number, news))
    }

    /// Takes a document that another worker has brought. Returns whether it is new here; nothing if it is not to be had.
    fn take_from_others(&mut self, errand: Errand, number: u64, mark: Mark) -> Option<bool> {
        let Mark { digest, validators } = mark;
        let bytes = match self.library.digest(errand) == Some(digest) {
            // Only its validators may have changed.
            true => Vec::new(),
            false => self.worker.area().handout(errand.handout()).body(number)?,
        };
        let document = Document {
            bytes,
            digest,
            validators,
        };
        self.take_document(errand, &document)
            .inspect_err(|text| log::warn!("{} of another worker: {text}", errand.name()))
            .ok()
    }
}

/// What an address comes to.
fn key(address: &DocumentAddress) -> [u8; 16] {
    Md5::digest(address.to_string()).into()
}

impl News {
    fn encode(&self, area: &Area) -> String {
        let time = |at: Option<Instant>| at.map(|at| area.uptime(at).as_millis() as u64);
        let document = self.document.as_ref().map(|Mark { digest, validators }| {
            json!({"digest": digest, "tag": validators.tag, "modified": validators.modified})
        });
        json!({
            "generation": self.generation,
            "address": self.address,
            "succeeded": self.succeeded,
            "regular": time(self.plan.regular_at),
            "retry": time(self.plan.retry_at),
            "failures": self.plan.failures,
            "document": document,
        })
        .to_string()
    }

    fn decode(note: &[u8], area: &Area) -> Option<Self> {
        let note: Value = serde_json::from_slice(note).ok()?;
        let time = |name| {
            let uptime = note.get(name)?.as_u64()?;
            Some(area.instant(Duration::from_millis(uptime)))
        };
        let document = note.get("document")?;
        let text = |name| document.get(name)?.as_str().map(str::to_owned);
        let mark = |digest| Mark {
            digest,
            validators: Validators {
                tag: text("tag"),
                modified: text("modified"),
            },
        };
        Some(Self {
            generation: note.get("generation")?.as_u64()?,
            address: sixteen(note.get("address")?)?,
            succeeded: note.get("succeeded")?.as_bool()?,
            plan: Plan {
                regular_at: time("regular"),
                retry_at: time("retry"),
                failures: note.get("failures")?.as_u64()?.try_into().ok()?,
            },
            document: document.get("digest").and_then(sixteen).map(mark),
        })
    }
}

fn sixteen(bytes: &Value) -> Option<[u8; 16]> {
    let bytes = bytes.as_array()?.iter();
    let bytes: Option<Vec<u8>> = bytes.map(|byte| byte.as_u64()?.try_into().ok()).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::HANDOUT_NOTE_BYTES_MAX;
    use crate::net::clock;

    fn news(area: &Area, document: Option<Mark>) -> News {
        let at = |seconds| area.instant(Duration::from_secs(seconds));
        News {
            generation: 3,
            address: [0xfe; 16],
            succeeded: false,
            plan: Plan {
                regular_at: Some(at(7200)),
                retry_at: None,
                failures: 2,
            },
            document,
        }
    }

    #[test]
    fn what_is_told_is_what_is_heard() {
        let area = Area::new(clock::now(), 0, 1).expect("an area");
        for document in [
            None,
            Some(Mark {
                digest: [0xff; 16],
                validators: Validators::default(),
            }),
            Some(Mark {
                digest: [1; 16],
                validators: Validators {
                    tag: Some("\"x\"".to_owned()),
                    modified: Some("Thu, 01 Jan 1970 00:00:00 GMT".to_owned()),
                },
            }),
        ] {
            let news = news(&area, document);
            let note = news.encode(&area);
            assert_eq!(News::decode(note.as_bytes(), &area), Some(news), "{note}");
            for end in 0..note.len() {
                assert_eq!(News::decode(&note.as_bytes()[..end], &area), None);
            }
        }
    }

    #[test]
    fn longest_note_fits() {
        let area = Area::new(clock::now(), 0, 1).expect("an area");
        let longest = Some("\"".to_owned() + &"x".repeat(254) + "\"");
        let mark = Mark {
            digest: [0xff; 16],
            validators: Validators {
                tag: longest.clone(),
                modified: longest,
            },
        };
        let note = News {
            generation: u64::MAX,
            ..news(&area, Some(mark))
        }
        .encode(&area);
        assert!(note.len() <= HANDOUT_NOTE_BYTES_MAX, "{}", note.len());
    }
}
