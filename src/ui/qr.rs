//! A QR code as one path of an SVG: no image file, so nothing that carries a secret is ever fetched or cached.

use qrcodegen::{QrCode as Matrix, QrCodeEcc};
use std::fmt::Write as _;

/// Width of the empty frame that readers need, in modules.
const QUIET: i32 = 4;

/// A QR code ready for a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QrCode {
    /// Modules along one side, quiet zone included.
    pub side: i32,
    /// The dark modules as data of an SVG path.
    pub path: String,
}

impl QrCode {
    /// Encodes a text. `None` when it is too long for any code; pages then show the text alone.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let matrix = Matrix::encode_text(text, QrCodeEcc::Medium).ok()?;
        let mut path = String::new();
        for y in 0..matrix.size() {
            let mut x = 0;
            while x < matrix.size() {
                let start = x;
                while x < matrix.size() && matrix.get_module(x, y) {
                    x += 1;
                }
                if x > start {
                    // One bar for each run of dark modules; writing to a String cannot fail.
                    let _ = write!(path, "M{} {}h{}v1h-{}z", start + QUIET, y + QUIET, x - start, x - start);
                } else {
                    x += 1;
                }
            }
        }
        Some(Self { side: matrix.size() + 2 * QUIET, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_finder_patterns_inside_the_quiet_zone() {
        let qr = QrCode::new("otpauth://totp/x?secret=JBSWY3DPEHPK3PXP").unwrap();
        assert!(qr.path.starts_with("M4 4h7v1h-7z"), "{}", &qr.path[..40]);
        assert!(qr.path.is_ascii());
        assert_eq!(qr.side % 4, 1);
    }

    #[test]
    fn the_path_paints_exactly_the_dark_modules() {
        let text = "otpauth://totp/Acme:grace?secret=JBSWY3DPEHPK3PXP&issuer=Acme";
        let matrix = Matrix::encode_text(text, QrCodeEcc::Medium).unwrap();
        let mut dark = std::collections::BTreeSet::new();
        for bar in QrCode::new(text).unwrap().path.split_terminator('z') {
            let (place, rest) = bar.trim_start_matches('M').split_once('h').unwrap();
            let (x, y) = place.split_once(' ').unwrap();
            let (x, y): (i32, i32) = (x.parse().unwrap(), y.parse().unwrap());
            let width: i32 = rest.split_once('v').unwrap().0.parse().unwrap();
            dark.extend((x..x + width).map(|x| (x - QUIET, y - QUIET)));
        }
        for y in 0..matrix.size() {
            for x in 0..matrix.size() {
                assert_eq!(dark.contains(&(x, y)), matrix.get_module(x, y), "{x} {y}");
            }
        }
    }

    #[test]
    fn too_long_is_none() {
        assert_eq!(QrCode::new(&"x".repeat(5_000)), None);
    }
}
