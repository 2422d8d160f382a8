//! A ticket as a QR code in a terminal, for a camera.
//!
//! Upper case, for which the code has a mode of its own with fewer bits a character; tickets are read in either case.

use qrcodegen::{QrCode, QrCodeEcc};

/// Light modules around the code, as the standard demands.
const QUIET: i32 = 4;
/// The lines of the code: two rows each, light modules drawn, dark ones left black. All are of the same width.
pub fn lines(ticket: &str) -> Vec<String> {
    // Even the longest ticket is much shorter than what a code takes.
    QrCode::encode_text(&ticket.to_ascii_uppercase(), QrCodeEcc::Low).map(|code| drawn(&code)).unwrap_or_default()
}

fn drawn(code: &QrCode) -> Vec<String> {
    let (from, to) = (-QUIET, code.size() + QUIET);
    let rows = (from..to).step_by(2);
    let line = |row: i32| {
        let module = |column| match (code.get_module(column, row), code.get_module(column, row + 1)) {
            (false, false) => '\u{2588}',
            (false, true) => '\u{2580}',
            (true, false) => '\u{2584}',
            (true, true) => ' ',
        };
        (from..to).map(module).collect()
    };
    rows.map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_ticket_fits_a_terminal() {
        let ticket = format!("p2p2{}", "a".repeat(65));
        let code = QrCode::encode_text(&ticket.to_ascii_uppercase(), QrCodeEcc::Low).unwrap();
        let lines = drawn(&code);
        assert!(lines.len() <= 21 && lines.iter().all(|line| line.chars().count() <= 41), "{}", lines.join("\n"));
        // The quiet zone is light, and the finder pattern begins with a dark row.
        assert!(lines[..2].iter().all(|line| line.chars().all(|module| module == '\u{2588}')));
        let modules = lines[2].chars().skip(4).take(8).collect::<String>();
        assert_eq!(modules, " \u{2584}\u{2584}\u{2584}\u{2584}\u{2584} \u{2588}");
        // In the mode of upper case; as bytes it would be larger.
        let bytes = QrCode::encode_text(&ticket, QrCodeEcc::Low).unwrap();
        assert!(code.size() < bytes.size());
    }
}
