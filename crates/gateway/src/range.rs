//! Which bytes a client wants (RFC 9110, section 14).

use std::ops::Range;

/// Most ranges of one request: who asks for more gets the whole file, as anyone may be given.
const MOST: usize = 64;

/// What the header `Range` comes to for a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RequestedRange {
    /// The whole file.
    Whole,
    /// These parts, which lie in it, in the order that was asked for.
    Parts(Vec<Range<u64>>),
    /// Bytes that it does not have.
    Nothing,
}

/// Reads the header for a file of this size. What is not understood is ignored, as the standard demands.
pub(crate) fn wanted(header: Option<&str>, size: u64) -> RequestedRange {
    let Some((unit, ranges)) = header.and_then(|header| header.split_once('=')) else { return RequestedRange::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return RequestedRange::Whole;
    }
    let ranges = ranges.split(',').map(str::trim).filter(|range| !range.is_empty());
    let Some(ranges) = ranges.map(|range| of_file(range, size)).collect::<Option<Vec<_>>>() else {
        return RequestedRange::Whole;
    };
    if ranges.is_empty() || ranges.len() > MOST {
        return RequestedRange::Whole;
    }
    let parts: Vec<Range<u64>> = ranges.into_iter().flatten().collect();
    let sum = parts.iter().map(|part| u128::from(part.end - part.start)).sum::<u128>();
    match parts.len() {
        0 => RequestedRange::Nothing,
        // Ranges that overlap would make little into much.
        2.. if sum > u128::from(size) => RequestedRange::Whole,
        _ => RequestedRange::Parts(parts),
    }
}

/// One range as far as the file has it: nothing if it has none of it. `None` where it is no range.
fn of_file(range: &str, size: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        let count = number(last)?;
        let part = size.saturating_sub(count)..size;
        return Some((!part.is_empty()).then_some(part));
    }
    let first = number(first)?;
    let end = if last.is_empty() { size } else { number(last)?.saturating_add(1) };
    if !last.is_empty() && end <= first {
        return None;
    }
    Some((first < size).then(|| first..end.min(size)))
}

/// A number of any length: one that is too large for a file is as good as any other such.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_1000(header: &str) -> RequestedRange {
        wanted(Some(header), 1000)
    }

    fn parts(parts: &[(u64, u64)]) -> RequestedRange {
        RequestedRange::Parts(parts.iter().map(|&(first, end)| first..end).collect())
    }

    #[test]
    fn all_forms_are_understood() {
        for (header, expected) in [
            ("bytes=0-0", parts(&[(0, 1)])),
            ("bytes=10-19", parts(&[(10, 20)])),
            ("bytes=990-", parts(&[(990, 1000)])),
            ("bytes=0-", parts(&[(0, 1000)])),
            ("bytes=-500", parts(&[(500, 1000)])),
            ("bytes=-5000", parts(&[(0, 1000)])),
            ("bytes=990-5000", parts(&[(990, 1000)])),
            ("bytes=990-99999999999999999999999999", parts(&[(990, 1000)])),
            ("Bytes = 0-0 , -1", parts(&[(0, 1), (999, 1000)])),
            ("bytes=500-599,0-99", parts(&[(500, 600), (0, 100)])),
            ("bytes=0-1,2000-", parts(&[(0, 2)])),
            ("bytes=,0-1,", parts(&[(0, 2)])),
        ] {
            assert_eq!(of_1000(header), expected, "{header}");
        }
    }

    #[test]
    fn bytes_behind_the_end_are_refused() {
        for header in
            ["bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=99999999999999999999999-", "bytes=1000-,2000-3000"]
        {
            assert_eq!(of_1000(header), RequestedRange::Nothing, "{header}");
        }
        assert_eq!(wanted(Some("bytes=0-"), 0), RequestedRange::Nothing);
        assert_eq!(wanted(Some("bytes=-1"), 0), RequestedRange::Nothing);
    }

    #[test]
    fn what_is_no_range_is_ignored() {
        let many = format!("bytes={}", (0..100).map(|n| format!("{n}-{n}")).collect::<Vec<_>>().join(","));
        let overlapping = "bytes=0-999,0-999";
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=5",
            "bytes=a-b",
            "bytes=5-4",
            "bytes=--1",
            "bytes=1-2-3",
            "lines=1-2",
            &many,
            overlapping,
        ] {
            assert_eq!(of_1000(header), RequestedRange::Whole, "{header}");
        }
        assert_eq!(wanted(None, 1000), RequestedRange::Whole);
    }
}
