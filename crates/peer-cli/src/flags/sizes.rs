//! Sizes and rates as people write them: `4MiB`, `10MiB` a second, `50mbit`. `ui/amounts.rs` says how they are shown.

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

/// Bytes of pieces in flight. Less than a mebibyte holds nothing up but the download itself; no machine has more than a
/// tebibyte to give.
pub fn budget(text: &str) -> Result<u64, String> {
    let size = bytes(text)?;
    if (1 << 20..=1 << 40).contains(&size) {
        Ok(size)
    } else {
        Err("a budget has 1MiB to 1TiB: pieces wait in it until they are verified".to_owned())
    }
}

/// Bytes that a tracker may take. With less than a few mebibytes it has no room for the peers of one file.
pub fn tracker_memory(text: &str) -> Result<u64, String> {
    let size = bytes(text)?;
    if (16 << 20..=1 << 44).contains(&size) { Ok(size) } else { Err("a tracker takes 16MiB to 16TiB".to_owned()) }
}

/// Bytes a second, as `10MiB` (bytes) or `80mbit` (bits). With less than a kibibyte peers would be given up before anything
/// has come; more than a tebibyte is no limit.
pub fn rate(text: &str) -> Result<u64, String> {
    let rate = any_rate(text)?;
    if (1 << 10..=1 << 40).contains(&rate) {
        Ok(rate)
    } else {
        Err("a rate is from 1KiB to 1TiB a second: leave it out to have no limit".to_owned())
    }
}

fn any_rate(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_suffix("/s").unwrap_or(&lower);
    let error = || format!("{text:?} is no rate: write it like 10MiB or 80mbit, both a second");
    let bits = |unit: &str| lower.strip_suffix(unit).map(|number| number.trim().parse::<f64>());
    // Network rates are decimal, as links are named.
    for (unit, factor) in [("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9)] {
        if let Some(number) = bits(unit) {
            let rate = number.map_err(|_| error())? * factor / 8.0;
            return if rate >= 0.0 { Ok(rate as u64) } else { Err(error()) };
        }
    }
    bytes(lower).map_err(|_| error())
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
        for wrong in ["", "fast", "-1", "-1mbit", "mbit", "NaNmbit", "1e30"] {
            assert!(rate(wrong).unwrap_err().contains("write it like"), "{wrong}");
        }
        for absurd in ["0", "1", "0mbit", "1023", "1e30mbit", "infmbit", "2TiB", "99999999EiB"] {
            assert!(rate(absurd).unwrap_err().contains("leave it out"), "{absurd}");
        }
        assert_eq!((rate("1KiB"), rate("1TiB")), (Ok(1 << 10), Ok(1 << 40)));
        assert_eq!((budget("1MiB"), budget("1TiB")), (Ok(1 << 20), Ok(1 << 40)));
        for absurd in ["0", "1000KiB", "2TiB", "99999999EiB"] {
            assert!(budget(absurd).is_err(), "{absurd}");
        }
        for wrong in ["512", "1000", "32MiB", "0"] {
            assert!(piece_size(wrong).is_err(), "{wrong}");
        }
    }
}
