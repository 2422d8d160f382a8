//! Reads what `peer-cli --json` prints: the events of the library. `docs/events.md` explains them.

pub use peer::json::*;

use anyhow::Context;

/// The event that a line says.
pub fn read(line: &str) -> anyhow::Result<Event> {
    Event::parse(line).with_context(|| format!("{line:?} is no event"))
}

/// All events of a program that has ended.
pub fn read_all(lines: &str) -> anyhow::Result<Vec<Event>> {
    lines.lines().map(read).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// What stands between backticks, but for what only explains in brackets.
    fn quoted(cell: &str) -> BTreeSet<String> {
        let mut depth = 0;
        let outside = cell.chars().filter(|c| {
            depth += i32::from(*c == '(') - i32::from(*c == ')');
            depth == 0 && *c != ')'
        });
        let outside: String = outside.collect();
        outside.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_table_in_the_docs_is_the_schema() {
        let docs = include_str!("../../../docs/events.md");
        assert!(docs.contains(&format!("version of this schema, {VERSION})")), "the version");
        let mut documented = BTreeMap::new();
        for row in docs.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<_> = row.trim_matches('|').split('|').collect();
            let [names, fields, _] = cells[..] else { panic!("{row}") };
            quoted(names).into_iter().for_each(|name| drop(documented.insert(name, quoted(fields))));
        }
        let owned = |fields: &[&str]| fields.iter().map(|&field| field.to_owned()).collect::<BTreeSet<_>>();
        let schema: BTreeMap<_, _> = SCHEMA.iter().map(|(name, fields)| ((*name).to_owned(), owned(fields))).collect();
        assert_eq!(documented, schema);
    }
}
