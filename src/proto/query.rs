//! Taking parameters out of the query of a URL and adding one at its end.
//!
//! Everything else keeps its order and its spelling, byte for byte. A URL here is `path?query` without a fragment.
//! Names are compared as they stand, without decoding, and regardless of ASCII case; values are raw. Decoding is
//! left to [`percent_decode`](super::url::percent_decode).
//!
//! A parameter begins behind `?` or `&` and ends at the next `&`. A second `?` counts too, since players append
//! `?playseek=…` to addresses that have a query already (time spec §3.2).

use std::iter;

/// A parameter as it stands in a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// Its name, in the spelling found.
    pub name: &'a str,
    /// What stands behind `=`, not decoded.
    pub value: &'a str,
}

/// Every parameter called `name`, in order. One without `=` is none.
pub fn parameters<'a>(url: &'a str, name: &str) -> impl Iterator<Item = Parameter<'a>> {
    let query = match find_value(url, name) {
        Some(_) => url.split_once('?').map_or("", |(_, query)| query),
        None => "",
    };
    query
        .split('&')
        .filter_map(move |piece| find(piece, name).map(|(_, parameter)| parameter))
}

/// `url` without the parameters called `name` for which `unwanted` holds.
///
/// The `?` goes with the last parameter.
pub fn remove(url: &str, name: &str, mut unwanted: impl FnMut(Parameter<'_>) -> bool) -> String {
    let query = find_value(url, name).and_then(|_| url.split_once('?'));
    let Some((path, query)) = query else {
        return url.to_owned();
    };
    let mut is_removed = false;
    let mut kept = Vec::new();
    for piece in query.split('&') {
        match find(piece, name) {
            Some((front, parameter)) if unwanted(parameter) => {
                is_removed = true;
                kept.extend((!front.is_empty()).then_some(front));
            }
            _ => kept.push(piece),
        }
    }
    let query = kept.join("&");
    if !is_removed {
        url.to_owned()
    } else if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    }
}

/// Removes every parameter called `name` and returns the raw value of the first.
pub fn take(url: &mut String, name: &str) -> Option<String> {
    let value = parameters(url, name).next()?.value.to_owned();
    *url = remove(url, name, |_| true);
    Some(value)
}

/// Adds a parameter at the end. Name and value are written as they are, so they must be encoded.
pub fn append(url: &mut String, name: &str, value: &str) {
    if !url.contains('?') {
        url.push('?');
    } else if !url.ends_with(['?', '&']) {
        url.push('&');
    }
    url.push_str(name);
    url.push('=');
    url.push_str(value);
}

/// Where something stands behind `name=`, in any case and wherever in `text` that is. A parameter of this name is
/// nowhere else; most URLs have none, and this is the fast way to see it.
pub fn find_value(text: &str, name: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'=', bytes).find_map(|at| {
        let found = bytes.get(at.checked_sub(name.len())?..at)?;
        found
            .eq_ignore_ascii_case(name.as_bytes())
            .then_some(at + 1)
    })
}

/// Finds `name=` at the front of `piece` or behind a `?` in it. Also returns what stands before it.
fn find<'a>(piece: &'a str, name: &str) -> Option<(&'a str, Parameter<'a>)> {
    let mut starts = iter::once(0).chain(piece.match_indices('?').map(|(at, _)| at + 1));
    starts.find_map(|start| {
        let (front, rest) = piece.split_at_checked(start)?;
        let (spelling, rest) = rest.split_at_checked(name.len())?;
        let value = rest.strip_prefix('=')?;
        let parameter = Parameter {
            name: spelling,
            value,
        };
        let front = front.strip_suffix('?').unwrap_or(front);
        spelling
            .eq_ignore_ascii_case(name)
            .then_some((front, parameter))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values<'a>(url: &'a str, name: &str) -> Vec<&'a str> {
        parameters(url, name)
            .map(|parameter| parameter.value)
            .collect()
    }

    fn without(url: &str, name: &str) -> String {
        remove(url, name, |_| true)
    }

    #[test]
    fn names_are_found_behind_separators_in_any_case() {
        assert_eq!(values("/a?B=1&b=2&ab=3&b&b=", "b"), ["1", "2", ""]);
        assert_eq!(values("/a?x=1?b=2?b=3&y=?b=4", "b"), ["2?b=3", "4"]);
        assert_eq!(values("/b=1", "b"), [""; 0]);
        let found: Vec<_> = parameters("/a?PlaySeek=1", "playseek").collect();
        assert_eq!(found[0].name, "PlaySeek");
    }

    #[test]
    fn the_rest_keeps_order_and_spelling() {
        for (url, expected) in [
            ("/a?b=1", "/a"),
            ("/a?b=1&", "/a"),
            ("/a?b=1&B=2", "/a"),
            ("/a?x=%41&b=1&&Y=+&b=2", "/a?x=%41&&Y=+"),
            ("/a?x=1?b=2&y=3", "/a?x=1&y=3"),
            ("/a??b=2", "/a"),
            ("/a?", "/a?"),
            ("/a?&&", "/a?&&"),
            ("/a?bb=1", "/a?bb=1"),
            ("/b=1", "/b=1"),
        ] {
            assert_eq!(without(url, "b"), expected, "{url}");
        }
    }

    #[test]
    fn the_first_value_is_taken_and_all_are_removed() {
        let mut url = "/a?b=1&x=2&B=3".to_owned();
        assert_eq!(take(&mut url, "b").as_deref(), Some("1"));
        assert_eq!(url, "/a?x=2");
        assert_eq!(take(&mut url, "b"), None);
    }

    #[test]
    fn a_parameter_is_added_at_the_end() {
        for (url, expected) in [
            ("/a", "/a?n=v"),
            ("/a?x", "/a?x&n=v"),
            ("/a?", "/a?n=v"),
            ("/a?x&", "/a?x&n=v"),
        ] {
            let mut url = url.to_owned();
            append(&mut url, "n", "v");
            assert_eq!(url, expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_removed_is_gone_and_what_is_added_is_found(url in "/[aAbé?&=%]{0,30}") {
            let mut rest = without(&url, "ab");
            prop_assert_eq!(values(&rest, "ab"), Vec::<&str>::new(), "{}", rest);
            append(&mut rest, "ab", "v");
            prop_assert_eq!(values(&rest, "ab"), vec!["v"], "{}", rest);
        }
    }
}
