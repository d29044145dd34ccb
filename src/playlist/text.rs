//! The text of a list that comes from elsewhere, whatever its encoding.
//!
//! Lists are UTF-8 (playlist spec §4), but plain M3U is older than that, and many still are in the encoding of western
//! Windows or, saved as text there, UTF-16. Lists are also put together from several, so each line is looked at on its own.

use std::borrow::Cow;
use std::fmt::Write as _;

/// What Windows-1252 has from 0x80 to 0x9f, where Latin-1 has control characters. U+FFFD stands where it has nothing.
const WINDOWS: [char; 32] = [
    '€', '\u{fffd}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{fffd}', 'Ž',
    '\u{fffd}', '\u{fffd}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{fffd}',
    'ž', 'Ÿ',
];

/// The text of a list.
///
/// A byte order mark of UTF-16 tells that encoding (RFC 2781 §3.2), which Windows calls Unicode. There U+FFFD stands for
/// half a pair. Otherwise a line that is not UTF-8 is read as Windows-1252, which any bytes are. In a URL the bytes themselves count, not what
/// they look like, so there they become escapes.
pub fn decode(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    if let Some(text) = from_utf16(bytes) {
        return Cow::Owned(text);
    }
    let mut text = String::with_capacity(bytes.len() + bytes.len() / 8);
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        match str::from_utf8(line) {
            Ok(line) => text.push_str(line),
            Err(_) if line.trim_ascii_start().starts_with(b"#") => {
                text.extend(line.iter().map(|&byte| character(byte)));
            }
            Err(_) => push_escaped(&mut text, line),
        }
    }
    Cow::Owned(text)
}

/// The text behind a byte order mark of UTF-16; `None` if there is none.
fn from_utf16(bytes: &[u8]) -> Option<String> {
    let (unit, bytes): (fn([u8; 2]) -> u16, _) = match bytes {
        [0xff, 0xfe, text @ ..] => (u16::from_le_bytes, text),
        [0xfe, 0xff, text @ ..] => (u16::from_be_bytes, text),
        _ => return None,
    };
    let (units, _) = bytes.as_chunks();
    let decoded = char::decode_utf16(units.iter().copied().map(unit));
    Some(
        decoded
            .map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect(),
    )
}

fn character(byte: u8) -> char {
    let windows = byte.checked_sub(0x80).map(usize::from);
    let windows = windows.and_then(|at| WINDOWS.get(at));
    windows.copied().unwrap_or(char::from(byte))
}

fn push_escaped(text: &mut String, url: &[u8]) {
    for &byte in url {
        if byte.is_ascii() {
            text.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn utf8_stays_as_it_is() {
        let text = "#EXTM3U\n#EXTINF:-1,Télé 频道\nrtp://239.0.0.1:1\n";
        assert!(matches!(decode(text.as_bytes()), Cow::Borrowed(same) if same == text));
    }

    #[test]
    fn other_lines_are_those_of_western_windows() {
        for (line, expected) in [
            (
                &b"#EXTINF:-1,T\xe9l\xe9 \x80 \x96 \x9f\r\n"[..],
                "#EXTINF:-1,Télé € – Ÿ\r\n",
            ),
            (b" #EXTGRP:\xdcber\n", " #EXTGRP:Über\n"),
            (
                b"#EXTINF:-1,\x81\x8d\x8f\x90\x9d",
                "#EXTINF:-1,\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
            ),
            (b"http://h/caf\xe9?a=\xff\n", "http://h/caf%E9?a=%FF\n"),
        ] {
            assert_eq!(decode(line), expected);
        }
    }

    #[test]
    fn each_line_has_an_encoding_of_its_own() {
        let list = [
            "#EXTINF:-1,Télé\n".as_bytes(),
            b"#EXTINF:-1,T\xe9l\xe9\n",
            "http://h/é\n".as_bytes(),
        ];
        let expected = "#EXTINF:-1,Télé\n#EXTINF:-1,Télé\nhttp://h/é\n";
        assert_eq!(decode(&list.concat()), expected);
    }

    #[test]
    fn byte_order_marks_tell_utf16() {
        let list = "#EXTM3U\r\n#EXTINF:-1,Télé 频道 📺\r\nrtp://239.0.0.1:1\r\n";
        let little = std::iter::once(0xfeff).chain(list.encode_utf16());
        let little: Vec<u8> = little.flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = little
            .chunks(2)
            .flat_map(|unit| [unit[1], unit[0]])
            .collect();
        assert_eq!((decode(&little), decode(&big)), (list.into(), list.into()));
        // Half a pair, and half a unit.
        assert_eq!(decode(b"\xff\xfea\0\x3d\xd8b\0c"), "a\u{fffd}b");
        assert_eq!(decode(b"\xfe\xff"), "");
    }

    proptest! {
        #[test]
        fn any_bytes_are_text_of_as_many_lines(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assume!(from_utf16(&bytes).is_none());
            let text = decode(&bytes);
            let count = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'\n').count();
            prop_assert_eq!(count(text.as_bytes()), count(&bytes));
            for (line, raw) in text.split('\n').zip(bytes.split(|&byte| byte == b'\n')) {
                // Nothing that could stand in no URL.
                let invents_control = line.contains(|c: char| c.is_control() && !c.is_ascii());
                prop_assert!(str::from_utf8(raw).is_ok() || !invents_control);
            }
        }
    }
}
