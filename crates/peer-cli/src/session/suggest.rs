//! Names that a mistyped one may stand for, of those that the tracker knows.

use peer::Node;
use protocol::{Query, printable};

use crate::session::query::answer;

/// Pages of a tracker's list that are looked through for a near name.
const PAGES: usize = 16;
/// Most names that are suggested.
const SUGGESTIONS: usize = 3;

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
}
