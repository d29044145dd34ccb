//! `--user`: whom the program becomes once it is set up.

use std::fmt;

use super::parse::Rejected;

/// Longest name of a user or a group in bytes; chosen to be more than any system allows.
const NAME_BYTES_MAX: usize = 255;

/// A user and perhaps a group, by name or number; whether they exist is found out at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserName {
    /// The user.
    pub user: String,
    /// The group, in place of the user's own.
    pub group: Option<String>,
}

impl UserName {
    /// Reads `name` and `name:group`.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if a part is empty, too long, or has white space or another colon.
    pub fn parse(text: &str) -> Result<UserName, Rejected> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        if !is_name(user) || group.is_some_and(|group| !is_name(group)) {
            return Err(Rejected::new(text, "name or name:group, such as tv:video"));
        }
        Ok(UserName {
            user: user.to_owned(),
            group: group.map(str::to_owned),
        })
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.user)?;
        match &self.group {
            Some(group) => write!(f, ":{group}"),
            None => Ok(()),
        }
    }
}

fn is_name(text: &str) -> bool {
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && c != ':';
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_group_are_told_apart() {
        for (text, user, group) in [
            ("nobody", "nobody", None),
            ("tv:video", "tv", Some("video")),
            ("1000:1000", "1000", Some("1000")),
            ("_x-y.z$", "_x-y.z$", None),
        ] {
            let name = UserName::parse(text).expect("accepted");
            assert_eq!((&*name.user, name.group.as_deref()), (user, group));
            assert_eq!(name.to_string(), text);
        }
    }

    #[test]
    fn other_forms_are_refused() {
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        for text in ["", ":", "tv:", ":video", "a:b:c", "a b", "a\n", "\0", &long] {
            assert!(UserName::parse(text).is_err(), "{text:?}");
        }
    }
}
