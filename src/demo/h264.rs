//! A lossless H.264 encoder for pictures that are mostly flat or mostly still.
//!
//! Constrained Baseline, one slice per picture, CAVLC, one reference picture, no deblocking. A macroblock
//! becomes the first of these that reproduces it exactly:
//!
//! | Kind | When | Size |
//! |---|---|---|
//! | `P_Skip` | unchanged since the previous picture, in a P slice | a share of a run length |
//! | `Intra_16x16`, no residual | continues its upper or left neighbour | 1 to 2 bytes |
//! | `I_PCM` | everything else | 386 bytes |
//!
//! So there is no transform, no motion search and no rate control here: the caller bounds the size of its
//! pictures by bounding what it draws. Section numbers are those of ITU-T H.264.

use super::nal::{BitWriter, Nal};
use super::picture::{COLUMNS, FRAME_RATE, HEIGHT, MACROBLOCKS, Macroblock, Picture, Plane, ROWS};

/// `log2_max_frame_num_minus4` is 4: `frame_num` has 8 bits. Chosen; any width survives the wrap.
const FRAME_NUM_BITS: u32 = 8;

/// Whether a picture may refer to the previous one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Decodable on its own, with the parameter sets in front.
    Idr,
    /// The difference to the previous picture.
    Predicted,
}

/// Encodes the pictures of one stream, in order.
///
/// Picture order count type 2 (8.2.1.3) makes output order the decoding order, so nothing but `frame_num`
/// and `idr_pic_id` is carried from one picture to the next.
pub(super) struct Encoder {
    frame_num: u32,
    idr_pic_id: u32,
    /// Which macroblocks of the current picture are `I_PCM` so far, for `coeff_token_context`.
    pcm: Vec<bool>,
    rbsp: BitWriter,
}

impl Encoder {
    pub(super) fn new() -> Encoder {
        Encoder {
            frame_num: 0,
            idr_pic_id: 0,
            pcm: vec![false; MACROBLOCKS],
            rbsp: BitWriter::default(),
        }
    }

    /// Appends one access unit to `out` as a byte stream with start codes (annex B).
    ///
    /// The first picture must be an IDR picture. For a predicted one, `picture.changed` must name every
    /// macroblock that differs from the previous call.
    pub(super) fn encode(&mut self, picture: &Picture, kind: Kind, out: &mut Vec<u8>) {
        match kind {
            Kind::Idr => {
                // Two IDR pictures in a row must differ in idr_pic_id (7.4.3).
                self.idr_pic_id ^= 1;
                self.frame_num = 0;
            }
            Kind::Predicted => self.frame_num = (self.frame_num + 1) % (1 << FRAME_NUM_BITS),
        }
        self.write_delimiter(kind);
        self.rbsp.finish(Nal::Delimiter, out);
        if kind == Kind::Idr {
            self.write_sequence_parameters();
            self.rbsp.finish(Nal::SequenceParameters, out);
            self.write_picture_parameters();
            self.rbsp.finish(Nal::PictureParameters, out);
        }
        self.write_slice_header(kind);
        self.write_slice_data(picture, kind);
        let nal = match kind {
            Kind::Idr => Nal::IdrSlice,
            Kind::Predicted => Nal::Slice,
        };
        self.rbsp.finish(nal, out);
    }

    /// 7.3.2.4. `primary_pic_type` 0 announces I slices only, 1 adds P slices (table 7-5).
    fn write_delimiter(&mut self, kind: Kind) {
        self.rbsp.u(3, u32::from(kind == Kind::Predicted));
    }

    /// 7.3.2.1.1, and E.1.1 for the usability information.
    fn write_sequence_parameters(&mut self) {
        let w = &mut self.rbsp;
        w.u(8, 66); // profile_idc: Baseline ...
        w.u(8, 0b1100_0000); // ... constrained: constraint_set0_flag and constraint_set1_flag
        w.u(8, 30); // level_idc: 3.0
        w.ue(0); // seq_parameter_set_id
        w.ue(FRAME_NUM_BITS - 4); // log2_max_frame_num_minus4
        w.ue(2); // pic_order_cnt_type
        w.ue(1); // max_num_ref_frames
        w.u(1, 0); // gaps_in_frame_num_value_allowed_flag
        w.ue(COLUMNS as u32 - 1); // pic_width_in_mbs_minus1
        w.ue(ROWS as u32 - 1); // pic_height_in_map_units_minus1
        w.u(1, 1); // frame_mbs_only_flag
        w.u(1, 1); // direct_8x8_inference_flag
        w.u(1, 1); // frame_cropping_flag
        w.ue(0); // frame_crop_left_offset
        w.ue(0); // frame_crop_right_offset
        w.ue(0); // frame_crop_top_offset
        w.ue(((ROWS * 16 - HEIGHT) / 2) as u32); // frame_crop_bottom_offset, in pairs of rows
        w.u(1, 1); // vui_parameters_present_flag
        w.u(1, 1); // aspect_ratio_info_present_flag
        w.u(8, 1); // aspect_ratio_idc: square
        w.u(1, 0); // overscan_info_present_flag
        w.u(1, 1); // video_signal_type_present_flag
        w.u(3, 5); // video_format: unspecified
        w.u(1, 0); // video_full_range_flag
        w.u(1, 1); // colour_description_present_flag
        w.u(8, 1); // colour_primaries: BT.709
        w.u(8, 1); // transfer_characteristics: BT.709
        w.u(8, 1); // matrix_coefficients: BT.709
        w.u(1, 0); // chroma_loc_info_present_flag
        w.u(1, 1); // timing_info_present_flag
        w.u(32, 1); // num_units_in_tick
        w.u(32, 2 * FRAME_RATE as u32); // time_scale: two ticks are one frame
        w.u(1, 1); // fixed_frame_rate_flag
        w.u(1, 0); // nal_hrd_parameters_present_flag
        w.u(1, 0); // vcl_hrd_parameters_present_flag
        w.u(1, 0); // pic_struct_present_flag
        w.u(1, 1); // bitstream_restriction_flag
        w.u(1, 1); // motion_vectors_over_pic_boundaries_flag
        w.ue(0); // max_bytes_per_pic_denom: no limit
        w.ue(0); // max_bits_per_mb_denom: no limit
        w.ue(0); // log2_max_mv_length_horizontal
        w.ue(0); // log2_max_mv_length_vertical
        w.ue(0); // max_num_reorder_frames: a decoder need not hold pictures back
        w.ue(1); // max_dec_frame_buffering
    }

    /// 7.3.2.2.
    fn write_picture_parameters(&mut self) {
        let w = &mut self.rbsp;
        w.ue(0); // pic_parameter_set_id
        w.ue(0); // seq_parameter_set_id
        w.u(1, 0); // entropy_coding_mode_flag: CAVLC
        w.u(1, 0); // bottom_field_pic_order_in_frame_present_flag
        w.ue(0); // num_slice_groups_minus1
        w.ue(0); // num_ref_idx_l0_default_active_minus1
        w.ue(0); // num_ref_idx_l1_default_active_minus1
        w.u(1, 0); // weighted_pred_flag
        w.u(2, 0); // weighted_bipred_idc
        w.se(0); // pic_init_qp_minus26
        w.se(0); // pic_init_qs_minus26
        w.se(0); // chroma_qp_index_offset
        w.u(1, 1); // deblocking_filter_control_present_flag
        w.u(1, 0); // constrained_intra_pred_flag: skipped neighbours may be predicted from
        w.u(1, 0); // redundant_pic_cnt_present_flag
    }

    /// 7.3.3, with 7.3.3.1 and 7.3.3.3.
    fn write_slice_header(&mut self, kind: Kind) {
        let w = &mut self.rbsp;
        w.ue(0); // first_mb_in_slice
        w.ue(match kind {
            Kind::Idr => 7,       // slice_type: I, like all slices of the picture
            Kind::Predicted => 5, // slice_type: P, like all slices of the picture
        });
        w.ue(0); // pic_parameter_set_id
        w.u(FRAME_NUM_BITS, self.frame_num);
        match kind {
            Kind::Idr => {
                w.ue(self.idr_pic_id);
                w.u(1, 0); // no_output_of_prior_pics_flag
                w.u(1, 0); // long_term_reference_flag
            }
            Kind::Predicted => {
                w.u(1, 0); // num_ref_idx_active_override_flag
                w.u(1, 0); // ref_pic_list_modification_flag_l0
                w.u(1, 0); // adaptive_ref_pic_marking_mode_flag: the sliding window of one picture
            }
        }
        w.se(0); // slice_qp_delta
        w.ue(1); // disable_deblocking_filter_idc: what is decoded is what was drawn
    }

    /// 7.3.4.
    ///
    /// All motion vectors are zero: `P_Skip` derives its own from neighbours (8.4.1.1), and here those are
    /// skipped with a zero vector or intra, which counts as zero.
    fn write_slice_data(&mut self, picture: &Picture, kind: Kind) {
        let Encoder { pcm, rbsp, .. } = self;
        let mut skipped = 0;
        for address in 0..MACROBLOCKS {
            if kind == Kind::Predicted {
                if !picture.changed[address] {
                    pcm[address] = false;
                    skipped += 1;
                    continue;
                }
                rbsp.ue(skipped); // mb_skip_run
                skipped = 0;
            }
            let coding = Coding::of(picture, address);
            pcm[address] = coding == Coding::Pcm;
            // Intra macroblock types come after the five inter types in a P slice (table 7-13).
            let type_offset = match kind {
                Kind::Idr => 0,
                Kind::Predicted => 5,
            };
            match coding {
                Coding::Predicted { luma, chroma } => {
                    // mb_type of Intra_16x16 without coded block pattern (table 7-11); Intra16x16PredMode
                    // is 0 for vertical, 1 for horizontal (table 8-4).
                    rbsp.ue(type_offset + 1 + u32::from(luma == Direction::Right));
                    // intra_chroma_pred_mode: 1 for horizontal, 2 for vertical (table 8-5).
                    rbsp.ue(1 + u32::from(chroma == Direction::Down));
                    rbsp.se(0); // mb_qp_delta
                    // coeff_token for no coefficients at all in Intra16x16DCLevel (table 9-5).
                    match coeff_token_context(pcm, address) {
                        0..=1 => rbsp.u(1, 0b1),
                        2..=3 => rbsp.u(2, 0b11),
                        4..=7 => rbsp.u(4, 0b1111),
                        _ => rbsp.u(6, 0b00_0011),
                    }
                }
                Coding::Pcm => {
                    rbsp.ue(type_offset + 25); // mb_type: I_PCM
                    rbsp.align(); // pcm_alignment_zero_bit
                    rbsp.append(&picture.macroblocks[address].samples);
                }
            }
        }
        if skipped > 0 {
            rbsp.ue(skipped); // mb_skip_run
        }
    }
}

/// `nC` of the first luma block, from the number of coefficients in the blocks to its left and above
/// (9.2.1): 16 for `I_PCM`, none for everything else this encoder writes.
fn coeff_token_context(pcm: &[bool], address: usize) -> u32 {
    let count = |neighbour: usize| if pcm[neighbour] { 16 } else { 0 };
    let left = (!address.is_multiple_of(COLUMNS)).then(|| count(address - 1));
    let above = (address >= COLUMNS).then(|| count(address - COLUMNS));
    match (left, above) {
        (Some(left), Some(above)) => (left + above + 1) >> 1,
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => 0,
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Direction {
    /// `Intra_16x16_Vertical`: every row repeats the last row above (8.3.3.1, 8.3.4.3).
    Down,
    /// `Intra_16x16_Horizontal`: every column repeats the last column to the left (8.3.3.2, 8.3.4.2).
    Right,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Coding {
    Predicted { luma: Direction, chroma: Direction },
    Pcm,
}

impl Coding {
    fn of(picture: &Picture, address: usize) -> Coding {
        let block = &picture.macroblocks[address];
        let above = (address >= COLUMNS).then(|| &picture.macroblocks[address - COLUMNS]);
        let left = (!address.is_multiple_of(COLUMNS)).then(|| &picture.macroblocks[address - 1]);
        let exact = |planes: &[Plane]| {
            let down = |above: &Macroblock| {
                planes
                    .iter()
                    .all(|&plane| continues_down(block, above, plane))
            };
            let right = |left: &Macroblock| {
                planes
                    .iter()
                    .all(|&plane| continues_right(block, left, plane))
            };
            if above.is_some_and(down) {
                Some(Direction::Down)
            } else if left.is_some_and(right) {
                Some(Direction::Right)
            } else {
                None
            }
        };
        match (exact(&[Plane::Luma]), exact(&[Plane::Cb, Plane::Cr])) {
            (Some(luma), Some(chroma)) => Coding::Predicted { luma, chroma },
            _ => Coding::Pcm,
        }
    }
}

fn continues_down(block: &Macroblock, above: &Macroblock, plane: Plane) -> bool {
    let edge = above.rows(plane).next_back();
    block.rows(plane).all(|row| Some(row) == edge)
}

fn continues_right(block: &Macroblock, left: &Macroblock, plane: Plane) -> bool {
    let mut rows = block.rows(plane).zip(left.rows(plane));
    rows.all(|(row, left)| row.iter().all(|sample| Some(sample) == left.last()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::nal::unescape;
    use super::super::picture::{Painter, TimeOfDay};
    use super::*;

    #[test]
    fn parameter_sets_describe_640_by_360_at_25() {
        let mut encoder = Encoder::new();
        let mut out = Vec::new();
        encoder.write_sequence_parameters();
        encoder.rbsp.finish(Nal::SequenceParameters, &mut out);
        encoder.write_picture_parameters();
        encoder.rbsp.finish(Nal::PictureParameters, &mut out);
        // Read back field by field with an independent parser (the trace_headers filter of ffmpeg).
        let expected = "000000016742c01e95a0280bfe5c05a808080a000003000200000300651fd4\
                        0000000168ce3c80";
        assert_eq!(
            out.iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>(),
            expected
        );
    }

    #[test]
    fn neighbours_in_pcm_count_sixteen_coefficients() {
        let mut pcm = vec![false; MACROBLOCKS];
        let middle = COLUMNS + 1;
        assert_eq!(coeff_token_context(&pcm, middle), 0);
        pcm[middle - 1] = true;
        assert_eq!(coeff_token_context(&pcm, middle), 8);
        pcm[middle - COLUMNS] = true;
        assert_eq!(coeff_token_context(&pcm, middle), 16);
    }

    #[test]
    fn neighbours_outside_the_picture_do_not_count() {
        let mut pcm = vec![false; MACROBLOCKS];
        assert_eq!(coeff_token_context(&pcm, 0), 0);
        pcm[0] = true;
        assert_eq!(coeff_token_context(&pcm, 1), 16);
        assert_eq!(coeff_token_context(&pcm, COLUMNS), 16);
        // The end of the first row is no neighbour of the start of the second.
        pcm[0] = false;
        pcm[COLUMNS - 1] = true;
        assert_eq!(coeff_token_context(&pcm, COLUMNS), 0);
    }

    #[test]
    fn unchanged_picture_is_one_run_of_skips() {
        let time = TimeOfDay::since_epoch(Duration::ZERO);
        let (mut painter, mut encoder) = (Painter::new(), Encoder::new());
        painter.draw(0, time);
        let mut out = Vec::new();
        encoder.encode(painter.draw(0, time), Kind::Predicted, &mut out);
        assert!(out.len() < 24, "{} bytes", out.len());
    }

    #[test]
    fn every_picture_decodes_to_what_was_drawn() {
        let (mut painter, mut encoder, mut decoder) =
            (Painter::new(), Encoder::new(), Decoder::new());
        for frame in 0..160 {
            let kind = if frame % 25 == 0 {
                Kind::Idr
            } else {
                Kind::Predicted
            };
            // Across midnight, where all digits change.
            let time = Duration::from_millis(86_399_000 + 40 * frame);
            let picture = painter.draw(frame, TimeOfDay::since_epoch(time));
            let mut out = Vec::new();
            encoder.encode(picture, kind, &mut out);
            decoder.decode(&out);
            assert!(decoder.picture == picture.macroblocks, "frame {frame}");
        }
    }

    #[test]
    fn frame_numbers_wrap_and_neighbouring_idr_pictures_differ() {
        let time = TimeOfDay::since_epoch(Duration::ZERO);
        let (mut painter, mut encoder, mut decoder) =
            (Painter::new(), Encoder::new(), Decoder::new());
        let mut ids = Vec::new();
        for frame in 0..900_u32 {
            let kind = if frame % 300 == 0 {
                Kind::Idr
            } else {
                Kind::Predicted
            };
            let mut out = Vec::new();
            encoder.encode(painter.draw(0, time), kind, &mut out);
            decoder.decode(&out);
            assert_eq!(decoder.frame_num, frame % 300 % 256);
            if kind == Kind::Idr {
                ids.push(decoder.idr_pic_id);
            }
        }
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
    }

    /// Decodes the subset that the encoder writes, by the decoding process of clauses 7 to 9.
    struct Decoder {
        picture: Vec<Macroblock>,
        /// Coefficients of each 4x4 block, alike in all blocks of a macroblock.
        coefficients: Vec<u32>,
        frame_num: u32,
        idr_pic_id: u32,
    }

    impl Decoder {
        fn new() -> Decoder {
            Decoder {
                picture: vec![Macroblock { samples: [0; 384] }; MACROBLOCKS],
                coefficients: vec![0; MACROBLOCKS],
                frame_num: 0,
                idr_pic_id: 0,
            }
        }

        fn decode(&mut self, access_unit: &[u8]) {
            let mut starts = Vec::new();
            for (at, window) in access_unit.windows(4).enumerate() {
                if window == [0, 0, 0, 1] {
                    starts.push(at);
                }
            }
            starts.push(access_unit.len());
            for range in starts.windows(2) {
                let nal = &access_unit[range[0] + 4..range[1]];
                if matches!(nal[0] & 31, 1 | 5) {
                    self.slice(nal[0] & 31 == 5, &unescape(&nal[1..]));
                }
            }
        }

        fn slice(&mut self, idr: bool, rbsp: &[u8]) {
            let mut r = BitReader { rbsp, at: 0 };
            assert_eq!((r.ue(), r.ue(), r.ue()), (0, if idr { 7 } else { 5 }, 0));
            self.frame_num = r.u(8);
            if idr {
                self.idr_pic_id = r.ue();
                assert_eq!(r.u(2), 0);
            } else {
                assert_eq!(r.u(3), 0);
            }
            assert_eq!((r.ue(), r.ue()), (0, 1));
            let mut address = 0;
            while r.more() {
                if !idr {
                    for _ in 0..r.ue() {
                        self.coefficients[address] = 0;
                        address += 1;
                    }
                    if !r.more() {
                        break;
                    }
                }
                let mb_type = r.ue() - if idr { 0 } else { 5 };
                self.macroblock(&mut r, mb_type, address);
                address += 1;
            }
            assert_eq!(address, MACROBLOCKS);
        }

        fn macroblock(&mut self, r: &mut BitReader<'_>, mb_type: u32, address: usize) {
            if mb_type == 25 {
                r.at = r.at.next_multiple_of(8);
                for sample in &mut self.picture[address].samples {
                    *sample = r.u(8) as u8;
                }
                self.coefficients[address] = 16;
                return;
            }
            let chroma_mode = r.ue();
            assert_eq!(r.ue(), 0, "mb_qp_delta");
            let left = (!address.is_multiple_of(COLUMNS)).then(|| address - 1);
            let above = address.checked_sub(COLUMNS);
            let counts: Vec<u32> = [left, above]
                .into_iter()
                .flatten()
                .map(|a| self.coefficients[a])
                .collect();
            let context = counts
                .iter()
                .sum::<u32>()
                .div_ceil(counts.len().max(1) as u32);
            match context {
                0 | 1 => assert_eq!(r.u(1), 1),
                8.. => assert_eq!(r.u(6), 3),
                _ => panic!("context {context}"),
            }
            self.coefficients[address] = 0;
            let down_luma = match mb_type {
                1 => true,
                2 => false,
                _ => panic!("mb_type {mb_type}"),
            };
            let down_chroma = match chroma_mode {
                1 => false,
                2 => true,
                _ => panic!("intra_chroma_pred_mode {chroma_mode}"),
            };
            for (start, size, down) in [
                (0, 16, down_luma),
                (256, 8, down_chroma),
                (320, 8, down_chroma),
            ] {
                for at in 0..size * size {
                    let (neighbour, index) = match down {
                        true => (above.unwrap(), size * (size - 1) + at % size),
                        false => (left.unwrap(), at / size * size + size - 1),
                    };
                    self.picture[address].samples[start + at] =
                        self.picture[neighbour].samples[start + index];
                }
            }
        }
    }

    struct BitReader<'a> {
        rbsp: &'a [u8],
        at: usize,
    }

    impl BitReader<'_> {
        fn u(&mut self, bits: usize) -> u32 {
            (0..bits).fold(0, |value, _| {
                let bit = self.rbsp[self.at / 8] >> (7 - self.at % 8) & 1;
                self.at += 1;
                value << 1 | u32::from(bit)
            })
        }

        fn ue(&mut self) -> u32 {
            let mut zeros = 0;
            while self.u(1) == 0 {
                zeros += 1;
            }
            (1 << zeros) - 1 + self.u(zeros)
        }

        /// `more_rbsp_data` (7.2): something besides the stop bit and its zeros is left.
        fn more(&self) -> bool {
            let last =
                self.rbsp.len() * 8 - 1 - self.rbsp.last().unwrap().trailing_zeros() as usize;
            self.at < last
        }
    }
}
