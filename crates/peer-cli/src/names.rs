//! Names that others gave: what becomes of doubtful ones, what is said of them, and those that are near to what was typed.

use clap::{Args, ValueEnum};
use peer::{NamePolicy, NameReport, Node};
use protocol::Query;
pub use protocol::printable;

use crate::visit::answer;

/// Pages of a tracker's list that are looked through for a near name.
const PAGES: usize = 16;
/// Most names that are suggested.
const SUGGESTIONS: usize = 3;

/// Most names that are said of many.
const NAMED: usize = 10;

/// What becomes of files whose names are doubtful.
#[derive(Debug, Clone, Copy, Args)]
pub struct NameArguments {
    /// What to do about names that are hidden at the top of a home or the working folder, would be read there by these
    /// programs, are none on this platform or the file system there, or the same as another one there: refuse the download,
    /// skip those files, or rename them, as %2Ebashrc. Where it is given, also about names with control characters or
    /// invisible marks [default: refuse]
    #[arg(long, value_name = "POLICY", value_enum)]
    names: Option<NameAction>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum NameAction {
    Refuse,
    Skip,
    Rename,
}

impl NameArguments {
    /// As the library takes it.
    pub fn policy(self) -> NamePolicy {
        match self.names {
            None => NamePolicy::Default,
            Some(NameAction::Refuse) => NamePolicy::Refuse,
            Some(NameAction::Skip) => NamePolicy::Skip,
            Some(NameAction::Rename) => NamePolicy::Rename,
        }
    }
}

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

/// Names of the newest contents that a mistyped one may stand for, as a sentence to append; empty if there are none, or
/// the tracker does not say.
pub async fn did_you_mean(node: &Node, typed: &str) -> String {
    let (mut names, mut before) = (Vec::new(), None);
    for _ in 0..PAGES {
        let Ok(page) = answer(node.list(before)).await else { break };
        names.extend(page.contents.into_iter().map(|found| found.name));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    names.sort();
    names.dedup();
    suggest(typed, &names)
}

fn suggest(typed: &str, names: &[String]) -> String {
    // What reads as an id or a ticket would lead to something else.
    let mut left: Vec<&str> = names.iter().map(String::as_str).filter(|name| Query::is_name(name)).collect();
    let mut near = Vec::new();
    while near.len() < SUGGESTIONS
        && let Some(name) = settings::nearest(typed, left.iter().copied())
    {
        left.retain(|other| *other != name);
        near.push(format!("{:?}", printable(name)));
    }
    if near.is_empty() { String::new() } else { format!(" Did you mean {}?", near.join(" or ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_nearest_first() {
        let names = ["0short_story.txt", "model.safetensors", "modal.bin", ""].map(str::to_owned);
        assert_eq!(suggest("model.safetensor", &names), " Did you mean \"model.safetensors\"?");
        assert_eq!(suggest("model.bin", &names), " Did you mean \"modal.bin\"?");
        assert_eq!(suggest("xyz", &names), "");
        assert_eq!(suggest("decafe", &["decade".to_owned()]), "", "it reads as the beginning of an id");
    }

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
