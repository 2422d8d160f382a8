//! What is shared at the moment, by name and by id: how a wish like `-f NAME` becomes a content id.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use protocol::ContentId;

/// Fewest characters of an id that are taken for one; with fewer, strangers' contents would fit too easily.
const SHORTEST_PREFIX: usize = 6;
/// Most contents in an answer.
const MOST: usize = 64;

/// Contents in the order in which they were first announced.
#[derive(Default)]
pub(crate) struct Catalogue {
    next: u64,
    born: HashMap<ContentId, u64>,
    by_age: BTreeMap<u64, ContentId>,
    by_id: BTreeSet<ContentId>,
    by_name: HashMap<String, BTreeSet<u64>>,
    names: HashMap<ContentId, String>,
}

impl Catalogue {
    /// A content is shared, and may have a name by now.
    pub(crate) fn add(&mut self, content: ContentId, name: Option<&str>) {
        let next = &mut self.next;
        let born = *self.born.entry(content).or_insert_with(|| {
            *next += 1;
            *next
        });
        self.by_age.insert(born, content);
        self.by_id.insert(content);
        if let Some(name) = name
            && !self.names.contains_key(&content)
        {
            self.names.insert(content, name.to_owned());
            self.by_name.entry(name.to_owned()).or_default().insert(born);
        }
    }

    /// Nobody shares it any more.
    pub(crate) fn remove(&mut self, content: ContentId) {
        let Some(born) = self.born.remove(&content) else { return };
        self.by_age.remove(&born);
        self.by_id.remove(&content);
        if let Some(name) = self.names.remove(&content)
            && let Some(same) = self.by_name.get_mut(&name)
        {
            same.remove(&born);
            if same.is_empty() {
                self.by_name.remove(&name);
            }
        }
    }

    /// Contents of this name, or of this id, or whose id begins so; everything for an empty question. Newest first.
    pub(crate) fn find(&self, query: &str) -> Vec<ContentId> {
        if query.is_empty() {
            return self.by_age.values().rev().take(MOST).copied().collect();
        }
        let mut ages = self.by_name.get(query).cloned().unwrap_or_default();
        let lower = query.to_ascii_lowercase();
        if lower.len() >= SHORTEST_PREFIX && lower.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let fits = |content: &&ContentId| content.to_string().starts_with(&lower);
            ages.extend(self.by_id.iter().filter(fits).take(MOST).map(|content| self.born[content]));
        }
        ages.iter().rev().take(MOST).map(|age| self.by_age[age]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Digest;

    fn content(first: u8) -> ContentId {
        ContentId(Digest([first; 32]))
    }

    #[test]
    fn a_name_finds_every_content_of_that_name_newest_first() {
        let mut catalogue = Catalogue::default();
        catalogue.add(content(1), Some("a"));
        catalogue.add(content(2), None);
        catalogue.add(content(3), Some("a"));
        catalogue.add(content(2), Some("a"));
        catalogue.add(content(4), Some("b"));
        assert_eq!(catalogue.find("a"), [content(3), content(2), content(1)]);
        assert_eq!(catalogue.find(""), [content(4), content(3), content(2), content(1)]);
        catalogue.remove(content(3));
        catalogue.remove(content(3));
        assert_eq!(catalogue.find("a"), [content(2), content(1)]);
        assert_eq!(catalogue.find("c"), []);
    }

    #[test]
    fn an_id_or_the_beginning_of_one_finds_it() {
        let mut catalogue = Catalogue::default();
        catalogue.add(content(0xab), Some("a"));
        catalogue.add(content(0xcd), Some("abcdef"));
        assert_eq!(catalogue.find("ababab"), [content(0xab)]);
        assert_eq!(catalogue.find(&"AB".repeat(32)), [content(0xab)]);
        assert_eq!(catalogue.find("ababa"), [], "too short to be meant as an id");
        assert_eq!(catalogue.find("abcdef"), [content(0xcd)], "a name may look like an id");
    }
}
