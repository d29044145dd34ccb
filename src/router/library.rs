//! Channel lists and what comes of them: the catalogue of services, and the playlist as clients get it (playlist spec
//! §9, §10).

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::rc::Rc;

use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest, Md5};

use super::Router;
use super::slots::ClientId;
use crate::client::Request;
use crate::client::resource::{self, LocalBody, Resource};
use crate::client::response::{Answer, Status};
use crate::client::route::Document;
use crate::config::Config;
use crate::limits::{PLAYLIST_GZIP_BYTES_MAX, PLAYLISTS_WRITTEN_MAX};
use crate::playlist::{Catalogue, MergeError, Origin, Source};
use crate::proto::url;

/// The channels that there are.
pub(super) struct Library {
    catalogue: Catalogue,
    /// What [`Combined::fingerprint`](crate::playlist::Combined::fingerprint) says of its playlist.
    fingerprint: [u8; 16],
    /// The playlist as it was asked for last, the latest at the end; at most [`PLAYLISTS_WRITTEN_MAX`].
    written: VecDeque<Written>,
}

/// The playlist with links that begin with `base`.
struct Written {
    base: String,
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
    /// With the services of `config`.
    pub(super) fn new(config: &Config) -> Self {
        let catalogue = config.catalogue().finish();
        Self {
            fingerprint: catalogue.playlist().fingerprint(),
            catalogue,
            written: VecDeque::new(),
        }
    }

    /// From now on there are the services of `config`. Streams that run keep their sources.
    pub(super) fn reconfigure(&mut self, config: &Config) {
        *self = Self::new(config);
    }

    /// The playlist with links that begin with `base`; `None` if there is nothing in it.
    fn playlist(&mut self, base: String, request: &Request, config: &Config) -> Option<Resource> {
        if self.catalogue.playlist().is_empty() {
            return None;
        }
        let validator = self.validator(&base);
        let written = self.write(base);
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

    /// The playlist with links that begin with `base`, made anew unless it was asked for not long ago.
    fn write(&mut self, base: String) -> &mut Written {
        let known = self.written.iter().position(|known| known.base == base);
        let known = known.and_then(|at| self.written.remove(at));
        let written = known.unwrap_or_else(|| Written {
            plain: self.catalogue.playlist().write(&base, None).into(),
            gzip: None,
            base,
        });
        if self.written.len() >= PLAYLISTS_WRITTEN_MAX {
            self.written.pop_front();
        }
        self.written.push_back(written);
        self.written.back_mut().expect("there is one now")
    }

    /// Changes with every byte of what [`Library::write`] gives, and is cheaper.
    fn validator(&self, base: &str) -> String {
        let mut digest = Md5::new();
        digest.update(self.fingerprint);
        digest.update(base);
        hexadecimal(&digest.finalize())
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
        document: Document,
        sets_cookie: bool,
    ) {
        let base = self.link_base(id, request);
        let config = Rc::clone(&self.shared.config);
        let resource = match document {
            Document::Playlist => self.library.playlist(base, request, &config),
            Document::Guide | Document::GuideGzip => None,
        };
        let Some(sink) = self.clients.get_mut(id) else {
            return;
        };
        match resource {
            Some(resource) => {
                let reply = resource.reply(request, &config, sets_cookie);
                sink.client.answer_resource(reply, &self.shared);
            }
            None => {
                let answer = Answer::new(Status::NotFound, "there are no services");
                sink.client.answer(&answer, &mut self.shared);
            }
        }
    }
}
