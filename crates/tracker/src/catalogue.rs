//! What is shared at the moment, by name and by id: how a wish like `-f NAME` becomes a content id.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use protocol::{ContentId, MAX_MATCHES};

/// Fewest characters of an id that are taken for one; with fewer, strangers' contents would fit too easily.
const SHORTEST_PREFIX: usize = 6;

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
            return self.page(None).0;
        }
        let mut ages = self.by_name.get(query).cloned().unwrap_or_default();
        let lower = query.to_ascii_lowercase();
        // The first id that could begin so: the set is ordered, and a question should not walk through all of it.
        let first = format!("{lower:0<64}").parse::<ContentId>();
        if lower.len() >= SHORTEST_PREFIX
            && let Ok(first) = first
        {
            let fits = |content: &&ContentId| content.to_string().starts_with(&lower);
            ages.extend(self.by_id.range(first..).take_while(fits).take(MAX_MATCHES).map(|content| self.born[content]));
        }
        ages.iter().rev().take(MAX_MATCHES).map(|age| self.by_age[age]).collect()
    }

    /// Contents that were announced before the one of this number, newest first, and the number that goes on from there
    /// if there are more. Numbers are never used twice, so that a page can be asked for whatever has come or gone.
    pub(crate) fn page(&self, before: Option<u64>) -> (Vec<ContentId>, Option<u64>) {
        let mut older = self.by_age.range(..before.unwrap_or(u64::MAX)).rev();
        let page: Vec<_> = older.by_ref().take(MAX_MATCHES).collect();
        let next = older.next().and(page.last().map(|(age, _)| **age));
        (page.into_iter().map(|(_, content)| *content).collect(), next)
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
    fn pages_list_everything_once_whatever_goes_meanwhile() {
        let mut catalogue = Catalogue::default();
        let numbered = |number: u32| {
            let mut digest = [0; 32];
            digest[..4].copy_from_slice(&number.to_be_bytes());
            ContentId(Digest(digest))
        };
        (0..200).for_each(|number| catalogue.add(numbered(number), None));
        let (first, next) = catalogue.page(None);
        assert_eq!((first.len(), first[0], next), (MAX_MATCHES, numbered(199), Some(137)));
        // The one that a page ends with is gone, one that is listed already is back, and a new one is here.
        catalogue.remove(numbered(136));
        catalogue.remove(numbered(150));
        catalogue.add(numbered(150), None);
        catalogue.add(numbered(1000), None);
        let (mut seen, mut next) = (first, next);
        while next.is_some() {
            let (page, after) = catalogue.page(next);
            assert!(page.len() <= MAX_MATCHES);
            seen.extend(page);
            next = after;
        }
        assert_eq!(seen, (0..200).rev().map(numbered).collect::<Vec<_>>());
        assert_eq!(catalogue.page(Some(1)), (vec![], None));
        assert_eq!(Catalogue::default().page(None), (vec![], None));
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
