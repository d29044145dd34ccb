//! The payload: bytes that follow from a seed and an offset, so that the receiver can check them (probe spec B.6).
//!
//! Computed where they are needed: ten thousand connections with a seed each could not keep a block in memory, and
//! computing costs less than the kernel's copy of the same bytes.

/// Added per eight bytes (splitmix64).
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The stream of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    seed: u64,
    /// The stream repeats after so many bytes; 0 = never.
    block_bytes: u64,
}

impl Payload {
    /// The stream of `seed`, repeating after `block_bytes` unless that is 0.
    pub fn new(seed: u64, block_bytes: u64) -> Self {
        Self { seed, block_bytes }
    }

    /// Writes the bytes at `offset` and behind.
    pub fn fill(&self, mut offset: u64, mut out: &mut [u8]) {
        while !out.is_empty() {
            let (at, run_bytes) = self.place(offset, out.len());
            let (run, rest) = out.split_at_mut(run_bytes);
            self.fill_run(at, run);
            offset += run_bytes as u64;
            out = rest;
        }
    }

    /// The offset of the first byte that is not as it should be, if there is one.
    pub fn first_wrong(&self, offset: u64, bytes: &[u8]) -> Option<u64> {
        let mut expected = [0; 4096];
        let mut at = offset;
        for piece in bytes.chunks(expected.len()) {
            let expected = &mut expected[..piece.len()];
            self.fill(at, expected);
            if piece != expected {
                let same = piece.iter().zip(&*expected).take_while(|(a, b)| a == b);
                return Some(at + same.count() as u64);
            }
            at += piece.len() as u64;
        }
        None
    }

    /// Where `offset` lies in the block, and how much of `bytes` lies before its end.
    fn place(&self, offset: u64, bytes: usize) -> (u64, usize) {
        match offset.checked_rem(self.block_bytes) {
            Some(at) => {
                let left = usize::try_from(self.block_bytes - at).unwrap_or(usize::MAX);
                (at, bytes.min(left))
            }
            None => (offset, bytes),
        }
    }

    fn fill_run(&self, at: u64, run: &mut [u8]) {
        let skipped = (at % 8) as usize;
        let head_bytes = run.len().min((8 - skipped) % 8);
        let (head, body) = run.split_at_mut(head_bytes);
        let word = self.word(at / 8).to_le_bytes();
        head.copy_from_slice(&word[skipped..skipped + head.len()]);
        let mut index = (at + head_bytes as u64) / 8;
        let mut words = body.chunks_exact_mut(8);
        for out in &mut words {
            out.copy_from_slice(&self.word(index).to_le_bytes());
            index += 1;
        }
        let tail = words.into_remainder();
        let word = self.word(index).to_le_bytes();
        tail.copy_from_slice(&word[..tail.len()]);
    }

    /// The finaliser of splitmix64 over the counter.
    fn word(&self, index: u64) -> u64 {
        let mut z = self
            .seed
            .wrapping_add(index.wrapping_add(1).wrapping_mul(STEP));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_words_are_those_of_splitmix64() {
        // Published values for seed 1234567.
        let mut bytes = [0; 24];
        Payload::new(1_234_567, 0).fill(0, &mut bytes);
        let words: Vec<u64> = bytes
            .chunks(8)
            .map(|word| u64::from_le_bytes(word.try_into().expect("eight")))
            .collect();
        let published = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(words, published);
    }

    #[test]
    fn the_first_wrong_byte_is_named_by_its_offset() {
        let payload = Payload::new(7, 0);
        let mut bytes = vec![0; 10_000];
        payload.fill(3, &mut bytes);
        assert_eq!(payload.first_wrong(3, &bytes), None);
        bytes[5000] ^= 1;
        bytes[6000] ^= 1;
        assert_eq!(payload.first_wrong(3, &bytes), Some(5003));
        assert_eq!(Payload::new(8, 0).first_wrong(3, &bytes), Some(3));
    }

    proptest! {
        #[test]
        fn any_piece_is_a_piece_of_the_whole(
            seed in any::<u64>(), block in prop_oneof![Just(0u64), 1..300u64],
            offset in 0..500u64, bytes in 0..300usize,
        ) {
            let payload = Payload::new(seed, block);
            let mut whole = vec![0; 1000];
            payload.fill(0, &mut whole);
            let mut piece = vec![0; bytes];
            payload.fill(offset, &mut piece);
            let begin = offset as usize;
            prop_assert_eq!(&piece, &whole[begin..begin + bytes]);
            prop_assert_eq!(payload.first_wrong(offset, &piece), None);
        }
    }
}
