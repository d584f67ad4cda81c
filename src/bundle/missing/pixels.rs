//! Codes as a picture of pixels, for what shows no SVG. The only place that names `png`.

use png::{BitDepth, ColorType, Encoder, EncodingError};

use super::Picture;
use crate::base::{Context, Result};

/// Pixels of the picture for each of a code: enough to be photographed from a screen, and to be printed sharply.
const SCALE: usize = 8;

/// All codes as one PNG, one below the other. Each code says itself which lines it holds.
///
/// # Errors
/// When the picture would be larger than one can be.
pub fn as_png(pictures: &[Picture]) -> Result<Vec<u8>> {
    let side = pictures.iter().map(Picture::side).max().unwrap_or_default();
    let height: usize = pictures.iter().map(Picture::side).sum();
    let row_bytes = (side * SCALE).div_ceil(8);
    let mut rows = Vec::with_capacity(row_bytes * height * SCALE);
    for picture in pictures {
        for y in 0..picture.side() {
            // A set bit is light; so is what is beside a smaller code.
            let mut row = vec![0xff_u8; row_bytes];
            for x in (0..picture.side()).filter(|x| picture.is_dark(*x, y)) {
                (x * SCALE..(x + 1) * SCALE).for_each(|at| row[at / 8] &= !(0x80 >> (at % 8)));
            }
            (0..SCALE).for_each(|_| rows.extend_from_slice(&row));
        }
    }
    let number = |n: usize| u32::try_from(n * SCALE).unwrap_or(u32::MAX);
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, number(side), number(height));
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(BitDepth::One);
    let written = || -> std::result::Result<(), EncodingError> {
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&rows)?;
        writer.finish()
    };
    written().or_failed(|| "cannot draw the codes as a PNG")?;
    Ok(bytes)
}
