//! QR codes on a terminal.

use std::io::Write;

use petmail_net::program::Failure;
use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};

/// Shows a text as a QR code, on standard error: standard output is for the text itself. Drawn light on dark, as terminals
/// mostly are.
///
/// # Errors
/// The text is too long for a QR code, or standard error is closed.
pub(super) fn show(text: &str) -> Result<(), Failure> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).map_err(Failure::failed)?;
    let (dark, light) = (Dense1x2::Light, Dense1x2::Dark);
    let image = code.render::<Dense1x2>().dark_color(dark).light_color(light).build();
    writeln!(std::io::stderr().lock(), "{image}").map_err(Failure::failed)
}
