//! Users and groups: their numbers, and becoming others.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use super::check;

/// Longest record of the databases of users and groups that is read, in bytes; a group of thousands fits.
const RECORD_BYTES_MAX: usize = 1 << 20;
/// Most supplementary groups, the kernel's own limit (`NGROUPS_MAX`).
const GROUPS_MAX: usize = 65_536;

/// An entry of the database of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: CString,
    /// Its number.
    pub id: u32,
    /// The number of its own group.
    pub group: u32,
}

/// Looks up a user by its name. May block for as long as the system's databases do.
///
/// # Errors
///
/// `InvalidInput` for a name with a NUL, otherwise what `getpwnam_r` reports.
pub fn user_by_name(name: &str) -> io::Result<Option<User>> {
    let name = CString::new(name)?;
    look_up(|buffer| {
        let (mut record, mut found) = (MaybeUninit::uninit(), ptr::null_mut());
        // SAFETY: `name` ends in a NUL; the others are valid for writing for the whole call, `buffer` for as many
        // bytes as it says.
        let status = unsafe {
            libc::getpwnam_r(
                name.as_ptr(),
                record.as_mut_ptr(),
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut found,
            )
        };
        // SAFETY: `found` is null, or points to `record`, whose strings are in `buffer`; both still live.
        (status, unsafe { user(found) })
    })
}

/// Looks up a user by its number, as [`user_by_name`].
///
/// # Errors
///
/// What `getpwuid_r` reports.
pub fn user_by_id(id: u32) -> io::Result<Option<User>> {
    look_up(|buffer| {
        let (mut record, mut found) = (MaybeUninit::uninit(), ptr::null_mut());
        // SAFETY: the pointers are valid for writing for the whole call, `buffer` for as many bytes as it says.
        let status = unsafe {
            libc::getpwuid_r(
                id,
                record.as_mut_ptr(),
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut found,
            )
        };
        // SAFETY: as in `user_by_name`.
        (status, unsafe { user(found) })
    })
}

/// Looks up the number of a group by its name, as [`user_by_name`].
///
/// # Errors
///
/// `InvalidInput` for a name with a NUL, otherwise what `getgrnam_r` reports.
pub fn group_by_name(name: &str) -> io::Result<Option<u32>> {
    let name = CString::new(name)?;
    look_up(|buffer| {
        let (mut record, mut found) = (MaybeUninit::uninit(), ptr::null_mut());
        // SAFETY: as in `user_by_name`.
        let status = unsafe {
            libc::getgrnam_r(
                name.as_ptr(),
                record.as_mut_ptr(),
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut found,
            )
        };
        // SAFETY: `found` is null, or points to `record`, which the call has filled in.
        let group: Option<&libc::group> = unsafe { found.as_ref() };
        (status, group.map(|group| group.gr_gid))
    })
}

/// Every group that `user` is in, `group` included, without repeats. May block as [`user_by_name`].
///
/// # Errors
///
/// That they are more than the kernel takes.
pub fn groups_of(user: &User, group: u32) -> io::Result<Vec<u32>> {
    let mut groups = vec![0; 64];
    loop {
        let mut count = groups.len() as libc::c_int;
        // SAFETY: the name ends in a NUL; `groups` has room for `count` numbers, and both outlive the call.
        let result = unsafe {
            libc::getgrouplist(
                user.name.as_ptr(),
                group,
                groups.as_mut_ptr(),
                &raw mut count,
            )
        };
        let count = usize::try_from(count).unwrap_or(0);
        if result >= 0 {
            groups.truncate(count);
            groups.sort_unstable();
            groups.dedup();
            return Ok(groups);
        }
        if groups.len() >= GROUPS_MAX {
            return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
        }
        let wanted = count.max(2 * groups.len());
        groups.resize(wanted.min(GROUPS_MAX), 0);
    }
}

/// User and group numbers of the process: real, effective and saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// Users.
    pub users: [u32; 3],
    /// Groups.
    pub groups: [u32; 3],
}

/// Who the process is.
///
/// # Errors
///
/// What `getresuid` or `getresgid` report.
pub fn ids() -> io::Result<Ids> {
    let mut ids = Ids {
        users: [0; 3],
        groups: [0; 3],
    };
    let [real, effective, saved] = &mut ids.users;
    // SAFETY: three numbers that may be written, and outlive the call.
    check(unsafe { libc::getresuid(&raw mut *real, &raw mut *effective, &raw mut *saved) })?;
    let [real, effective, saved] = &mut ids.groups;
    // SAFETY: as above.
    check(unsafe { libc::getresgid(&raw mut *real, &raw mut *effective, &raw mut *saved) })?;
    Ok(ids)
}

/// Sets the supplementary groups of the process. Takes privilege.
///
/// # Errors
///
/// What `setgroups` reports.
pub fn set_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: `groups` is valid for as many numbers as are named; the call only reads them.
    check(unsafe { libc::setgroups(groups.len() as _, groups.as_ptr()) }).map(drop)
}

/// Sets real, effective and saved group of the process, of all of its threads.
///
/// # Errors
///
/// What `setresgid` reports.
pub fn set_group(group: u32) -> io::Result<()> {
    // SAFETY: no pointers are involved.
    check(unsafe { libc::setresgid(group, group, group) }).map(drop)
}

/// Sets real, effective and saved user of the process, of all of its threads. From root to another, this takes its
/// capabilities away (`capabilities(7)`).
///
/// # Errors
///
/// What `setresuid` reports.
pub fn set_user(user: u32) -> io::Result<()> {
    // SAFETY: no pointers are involved.
    check(unsafe { libc::setresuid(user, user, user) }).map(drop)
}

/// Calls `ask` with more and more room until it no longer says `ERANGE`.
fn look_up<T>(
    mut ask: impl FnMut(&mut [libc::c_char]) -> (libc::c_int, Option<T>),
) -> io::Result<Option<T>> {
    let mut buffer = vec![0; 1 << 10];
    loop {
        return match ask(&mut buffer) {
            (0, found) => Ok(found),
            (libc::ERANGE, _) if buffer.len() < RECORD_BYTES_MAX => {
                buffer.resize(2 * buffer.len(), 0);
                continue;
            }
            (libc::EINTR, _) => continue,
            // What some systems say of a name they do not know (`getpwnam(3)`).
            (libc::ENOENT | libc::ESRCH, _) => Ok(None),
            (error, _) => Err(io::Error::from_raw_os_error(error)),
        };
    }
}

/// The user in a record, if there is one.
///
/// # Safety
///
/// `record` is null, or points to an initialised record whose name ends in a NUL.
unsafe fn user(record: *const libc::passwd) -> Option<User> {
    // SAFETY: null or valid, as the caller says.
    let record = unsafe { record.as_ref()? };
    Some(User {
        // SAFETY: as the caller says.
        name: unsafe { CStr::from_ptr(record.pw_name) }.to_owned(),
        id: record.pw_uid,
        group: record.pw_gid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_known_by_name_and_by_number() {
        let root = user_by_name("root").expect("a database").expect("root");
        assert_eq!((root.id, root.group), (0, 0));
        assert_eq!(root.name.as_c_str(), c"root");
        assert_eq!(user_by_id(0).expect("a database"), Some(root.clone()));
        assert_eq!(group_by_name("root").expect("a database"), Some(0));
        let groups = groups_of(&root, 4711).expect("groups");
        assert!(groups.contains(&4711), "{groups:?}");
    }

    #[test]
    fn unknown_names_are_no_error() {
        let nobody_has_this = "flowgate-no-such-name";
        assert_eq!(user_by_name(nobody_has_this).expect("a database"), None);
        assert_eq!(group_by_name(nobody_has_this).expect("a database"), None);
        assert_eq!(user_by_id(3_999_999_999).expect("a database"), None);
        user_by_name("a\0b").expect_err("a NUL");
    }

    #[test]
    fn room_is_made_for_long_records() {
        let mut asked = Vec::new();
        let found = look_up(|buffer| {
            asked.push(buffer.len());
            match buffer.len() {
                ..5000 => (libc::ERANGE, None),
                len => (0, Some(len)),
            }
        });
        assert_eq!(found.expect("no error"), Some(8192));
        assert_eq!(asked, [1024, 2048, 4096, 8192]);
        look_up::<()>(|_| (libc::ERANGE, None)).expect_err("without end");
    }
}
