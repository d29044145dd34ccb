//! Who may watch: challenges, and whether an answer to one is right. Written apart from the router's own code.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use sha2::Sha256;

pub(super) const USER: &str = "user";
pub(super) const PASSWORD: &str = "pass word";
const REALM: &str = "sim \\\"quoted\\\"";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    None,
    Basic,
    Digest { sha256: bool, qop: bool },
}

impl Guard {
    /// The value of `WWW-Authenticate`.
    pub(super) fn challenge(self, nonce: u32) -> String {
        match self {
            Self::None => String::new(),
            Self::Basic => format!("Basic realm=\"{REALM}\""),
            Self::Digest { sha256, qop } => {
                let algorithm = if sha256 { ", algorithm=SHA-256" } else { "" };
                let qop = if qop { ", qop=\"auth,auth-int\"" } else { "" };
                format!(
                    "Digest realm=\"{REALM}\", nonce=\"n{nonce}\"{algorithm}{qop}, opaque=\"o\""
                )
            }
        }
    }

    /// Whether `answer`, the value of `Authorization`, opens the door.
    pub(super) fn admits(self, answer: Option<&str>, method: &str, url: &str, nonce: u32) -> bool {
        let Some(answer) = answer else {
            return self == Self::None;
        };
        match self {
            Self::None => panic!("credentials that nobody has asked for"),
            Self::Basic => {
                answer == format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")))
            }
            Self::Digest { sha256, qop } => {
                let Some(answer) = answer.strip_prefix("Digest ") else {
                    panic!("{answer} where Digest was asked for");
                };
                let value = |name: &str| {
                    let mut parts = answer.split(", ").filter_map(|part| part.split_once('='));
                    let found = parts.find(|(key, _)| *key == name).map(|(_, value)| value);
                    found
                        .map(|value| value.trim_matches('"'))
                        .unwrap_or_default()
                };
                assert_eq!(value("username"), USER);
                assert_eq!(value("uri"), url);
                assert_eq!(value("opaque"), "o");
                let hash = |text: String| {
                    let bytes = if sha256 {
                        Sha256::digest(text).to_vec()
                    } else {
                        Md5::digest(text).to_vec()
                    };
                    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
                    digits.collect::<String>()
                };
                let realm = REALM.replace('\\', "");
                let secret = hash(format!("{USER}:{realm}:{PASSWORD}"));
                let request = hash(format!("{method}:{url}"));
                let nonce = format!("n{nonce}");
                let due = if qop {
                    let (count, own) = (value("nc"), value("cnonce"));
                    hash(format!("{secret}:{nonce}:{count}:{own}:auth:{request}"))
                } else {
                    hash(format!("{secret}:{nonce}:{request}"))
                };
                value("nonce") == nonce && value("response") == due
            }
        }
    }
}
