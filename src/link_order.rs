//! Whether `scripts/order.ld` still names functions that exist, as a test over the source.
//!
//! A pattern without a function does no harm by itself, so nothing else would notice that the list has aged.

use std::fs;
use std::path::Path;

use crate::layering::sources;

/// Of a hundred functions of our own, this many may have been renamed since the list was made.
const STALE_PERCENT_MAX: usize = 10;

/// The name of the function that a pattern of the list is for, if it is one of this crate's.
///
/// Parts of a mangled name are preceded by their length; what follows the last one is its hash.
fn own_function(pattern: &str) -> Option<&str> {
    let mut rest = pattern.strip_prefix("_ZN")?;
    let mut is_own = false;
    let mut last = None;
    loop {
        let digits = rest.find(|sign: char| !sign.is_ascii_digit())?;
        let (len, name) = rest.split_at(digits);
        let Some((name, after)) = len.parse().ok().and_then(|len| name.split_at_checked(len))
        else {
            return last.filter(|_| is_own);
        };
        is_own |= name == "flowgate" || name.contains("$LT$flowgate..");
        // Closures and copies that the compiler made have no names.
        last = Some(name).filter(|name| !name.contains('$'));
        rest = after;
    }
}

#[test]
fn functions_that_are_put_side_by_side_exist() {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/order.ld");
    let list = fs::read_to_string(list).expect("the list");
    let source: String = sources()
        .iter()
        .map(|path| fs::read_to_string(path).expect("a source file"))
        .collect();
    let patterns = list
        .lines()
        .filter_map(|line| line.trim().strip_prefix("*(.text*"));
    let own: Vec<&str> = patterns.filter_map(own_function).collect();
    assert!(own.len() > 100, "only {} are ours", own.len());
    let stale: Vec<&&str> = own
        .iter()
        .filter(|name| !source.contains(&format!("fn {name}")))
        .collect();
    assert!(
        stale.len() * 100 <= own.len() * STALE_PERCENT_MAX,
        "gone: {stale:?}; make the list again with scripts/order"
    );
}

#[test]
fn patterns_tell_their_functions() {
    let cases = [
        (
            "_ZN8flowgate6router6Router11run_clients17h*)",
            Some("run_clients"),
        ),
        (
            "_ZN65_$LT$flowgate..net..mio..MioNet$u20$as$u20$flowgate..net..Net$GT$4poll17h*)",
            Some("poll"),
        ),
        (
            "_ZN4core3str21_$LT$impl$u20$str$GT$12trim_matches17h*)",
            None,
        ),
        ("_ZN8flowgate4pool28_$u7b$$u7b$closure$u7d$$u7d$17h*)", None),
        (
            "_RNvMs4_NtCs*_5alloc7raw_vecNtB5_11RawVecInner11finish_growB7_)",
            None,
        ),
    ];
    for (pattern, expected) in cases {
        assert_eq!(own_function(pattern), expected, "{pattern}");
    }
}
