//! The playlist that is served: links to all services, without what they begin with, which each request decides
//! (playlist spec §10).

use md5::{Digest, Md5};

/// A playlist whose links have no base yet. It has at most twice the bytes of the lists it was made of.
#[derive(Clone, Debug, Default)]
pub struct Combined {
    text: String,
    /// Where a base belongs, in bytes, ascending.
    bases: Vec<usize>,
    /// Of all that was appended. Kept up, so that no long text is ever gone through in one go.
    digest: Md5,
}

impl Combined {
    /// Whether there is nothing to serve.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Appends text that needs no base.
    pub(super) fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.digest.update(text);
    }

    /// From here on comes a link.
    pub(super) fn push_base(&mut self) {
        self.bases.push(self.text.len());
        // No text has this byte, since it is no UTF-8.
        self.digest.update([0xff]);
    }

    /// The playlist with links that begin with `base`, and with `guide`, an address below it, in the header.
    pub fn write(&self, base: &str, guide: Option<&str>) -> Vec<u8> {
        let header = header(base, guide);
        let mut bytes =
            Vec::with_capacity(header.len() + self.text.len() + self.bases.len() * base.len());
        bytes.extend_from_slice(header.as_bytes());
        let mut written = 0;
        for &at in &self.bases {
            bytes.extend_from_slice(self.text.get(written..at).unwrap_or_default().as_bytes());
            bytes.extend_from_slice(base.as_bytes());
            written = at;
        }
        bytes.extend_from_slice(self.text.get(written..).unwrap_or_default().as_bytes());
        bytes
    }

    /// What [`Combined::write`] gives depends on this number and the arguments only.
    pub fn fingerprint(&self) -> [u8; 16] {
        self.digest.clone().finalize().into()
    }
}

fn header(base: &str, guide: Option<&str>) -> String {
    match guide {
        Some(guide) => format!("#EXTM3U x-tvg-url=\"{base}{guide}\"\n\n"),
        None => "#EXTM3U\n\n".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn combined() -> Combined {
        let mut combined = Combined::default();
        combined.push("#EXTINF:-1,A\n");
        combined.push_base();
        combined.push("A\n\n");
        combined
    }

    #[test]
    fn base_stands_wherever_a_link_begins() {
        let written =
            |guide| String::from_utf8(combined().write("http://h/", guide)).expect("text");
        assert_eq!(written(None), "#EXTM3U\n\n#EXTINF:-1,A\nhttp://h/A\n\n");
        assert_eq!(
            written(Some("epg.xml")),
            "#EXTM3U x-tvg-url=\"http://h/epg.xml\"\n\n#EXTINF:-1,A\nhttp://h/A\n\n"
        );
    }

    #[test]
    fn fingerprint_tells_texts_and_links_apart() {
        let mut same_text = Combined::default();
        same_text.push("#EXTINF:-1,A\nA\n\n");
        assert_ne!(combined().fingerprint(), same_text.fingerprint());
        assert_eq!(combined().fingerprint(), combined().fingerprint());
    }
}
