//! `--user`: privileges that binding and opening take are given up before anything is served.
//!
//! An [`Identity`] is looked up at the start, when names can be told from typing errors, and assumed once everything
//! that takes privilege is open. It is for good: that it is, is tried.

use std::fmt;
use std::io;

use crate::config::UserName;
use crate::sys::user::{self, Ids};

/// A user and its groups, ready to be assumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    user: u32,
    group: u32,
    /// All groups, `group` included.
    groups: Vec<u32>,
}

impl Identity {
    /// Looks up names in the system's databases, in which numbers need not be. A user of which only the number is
    /// known takes a group with it. May block: only for the start.
    ///
    /// # Errors
    ///
    /// [`PrivilegeError`] for what is not known.
    pub fn look_up(name: &UserName) -> Result<Identity, PrivilegeError> {
        let unknown = |what, name: &str| PrivilegeError::Unknown {
            what,
            name: name.to_owned(),
        };
        let number = |text: &str| text.parse::<u32>().ok();
        let known = match (user::user_by_name(&name.user)?, number(&name.user)) {
            (Some(known), _) => Ok(known),
            (None, Some(id)) => user::user_by_id(id)?.ok_or(id),
            (None, None) => return Err(unknown("user", &name.user)),
        };
        let group = match (&name.group, &known) {
            (Some(group), _) => user::group_by_name(group)?
                .or_else(|| number(group))
                .ok_or_else(|| unknown("group", group))?,
            (None, Ok(known)) => known.group,
            (None, Err(id)) => return Err(PrivilegeError::NoGroup(*id)),
        };
        let (user, groups) = match known {
            Ok(known) => (known.id, user::groups_of(&known, group)?),
            Err(id) => (id, vec![group]),
        };
        Ok(Identity {
            user,
            group,
            groups,
        })
    }

    /// The numbers of user and group, for files that are to be theirs.
    pub fn owner(&self) -> (u32, u32) {
        (self.user, self.group)
    }

    /// Becomes this user, once and for all, with all threads. Whatever is open stays open.
    ///
    /// Nothing is done if the process is this user already, so that a program which a service manager has started as
    /// that user needs no other configuration. The kernel forgets the signal for a parent's death
    /// (`PR_SET_PDEATHSIG`) when the user changes: ask for it afterwards.
    ///
    /// # Errors
    ///
    /// [`PrivilegeError`] if the system refuses, or if the privileges could be had back. The process must end then:
    /// part of the change may have been made.
    pub fn assume(&self) -> Result<(), PrivilegeError> {
        let wanted = Ids {
            users: [self.user; 3],
            groups: [self.group; 3],
        };
        if user::ids()? == wanted {
            return Ok(());
        }
        // In this order: without the privileges of the user, groups cannot be changed any more.
        let refused = |call| move |error| PrivilegeError::Refused { call, error };
        user::set_groups(&self.groups).map_err(refused("setgroups"))?;
        user::set_group(self.group).map_err(refused("setresgid"))?;
        user::set_user(self.user).map_err(refused("setresuid"))?;
        let can_return = self.user != 0 && user::set_user(0).is_ok();
        if can_return || user::ids()? != wanted {
            return Err(PrivilegeError::Kept);
        }
        Ok(())
    }
}

/// Why a user cannot be assumed.
#[derive(Debug)]
pub enum PrivilegeError {
    /// The system knows no such user or group.
    Unknown {
        /// `user` or `group`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A user that is only a number, without a group.
    NoGroup(u32),
    /// The databases of the system cannot be read.
    LookUp(io::Error),
    /// The system does not permit it.
    Refused {
        /// The system call.
        call: &'static str,
        /// What it reports.
        error: io::Error,
    },
    /// The privileges are still there.
    Kept,
}

impl fmt::Display for PrivilegeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { what, name } => write!(f, "--user: there is no {what} {name:?}"),
            Self::NoGroup(id) => write!(
                f,
                "--user: user {id} is not known to the system; give a group, as in {id}:{id}"
            ),
            Self::LookUp(error) => write!(f, "--user: looking it up failed: {error}"),
            Self::Refused { call, error } => write!(
                f,
                "--user: {call}: {error}; only root can become another user"
            ),
            Self::Kept => f.write_str("--user: the privileges of root could be had back"),
        }
    }
}

impl std::error::Error for PrivilegeError {}

impl From<io::Error> for PrivilegeError {
    fn from(error: io::Error) -> Self {
        Self::LookUp(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_up(text: &str) -> Result<Identity, String> {
        let name = UserName::parse(text).expect("a name");
        Identity::look_up(&name).map_err(|error| error.to_string())
    }

    #[test]
    fn names_and_numbers_are_looked_up() {
        let root = look_up("root").expect("known everywhere");
        assert_eq!(root.owner(), (0, 0));
        assert!(root.groups.contains(&0));
        assert_eq!(look_up("0").expect("the same"), root);
        assert_eq!(look_up("root:4711").expect("a number").owner(), (0, 4711));
        let stranger = look_up("3999999999:4711").expect("numbers only");
        assert_eq!(stranger.owner(), (3_999_999_999, 4711));
        assert_eq!(stranger.groups, [4711]);
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (text, expected) in [
            ("no-such-user", "there is no user \"no-such-user\""),
            ("root:no-such-group", "there is no group \"no-such-group\""),
            ("3999999999", "give a group, as in 3999999999:3999999999"),
        ] {
            let error = look_up(text).expect_err("unknown");
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn becoming_who_one_is_takes_no_privilege() {
        let ids = user::ids().expect("we are somebody");
        let (user, group) = (ids.users[1], ids.groups[1]);
        let identity = look_up(&format!("{user}:{group}")).expect("us");
        identity.assume().expect("nothing to do");
        assert_eq!(user::ids().expect("we are somebody"), ids);
    }
}
