//! The time of day of this place.

use std::mem::MaybeUninit;

/// Seconds by which the clocks of this place (`TZ`, or `/etc/localtime`) are ahead of UTC at `seconds` since 1970; 0
/// if that cannot be told.
pub fn local_offset_seconds(seconds: u64) -> i32 {
    let Ok(seconds) = libc::time_t::try_from(seconds) else {
        return 0;
    };
    let mut local = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: `seconds` is readable and `local` writable for the whole call. The call reads the environment; nothing
    // in this program ever writes to it, so no thread can see it change.
    let found = unsafe { libc::localtime_r(&raw const seconds, local.as_mut_ptr()) };
    if found.is_null() {
        return 0;
    }
    // SAFETY: a `tm` of zeros is valid (numbers, and a pointer that may be null), and the call has filled it in.
    let offset_seconds = unsafe { local.assume_init() }.tm_gmtoff;
    i32::try_from(offset_seconds).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_is_that_of_some_place_on_earth() {
        for seconds in [0, 1_741_635_000, 4_107_542_400] {
            let offset_seconds = local_offset_seconds(seconds);
            assert!((-12 * 3600..=14 * 3600).contains(&offset_seconds));
        }
        assert_eq!(local_offset_seconds(u64::MAX), 0);
    }
}
