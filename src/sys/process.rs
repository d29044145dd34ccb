//! Limits of the process.

use std::io;

use super::check;

/// Raises the soft limit of open descriptors to the hard limit and returns it.
///
/// # Errors
///
/// What `getrlimit` or `setrlimit` report.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid `rlimit` that outlives both calls.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: as above; the call only reads `limit`.
        check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    }
    Ok(limit.rlim_cur)
}

/// Unmaps the pages of the program's own code; those still needed come back from the page cache one by one.
///
/// Start-up runs most of a program once, and every fault maps its neighbours too. Called when a quiet time
/// begins, this leaves mapped what the loop really uses: about a third.
pub fn release_code_pages() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else {
        return;
    };
    let own = own_address();
    for mapping in maps
        .lines()
        .filter_map(code_mapping)
        .filter(|mapping| mapping.contains(&own))
    {
        // SAFETY: the range is one whole private file mapping of this process, executable and never written, as
        // the kernel has just listed it. Dropped pages of such a mapping are read from the file again at the
        // next access, so no byte that anybody can see changes.
        unsafe {
            libc::madvise(
                mapping.start as *mut libc::c_void,
                mapping.len(),
                libc::MADV_DONTNEED,
            );
        }
    }
}

/// An address inside the code of this program.
fn own_address() -> usize {
    release_code_pages as *const () as usize
}

/// The range of a line of `/proc/self/maps`, if it is private code that nothing was written to.
fn code_mapping(line: &str) -> Option<std::ops::Range<usize>> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let is_code = words.next()? == "r-xp";
    let is_file = words.nth(2)? != "0";
    let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
    (is_code && is_file).then_some(range)
}

/// Returns freed heap pages to the system, where the allocator can (glibc).
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `malloc_trim` has no preconditions; it may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_goes_on_after_its_pages_were_released() {
        release_code_pages();
        assert!(raise_descriptor_limit().is_ok());
    }

    #[test]
    fn only_private_file_code_is_a_code_mapping() {
        let code = "5581d0a2e000-5581d0ac1000 r-xp 0001f000 fe:00 9711 /usr/bin/x";
        assert_eq!(code_mapping(code), Some(0x5581_d0a2_e000..0x5581_d0ac_1000));
        assert_eq!(
            code_mapping("7ffc6a5f7000-7ffc6a5f9000 r-xp 00000000 00:00 0 [vdso]"),
            None
        );
        assert_eq!(
            code_mapping("5581d0a2e000-5581d0ac1000 rw-p 0001f000 fe:00 9711 /usr/bin/x"),
            None
        );
        assert_eq!(code_mapping("nonsense"), None);
    }
}
