//! Lines of channel lists in, services and one playlist out (playlist spec §4, §9, §10).
//!
//! Lines are taken one by one, so that a long list can be read in many turns. Whatever a list says, every name in the
//! catalogue can be asked for, and every line costs about the same: nothing here looks through all services.

use std::collections::HashMap;
use std::fmt;

use super::carrier::carrier;
use super::combined::Combined;
use super::source::{self, SOURCE_BYTES_MAX, Source, Usability};
use super::tags::{Attribute, ENTRY, HEADER, Header, Info};
use super::users::Users;
use crate::limits::{PLAYLIST_LINE_BYTES_MAX, SERVICES_MAX};
use crate::proto::origin::HttpUrl;
use crate::proto::url;
use crate::proto::user_info::UserInfo;

/// Longest name of a channel with its group, and longest label, bytes (playlist spec §6).
const NAME_BYTES_MAX: usize = 255;
/// Numbers up to this tell services of one name apart (playlist spec §9.2).
const NUMBER_MAX: u32 = 999;
/// In front of names that would otherwise be those of built-in resources.
const MOVED_BELOW: &str = "services/";
/// What links to recordings end with.
const CATCHUP: &str = "/catchup";

/// Who has written a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Whoever runs this server: its sources may be anywhere.
    Operator,
    /// Somebody else: its sources are subject to the policy for upstreams.
    Provider,
}

/// How the services are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Naming {
    /// The prefix of all paths, without a `/` at its end.
    pub prefix: String,
    /// The access token as it stands in links.
    pub token: Option<String>,
    /// Where the status page is; begins with `/`.
    pub status_page_path: String,
    /// Where the player page is; begins with `/`.
    pub player_page_path: String,
}

/// A named source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Where the media comes from.
    pub source: Source,
    /// Who says so.
    pub origin: Origin,
}

/// The address of a programme guide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guide {
    /// As it was written; not checked.
    pub address: String,
    /// By whom.
    pub origin: Origin,
}

/// Why a line of a list has no effect, or not the one it was meant to have. Shows itself as a sentence without a full
/// stop, and never shows a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An entry without a name; its URL is left out too.
    NoName,
    /// An entry that another one or the end follows instead of a URL.
    NoUrl,
    /// A URL in front of which no entry stands.
    NoEntry,
    /// Longer than [`PLAYLIST_LINE_BYTES_MAX`]; an entry it belongs to is left out.
    TooLong,
    /// The entry is passed on to players as it is, for this reason.
    PassedOn(String),
    /// There are [`SERVICES_MAX`] services; the entry is passed on to players as it is.
    TooMany,
}

impl Fault {
    /// Whether something is missing that was meant to be there.
    pub fn loses_something(&self) -> bool {
        !matches!(self, Self::PassedOn(_) | Self::TooMany)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoName => f.write_str("the entry has no name; give one behind a comma"),
            Self::NoUrl => f.write_str("the entry before has no URL"),
            Self::NoEntry => f.write_str("no #EXTINF line stands in front of the URL"),
            Self::TooLong => {
                write!(f, "the line is longer than {PLAYLIST_LINE_BYTES_MAX} bytes")
            }
            Self::PassedOn(reason) => write!(f, "players get the URL as it is: {reason}"),
            Self::TooMany => write!(
                f,
                "players get the URL as it is: there are {SERVICES_MAX} services already"
            ),
        }
    }
}

/// The services of all lists, and the playlist that leads to them.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    services: HashMap<String, Service>,
    playlist: Combined,
    guide: Option<Guide>,
    users: Users,
}

impl Catalogue {
    /// The service that a request's target names, and the query that came with it.
    ///
    /// A label and one `/` at the end of the path do not count, unless a name has them; nor does a label at the end of
    /// the query, nor the headers that a player has taken for a part of the link.
    pub fn find<'a>(&self, target: &'a str) -> Option<(&Service, Option<&'a str>)> {
        if self.services.is_empty() {
            return None;
        }
        let (target, _) = source::split_headers(target);
        let path_bytes = target.find('?').unwrap_or(target.len());
        let (path, query) = target.split_at_checked(path_bytes)?;
        let query = url::strip_label(query).strip_prefix('?');
        let path = path.strip_prefix('/')?;
        let service = [path, url::strip_label(path)]
            .into_iter()
            .flat_map(|path| [path, path.strip_suffix('/').unwrap_or(path)])
            .find_map(|path| self.services.get(&url::percent_decode(path).ok()?))?;
        Some((service, query))
    }

    /// Who has to ask for a resource that lies beside a service's, since the links of a service's playlist do not say.
    pub fn user_info_for(&self, url: &HttpUrl) -> Option<&UserInfo> {
        self.users.find(url)
    }

    /// The playlist.
    pub fn playlist(&self) -> &Combined {
        &self.playlist
    }

    /// The programme guide of the last list that names one.
    pub fn guide(&self) -> Option<&Guide> {
        self.guide.as_ref()
    }

    /// How many services there are, recordings counted on their own.
    pub fn len(&self) -> usize {
        self.services.len()
    }

    /// Whether there are no services.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }
}

/// A catalogue in the making.
#[derive(Debug)]
pub struct Builder {
    naming: Naming,
    origin: Origin,
    /// The line of an entry whose URL is still to come.
    open: Open,
    /// What entries of this list have that say nothing else.
    catchup: Option<String>,
    catchup_source: Option<String>,
    /// By name, the greatest number that tells services of that name apart.
    numbers: HashMap<String, u32>,
    catalogue: Catalogue,
}

/// What the next URL belongs to.
#[derive(Debug, PartialEq, Eq)]
enum Open {
    Nothing,
    Entry(String),
    /// An entry that is left out.
    Refused,
}

impl Builder {
    /// A catalogue without services.
    pub fn new(naming: Naming) -> Self {
        Self {
            naming,
            origin: Origin::Operator,
            open: Open::Nothing,
            catchup: None,
            catchup_source: None,
            numbers: HashMap::new(),
            catalogue: Catalogue::default(),
        }
    }

    /// The lines to come are those of another list.
    pub fn begin(&mut self, origin: Origin) {
        self.origin = origin;
        self.open = Open::Nothing;
        (self.catchup, self.catchup_source) = (None, None);
    }

    /// Takes the next line, with or without its end.
    ///
    /// # Errors
    ///
    /// [`Fault`]; the next line can be taken all the same.
    pub fn take(&mut self, line: &str) -> Result<(), Fault> {
        let line = super::trimmed(line);
        if line.is_empty() {
            return Ok(());
        }
        if line.len() > PLAYLIST_LINE_BYTES_MAX {
            self.open = match line.starts_with('#') {
                true if !line.starts_with(ENTRY) => return Err(Fault::TooLong),
                true => Open::Refused,
                false => Open::Nothing,
            };
            return Err(Fault::TooLong);
        }
        if line.starts_with(HEADER) {
            self.take_header(&Header::read(line));
            return Ok(());
        }
        if line.starts_with(ENTRY) {
            return self.take_info(line);
        }
        if line.starts_with('#') {
            self.push_lines(&[line]);
            return Ok(());
        }
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => Err(Fault::NoEntry),
            Open::Refused => Ok(()),
            Open::Entry(info) => self.take_entry(&info, line),
        }
    }

    /// The list is complete.
    ///
    /// # Errors
    ///
    /// [`Fault::NoUrl`].
    pub fn end(&mut self) -> Result<(), Fault> {
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Entry(_) => Err(Fault::NoUrl),
            Open::Nothing | Open::Refused => Ok(()),
        }
    }

    /// The catalogue of all lists.
    pub fn finish(self) -> Catalogue {
        self.catalogue
    }

    fn take_header(&mut self, header: &Header<'_>) {
        let owned = |value: Option<&str>| value.map(str::to_owned);
        (self.catchup, self.catchup_source) = (owned(header.catchup), owned(header.catchup_source));
        if let Some(address) = header.guide {
            self.catalogue.guide = Some(Guide {
                address: address.to_owned(),
                origin: self.origin,
            });
        }
    }

    fn take_info(&mut self, line: &str) -> Result<(), Fault> {
        let before = match Info::read(line) {
            Some(_) => std::mem::replace(&mut self.open, Open::Entry(line.to_owned())),
            None => {
                self.open = Open::Refused;
                return Err(Fault::NoName);
            }
        };
        match before {
            Open::Entry(_) => Err(Fault::NoUrl),
            Open::Nothing | Open::Refused => Ok(()),
        }
    }

    /// Takes an entry whole: makes its services, and writes it into the playlist.
    fn take_entry(&mut self, line: &str, text: &str) -> Result<(), Fault> {
        let (url, headers) = source::split_headers(text);
        let (bare, label) = source::split_label(url);
        let usability = match Info::read(line) {
            Some(info) => (Source::read(bare, &self.naming.prefix), info),
            None => return Err(Fault::NoName),
        };
        let (source, info) = match usability {
            (Usability::Usable(source), info) if self.has_room() => (source, info),
            (usability, _) => {
                self.push_lines(&[line, text, ""]);
                return match usability {
                    Usability::Usable(_) => Err(Fault::TooMany),
                    Usability::Foreign => Ok(()),
                    Usability::Wrong(reason) => Err(Fault::PassedOn(reason)),
                };
            }
        };
        let name = self.free_name(&base_name(&info, label));
        let recording = self.add_recording(&info, &source, &name);
        self.push_info(line, &info, recording.as_ref());
        self.push_link(&name, &dynamic_query(&source));
        let playlist = &mut self.catalogue.playlist;
        if let Some(label) = label {
            playlist.push("$");
            playlist.push(label);
        }
        let headers = headers.map(public_headers).unwrap_or_default();
        if !headers.is_empty() {
            playlist.push("|");
            playlist.push(&headers);
        }
        playlist.push("\n\n");
        self.add(name, source);
        Ok(())
    }

    /// Room for a service and its recordings.
    fn has_room(&self) -> bool {
        self.catalogue.services.len() + 2 <= SERVICES_MAX
    }

    /// Makes the service of an entry's recordings if there are any that it can serve. Returns its name and what players
    /// are to fill in (playlist spec §10.4).
    fn add_recording(&mut self, info: &Info<'_>, main: &Source, name: &str) -> Option<Recording> {
        let own = info.catchup_source.as_ref().map(|source| source.value);
        let (text, _) = source::split_headers(own.or(self.catchup_source.as_deref())?);
        let source = match Source::read(text, &self.naming.prefix) {
            Usability::Usable(source) => source,
            // A whole URL that is not ours to serve stays as it is.
            Usability::Wrong(_) => return None,
            Usability::Foreign if is_absolute(text) => return None,
            Usability::Foreign => main.with_fragment(text)?,
        };
        let query = carrier(&source).unwrap_or_default();
        let name = self.numbered(&format!("{name}{CATCHUP}"));
        // The main service comes first, but this name depends on it and not the other way round.
        self.add(name.clone(), source);
        Some(Recording { name, query })
    }

    fn add(&mut self, name: String, source: Source) {
        if let Some((front, number)) = name.rsplit_once('/')
            && let Some(number) = number_of(number)
        {
            let greatest = self.numbers.entry(front.to_owned()).or_default();
            *greatest = number.max(*greatest);
        }
        let origin = self.origin;
        self.catalogue.users.note(&source);
        self.catalogue
            .services
            .insert(name, Service { source, origin });
    }

    /// A name that nothing else has: `base`, or with a number behind it.
    fn free_name(&self, base: &str) -> String {
        match is_built_in(base, &self.naming) {
            true => self.numbered(&format!("{MOVED_BELOW}{base}")),
            false => self.numbered(base),
        }
    }

    fn numbered(&self, base: &str) -> String {
        let services = &self.catalogue.services;
        let greatest = self.numbers.get(base).copied();
        if greatest.is_none() && !services.contains_key(base) {
            return base.to_owned();
        }
        // One behind the greatest is free, unless a channel of a list is called by a number that large.
        let mut number = greatest.unwrap_or(1) + 1;
        loop {
            let name = format!("{base}/{number}");
            if !services.contains_key(&name) {
                return name;
            }
            number += 1;
        }
    }

    fn push_lines(&mut self, lines: &[&str]) {
        for line in lines {
            self.catalogue.playlist.push(line);
            self.catalogue.playlist.push("\n");
        }
    }

    /// Writes the line of an entry, with its recordings leading here if there are any.
    fn push_info(&mut self, line: &str, info: &Info<'_>, recording: Option<&Recording>) {
        let Some(recording) = recording else {
            return self.push_lines(&[line]);
        };
        let is_append = |mode: &str| mode.eq_ignore_ascii_case("append");
        let mode = info.catchup.as_ref().map(|mode| mode.value);
        let mode = mode.or(self.catchup.as_deref()).unwrap_or("default");
        // The link is a whole one now.
        let mode = if is_append(mode) { "default" } else { mode };
        let mode = format!("\"{}\"", mode.replace('"', "%22"));
        let mut parts: Vec<(&Attribute<'_>, Option<&str>)> = Vec::new();
        parts.extend(info.catchup.as_ref().map(|place| (place, Some(&*mode))));
        parts.extend(info.catchup_source.as_ref().map(|place| (place, None)));
        parts.sort_by_key(|(place, _)| place.place.start);
        let mut written = 0;
        for (attribute, text) in parts {
            let front = line.get(written..attribute.place.start);
            self.catalogue.playlist.push(front.unwrap_or_default());
            match text {
                Some(_) if !is_append(attribute.value) => {
                    let same = line.get(attribute.place.clone());
                    self.catalogue.playlist.push(same.unwrap_or_default());
                }
                Some(mode) => self.catalogue.playlist.push(mode),
                None => self.push_quoted_link(recording),
            }
            written = attribute.place.end;
        }
        let rest = line.get(written..info.comma).unwrap_or_default();
        self.catalogue.playlist.push(rest);
        if info.catchup.is_none() && info.catchup_source.is_none() {
            // The list says it of all its entries, in a header that players do not get.
            self.catalogue.playlist.push(&format!(" catchup={mode}"));
        }
        if info.catchup_source.is_none() {
            self.catalogue.playlist.push(" catchup-source=");
            self.push_quoted_link(recording);
        }
        let name = line.get(info.comma..).unwrap_or_default();
        self.push_lines(&[name]);
    }

    fn push_quoted_link(&mut self, recording: &Recording) {
        self.catalogue.playlist.push("\"");
        self.push_link(&recording.name, &recording.query);
        self.catalogue.playlist.push("\"");
    }

    /// Writes a link to a service: name, query and token.
    fn push_link(&mut self, name: &str, query: &str) {
        let playlist = &mut self.catalogue.playlist;
        playlist.push_base();
        playlist.push(&url::percent_encode(name));
        let mut separator = "?";
        if !query.is_empty() {
            playlist.push(separator);
            playlist.push(query);
            separator = "&";
        }
        if let Some(token) = &self.naming.token {
            playlist.push(&format!("{separator}r2h-token={token}"));
        }
    }
}

/// The service of an entry's recordings.
struct Recording {
    name: String,
    /// What players fill in; empty for nothing.
    query: String,
}

/// `[group/]name[/label]`, where group and name together have at most [`NAME_BYTES_MAX`] bytes.
fn base_name(info: &Info<'_>, label: Option<&str>) -> String {
    let name = cut(&printable(info.name), NAME_BYTES_MAX).to_owned();
    let group = info.group.map(printable).unwrap_or_default();
    let group = cut(&group, NAME_BYTES_MAX.saturating_sub(name.len() + 1)).trim();
    let mut base = match group {
        "" => name,
        group => format!("{group}/{name}"),
    };
    if let Some(label) = label {
        base.push('/');
        base.push_str(cut(&printable(label), NAME_BYTES_MAX));
    }
    if base.split('/').any(is_dots) {
        // Whoever asks would resolve them first (RFC 3986 §5.2.4).
        let segments = base.split('/').map(|segment| match is_dots(segment) {
            true => segment.replace('.', "_"),
            false => segment.to_owned(),
        });
        base = segments.collect::<Vec<_>>().join("/");
    }
    base
}

fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

/// Control characters cannot be asked for.
fn printable(text: &str) -> String {
    text.replace(char::is_control, " ").trim().to_owned()
}

/// At most `bytes_max` bytes of the front, in whole characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().trim_end()
}

/// The parameters that players fill in (playlist spec §10.2).
fn dynamic_query(source: &Source) -> String {
    let (_, query) = source.parts();
    let is_dynamic = |piece: &&str| {
        let value = piece.split_once('=').map(|(_, value)| value);
        value.is_some_and(|value| value.contains(['{', '}', '$']))
    };
    let pieces = query.into_iter().flat_map(|query| query.split('&'));
    pieces.filter(is_dynamic).collect::<Vec<_>>().join("&")
}

/// The headers that players are told to send, without those that say who somebody is: everybody may read the playlist.
fn public_headers(headers: &str) -> String {
    let is_public = |header: &&str| {
        let name = header.split('=').next().unwrap_or_default();
        !["authorization", "cookie"]
            .iter()
            .any(|secret| name.eq_ignore_ascii_case(secret))
    };
    let public = headers.split('&').filter(is_public);
    public.collect::<Vec<_>>().join("&")
}

/// Whether a text is meant as a whole URL rather than as what is added to one.
fn is_absolute(text: &str) -> bool {
    let front = text.split(['?', '&']).next().unwrap_or_default();
    front.contains("://")
}

/// The decimal number that tells services of one name apart.
fn number_of(text: &str) -> Option<u32> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() <= 3;
    let number = text.parse().ok().filter(|_| is_decimal)?;
    (1..=NUMBER_MAX).contains(&number).then_some(number)
}

/// Whether a request for `name` would get something built in.
fn is_built_in(name: &str, naming: &Naming) -> bool {
    let name = name.strip_suffix('/').unwrap_or(name);
    let status = naming.status_page_path.trim_start_matches('/');
    let below_status = match status {
        "" => Some(name),
        status => name
            .strip_prefix(status)
            .and_then(|rest| match rest.strip_prefix('/') {
                Some(rest) => Some(rest),
                None => rest.is_empty().then_some(""),
            }),
    };
    let is_status = below_status
        .is_some_and(|rest| matches!(rest, "" | "sse" | "metrics") || rest.starts_with("api/"));
    is_status
        || name == naming.player_page_path.trim_start_matches('/')
        || name.is_empty()
        || name.starts_with("assets/")
        || matches!(
            name,
            "playlist.m3u"
                | "playlist.m3u8"
                | "epg.xml"
                | "epg.xml.gz"
                | "status.webmanifest"
                | "player.webmanifest"
        )
}

const _: () = assert!(SOURCE_BYTES_MAX < PLAYLIST_LINE_BYTES_MAX);

#[cfg(test)]
mod tests;
