//! Authentication: challenges read, answers written (RFC 7616 and RFC 2617 Digest, RFC 7617 Basic).
//!
//! Credentials are shown only to a server that has refused without them. Which server may see them is for the
//! session to say. `auth-int`, `userhash` and SHA-512/256 are not offered by servers we know and not spoken.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use sha2::Sha256;

use super::message::{MessageError, Method, Value};
use super::url::{Credentials, RequestUrl};

/// Longest realm, nonce and opaque in bytes. Chosen: tickets of directory servers have some hundred.
pub const PARAMETER_BYTES_MAX: usize = 1024;
/// Answers per request: the challenge, and a second one if the nonce had become stale.
pub const ANSWERS_MAX: u8 = 2;

// The longest answer: every parameter escaped, URL and user included.
const _: () = assert!(
    2 * (3 * PARAMETER_BYTES_MAX + super::url::CREDENTIAL_BYTES_MAX + super::url::URL_BYTES_MAX)
        + 512
        < super::message::VALUE_BYTES_MAX
);

/// Why the server could not be satisfied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// The URL has no user.
    NoCredentials,
    /// None of the challenges can be answered.
    Unsupported,
    /// The server refused `limit` answers to one request.
    Refused {
        /// [`ANSWERS_MAX`]
        limit: u8,
    },
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuthError::NoCredentials => {
                f.write_str("server asks for authentication, URL has no user")
            }
            AuthError::Unsupported => f.write_str(
                "server asks for authentication other than Basic and Digest (MD5, SHA-256, qop auth)",
            ),
            AuthError::Refused { limit } => {
                write!(f, "server refused user and password {limit} times")
            }
        }
    }
}

impl std::error::Error for AuthError {}

/// Hash functions of Digest (RFC 7616 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Md5,
    Md5Session,
    Sha256,
    Sha256Session,
}

impl Algorithm {
    fn named(name: &str) -> Option<Self> {
        let all = [
            Self::Md5,
            Self::Md5Session,
            Self::Sha256,
            Self::Sha256Session,
        ];
        all.into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Md5Session => "MD5-sess",
            Self::Sha256 => "SHA-256",
            Self::Sha256Session => "SHA-256-sess",
        }
    }

    /// Hash of the parts with colons between, in lower-case hexadecimal.
    fn hash(self, parts: &[&str]) -> String {
        let text = parts.join(":");
        match self {
            Self::Md5 | Self::Md5Session => hexadecimal(&Md5::digest(text)),
            Self::Sha256 | Self::Sha256Session => hexadecimal(&Sha256::digest(text)),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A challenge that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// RFC 7617
    Basic,
    /// RFC 7616
    Digest(DigestChallenge),
}

/// The parameters of a Digest challenge, without quotes and escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestChallenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    /// Whether the server named the algorithm.
    names_algorithm: bool,
    /// Whether the server understands `qop=auth`.
    qop: bool,
}

impl Challenge {
    /// The best of the challenges in all `WWW-Authenticate` headers of a response: SHA-256 before MD5 before
    /// Basic, the first of its kind. `None` if none can be answered.
    pub fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut best: Option<Self> = None;
        for challenge in headers.flat_map(parse).filter_map(Raw::usable) {
            if best
                .as_ref()
                .is_none_or(|best| challenge.rank() > best.rank())
            {
                best = Some(challenge);
            }
        }
        best
    }

    fn rank(&self) -> u8 {
        match self {
            Challenge::Basic => 0,
            Challenge::Digest(digest) => match digest.algorithm {
                Algorithm::Md5 | Algorithm::Md5Session => 1,
                Algorithm::Sha256 | Algorithm::Sha256Session => 2,
            },
        }
    }
}

/// A challenge as it stands in the header.
struct Raw {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Raw {
    fn usable(self) -> Option<Challenge> {
        if self.scheme.eq_ignore_ascii_case("Basic") {
            return Some(Challenge::Basic);
        }
        if !self.scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let parameter = |name: &str| {
            let mut named = self.parameters.iter();
            named.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
        };
        let algorithm = parameter("algorithm");
        let qop = parameter("qop").map(|list| {
            list.split(',')
                .any(|qop| qop.trim().eq_ignore_ascii_case("auth"))
        });
        let digest = DigestChallenge {
            realm: parameter("realm").cloned().unwrap_or_default(),
            nonce: parameter("nonce").cloned()?,
            opaque: parameter("opaque").cloned(),
            algorithm: match algorithm {
                Some(name) => Algorithm::named(name)?,
                None => Algorithm::Md5,
            },
            names_algorithm: algorithm.is_some(),
            qop: qop.unwrap_or(false),
        };
        let fits = [
            Some(&digest.realm),
            Some(&digest.nonce),
            digest.opaque.as_ref(),
        ]
        .into_iter()
        .flatten()
        .all(|text| text.len() <= PARAMETER_BYTES_MAX);
        (fits && qop != Some(false)).then_some(Challenge::Digest(digest))
    }
}

/// Takes a header apart (RFC 9110 §11.6.1): schemes with parameters, all separated by commas.
fn parse(header: &str) -> Vec<Raw> {
    let mut challenges: Vec<Raw> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return challenges;
        }
        let word_bytes = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, behind) = rest.split_at_checked(word_bytes).unwrap_or((rest, ""));
        let Some(value) = behind.trim_start().strip_prefix('=') else {
            challenges.push(Raw {
                scheme: word.to_owned(),
                parameters: Vec::new(),
            });
            rest = behind;
            continue;
        };
        let (value, behind) = parse_value(value.trim_start());
        rest = behind;
        if let Some(challenge) = challenges.last_mut() {
            challenge.parameters.push((word.to_owned(), value));
        }
    }
}

/// A token, or a quoted string without its quotes and escapes, and what follows.
fn parse_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let bytes = text.find([' ', '\t', ',']).unwrap_or(text.len());
        let (value, behind) = text.split_at_checked(bytes).unwrap_or((text, ""));
        return (value.to_owned(), behind);
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    (value, chars.as_str())
}

/// Answers requests after a challenge.
#[derive(Clone, Debug)]
pub struct Answerer {
    challenge: Challenge,
    /// Constant for one nonce, since the `-sess` algorithms hash it once.
    client_nonce: String,
    /// Requests answered with this nonce.
    count: u32,
}

impl Answerer {
    /// Answers `challenge` from now on; `random` makes the client's nonce.
    pub fn new(challenge: Challenge, random: u64) -> Self {
        Self {
            challenge,
            client_nonce: format!("{random:016x}"),
            count: 0,
        }
    }

    /// The `Authorization` header of one request.
    ///
    /// Without `qop` it has exactly the parameters and the order of RFC 2617 that old servers know.
    ///
    /// # Errors
    ///
    /// `Value` if something would not fit in a header.
    pub fn authorize(
        &mut self,
        credentials: &Credentials,
        method: Method,
        url: &RequestUrl,
    ) -> Result<Value, MessageError> {
        let Credentials { user, password } = credentials;
        let digest = match &self.challenge {
            Challenge::Basic => {
                let token = STANDARD.encode(format!("{user}:{password}"));
                return Value::new("Authorization", format!("Basic {token}"));
            }
            Challenge::Digest(digest) => digest,
        };
        self.count = self.count.saturating_add(1);
        let DigestChallenge {
            realm,
            nonce,
            opaque,
            algorithm,
            names_algorithm,
            qop,
        } = digest;
        let client_nonce = self.client_nonce.as_str();
        let count = format!("{:08x}", self.count);
        let url = url.as_str();

        let mut secret = algorithm.hash(&[user, realm, password]);
        let is_session = matches!(algorithm, Algorithm::Md5Session | Algorithm::Sha256Session);
        if is_session {
            secret = algorithm.hash(&[&secret, nonce, client_nonce]);
        }
        let request = algorithm.hash(&[method.name(), url]);
        let response = if *qop {
            algorithm.hash(&[&secret, nonce, &count, client_nonce, "auth", &request])
        } else {
            algorithm.hash(&[&secret, nonce, &request])
        };

        let mut text = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{response}\"",
            quoted(user),
            quoted(realm),
            quoted(nonce),
            quoted(url)
        );
        if *names_algorithm && (*qop || *algorithm != Algorithm::Md5) {
            text += &format!(", algorithm={}", algorithm.name());
        }
        if *qop {
            text += &format!(", qop=auth, nc={count}");
        }
        if *qop || is_session {
            text += &format!(", cnonce=\"{client_nonce}\"");
        }
        if let Some(opaque) = opaque {
            text += &format!(", opaque={}", quoted(opaque));
        }
        Value::new("Authorization", text)
    }
}

/// A quoted string (RFC 9110 §5.6.4).
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn credentials(user: &str, password: &str) -> Credentials {
        Credentials {
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    fn answer(header: &str, user: &str, password: &str, method: Method, url: &str) -> String {
        let challenge = Challenge::choose([header].into_iter()).expect("a usable challenge");
        let mut answerer = Answerer::new(challenge, 0x0123_4567_89ab_cdef);
        let url = RequestUrl::new(url).unwrap();
        let value = answerer
            .authorize(&credentials(user, password), method, &url)
            .unwrap();
        value.as_str().to_owned()
    }

    #[test]
    fn basic_is_user_and_password() {
        let header = answer(
            "basic realm=x",
            "user",
            "p@ss",
            Method::Options,
            "rtsp://h/",
        );
        assert_eq!(header, "Basic dXNlcjpwQHNz");
        let header = answer("Basic", "user", "", Method::Options, "rtsp://h/");
        assert_eq!(header, "Basic dXNlcjo=");
    }

    #[test]
    fn plain_digest_has_the_old_form() {
        // The response was computed with md5sum.
        let header = answer(
            "Digest realm=\"r\", nonce=\"n\", opaque=\"o\", algorithm=MD5",
            "u",
            "p",
            Method::Describe,
            "rtsp://h/a",
        );
        assert_eq!(
            header,
            "Digest username=\"u\", realm=\"r\", nonce=\"n\", uri=\"rtsp://h/a\", \
             response=\"d5ff52dc472e71f47f704480e7d03eb4\", opaque=\"o\""
        );
    }

    #[test]
    fn quality_of_protection_counts_requests() {
        let header = "Digest realm=\"r\", qop=\"auth-int,auth\", nonce=\"n\", algorithm=SHA-256";
        let challenge = Challenge::choose([header].into_iter()).unwrap();
        let mut answerer = Answerer::new(challenge, 1);
        let url = RequestUrl::new("rtsp://h/").unwrap();
        for count in ["00000001", "00000002"] {
            let value = answerer
                .authorize(&credentials("u", "p"), Method::Play, &url)
                .unwrap();
            let hash = |parts: &[&str]| Algorithm::Sha256.hash(parts);
            let response = hash(&[
                &hash(&["u", "r", "p"]),
                "n",
                count,
                "0000000000000001",
                "auth",
                &hash(&["PLAY", "rtsp://h/"]),
            ]);
            assert_eq!(
                value.as_str(),
                format!(
                    "Digest username=\"u\", realm=\"r\", nonce=\"n\", uri=\"rtsp://h/\", \
                     response=\"{response}\", algorithm=SHA-256, qop=auth, nc={count}, \
                     cnonce=\"0000000000000001\""
                )
            );
        }
    }

    /// The examples of RFC 2617 §3.5 and RFC 7616 §3.9.1, whose requests are `GET /dir/index.html`: the hash
    /// functions and the order of their parts.
    #[test]
    fn published_digests_are_reproduced() {
        let response = |algorithm: Algorithm, realm, password, nonce, client_nonce| {
            algorithm.hash(&[
                &algorithm.hash(&["Mufasa", realm, password]),
                nonce,
                "00000001",
                client_nonce,
                "auth",
                &algorithm.hash(&["GET", "/dir/index.html"]),
            ])
        };
        assert_eq!(
            response(
                Algorithm::Md5,
                "testrealm@host.com",
                "Circle Of Life",
                "dcd98b7102dd2f0e8b11d0f600bfb0c093",
                "0a4f113b"
            ),
            "6629fae49393a05397450978507c4ef1"
        );
        let (nonce, client_nonce) = (
            "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        );
        let realm = "http-auth@example.org";
        assert_eq!(
            response(
                Algorithm::Sha256,
                realm,
                "Circle of Life",
                nonce,
                client_nonce
            ),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
        assert_eq!(
            response(Algorithm::Md5, realm, "Circle of Life", nonce, client_nonce),
            "8ca523f5e9506fed4657c9700eebdbec"
        );
    }

    #[test]
    fn session_algorithms_hash_the_nonces_in() {
        let header = answer(
            "Digest realm=r, nonce=n, algorithm=md5-SESS",
            "u",
            "p",
            Method::Setup,
            "rtsp://h/",
        );
        let hash = |parts: &[&str]| Algorithm::Md5.hash(parts);
        let secret = hash(&[&hash(&["u", "r", "p"]), "n", "0123456789abcdef"]);
        let response = hash(&[&secret, "n", &hash(&["SETUP", "rtsp://h/"])]);
        assert!(header.contains(&format!(
            "response=\"{response}\", algorithm=MD5-sess, cnonce="
        )));
    }

    #[test]
    fn best_challenge_is_chosen() {
        let choose = |headers: &[&str]| match Challenge::choose(headers.iter().copied()) {
            Some(Challenge::Digest(digest)) => digest.nonce,
            Some(Challenge::Basic) => "basic".to_owned(),
            None => "none".to_owned(),
        };
        for (headers, expected) in [
            (&["Basic realm=\"a, Digest nonce=1\""][..], "basic"),
            (&["Basic realm=x, Digest realm=y, nonce=1"], "1"),
            (
                &[
                    "Digest nonce=1",
                    "Basic",
                    "Digest nonce=2, algorithm=SHA-256",
                ],
                "2",
            ),
            (&["Digest nonce=1", "Digest nonce=2"], "1"),
            // RTSP spec §27.13: a later scheme that is unknown does not win.
            (&["Basic realm=x", "Negotiate abc=="], "basic"),
            (&["Digest nonce=1, qop=\"auth-int\"", "Basic"], "basic"),
            (&["Digest nonce=1, algorithm=SHA-512-256"], "none"),
            (&["Digest realm=x"], "none"),
            (&["Digest nonce=\"a\\\"b\" , stale=TRUE"], "a\"b"),
            (&["nonce=1, Digest"], "none"),
            (&[""], "none"),
        ] {
            assert_eq!(choose(headers), expected, "{headers:?}");
        }
        let long = format!("Digest nonce={}", "n".repeat(PARAMETER_BYTES_MAX + 1));
        assert_eq!(choose(&[&long]), "none");
    }

    #[test]
    fn quotes_do_not_end_a_parameter() {
        let header = answer(
            "Digest realm=\"a\\\"b\", nonce=n",
            "u\", uri=\"x",
            "p",
            Method::Play,
            "rtsp://h/\"\\",
        );
        assert!(header.starts_with(
            "Digest username=\"u\\\", uri=\\\"x\", realm=\"a\\\"b\", nonce=\"n\", uri=\"rtsp://h/\\\"\\\\\", "
        ));
    }

    proptest! {
        #[test]
        fn any_challenge_is_survived(
            headers in prop::collection::vec("(Basic|Digest|nonce|realm|qop|=|,| |\"|\\\\|auth|\\PC){0,14}", 0..4)
        ) {
            let chosen = Challenge::choose(headers.iter().map(String::as_str));
            if let Some(challenge) = chosen {
                let url = RequestUrl::new("rtsp://h/").unwrap();
                let credentials = credentials("u", "p");
                let value = Answerer::new(challenge, 7).authorize(&credentials, Method::Play, &url);
                prop_assert!(value.is_ok_and(|value| !value.as_str().contains(char::is_control)));
            }
        }
    }
}
