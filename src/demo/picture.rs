//! The moving picture: colour bars, a clock, a ball and a hand that passes once a second.
//!
//! [`Painter`] draws on top of a still background and knows which macroblocks it changed. Everything is
//! arranged so that [`super::h264`] finds most of it cheap: large areas are flat and begin at macroblock
//! edges, and the hand looks the same in every row. No clock is read here; the time of day is given.

use std::{fmt, ops::Range, slice::ChunksExact, time::Duration};

use super::font::{self, Glyph};

pub(super) const WIDTH: usize = 640;
pub(super) const HEIGHT: usize = 360;
/// Pictures per second.
pub(super) const FRAME_RATE: u64 = 25;

pub(super) const COLUMNS: usize = WIDTH / 16;
/// The last row of macroblocks is only half visible.
pub(super) const ROWS: usize = HEIGHT.div_ceil(16);
pub(super) const MACROBLOCKS: usize = COLUMNS * ROWS;

const _: () = assert!(WIDTH.is_multiple_of(16) && HEIGHT.is_multiple_of(2));

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Plane {
    Luma,
    Cb,
    Cr,
}

/// 16 by 16 luma samples, then 8 by 8 of Cb and of Cr: the order of `I_PCM` (ITU-T H.264, 7.3.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Macroblock {
    pub(super) samples: [u8; 384],
}

impl Macroblock {
    /// The rows of one plane, from the top.
    pub(super) fn rows(&self, plane: Plane) -> ChunksExact<'_, u8> {
        match plane {
            Plane::Luma => self.samples[..256].chunks_exact(16),
            Plane::Cb => self.samples[256..320].chunks_exact(8),
            Plane::Cr => self.samples[320..].chunks_exact(8),
        }
    }

    fn flat(colour: Colour) -> Macroblock {
        let mut samples = [colour.y; 384];
        samples[256..320].fill(colour.cb);
        samples[320..].fill(colour.cr);
        Macroblock { samples }
    }
}

/// 8 bits, 4:2:0, limited range, BT.709.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Colour {
    y: u8,
    cb: u8,
    cr: u8,
}

impl Colour {
    const fn grey(y: u8) -> Colour {
        Colour {
            y,
            cb: 128,
            cr: 128,
        }
    }

    /// From components of 0 to 255. ITU-R BT.709, items 3.2 to 3.4.
    const fn rgb(r: i32, g: i32, b: i32) -> Colour {
        // Thousandths of the luma coefficients times 219/255, and of the chroma ones times 224/255.
        Colour {
            y: (16 + (183 * r + 614 * g + 62 * b + 500) / 1000) as u8,
            cb: (128 + (-101 * r - 338 * g + 439 * b) / 1000) as u8,
            cr: (128 + (439 * r - 399 * g - 40 * b) / 1000) as u8,
        }
    }
}

/// A time of the day, UTC, to a hundredth of a second.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TimeOfDay {
    hours: u8,
    minutes: u8,
    seconds: u8,
    hundredths: u8,
}

impl TimeOfDay {
    /// From the time since the Unix epoch.
    pub fn since_epoch(elapsed: Duration) -> TimeOfDay {
        let seconds = elapsed.as_secs();
        TimeOfDay {
            hours: (seconds / 3600 % 24) as u8,
            minutes: (seconds / 60 % 60) as u8,
            seconds: (seconds % 60) as u8,
            hundredths: (elapsed.subsec_millis() / 10) as u8,
        }
    }

    fn digits(self) -> [u8; 8] {
        let TimeOfDay {
            hours,
            minutes,
            seconds,
            hundredths,
        } = self;
        let mut digits = [0; 8];
        for (pair, value) in digits
            .chunks_exact_mut(2)
            .zip([hours, minutes, seconds, hundredths])
        {
            pair.copy_from_slice(&[value / 10 % 10, value % 10]);
        }
        digits
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TimeOfDay {
            hours,
            minutes,
            seconds,
            hundredths,
        } = self;
        write!(f, "{hours:02}:{minutes:02}:{seconds:02}.{hundredths:02}")
    }
}

/// A picture and its difference to the one before.
pub(super) struct Picture {
    /// Row by row, from the top left.
    pub(super) macroblocks: Vec<Macroblock>,
    /// Which macroblocks differ from the previous picture.
    pub(super) changed: Vec<bool>,
}

// The layout, in macroblocks.
const BARS: Range<usize> = 0..12;
const REVERSE_BARS: usize = 12;
const GREYS: usize = 19;
const HAND: Range<usize> = 20..ROWS;
const BAR_COLUMNS: usize = 5;
const CLOCK_ROWS: Range<usize> = 6..9;
/// The left column of each digit; a digit is two columns wide, the signs between are one.
const DIGIT_COLUMNS: [usize; 8] = [7, 9, 12, 14, 17, 19, 22, 24];
const SIGN_COLUMNS: [(usize, char); 3] = [(11, ':'), (16, ':'), (21, '.')];

const _: () = assert!(COLUMNS == 8 * BAR_COLUMNS);

// The layout, in pixels.
const PANEL_LEFT: f32 = 96.0;
const PANEL_RIGHT: f32 = 544.0;
const PANEL_TOP: f32 = 32.0;
const PANEL_BOTTOM: f32 = 160.0;
const PANEL_CORNER: f32 = 14.0;
const TITLE: &str = "flowgate demo";
const TITLE_TOP: f32 = 50.5;
const TITLE_SCALE: f32 = 1.5;
const CLOCK_SCALE: f32 = 2.8;
const CLOCK_TOP: f32 = 100.0;
const ZONE_LEFT: f32 = 436.0;
const BALL_RADIUS: f32 = 18.0;
/// Where the centre of the ball is at its lowest, and how far above that it is at its highest.
const BALL_LOW: f32 = 285.0;
const BALL_RISE: f32 = 56.0;
const HAND_TRAIL: f32 = 112.0;

const PANEL: Colour = Colour::grey(20);
const FLOOR: Colour = Colour::rgb(22, 27, 38);
const INK: f32 = 235.0;
const INK_TITLE: f32 = 180.0;
const INK_ZONE: f32 = 125.0;
const BALL: Colour = Colour::rgb(255, 132, 30);
const HAND_TIP: Colour = Colour::rgb(40, 220, 200);

/// 75 % bars (the order of ITU-R BT.471, 100/0/75/0 without the white peak), and black.
const BAR_COLOURS: [Colour; 8] = [
    Colour::rgb(191, 191, 191),
    Colour::rgb(191, 191, 0),
    Colour::rgb(0, 191, 191),
    Colour::rgb(0, 191, 0),
    Colour::rgb(191, 0, 191),
    Colour::rgb(191, 0, 0),
    Colour::rgb(0, 0, 191),
    Colour::rgb(0, 0, 0),
];

/// Draws one picture after the other.
pub(super) struct Painter {
    background: Vec<Macroblock>,
    /// Coverage of each digit in its cell, from the top left.
    digit_masks: Vec<[u8; DIGIT_MASK]>,
    picture: Picture,
    drawn: Option<Scene>,
}

const DIGIT_WIDTH: usize = 32;
const DIGIT_HEIGHT: usize = 16 * (CLOCK_ROWS.end - CLOCK_ROWS.start);
const DIGIT_MASK: usize = DIGIT_WIDTH * DIGIT_HEIGHT;

/// Everything that moves, at one moment.
#[derive(Clone, Copy)]
struct Scene {
    digits: [u8; 8],
    ball: (f32, f32),
    /// Where the tip of the hand is.
    hand: f32,
}

impl Scene {
    fn at(frame: u64, time: TimeOfDay) -> Scene {
        // Two bounces on the way across and two back, in six seconds.
        let phase = (frame % (6 * FRAME_RATE)) as f32 / (6 * FRAME_RATE) as f32;
        let across = 1.0 - (2.0 * phase - 1.0).abs();
        let bounce = (phase * 4.0).fract() * 2.0 - 1.0;
        let span = WIDTH as f32 - 2.0 * BALL_RADIUS - 16.0;
        let x = BALL_RADIUS + 8.0 + span * across;
        let y = BALL_LOW - BALL_RISE * (1.0 - bounce * bounce);
        let hand = (WIDTH as f32 + HAND_TRAIL) * f32::from(time.hundredths) / 100.0;
        Scene {
            digits: time.digits(),
            ball: (x, y),
            hand,
        }
    }
}

impl Painter {
    pub(super) fn new() -> Painter {
        let background = background();
        Painter {
            digit_masks: ('0'..='9').map(digit_mask).collect(),
            picture: Picture {
                macroblocks: background.clone(),
                changed: vec![true; MACROBLOCKS],
            },
            background,
            drawn: None,
        }
    }

    /// Draws picture number `frame` as of `time`.
    ///
    /// `changed` is relative to the previous call; in the first picture all is changed.
    pub(super) fn draw(&mut self, frame: u64, time: TimeOfDay) -> &Picture {
        let scene = Scene::at(frame, time);
        let before = self.drawn.replace(scene);
        self.picture.changed.fill(before.is_none());
        // What was drawn before has to go, and the background holds none of it.
        let digits_before = before.map(|before| before.digits);
        let before = before.unwrap_or(scene);
        self.draw_digits(digits_before, scene.digits);
        self.draw_ball(&before, &scene);
        self.draw_hand(&before, &scene);
        &self.picture
    }

    fn draw_digits(&mut self, before: Option<[u8; 8]>, digits: [u8; 8]) {
        for (place, (&left, digit)) in DIGIT_COLUMNS.iter().zip(digits).enumerate() {
            if before.is_some_and(|before| before[place] == digit) {
                continue;
            }
            for row in CLOCK_ROWS {
                for column in left..left + 2 {
                    let mut block = self.background[row * COLUMNS + column];
                    let mask = &self.digit_masks[usize::from(digit)];
                    let corner = (row - CLOCK_ROWS.start) * 16 * DIGIT_WIDTH + (column - left) * 16;
                    let masks = mask[corner..].chunks(DIGIT_WIDTH);
                    for (samples, mask) in block.samples[..256].chunks_exact_mut(16).zip(masks) {
                        for (sample, &mask) in samples.iter_mut().zip(mask) {
                            *sample = blend(*sample, INK, f32::from(mask) / 255.0);
                        }
                    }
                    self.put(column, row, &block);
                }
            }
        }
    }

    fn draw_ball(&mut self, before: &Scene, scene: &Scene) {
        let reach = BALL_RADIUS + 1.0;
        let touched = |one: f32, other: f32| tiles(one.min(other) - reach, one.max(other) + reach);
        for row in touched(before.ball.1, scene.ball.1) {
            for column in touched(before.ball.0, scene.ball.0) {
                let mut block = self.background[row * COLUMNS + column];
                paint_ball(&mut block, column, row, scene.ball);
                self.put(column, row, &block);
            }
        }
    }

    fn draw_hand(&mut self, before: &Scene, scene: &Scene) {
        let touched = tiles(
            before.hand.min(scene.hand) - HAND_TRAIL,
            before.hand.max(scene.hand) + 1.0,
        );
        for column in touched.start..touched.end.min(COLUMNS) {
            let mut block = self.background[HAND.start * COLUMNS + column];
            let coverage = |x: f32, _: f32| {
                let behind = scene.hand - x;
                let tip = (behind + 1.0).clamp(0.0, 1.0);
                let trail = (1.0 - behind / HAND_TRAIL).clamp(0.0, 1.0);
                tip * trail * trail
            };
            paint(&mut block, column, HAND.start, coverage, |_, _| HAND_TIP);
            for row in HAND {
                self.put(column, row, &block);
            }
        }
    }

    fn put(&mut self, column: usize, row: usize, block: &Macroblock) {
        let address = row * COLUMNS + column;
        let current = &mut self.picture.macroblocks[address];
        if current != block {
            *current = *block;
            self.picture.changed[address] = true;
        }
    }
}

/// The macroblocks, in one dimension, that a range of pixels touches.
fn tiles(from: f32, to: f32) -> Range<usize> {
    (from.max(0.0) / 16.0) as usize..(to / 16.0).ceil() as usize
}

fn background() -> Vec<Macroblock> {
    let mut blocks = Vec::with_capacity(MACROBLOCKS);
    for row in 0..ROWS {
        for column in 0..COLUMNS {
            let bar = column / BAR_COLUMNS;
            blocks.push(Macroblock::flat(match row {
                _ if BARS.contains(&row) => BAR_COLOURS[bar],
                // Blue and its partners in reverse, black between: what one looks at through a blue filter.
                REVERSE_BARS if bar.is_multiple_of(2) => BAR_COLOURS[6 - bar],
                REVERSE_BARS => BAR_COLOURS[7],
                GREYS => Colour::grey((16 + 219 * bar / 7) as u8),
                _ => FLOOR,
            }));
        }
    }
    for row in tiles(PANEL_TOP, PANEL_BOTTOM) {
        for column in tiles(PANEL_LEFT, PANEL_RIGHT) {
            let block = &mut blocks[row * COLUMNS + column];
            paint(block, column, row, panel, |_, _| PANEL);
        }
    }
    let title_left = (WIDTH as f32 - font::width(TITLE) * TITLE_SCALE) / 2.0;
    write(
        &mut blocks,
        TITLE,
        (title_left, TITLE_TOP),
        TITLE_SCALE,
        INK_TITLE,
    );
    write(
        &mut blocks,
        "UTC",
        (ZONE_LEFT, CLOCK_TOP),
        CLOCK_SCALE,
        INK_ZONE,
    );
    for (column, sign) in SIGN_COLUMNS {
        let left = column as f32 * 16.0 + 8.0;
        write(
            &mut blocks,
            sign.encode_utf8(&mut [0; 4]),
            (left, CLOCK_TOP),
            CLOCK_SCALE,
            INK,
        );
    }
    blocks
}

/// Coverage of the panel behind the text, a rectangle with round corners.
fn panel(x: f32, y: f32) -> f32 {
    let outside =
        |at: f32, low: f32, high: f32| (low + PANEL_CORNER - at).max(at - high + PANEL_CORNER);
    let dx = outside(x, PANEL_LEFT, PANEL_RIGHT).max(0.0);
    let dy = outside(y, PANEL_TOP, PANEL_BOTTOM).max(0.0);
    (PANEL_CORNER + 0.5 - dx.hypot(dy)).clamp(0.0, 1.0)
}

/// Writes grey text on a grey background, so that chroma needs no change.
fn write(blocks: &mut [Macroblock], text: &str, origin: (f32, f32), scale: f32, ink: f32) {
    let mut left = origin.0;
    for character in text.chars() {
        let glyph = Glyph::new(character, (left, origin.1), scale);
        let (x, y) = glyph.bounds();
        for row in tiles(y.start, y.end) {
            for column in tiles(x.start, x.end) {
                let samples = &mut blocks[row * COLUMNS + column].samples[..256];
                for (index, sample) in samples.iter_mut().enumerate() {
                    let (x, y) = (column * 16 + index % 16, row * 16 + index / 16);
                    *sample = blend(*sample, ink, glyph.coverage(x as f32 + 0.5, y as f32 + 0.5));
                }
            }
        }
        left += font::width(character.encode_utf8(&mut [0; 4])) * scale + font::SPACING * scale;
    }
}

fn digit_mask(digit: char) -> [u8; DIGIT_MASK] {
    let mut mask = [0; DIGIT_MASK];
    let left = (DIGIT_WIDTH as f32 - font::width("0") * CLOCK_SCALE) / 2.0;
    let top = CLOCK_TOP - CLOCK_ROWS.start as f32 * 16.0;
    let glyph = Glyph::new(digit, (left, top), CLOCK_SCALE);
    for (index, mask) in mask.iter_mut().enumerate() {
        let (x, y) = (index % DIGIT_WIDTH, index / DIGIT_WIDTH);
        *mask = (glyph.coverage(x as f32 + 0.5, y as f32 + 0.5) * 255.0) as u8;
    }
    mask
}

/// A sphere lit from the upper left.
fn paint_ball(block: &mut Macroblock, column: usize, row: usize, centre: (f32, f32)) {
    let coverage = |x: f32, y: f32| {
        let (x, y) = (x - centre.0, y - centre.1);
        (BALL_RADIUS + 0.5 - (x * x + y * y).sqrt()).clamp(0.0, 1.0)
    };
    let colour = |x: f32, y: f32| {
        let (x, y) = ((x - centre.0) / BALL_RADIUS, (y - centre.1) / BALL_RADIUS);
        let z = (1.0 - x * x - y * y).max(0.0).sqrt();
        let light = (0.8 * z - 0.42 * x - 0.42 * y).max(0.0);
        Colour {
            y: (f32::from(BALL.y) * (0.45 + 0.65 * light)).min(INK) as u8,
            ..BALL
        }
    };
    paint(block, column, row, coverage, colour);
}

/// Blends `colour` over the block at `column`, `row`, as far as `coverage` (0 to 1) says.
///
/// Both are asked for the centre of each sample; those of chroma lie between four luma samples.
fn paint(
    block: &mut Macroblock,
    column: usize,
    row: usize,
    coverage: impl Fn(f32, f32) -> f32,
    colour: impl Fn(f32, f32) -> Colour,
) {
    let (left, top) = ((column * 16) as f32, (row * 16) as f32);
    let (luma, chroma) = block.samples.split_at_mut(256);
    for (index, sample) in luma.iter_mut().enumerate() {
        let (x, y) = (
            left + (index % 16) as f32 + 0.5,
            top + (index / 16) as f32 + 0.5,
        );
        *sample = blend(*sample, f32::from(colour(x, y).y), coverage(x, y));
    }
    let (cb, cr) = chroma.split_at_mut(64);
    for (index, (cb, cr)) in cb.iter_mut().zip(cr).enumerate() {
        let (x, y) = (
            left + (index % 8 * 2) as f32 + 1.0,
            top + (index / 8 * 2) as f32 + 1.0,
        );
        let (colour, coverage) = (colour(x, y), coverage(x, y));
        *cb = blend(*cb, f32::from(colour.cb), coverage);
        *cr = blend(*cr, f32::from(colour.cr), coverage);
    }
}

fn blend(below: u8, above: f32, coverage: f32) -> u8 {
    let below = f32::from(below);
    (below + (above - below) * coverage + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(milliseconds: u64) -> TimeOfDay {
        TimeOfDay::since_epoch(Duration::from_millis(milliseconds))
    }

    #[test]
    fn time_of_day_is_utc_to_the_hundredth() {
        // 2009-02-13 23:31:30 UTC is 1234567890 seconds after the epoch.
        assert_eq!(time(1_234_567_890_987).to_string(), "23:31:30.98");
        assert_eq!(time(86_399_999).to_string(), "23:59:59.99");
        assert_eq!(time(86_400_000).to_string(), "00:00:00.00");
        assert_eq!(time(45_296_789).digits(), [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn white_black_and_blue_are_those_of_bt_709() {
        assert_eq!(
            Colour::rgb(255, 255, 255),
            Colour {
                y: 235,
                cb: 128,
                cr: 128
            }
        );
        assert_eq!(
            Colour::rgb(0, 0, 0),
            Colour {
                y: 16,
                cb: 128,
                cr: 128
            }
        );
        assert_eq!(
            Colour::rgb(0, 0, 255),
            Colour {
                y: 32,
                cb: 239,
                cr: 118
            }
        );
    }

    #[test]
    fn first_picture_is_changed_all_over() {
        assert!(
            Painter::new()
                .draw(0, time(0))
                .changed
                .iter()
                .all(|&changed| changed)
        );
    }

    #[test]
    fn changed_macroblocks_are_exactly_those_that_differ() {
        let mut painter = Painter::new();
        let mut before = painter.draw(0, time(86_398_000)).macroblocks.clone();
        for frame in 1..200 {
            let picture = painter.draw(frame, time(86_398_000 + 40 * frame));
            let differ = picture
                .macroblocks
                .iter()
                .zip(&before)
                .map(|(now, before)| now != before);
            assert!(differ.eq(picture.changed.iter().copied()), "frame {frame}");
            before.clone_from(&picture.macroblocks);
        }
    }

    #[test]
    fn every_picture_differs_from_the_one_before() {
        let mut painter = Painter::new();
        for frame in 0..200 {
            let changed = painter
                .draw(frame, time(40 * frame))
                .changed
                .iter()
                .filter(|&&changed| changed);
            assert!(changed.count() > 4, "frame {frame}");
        }
    }

    #[test]
    fn picture_depends_on_nothing_but_frame_and_time() {
        let (mut long, mut short) = (Painter::new(), Painter::new());
        for frame in 0..100 {
            long.draw(frame, time(40 * frame));
        }
        assert!(long.picture.macroblocks == short.draw(99, time(40 * 99)).macroblocks);
    }

    #[test]
    fn every_character_of_the_overlay_is_in_the_font() {
        for character in "0123456789:.UTC"
            .chars()
            .chain(TITLE.chars().filter(|&c| c != ' '))
        {
            let glyph = Glyph::new(character, (0.0, 0.0), 1.0);
            let (x, y) = glyph.bounds();
            assert!(x.end > x.start && y.end > y.start, "{character}");
        }
    }
}
