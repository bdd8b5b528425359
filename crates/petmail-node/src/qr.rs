//! QR codes: drawn for a page, and read from a picture.

use anyhow::Context;
use qrcode::{Color, EcLevel, QrCode};
use rqrr::PreparedImage;

/// The largest side of a picture that is searched, in pixels.
pub(crate) const MAX_SIDE: usize = 1_024;

/// The longest text that is drawn or read, in bytes: QR codes of more are hard to read from a screen.
pub(crate) const MAX_TEXT_BYTES: usize = 1_000;

/// Draws a text: a row of the square for each string, `1` for dark.
///
/// # Errors
/// The text is too long.
pub(crate) fn draw(text: &str) -> anyhow::Result<Vec<String>> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).context("too long for a QR code")?;
    let squares = code.to_colors();
    let row = |row: &[Color]| row.iter().map(|color| color.select('1', '0')).collect();
    Ok(squares.chunks(code.width()).map(row).collect())
}

/// Reads the texts of the QR codes in a picture, given by the brightness of its pixels, row by row. What is damaged, too long or no
/// UTF-8 is left out.
pub(crate) fn read(width: usize, height: usize, luma: &[u8]) -> Vec<String> {
    let brightness =
        |x: usize, y: usize| luma.get(y.saturating_mul(width).saturating_add(x)).copied().unwrap_or(u8::MAX);
    let mut picture = PreparedImage::prepare_from_greyscale(width, height, brightness);
    let texts = picture.detect_grids().into_iter().filter_map(|grid| grid.decode().ok());
    texts.map(|(_, text)| text).filter(|text| text.len() <= MAX_TEXT_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The picture that a camera would take of a drawn code.
    fn picture(rows: &[String]) -> (usize, Vec<u8>) {
        const SCALE: usize = 4;
        const QUIET: usize = 4;
        let side = (rows.len() + 2 * QUIET) * SCALE;
        let dark = |x: usize, y: usize| {
            let at = |pixel: usize| (pixel / SCALE).checked_sub(QUIET);
            let (Some(x), Some(y)) = (at(x), at(y)) else { return false };
            rows.get(y).and_then(|row| row.as_bytes().get(x)) == Some(&b'1')
        };
        let luma = (0..side * side).map(|pixel| if dark(pixel % side, pixel / side) { 20 } else { 230 });
        (side, luma.collect())
    }

    #[test]
    fn what_was_drawn_is_read() {
        for text in ["4-vocalist-glucose-onlooker", "PETMAIL-OFFER:abc", &"x".repeat(MAX_TEXT_BYTES)] {
            let (side, luma) = picture(&draw(text).unwrap());
            assert_eq!(read(side, side, &luma), [text]);
        }
        assert!(draw(&"x".repeat(3_000)).is_err());
    }

    proptest! {
        #[test]
        fn no_picture_does_harm(width in 1..80_usize, height in 1..80_usize, luma in proptest::collection::vec(any::<u8>(), 0..6_400)) {
            read(width, height, &luma);
        }
    }
}
