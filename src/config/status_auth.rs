//! Who may see the status pages (`--status-auth`): name and password for HTTP Basic, compared in constant time, never
//! shown.

use std::fmt;
use std::fs::File;
use std::io::Read;

use super::Token;
use super::parse::{Rejected, quoted};

/// Bytes read of a file that holds name and password; more than both may have.
const FILE_BYTES_MAX: u64 = 1024;
/// What precedes the path of such a file.
const FILE_MARK: char = '@';

/// A name and a password.
///
/// `Debug` hides them, so that no log line can show them by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct StatusAuth {
    /// As it was given: a file, or name and password.
    text: String,
    /// `name:password`.
    secret: Token,
}

impl StatusAuth {
    /// Reads `name:password`, or `@` and the path of a file whose first line is that, so that neither the list of
    /// processes nor a configuration file has to hold it. Together they have at most
    /// [`TOKEN_BYTES_MAX`](super::TOKEN_BYTES_MAX) bytes, without control characters.
    ///
    /// # Errors
    ///
    /// [`Rejected`], which shows nothing secret, if there is no name, no password, or no such file.
    pub fn parse(text: &str) -> Result<Self, Rejected> {
        let line = match text.strip_prefix(FILE_MARK) {
            Some(path) => first_line(path).map_err(|error| {
                let accepted = format!("a file that can be read: {error}");
                Rejected::new(text, accepted)
            })?,
            None => text.to_owned(),
        };
        let is_whole = line
            .split_once(':')
            .is_some_and(|(name, password)| !name.is_empty() && !password.is_empty());
        let secret = Token::parse(&line).ok().filter(|_| is_whole);
        let secret = secret.ok_or_else(|| {
            let place = match text.starts_with(FILE_MARK) {
                true => format!("{} with ", quoted(text)),
                false => String::new(),
            };
            let accepted =
                format!("{place}name:password, at most 255 bytes without control characters");
            Rejected::new("***", accepted)
        })?;
        Ok(Self {
            text: text.to_owned(),
            secret,
        })
    }

    /// Whether `given` is `name:password`. Takes as long for every `given`.
    pub fn matches(&self, given: &[u8]) -> bool {
        self.secret.matches(given)
    }

    /// The text it was made of, with the secret if that was in it. For `--print-config` only.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for StatusAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatusAuth(***)")
    }
}

fn first_line(path: &str) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(FILE_BYTES_MAX)
        .read_to_string(&mut text)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_password_are_asked_for_and_not_shown() {
        let auth = StatusAuth::parse("admin:s3:cret").expect("both");
        assert!(auth.matches(b"admin:s3:cret"));
        for given in [
            &b"admin:s3:cre"[..],
            b"admin:s3:crets",
            b"Admin:s3:cret",
            b"",
            b"admin",
        ] {
            assert!(!auth.matches(given));
        }
        assert_eq!(format!("{auth:?}"), "StatusAuth(***)");
        for text in ["", ":", "admin", "admin:", ":s3cret", "admin:s3cret\n"] {
            let error = StatusAuth::parse(text).expect_err(text).to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn file_keeps_the_secret_out_of_sight() {
        let path = std::env::temp_dir().join(format!("flowgate-auth-{}", std::process::id()));
        let text = format!("@{}", path.display());
        assert!(StatusAuth::parse(&text).is_err(), "no such file");
        std::fs::write(&path, "admin:s3cret\r\nmore\n").expect("written");
        let auth = StatusAuth::parse(&text).expect("a good file");
        assert!(auth.matches(b"admin:s3cret"));
        assert_eq!(auth.text(), text);
        std::fs::write(&path, "s3cret\n").expect("written");
        let error = StatusAuth::parse(&text).expect_err("no name").to_string();
        assert!(!error.contains("s3cret"), "{error}");
        std::fs::remove_file(&path).expect("ours");
    }
}
