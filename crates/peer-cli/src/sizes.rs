//! Sizes and rates as people write and read them: `4MiB`, `10MiB` a second, `50mbit`.

use bytesize::ByteSize;

/// Bytes, as `256MiB`, `1GB` or a plain number.
pub fn bytes(text: &str) -> Result<u64, String> {
    let size: ByteSize = text.parse().map_err(|_| format!("{text:?} is no size: write it like 64KiB or 4MiB"))?;
    Ok(size.as_u64())
}

/// Bytes of a piece.
pub fn piece_size(text: &str) -> Result<u32, String> {
    let size = bytes(text)?;
    if size.is_power_of_two() && (1 << 10..=16 << 20).contains(&size) {
        Ok(size as u32)
    } else {
        Err("a piece has a power of two of bytes, from 1KiB to 16MiB".to_owned())
    }
}

/// Bytes a second, as `10MiB` (bytes) or `80mbit` (bits).
pub fn rate(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_suffix("/s").unwrap_or(&lower);
    let error = || format!("{text:?} is no rate: write it like 10MiB or 80mbit, both a second");
    let bits = |unit: &str| lower.strip_suffix(unit).map(|number| number.trim().parse::<f64>());
    // Network rates are decimal, as links are named.
    for (unit, factor) in [("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9)] {
        if let Some(number) = bits(unit) {
            let rate = number.map_err(|_| error())? * factor / 8.0;
            return if rate >= 1.0 { Ok(rate as u64) } else { Err(error()) };
        }
    }
    bytes(lower).ok().filter(|&rate| rate > 0).ok_or_else(error)
}

/// A size for people.
pub fn show(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rates_are_read_as_people_write_them() {
        assert_eq!(bytes("64KiB"), Ok(65536));
        assert_eq!(bytes("1000"), Ok(1000));
        assert_eq!(piece_size("1MiB"), Ok(1 << 20));
        assert_eq!(rate("10MiB"), Ok(10 << 20));
        assert_eq!(rate("10MiB/s"), Ok(10 << 20));
        assert_eq!(rate("80mbit"), Ok(10_000_000));
        assert_eq!(rate("0.5 Mbit/s"), Ok(62_500));
        for wrong in ["", "fast", "-1", "0", "mbit", "0mbit", "NaNmbit"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        for wrong in ["512", "1000", "32MiB", "0"] {
            assert!(piece_size(wrong).is_err(), "{wrong}");
        }
    }
}
