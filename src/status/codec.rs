//! Facts as bytes, for the memory that workers share.
//!
//! A type lists its fields once, in [`Fields::visit`]; writing and reading are the same list, so they cannot differ.
//! Numbers are LEB128, texts and lists have their length in front. All processes run the same program, so there is no
//! version; what makes no sense is refused all the same.

/// A type whose fields can be written and read.
pub trait Fields {
    /// Hands every field to `codec`, always in the same order.
    fn visit(&mut self, codec: &mut impl Codec);
}

/// Writes the fields it is handed, or fills them in.
pub trait Codec {
    /// A number.
    fn number(&mut self, value: &mut u64);
    /// A text.
    fn text(&mut self, value: &mut String);
    /// A list.
    fn list<T: Fields + Default>(&mut self, items: &mut Vec<T>);

    /// A flag.
    fn flag(&mut self, value: &mut bool) {
        let mut number = u64::from(*value);
        self.number(&mut number);
        *value = number != 0;
    }
}

/// Writes `value`.
pub fn encode<T: Fields>(value: &mut T) -> Vec<u8> {
    let mut encoder = Encoder::default();
    value.visit(&mut encoder);
    encoder.bytes
}

/// Reads what [`encode`] wrote; `None` if it makes no sense.
pub fn decode<T: Fields + Default>(bytes: &[u8]) -> Option<T> {
    let mut value = T::default();
    let mut decoder = Decoder {
        rest: bytes,
        failed: false,
    };
    value.visit(&mut decoder);
    (!decoder.failed && decoder.rest.is_empty()).then_some(value)
}

#[derive(Default)]
struct Encoder {
    bytes: Vec<u8>,
}

impl Codec for Encoder {
    fn number(&mut self, value: &mut u64) {
        let mut rest = *value;
        while rest >= 0x80 {
            self.bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.bytes.push(rest as u8);
    }

    fn text(&mut self, value: &mut String) {
        self.number(&mut (value.len() as u64));
        self.bytes.extend_from_slice(value.as_bytes());
    }

    fn list<T: Fields + Default>(&mut self, items: &mut Vec<T>) {
        self.number(&mut (items.len() as u64));
        for item in items {
            item.visit(self);
        }
    }
}

struct Decoder<'a> {
    rest: &'a [u8],
    /// From here on everything reads as nothing.
    failed: bool,
}

impl Decoder<'_> {
    fn take_number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take_text(&mut self) -> Option<String> {
        let len = usize::try_from(self.take_number()?).ok()?;
        let (text, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    fn fail(&mut self) {
        self.failed = true;
        self.rest = &[];
    }
}

impl Codec for Decoder<'_> {
    fn number(&mut self, value: &mut u64) {
        match self.take_number() {
            Some(number) => *value = number,
            None => self.fail(),
        }
    }

    fn text(&mut self, value: &mut String) {
        match self.take_text() {
            Some(text) => *value = text,
            None => self.fail(),
        }
    }

    fn list<T: Fields + Default>(&mut self, items: &mut Vec<T>) {
        let mut len = 0;
        self.number(&mut len);
        // An item takes a byte at least, which bounds the loop.
        if len > self.rest.len() as u64 {
            return self.fail();
        }
        for _ in 0..len {
            let mut item = T::default();
            item.visit(self);
            if self.failed {
                return;
            }
            items.push(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone, Default, PartialEq)]
    struct Leaf {
        number: u64,
        flag: bool,
    }

    #[derive(Debug, Clone, Default, PartialEq)]
    struct Tree {
        name: String,
        leaves: Vec<Leaf>,
        last: u64,
    }

    impl Fields for Leaf {
        fn visit(&mut self, codec: &mut impl Codec) {
            codec.number(&mut self.number);
            codec.flag(&mut self.flag);
        }
    }

    impl Fields for Tree {
        fn visit(&mut self, codec: &mut impl Codec) {
            codec.text(&mut self.name);
            codec.list(&mut self.leaves);
            codec.number(&mut self.last);
        }
    }

    fn tree() -> impl Strategy<Value = Tree> {
        let leaf = (any::<u64>(), any::<bool>()).prop_map(|(number, flag)| Leaf { number, flag });
        let leaves = proptest::collection::vec(leaf, 0..20);
        (any::<String>(), leaves, any::<u64>()).prop_map(|(name, leaves, last)| Tree {
            name,
            leaves,
            last,
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(tree in tree()) {
            let bytes = encode(&mut tree.clone());
            prop_assert_eq!(decode::<Tree>(&bytes), Some(tree));
        }

        #[test]
        fn what_is_cut_short_is_refused(tree in tree(), cut in 1_usize..100) {
            let bytes = encode(&mut tree.clone());
            let cut = bytes.len().saturating_sub(cut);
            prop_assert_eq!(decode::<Tree>(&bytes[..cut]), None);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode::<Tree>(&bytes);
        }
    }

    #[test]
    fn more_than_one_value_is_refused() {
        let mut bytes = encode(&mut Tree::default());
        bytes.push(0);
        assert_eq!(decode::<Tree>(&bytes), None);
    }
}
