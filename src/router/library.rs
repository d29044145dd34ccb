//! Channel lists and what comes of them: the catalogue of services, and the playlist and the programme guide as clients
//! get them (playlist spec §9 to §11). How lists and guides get here is the business of [`errand`](super::errand).

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::rc::Rc;

use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest, Md5};

use super::Router;
use super::errand::Errand;
use super::slots::ClientId;
use crate::client::Request;
use crate::client::resource::{self, LocalBody, Resource};
use crate::client::response::{Answer, Status};
use crate::client::route::Document as Wanted;
use crate::config::Config;
use crate::limits::{
    DOCUMENT_BYTES_MAX, LIST_LINES_PER_TURN, PLAYLIST_GZIP_BYTES_MAX, PLAYLISTS_WRITTEN_MAX,
};
use crate::playlist::download::{Document, Validators};
use crate::playlist::{
    self, Builder, Catalogue, DocumentAddress, Guide, MergeError, Origin, Source, text,
};
use crate::proto::origin::HttpUrl;
use crate::proto::rewrite::content::{GZIP_MAGIC, decode_content};
use crate::proto::url;
use crate::proto::user_info::UserInfo;

/// The channels that there are.
pub(super) struct Library {
    catalogue: Catalogue,
    /// The external list.
    list: Option<List>,
    /// A catalogue in the making, with what of the external list has not been read yet.
    reading: Option<Reading>,
    guide: Option<KeptGuide>,
    /// The playlist as it was asked for last, the latest at the end; at most [`PLAYLISTS_WRITTEN_MAX`].
    written: VecDeque<Written>,
}

/// The external list, which is read again when the configuration changes.
struct List {
    text: Rc<str>,
    digest: [u8; 16],
    validators: Validators,
}

struct Reading {
    builder: Builder,
    text: Rc<str>,
    /// Bytes that have been read.
    read_bytes: usize,
    /// Lines that are left out.
    faults: usize,
}

/// The programme guide, as it came.
struct KeptGuide {
    /// Whose it is.
    guide: Guide,
    bytes: Rc<[u8]>,
    digest: [u8; 16],
    validators: Validators,
}

/// The playlist with links that begin with `base`.
struct Written {
    base: String,
    guide: Option<String>,
    plain: Rc<[u8]>,
    gzip: Option<Rc<[u8]>>,
}

/// What a request's target names.
pub(super) struct Named {
    /// Its source, with the query of the request merged into it.
    pub(super) source: Source,
    origin: Origin,
}

impl Named {
    /// Whether its source may be where sources that clients name may not be.
    pub(super) fn is_trusted(&self) -> bool {
        self.origin == Origin::Operator
    }
}

impl Library {
    /// With the services of `config`; the external list is still to come.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            catalogue: config.catalogue().finish(),
            list: None,
            reading: None,
            guide: None,
            written: VecDeque::new(),
        }
    }

    /// Who has to ask for what a service's playlist leads to.
    pub(super) fn user_info_for(&self, url: &HttpUrl) -> Option<&UserInfo> {
        self.catalogue.user_info_for(url)
    }

    /// Begins a catalogue with the services of `config`, and with those of the external list as it is, if that is still
    /// wanted. Until it is complete the one before holds.
    pub(super) fn reconfigure(&mut self, config: &Config, before: &Config) {
        if config.external_m3u.is_none() {
            self.list = None;
        } else if config.external_m3u != before.external_m3u
            && let Some(list) = &mut self.list
        {
            list.validators = Validators::default();
        }
        self.read(config);
    }

    /// Begins a catalogue of all lists.
    fn read(&mut self, config: &Config) {
        let mut builder = config.catalogue();
        builder.begin(match &config.external_m3u {
            Some(DocumentAddress::Remote(_)) => Origin::Provider,
            Some(DocumentAddress::File(_)) | None => Origin::Operator,
        });
        self.reading = Some(Reading {
            builder,
            text: self
                .list
                .as_ref()
                .map(|list| Rc::clone(&list.text))
                .unwrap_or_default(),
            read_bytes: 0,
            faults: 0,
        });
    }

    /// Whether [`Library::read_further`] has something to do.
    pub(super) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Goes on with the catalogue in the making. Returns whether it has become the one that holds.
    pub(super) fn read_further(&mut self) -> bool {
        let Some(reading) = &mut self.reading else {
            return false;
        };
        if !reading.step(LIST_LINES_PER_TURN) {
            return false;
        }
        let Some(reading) = self.reading.take() else {
            return false;
        };
        if reading.faults > 0 {
            log::info!("channel list: {} lines have no effect", reading.faults);
        }
        self.catalogue = reading.builder.finish();
        self.written.clear();
        log::debug!("there are {} services", self.catalogue.len());
        let kept = self.guide.as_ref().map(|kept| &kept.guide);
        if kept != self.catalogue.guide() {
            self.guide = None;
        }
        true
    }

    /// Where the programme guide is.
    pub(super) fn guide_address(&self) -> Option<&Guide> {
        self.catalogue.guide()
    }

    /// What tells whether a document that is here has changed where it comes from.
    pub(super) fn validators(&self, errand: Errand) -> Validators {
        let known = match errand {
            Errand::List => self.list.as_ref().map(|list| &list.validators),
            Errand::Guide => self.guide.as_ref().map(|guide| &guide.validators),
        };
        known.cloned().unwrap_or_default()
    }

    /// What the bytes of a document that is here come to.
    pub(super) fn digest(&self, errand: Errand) -> Option<[u8; 16]> {
        match errand {
            Errand::List => self.list.as_ref().map(|list| list.digest),
            Errand::Guide => self.guide.as_ref().map(|guide| guide.digest),
        }
    }

    /// Takes a new external list. Returns whether it is another than the one before.
    ///
    /// # Errors
    ///
    /// Why it is none, so that the one before stays.
    pub(super) fn take_list(
        &mut self,
        document: &Document,
        config: &Config,
    ) -> Result<bool, String> {
        let Document {
            bytes,
            digest,
            validators,
        } = document;
        if let Some(list) = &mut self.list
            && list.digest == *digest
        {
            list.validators = validators.clone();
            return Ok(false);
        }
        let encoding = if bytes.starts_with(&GZIP_MAGIC) {
            "gzip"
        } else {
            ""
        };
        let bytes = decode_content(encoding, bytes, DOCUMENT_BYTES_MAX)
            .map_err(|error| error.to_string())?;
        let text = text::decode(&bytes);
        if !playlist::is_list(&text) {
            return Err("it is no channel list: it has neither #EXTM3U nor #EXTINF".to_owned());
        }
        self.list = Some(List {
            text: text.into(),
            digest: *digest,
            validators: validators.clone(),
        });
        self.read(config);
        Ok(true)
    }

    /// Takes a new programme guide. Returns whether it is another than the one before.
    ///
    /// # Errors
    ///
    /// Why it is none, so that the one before stays.
    pub(super) fn take_guide(&mut self, document: &Document) -> Result<bool, String> {
        let Some(guide) = self.catalogue.guide().cloned() else {
            return Ok(false);
        };
        if let Some(kept) = &mut self.guide
            && kept.digest == document.digest
        {
            kept.validators = document.validators.clone();
            return Ok(false);
        }
        if document.bytes.is_empty() {
            return Err("it is empty".to_owned());
        }
        self.guide = Some(KeptGuide {
            guide,
            bytes: document.bytes.as_slice().into(),
            digest: document.digest,
            validators: document.validators.clone(),
        });
        Ok(true)
    }

    /// The playlist with links that begin with `base`; `None` if there is nothing in it.
    fn playlist(&mut self, base: String, request: &Request, config: &Config) -> Option<Resource> {
        if self.catalogue.playlist().is_empty() {
            return None;
        }
        let guide = self.guide_link(config);
        let validator = self.validator(&base, guide.as_deref());
        let written = self.write(base, guide);
        let resource = Resource::new(
            "audio/x-mpegurl",
            LocalBody::Shared(Rc::clone(&written.plain)),
        )
        .with_validator(validator);
        let resource = if written.plain.len() > PLAYLIST_GZIP_BYTES_MAX {
            resource
        } else if resource::accepts_gzip(request) {
            resource.with_gzip(LocalBody::Shared(written.gzip()))
        } else {
            resource.varying_with("Accept-Encoding")
        };
        Some(match config.xff {
            true => resource
                .varying_with("X-Forwarded-Host")
                .varying_with("X-Forwarded-Proto"),
            false => resource,
        })
    }

    /// The programme guide as `/epg.xml`, or as `/epg.xml.gz` (playlist spec §11.2).
    fn guide(&self, as_gzip: bool) -> Option<Resource> {
        let kept = self.guide.as_ref()?;
        let body = LocalBody::Shared(Rc::clone(&kept.bytes));
        let resource = match (as_gzip, kept.is_gzip()) {
            (true, false) => return None,
            (true, true) => Resource::new("application/gzip", body),
            (false, false) => Resource::new("application/xml", body),
            // Whoever asks for a guide understands that, as far as is known, and it may be large.
            (false, true) => {
                Resource::new("application/xml", body).with("Content-Encoding", "gzip")
            }
        };
        Some(resource.with_validator(hexadecimal(&kept.digest)))
    }

    /// Where players find the guide, below the base of links.
    fn guide_link(&self, config: &Config) -> Option<String> {
        self.catalogue.guide()?;
        let is_gzip = self.guide.as_ref().is_some_and(KeptGuide::is_gzip);
        let name = if is_gzip { "epg.xml.gz" } else { "epg.xml" };
        let token = config.r2h_token.as_ref();
        let token = token.map(|token| format!("?r2h-token={}", token.encoded()));
        Some(format!("{name}{}", token.unwrap_or_default()))
    }

    /// The playlist with links that begin with `base`, made anew unless it was asked for not long ago.
    fn write(&mut self, base: String, guide: Option<String>) -> &mut Written {
        let is_same = |known: &Written| known.base == base && known.guide == guide;
        let known = self.written.iter().position(is_same);
        let known = known.and_then(|at| self.written.remove(at));
        let written = known.unwrap_or_else(|| Written {
            plain: self
                .catalogue
                .playlist()
                .write(&base, guide.as_deref())
                .into(),
            gzip: None,
            base,
            guide,
        });
        if self.written.len() >= PLAYLISTS_WRITTEN_MAX {
            self.written.pop_front();
        }
        self.written.push_back(written);
        self.written.back_mut().expect("there is one now")
    }

    /// Changes with every byte of what [`Library::write`] gives, and is cheaper.
    fn validator(&self, base: &str, guide: Option<&str>) -> String {
        let mut digest = Md5::new();
        digest.update(self.catalogue.playlist().fingerprint());
        for text in [Some(base), guide].into_iter().flatten() {
            digest.update(text);
            digest.update([0xff]);
        }
        hexadecimal(&digest.finalize())
    }
}

impl Reading {
    /// Reads at most `lines`; returns whether that was the end.
    fn step(&mut self, lines: usize) -> bool {
        for _ in 0..lines {
            let rest = self.text.get(self.read_bytes..).unwrap_or_default();
            if rest.is_empty() {
                self.faults += usize::from(self.builder.end().is_err());
                return true;
            }
            let line = rest.split_inclusive('\n').next().unwrap_or_default();
            self.read_bytes += line.len();
            if let Err(fault) = self.builder.take(line) {
                self.faults += 1;
                log::debug!("channel list: {fault}");
            }
        }
        false
    }
}

impl KeptGuide {
    /// Decided by its bytes alone (playlist spec §11.1).
    fn is_gzip(&self) -> bool {
        self.bytes.starts_with(&GZIP_MAGIC)
    }
}

impl Written {
    fn gzip(&mut self) -> Rc<[u8]> {
        let plain = &self.plain;
        Rc::clone(self.gzip.get_or_insert_with(|| compressed(plain)))
    }
}

fn compressed(bytes: &[u8]) -> Rc<[u8]> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let compressed = encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .expect("writing to memory");
    compressed.into()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Router {
    /// The source of the service that a target names, if there is one of that name.
    ///
    /// # Errors
    ///
    /// The query of the target makes the source's URL too long.
    pub(super) fn named(&self, target: &str) -> Result<Option<Named>, MergeError> {
        let Some((service, query)) = self.library.catalogue.find(target) else {
            return Ok(None);
        };
        let source = service.source.merged(query)?;
        if query.is_some() {
            log::debug!("merged URL: {}", url::redact(&source.url()));
        }
        Ok(Some(Named {
            source,
            origin: service.origin,
        }))
    }

    /// Answers a request for a document that was made of channel lists.
    pub(super) fn serve_document(
        &mut self,
        id: ClientId,
        request: &Request,
        wanted: Wanted,
        sets_cookie: bool,
    ) {
        let base = self.link_base(id, request);
        let config = Rc::clone(&self.shared.config);
        let resource = match wanted {
            Wanted::Playlist => self.library.playlist(base, request, &config),
            Wanted::Guide => self.library.guide(false),
            Wanted::GuideGzip => self.library.guide(true),
        };
        let Some(sink) = self.clients.get_mut(id) else {
            return;
        };
        match resource {
            Some(resource) => {
                let reply = resource.reply(request, &config, sets_cookie);
                sink.client.answer_resource(reply, &mut self.shared);
            }
            None => {
                let detail = match wanted {
                    Wanted::Playlist => "there are no services",
                    Wanted::Guide => "there is no programme guide",
                    Wanted::GuideGzip => "there is no compressed programme guide",
                };
                let answer = Answer::new(Status::NotFound, detail);
                sink.client.answer(&answer, &mut self.shared);
            }
        }
    }
}
