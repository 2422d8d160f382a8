//! What is said of names that others gave.

use peer::NameReport;

/// Most names that are said of many.
const NAMED: usize = 10;

/// What was done about the names of a download, in words; nothing if nothing was.
pub fn report_words(report: &NameReport) -> Vec<String> {
    let mut lines = Vec::new();
    if !report.skipped.is_empty() {
        lines.push(format!("Left out for their names: {}", listed(report.skipped.iter().cloned())));
    }
    if !report.renamed.is_empty() {
        let names = report.renamed.iter().map(|(own, here)| format!("{own} as {here}"));
        lines.push(format!("Written under other names: {}", listed(names)));
    }
    if !report.unprintable.is_empty() {
        let names = listed(report.unprintable.iter().cloned());
        lines.push(format!("Names with control characters or invisible marks, shown escaped: {names}"));
    }
    lines
}

fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let named: Vec<_> = names.take(NAMED).collect();
    if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_names_are_said_of_many() {
        let skipped: Vec<_> = (0..12).map(|number| format!(".{number}")).collect();
        let report =
            NameReport { skipped, renamed: vec![("d/.a".to_owned(), "d/%2Ea".to_owned())], unprintable: vec![] };
        let lines = report_words(&report);
        assert!(lines[0].ends_with(".8, .9 and 2 more"), "{lines:?}");
        assert_eq!(lines[1], "Written under other names: d/.a as d/%2Ea");
    }
}
