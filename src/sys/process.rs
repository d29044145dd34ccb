//! Limits of the process.

use std::io;
use std::ops::Range;
use std::sync::OnceLock;

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

/// Microseconds of the monotonic clock (`CLOCK_MONOTONIC`), as service managers compare them.
pub fn monotonic_micros() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid `timespec` that outlives the call. The clock exists everywhere, so it cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1000
}

/// Runs `create` while whatever files it creates lack exactly the permissions in `mask`, at most `0o777`.
///
/// The mask is the whole process's, so this is for times when no other thread creates files.
pub fn with_file_mask<T>(mask: u32, create: impl FnOnce() -> T) -> T {
    // SAFETY: `umask` takes no pointers and cannot fail.
    let before = unsafe { libc::umask(mask & 0o777) };
    let created = create();
    // SAFETY: as above.
    unsafe { libc::umask(before) };
    created
}

/// Unmaps the pages of code and constants; those still needed come back from the page cache one by one.
///
/// Start-up runs most of a program once, and every fault maps its neighbours too. Called when a quiet time
/// begins, this leaves mapped what the loop really uses.
pub fn release_clean_pages() {
    static MAPPINGS: OnceLock<Vec<Range<usize>>> = OnceLock::new();
    for mapping in MAPPINGS.get_or_init(clean_mappings) {
        // SAFETY: the range is one whole private file mapping of this process without write permission, and
        // the kernel has listed no page of it as ever written to. Dropped pages of such a mapping are read
        // from the file again at the next access, so no byte that anybody can see changes.
        unsafe {
            libc::madvise(
                mapping.start as *mut libc::c_void,
                mapping.len(),
                libc::MADV_DONTNEED,
            );
        }
    }
}

/// Private mappings of files that are not writable and hold no page that differs from the file.
fn clean_mappings() -> Vec<Range<usize>> {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    let mut clean = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        if let Some(range) = file_mapping(line) {
            candidate = range;
        } else if line.split_whitespace().eq(["Anonymous:", "0", "kB"]) {
            clean.extend(candidate.take());
        }
    }
    clean
}

/// For the first line of a mapping in `/proc/self/smaps`: its range, if it is of a file, private and not
/// writable. `None` for the lines that follow it.
fn file_mapping(line: &str) -> Option<Option<Range<usize>>> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
    let is_readable = matches!(words.next()?, "r-xp" | "r--p");
    let is_file = words.nth(2)? != "0";
    Some((is_readable && is_file).then_some(range))
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
        release_clean_pages();
        release_clean_pages();
        assert!(raise_descriptor_limit().is_ok());
        let here = file_mapping as *const () as usize;
        assert!(
            clean_mappings()
                .iter()
                .any(|mapping| mapping.contains(&here))
        );
    }

    #[test]
    fn only_private_files_without_write_permission_are_candidates() {
        let range = Some(0x5581_d0a2_e000..0x5581_d0ac_1000);
        let line = |rest: &str| file_mapping(&format!("5581d0a2e000-5581d0ac1000 {rest}"));
        assert_eq!(
            line("r-xp 0001f000 fe:00 9711 /usr/bin/x"),
            Some(range.clone())
        );
        assert_eq!(line("r--p 0001f000 fe:00 9711 /usr/bin/x"), Some(range));
        assert_eq!(line("rw-p 0001f000 fe:00 9711 /usr/bin/x"), Some(None));
        assert_eq!(line("r-xs 0001f000 fe:00 9711 /usr/bin/x"), Some(None));
        assert_eq!(line("r-xp 00000000 00:00 0 [vdso]"), Some(None));
        assert_eq!(file_mapping("Anonymous:             0 kB"), None);
        assert_eq!(file_mapping("VmFlags: rd ex mr mw me"), None);
    }
}
