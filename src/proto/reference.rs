//! URI references and their resolution against a base (RFC 3986 §4 and §5).
//!
//! Splits and joins text; nothing is decoded, checked or looked up, and any text is some reference.

use std::borrow::Cow;
use std::fmt;

/// A URI reference taken apart (RFC 3986 §3, appendix B). Parts point into the text where they can.
///
/// `Display` puts it together again (§5.3): parsing and displaying gives the same text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference<'a> {
    /// What stands before the first `:`, if it can be a scheme.
    pub scheme: Option<&'a str>,
    /// What stands behind `//`. It may be empty, which is not the same as absent.
    pub authority: Option<&'a str>,
    /// The path; empty, or beginning with `/` if there is an authority.
    pub path: Cow<'a, str>,
    /// What follows the first `?`.
    pub query: Option<&'a str>,
    /// What follows the first `#`.
    pub fragment: Option<&'a str>,
}

impl<'a> Reference<'a> {
    /// Takes any text apart.
    pub fn parse(text: &'a str) -> Self {
        let (text, fragment) = cut(text, '#');
        let (text, query) = cut(text, '?');
        let (scheme, text) = match text.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme), rest),
            _ => (None, text),
        };
        let (authority, path) = match text.strip_prefix("//") {
            Some(rest) => {
                let (authority, path) = rest
                    .split_at_checked(rest.find('/').unwrap_or(rest.len()))
                    .unwrap_or((rest, ""));
                (Some(authority), path)
            }
            None => (None, text),
        };
        Reference {
            scheme,
            authority,
            path: Cow::Borrowed(path),
            query,
            fragment,
        }
    }

    /// Resolves the reference against `base`, which must have a scheme and an authority (RFC 3986 §5.2.2).
    ///
    /// Strict: `http:g` is absolute. What has a scheme but no authority (`skd:key`, `data:…`) is not a path
    /// and stays as it is. In everything else dot segments are removed, from the base's own path too, so the
    /// result cannot climb above the root of its authority.
    pub fn resolve(self, base: &Reference<'a>) -> Reference<'a> {
        if self.scheme.is_some() && self.authority.is_none() {
            return self;
        }
        let names_host = self.scheme.is_some() || self.authority.is_some();
        let (path, query) = if names_host || self.path.starts_with('/') {
            (self.path, self.query)
        } else if self.path.is_empty() {
            (base.path.clone(), self.query.or(base.query))
        } else {
            // The base's path, not its query: that may have slashes of its own.
            let folder = base.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            (Cow::Owned(format!("{folder}/{}", self.path)), self.query)
        };
        Reference {
            scheme: self.scheme.or(base.scheme),
            authority: self.authority.or(base.authority),
            path,
            query,
            fragment: self.fragment,
        }
        .without_dot_segments()
    }

    /// Whether it is a path that is continued from the folder of the base (RFC 3986 §4.2).
    pub fn is_relative_path(&self) -> bool {
        let names_host = self.scheme.is_some() || self.authority.is_some();
        !names_host && !self.path.is_empty() && !self.path.starts_with('/')
    }

    /// The same without the segments `.` and `..` of a path that begins with `/` (RFC 3986 §5.2.4).
    ///
    /// `%2e` counts as a dot: it is an unreserved character encoded without need (§2.3), and browsers take it
    /// for one.
    pub fn without_dot_segments(self) -> Self {
        Reference {
            path: remove_dot_segments(self.path),
            ..self
        }
    }
}

impl fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = self.scheme {
            write!(f, "{scheme}:")?;
        }
        if let Some(authority) = self.authority {
            write!(f, "//{authority}")?;
        }
        f.write_str(&self.path)?;
        if let Some(query) = self.query {
            write!(f, "?{query}")?;
        }
        if let Some(fragment) = self.fragment {
            write!(f, "#{fragment}")?;
        }
        Ok(())
    }
}

/// What precedes the first `mark`, and what follows it.
fn cut(text: &str, mark: char) -> (&str, Option<&str>) {
    match text.split_once(mark) {
        Some((front, behind)) => (front, Some(behind)),
        None => (text, None),
    }
}

/// RFC 3986 §3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn remove_dot_segments(path: Cow<'_, str>) -> Cow<'_, str> {
    let Some(inside) = path.strip_prefix('/') else {
        return path;
    };
    if !inside.split('/').any(|segment| dots(segment) > 0) {
        return path;
    }
    let mut kept = Vec::new();
    for segment in inside.split('/') {
        match dots(segment) {
            0 => kept.push(segment),
            1 => {}
            _ => {
                kept.pop();
            }
        }
    }
    let names_folder = inside.rsplit('/').next().is_some_and(|last| dots(last) > 0);
    let mut result = String::with_capacity(path.len());
    for segment in &kept {
        result.push('/');
        result.push_str(segment);
    }
    if names_folder || kept.is_empty() {
        result.push('/');
    }
    Cow::Owned(result)
}

/// 1 for `.`, 2 for `..`, each dot plain or encoded; 0 for any other segment.
fn dots(segment: &str) -> usize {
    let mut rest = segment;
    let mut count = 0;
    while let Some(behind) = [".", "%2e", "%2E"]
        .iter()
        .find_map(|dot| rest.strip_prefix(dot))
    {
        rest = behind;
        count += 1;
    }
    if rest.is_empty() && count <= 2 {
        count
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resolve(base: &str, reference: &str) -> String {
        Reference::parse(reference)
            .resolve(&Reference::parse(base))
            .to_string()
    }

    #[test]
    fn examples_of_the_standard_resolve() {
        // RFC 3986 §5.4.1 and §5.4.2, read strictly.
        for (reference, expected) in [
            ("g:h", "g:h"),
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q#s"),
            ("g#s", "http://a/b/c/g#s"),
            ("g?y#s", "http://a/b/c/g?y#s"),
            (";x", "http://a/b/c/;x"),
            ("g;x", "http://a/b/c/g;x"),
            ("g;x?y#s", "http://a/b/c/g;x?y#s"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("../../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            (".g", "http://a/b/c/.g"),
            ("g..", "http://a/b/c/g.."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/./x", "http://a/b/c/g?y/./x"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("g#s/./x", "http://a/b/c/g#s/./x"),
            ("g#s/../x", "http://a/b/c/g#s/../x"),
            ("http:g", "http:g"),
        ] {
            assert_eq!(
                resolve("http://a/b/c/d;p?q", reference),
                expected,
                "{reference}"
            );
        }
    }

    #[test]
    fn folder_comes_from_the_path_not_from_the_query() {
        assert_eq!(
            resolve("http://h/l/i.m3u8?u=/a/b", "s.ts"),
            "http://h/l/s.ts"
        );
        assert_eq!(
            resolve("http://h/l/i.m3u8?u=/a/b", "?q=1"),
            "http://h/l/i.m3u8?q=1"
        );
        assert_eq!(resolve("http://h?u=/a/b", "s.ts"), "http://h/s.ts");
    }

    #[test]
    fn colon_makes_a_scheme_only_behind_letters() {
        assert_eq!(resolve("http://h/l/", "12:30.ts"), "http://h/l/12:30.ts");
        assert_eq!(resolve("http://h/l/", "a/b:c"), "http://h/l/a/b:c");
        assert_eq!(resolve("http://h/l/", "a?b:c"), "http://h/l/a?b:c");
        assert_eq!(resolve("http://h/l/", "skd://../k"), "skd://../k");
        assert_eq!(resolve("http://h/l/", "data:a/../b"), "data:a/../b");
    }

    #[test]
    fn encoded_dots_climb_no_further_than_plain_ones() {
        for reference in [
            "%2e%2e/x",
            ".%2E/x",
            "%2E./x",
            "/%2e/x",
            "/%2E/x",
            "http://h/%2E%2e/x",
        ] {
            assert_eq!(
                resolve("http://h/a/b", reference),
                "http://h/x",
                "{reference}"
            );
        }
        assert_eq!(
            resolve("http://h/a/b", "%2e%2e%2e/%2f"),
            "http://h/a/%2e%2e%2e/%2f"
        );
    }

    #[test]
    fn empty_segments_are_segments() {
        assert_eq!(resolve("http://h/a//b", "../x"), "http://h/a/x");
        assert_eq!(resolve("http://h/", "/a//../b"), "http://h/a/b");
    }

    /// RFC 3986 §5.2.4 as it is written there, step by step.
    fn naive_remove_dot_segments(path: &str) -> String {
        let mut input = path.to_owned();
        let mut output = String::new();
        while !input.is_empty() {
            if input.starts_with("../") {
                input.drain(..3);
            } else if input.starts_with("./") || input.starts_with("/./") {
                input.drain(..2);
            } else if input == "/." {
                input = "/".to_owned();
            } else if input.starts_with("/../") || input == "/.." {
                input.replace_range(..input.len().min(4), "/");
                output.truncate(output.rfind('/').unwrap_or(0));
            } else if input == "." || input == ".." {
                input.clear();
            } else {
                let segment_bytes = input[1..].find('/').map_or(input.len(), |at| at + 1);
                output.extend(input.drain(..segment_bytes));
            }
        }
        output
    }

    proptest! {
        #[test]
        fn dot_segments_go_as_the_standard_says(path in "(/(\\.{0,3}|[a-c]|\\.a)){0,9}") {
            prop_assert_eq!(
                remove_dot_segments(Cow::Borrowed(&path)),
                naive_remove_dot_segments(&path)
            );
        }

        #[test]
        fn any_text_is_taken_apart_and_put_together(text in "[a-c:/?#.%2e@\\[\\]]{0,30}|\\PC{0,20}") {
            prop_assert_eq!(Reference::parse(&text).to_string(), text);
        }

        #[test]
        fn nothing_climbs_above_its_authority(
            base in "/[a-c./?%2eE]{0,20}",
            reference in "[a-c./?#%2eE]{0,20}",
        ) {
            let base = format!("http://h{base}");
            let resolved = Reference::parse(&reference).resolve(&Reference::parse(&base));
            prop_assert_eq!(resolved.scheme, Some("http"));
            prop_assert!(resolved.authority.is_some());
            prop_assert!(resolved.path.split('/').all(|segment| dots(segment) == 0), "{}", resolved);
        }
    }
}
