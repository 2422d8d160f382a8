//! Amounts, rates and times as they stand in a line that people read at a glance: three digits or so.

use std::time::Duration;

const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// The largest unit in which a number has no more than three digits before the point.
fn unit(bytes: u64) -> usize {
    (0..UNITS.len() - 1).find(|&unit| in_unit(bytes, unit) < 999.5).unwrap_or(UNITS.len() - 1)
}

/// The digits behind the point that a number of a unit has.
fn decimals(bytes: u64, unit: usize) -> usize {
    usize::from(unit > 0 && in_unit(bytes, unit) < 99.95)
}

fn in_unit(bytes: u64, unit: usize) -> f64 {
    bytes as f64 / (1u64 << (10 * unit)) as f64
}

/// `286 MiB`, `20.1 MiB`, `512 B`.
pub fn amount(bytes: u64) -> String {
    let unit = unit(bytes);
    format!("{:.*} {}", decimals(bytes, unit), in_unit(bytes, unit), UNITS[unit])
}

/// `20.1 MiB/s`.
pub fn rate(bytes_a_second: u64) -> String {
    format!("{}/s", amount(bytes_a_second))
}

/// `166/286 MiB`: as long as something is missing it says so, however little it is.
pub fn part(done: u64, size: u64) -> String {
    let unit = unit(size);
    let decimals = decimals(size, unit);
    let of = format!("{:.decimals$}", in_unit(size, unit));
    if done >= size {
        return format!("{of}/{of} {}", UNITS[unit]);
    }
    let step = 10f64.powi(decimals as i32);
    let done = (in_unit(done, unit) * step).floor() / step;
    format!("{done:.decimals$}/{of} {}", UNITS[unit])
}

/// A part of a size in words, as `20.6 of 96.6 MiB`: the unit once, if it is that of both.
pub fn part_of(part: u64, whole: u64) -> String {
    let (part, whole) = (amount(part), amount(whole));
    match (part.split_once(' '), whole.split_once(' ')) {
        (Some((number, unit)), Some((_, same))) if unit == same => format!("{number} of {whole}"),
        _ => format!("{part} of {whole}"),
    }
}

/// Time that is left, as clocks show it: `0:06`, `1:02:03`, and in words from a day on.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}:{:02}", seconds % 60),
        (0, _) => format!("{hours}:{minutes:02}:{:02}", seconds % 60),
        (1..100, _) => format!("{days}d {hours}h"),
        _ => ">99d".to_owned(),
    }
}

/// Time that was taken: `0.9 s`, `2m 5s`.
pub fn took(time: Duration) -> String {
    if time < Duration::from_millis(59_950) {
        return format!("{:.1} s", time.as_secs_f64().max(0.1));
    }
    humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_three_digits_or_so() {
        let shown = [0, 999, 1023, 1 << 10, 300_000_000, 21_076_377, 2_040_109_466, 104_857_599].map(amount);
        assert_eq!(shown, ["0 B", "999 B", "1.0 KiB", "1.0 KiB", "286 MiB", "20.1 MiB", "1.9 GiB", "100 MiB"]);
        assert_eq!(rate(21_076_377), "20.1 MiB/s");
    }

    #[test]
    fn a_part_is_never_all_before_it_is() {
        let size = 300_000_000;
        assert_eq!(part(174_063_616, size), "166/286 MiB");
        assert_eq!(part(size, size), "286/286 MiB");
        assert_eq!(part(104_857_599, 104_857_600), "99/100 MiB");
        assert_eq!(part(0, 20_000), "0.0/19.5 KiB");
        assert_eq!(part(0, 0), "0/0 B");
        assert_eq!(part(5, 5), "5/5 B");
    }

    #[test]
    fn a_part_has_its_unit_only_if_it_is_another() {
        assert_eq!(part_of(21_600_665, 101_292_442), "20.6 of 96.6 MiB");
        assert_eq!(part_of(512 << 10, 1 << 30), "512 KiB of 1.0 GiB");
        assert_eq!(part_of(0, 100), "0 of 100 B");
    }

    #[test]
    fn times_are_read_at_a_glance() {
        let seconds = Duration::from_secs;
        assert_eq!([6, 125, 3723].map(|time| clock(seconds(time))), ["0:06", "2:05", "1:02:03"]);
        assert_eq!([90_000, 9_000_000_000].map(|time| clock(seconds(time))), ["1d 1h", ">99d"]);
        assert_eq!(clock(Duration::from_millis(5100)), "0:06");
        assert_eq!([900, 9610, 125_000].map(|time| took(Duration::from_millis(time))), ["0.9 s", "9.6 s", "2m 5s"]);
        assert_eq!(took(Duration::ZERO), "0.1 s");
    }
}
