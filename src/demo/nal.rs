//! NAL units: bits and Exp-Golomb codes, put together and escaped. Section numbers are those of ITU-T H.264.

/// `nal_unit_type` and `nal_ref_idc` in one header byte (7.3.1, table 7-1). Everything but the delimiter is
/// needed to decode later pictures, so its `nal_ref_idc` is 3.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum Nal {
    Delimiter = 0x09,
    SequenceParameters = 0x67,
    PictureParameters = 0x68,
    IdrSlice = 0x65,
    Slice = 0x61,
}

/// Collects one raw byte sequence payload, most significant bit first.
#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits not yet in `bytes`, right-aligned.
    partial: u64,
    /// How many; less than 8 between calls.
    partial_bits: u32,
}

impl BitWriter {
    /// `u(n)`: the low `bits` bits of `value`; at most 32 (7.2).
    pub(super) fn u(&mut self, bits: u32, value: u32) {
        debug_assert!(bits <= 32 && u64::from(value) < 1 << bits);
        self.partial = self.partial << bits | u64::from(value);
        self.partial_bits += bits;
        while self.partial_bits >= 8 {
            self.partial_bits -= 8;
            self.bytes.push((self.partial >> self.partial_bits) as u8);
        }
    }

    /// `ue(v)`: unsigned Exp-Golomb (9.1). `value` must be less than 65535, to fit one call of `u`.
    pub(super) fn ue(&mut self, value: u32) {
        let code = value + 1;
        self.u(2 * code.ilog2() + 1, code);
    }

    /// `se(v)`: signed Exp-Golomb; positive values take the odd codes (9.1.1).
    pub(super) fn se(&mut self, value: i32) {
        let magnitude = value.unsigned_abs();
        self.ue(if value > 0 {
            2 * magnitude - 1
        } else {
            2 * magnitude
        });
    }

    /// Fills the current byte with zeros.
    pub(super) fn align(&mut self) {
        self.u((8 - self.partial_bits) % 8, 0);
    }

    /// Appends whole bytes behind a whole byte.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.partial_bits, 0);
        self.bytes.extend_from_slice(bytes);
    }

    /// Ends the payload (`rbsp_trailing_bits`, 7.3.2.11), appends it to `out` as a NAL unit and starts over.
    pub(super) fn finish(&mut self, nal: Nal, out: &mut Vec<u8>) {
        self.u(1, 1);
        self.align();
        out.extend_from_slice(&[0, 0, 0, 1, nal as u8]);
        append_escaped(&self.bytes, out);
        self.bytes.clear();
    }
}

/// Appends `rbsp` with `emulation_prevention_three_byte`s, so that no start code appears inside (7.4.1).
fn append_escaped(rbsp: &[u8], out: &mut Vec<u8>) {
    let mut zeros = 0;
    for &byte in rbsp {
        if zeros == 2 && byte <= 3 {
            out.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
}

/// What [`append_escaped`] has escaped.
#[cfg(test)]
pub(super) fn unescape(nal: &[u8]) -> Vec<u8> {
    let mut zeros = 0;
    let mut rbsp = Vec::new();
    for &byte in nal {
        if zeros == 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        rbsp.push(byte);
    }
    rbsp
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(write: impl FnOnce(&mut BitWriter)) -> String {
        let mut writer = BitWriter::default();
        write(&mut writer);
        let whole = writer.bytes.iter().map(|byte| format!("{byte:08b}"));
        let width = writer.partial_bits as usize;
        let partial = writer.partial & ((1 << width) - 1);
        whole.collect::<String>()
            + &if width > 0 {
                format!("{partial:0width$b}")
            } else {
                String::new()
            }
    }

    #[test]
    fn unsigned_exp_golomb_codes_are_those_of_table_9_2() {
        let expected = [
            "1", "010", "011", "00100", "00101", "00110", "00111", "0001000", "0001001",
        ];
        for (value, expected) in expected.iter().enumerate() {
            assert_eq!(bits(|w| w.ue(value as u32)), *expected);
        }
        assert_eq!(bits(|w| w.ue(254)), "000000011111111");
    }

    #[test]
    fn signed_exp_golomb_codes_alternate_in_sign() {
        for (value, expected) in [
            (0, "1"),
            (1, "010"),
            (-1, "011"),
            (2, "00100"),
            (-2, "00101"),
        ] {
            assert_eq!(bits(|w| w.se(value)), expected);
        }
    }

    #[test]
    fn three_is_inserted_where_a_start_code_would_appear() {
        for (rbsp, expected) in [
            (&[0, 0, 0][..], &[0, 0, 3, 0][..]),
            (&[0, 0, 1], &[0, 0, 3, 1]),
            (&[0, 0, 2], &[0, 0, 3, 2]),
            (&[0, 0, 3], &[0, 0, 3, 3]),
            (&[0, 0, 4], &[0, 0, 4]),
            (&[0, 0, 0, 0, 0, 1], &[0, 0, 3, 0, 0, 3, 0, 1]),
        ] {
            let mut out = Vec::new();
            append_escaped(rbsp, &mut out);
            assert_eq!(out, expected);
        }
    }

    proptest! {
        #[test]
        fn escaped_bytes_hold_no_start_code_and_unescape_to_the_same(
            rbsp in proptest::collection::vec(0_u8..5, 0..200)
        ) {
            let mut out = Vec::new();
            append_escaped(&rbsp, &mut out);
            prop_assert!(!out.windows(3).any(|w| w[..2] == [0, 0] && w[2] < 3));
            prop_assert_eq!(unescape(&out), rbsp);
        }
    }
}
