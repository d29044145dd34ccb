//! A stroke font of just the characters the demo writes.
//!
//! Characters are lines and elliptic arcs of one width with round ends, on a grid where capitals and digits
//! are 14 units tall, small letters 9, and y grows downwards from the top of the capitals.

use std::ops::Range;

/// Half the width of a stroke, in units.
const PEN: f32 = 0.9;
/// The gap between characters, in units.
pub(super) const SPACING: f32 = 3.4;

enum Stroke {
    /// From, to.
    Line(f32, f32, f32, f32),
    /// Centre, horizontal and vertical radius, first and last angle in degrees; 0 is right, 90 is down.
    Arc(f32, f32, f32, f32, f32, f32),
}

use Stroke::{Arc, Line};

/// The strokes of a character and its width in units; nothing for one that the font does not have.
fn outline(character: char) -> (f32, &'static [Stroke]) {
    match character {
        '0' => (
            8.0,
            &[
                Arc(4.0, 4.0, 4.0, 4.0, 180.0, 360.0),
                Line(8.0, 4.0, 8.0, 10.0),
                Arc(4.0, 10.0, 4.0, 4.0, 0.0, 180.0),
                Line(0.0, 10.0, 0.0, 4.0),
            ],
        ),
        '1' => (8.0, &[Line(1.4, 3.0, 4.8, 0.0), Line(4.8, 0.0, 4.8, 14.0)]),
        '2' => (
            8.0,
            &[
                Arc(4.0, 4.0, 4.0, 4.0, 190.0, 395.0),
                Line(7.28, 6.29, 0.0, 14.0),
                Line(0.0, 14.0, 8.0, 14.0),
            ],
        ),
        '3' => (
            8.0,
            &[
                Arc(4.0, 3.4, 3.6, 3.4, 200.0, 450.0),
                Arc(4.0, 10.4, 4.0, 3.6, 270.0, 520.0),
            ],
        ),
        '4' => (
            8.0,
            &[
                Line(5.8, 0.0, 0.0, 10.0),
                Line(0.0, 10.0, 8.4, 10.0),
                Line(5.8, 0.0, 5.8, 14.0),
            ],
        ),
        '5' => (
            8.0,
            &[
                Line(7.4, 0.0, 1.1, 0.0),
                Line(1.1, 0.0, 0.6, 6.6),
                Arc(3.8, 9.5, 4.2, 4.5, 222.0, 510.0),
            ],
        ),
        '6' => (
            8.0,
            &[
                Arc(4.0, 9.8, 4.0, 4.2, 0.0, 360.0),
                Arc(7.6, 9.8, 7.6, 9.8, 180.0, 262.0),
            ],
        ),
        '7' => (8.0, &[Line(0.0, 0.0, 8.0, 0.0), Line(8.0, 0.0, 3.0, 14.0)]),
        '8' => (
            8.0,
            &[
                Arc(4.0, 3.4, 3.5, 3.4, 0.0, 360.0),
                Arc(4.0, 10.4, 4.0, 3.6, 0.0, 360.0),
            ],
        ),
        '9' => (
            8.0,
            &[
                Arc(4.0, 4.2, 4.0, 4.2, 0.0, 360.0),
                Arc(0.4, 4.2, 7.6, 9.8, 0.0, 82.0),
            ],
        ),
        ':' => (0.0, &[Line(0.0, 4.6, 0.0, 4.6), Line(0.0, 11.4, 0.0, 11.4)]),
        '.' => (0.0, &[Line(0.0, 13.6, 0.0, 13.6)]),
        'a' => (
            7.2,
            &[
                Arc(3.6, 9.5, 3.6, 4.5, 0.0, 360.0),
                Line(7.2, 5.0, 7.2, 14.0),
            ],
        ),
        'd' => (
            7.2,
            &[
                Arc(3.6, 9.5, 3.6, 4.5, 0.0, 360.0),
                Line(7.2, 0.0, 7.2, 14.0),
            ],
        ),
        'e' => (
            7.4,
            &[
                Line(0.1, 9.5, 7.4, 9.5),
                Arc(3.7, 9.5, 3.7, 4.5, 360.0, 40.0),
            ],
        ),
        'f' => (
            4.6,
            &[
                Line(2.0, 14.0, 2.0, 3.2),
                Arc(5.0, 3.2, 3.0, 3.2, 180.0, 280.0),
                Line(0.0, 5.0, 4.8, 5.0),
            ],
        ),
        'g' => (
            7.2,
            &[
                Arc(3.6, 9.5, 3.6, 4.5, 0.0, 360.0),
                Line(7.2, 5.0, 7.2, 14.6),
                Arc(3.7, 14.6, 3.5, 3.4, 0.0, 150.0),
            ],
        ),
        'l' => (0.0, &[Line(0.0, 0.0, 0.0, 14.0)]),
        'm' => (
            10.4,
            &[
                Line(0.0, 5.0, 0.0, 14.0),
                Arc(2.6, 8.0, 2.6, 3.0, 180.0, 360.0),
                Line(5.2, 8.0, 5.2, 14.0),
                Arc(7.8, 8.0, 2.6, 3.0, 180.0, 360.0),
                Line(10.4, 8.0, 10.4, 14.0),
            ],
        ),
        'o' => (7.6, &[Arc(3.8, 9.5, 3.8, 4.5, 0.0, 360.0)]),
        't' => (
            4.8,
            &[
                Line(2.0, 1.6, 2.0, 11.2),
                Arc(4.7, 11.2, 2.7, 2.8, 180.0, 75.0),
                Line(0.0, 5.0, 4.8, 5.0),
            ],
        ),
        'w' => (
            10.0,
            &[
                Line(0.0, 5.0, 2.5, 14.0),
                Line(2.5, 14.0, 5.0, 5.8),
                Line(5.0, 5.8, 7.5, 14.0),
                Line(7.5, 14.0, 10.0, 5.0),
            ],
        ),
        'C' => (9.0, &[Arc(5.0, 7.0, 5.0, 7.0, 312.0, 48.0)]),
        'T' => (9.0, &[Line(0.0, 0.0, 9.0, 0.0), Line(4.5, 0.0, 4.5, 14.0)]),
        'U' => (
            8.4,
            &[
                Line(0.0, 0.0, 0.0, 9.6),
                Arc(4.2, 9.6, 4.2, 4.4, 180.0, 0.0),
                Line(8.4, 9.6, 8.4, 0.0),
            ],
        ),
        _ => (3.0, &[]),
    }
}

/// The width of `text` in units, without a gap at the end.
pub(super) fn width(text: &str) -> f32 {
    let widths: f32 = text
        .chars()
        .map(|character| outline(character).0 + SPACING)
        .sum();
    widths - SPACING
}

/// A character at its place, in pixels.
pub(super) struct Glyph {
    segments: Vec<[f32; 4]>,
    pen: f32,
}

impl Glyph {
    /// Places `character` with the top left of its box at `origin`; `scale` is in pixels per unit.
    pub(super) fn new(character: char, origin: (f32, f32), scale: f32) -> Glyph {
        let mut segments = Vec::new();
        let place = |x: f32, y: f32| (origin.0 + x * scale, origin.1 + y * scale);
        let mut add = |(x0, y0), (x1, y1)| segments.push([x0, y0, x1, y1]);
        for stroke in outline(character).1 {
            match *stroke {
                Line(x0, y0, x1, y1) => add(place(x0, y0), place(x1, y1)),
                Arc(x, y, rx, ry, first, last) => {
                    // Fine enough that no corner shows at the sizes drawn here.
                    const PIECES: u8 = 28;
                    let point = |piece: u8| {
                        let part = f32::from(piece) / f32::from(PIECES);
                        let (sin, cos) = (first + (last - first) * part).to_radians().sin_cos();
                        place(x + rx * cos, y + ry * sin)
                    };
                    (0..PIECES).for_each(|piece| add(point(piece), point(piece + 1)));
                }
            }
        }
        Glyph {
            segments,
            pen: PEN * scale,
        }
    }

    /// The horizontal and vertical range that the character may cover. Empty for a space.
    pub(super) fn bounds(&self) -> (Range<f32>, Range<f32>) {
        let margin = self.pen + 1.0;
        let range = |axis: usize| {
            let ends = || self.segments.iter().flat_map(|s| [s[axis], s[axis + 2]]);
            let low = ends().fold(f32::INFINITY, f32::min);
            let high = ends().fold(f32::NEG_INFINITY, f32::max);
            low - margin..high + margin
        };
        (range(0), range(1))
    }

    /// How much of the pixel around a point is covered, 0 to 1.
    pub(super) fn coverage(&self, x: f32, y: f32) -> f32 {
        let distances = self.segments.iter().map(|segment| distance(segment, x, y));
        let nearest = distances.fold(f32::INFINITY, f32::min);
        (self.pen + 0.5 - nearest).clamp(0.0, 1.0)
    }
}

fn distance(&[x0, y0, x1, y1]: &[f32; 4], x: f32, y: f32) -> f32 {
    let (dx, dy) = (x1 - x0, y1 - y0);
    let length = dx * dx + dy * dy;
    let along = if length > 0.0 {
        ((x - x0) * dx + (y - y0) * dy) / length
    } else {
        0.0
    };
    let along = along.clamp(0.0, 1.0);
    (x - x0 - dx * along).hypot(y - y0 - dy * along)
}
