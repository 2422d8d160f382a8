//! What is shared at the moment, by name and by id: how a wish like `-f NAME` becomes a content id.
//!
//! A name belongs to nobody: anyone may announce a content of it. So a question is answered with all contents of a name, as
//! far as they go into an answer, and in an order in which a peer that announces ten thousand of them hides no other. They take
//! turns: first one of each peer, whose network has not named another before, then those of which the peer or others of its
//! network named one before, and so on. Within a turn, what is seeded from more networks comes first, and then what was here
//! first. A content that is called differently by different members is found by each of those names, and stands under each
//! with the spread of those who call it so.
//!
//! Contents of a name lie in that order, so that an answer costs what it holds, whatever the number of contents.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use protocol::{ContentId, MAX_MATCHES, PeerId, Query};

/// Contents in the order in which they were first announced.
#[derive(Default)]
pub(crate) struct Catalogue {
    next: u64,
    contents: BTreeMap<ContentId, CatalogueEntry>,
    by_age: BTreeMap<u64, ContentId>,
    by_name: HashMap<Arc<str>, Named>,
}

/// What is known of a content.
struct CatalogueEntry {
    born: u64,
    /// A place for each of its names.
    places: Vec<Place>,
}

/// Under which name a content is found, by whom it has it, and where it stands.
struct Place {
    name: Arc<str>,
    by: Namer,
    rank: Rank,
}

/// Turn, networks that it is seeded from, age.
type Rank = (u32, Reverse<usize>, u64);

/// A name of a content, who gave it first, and from how many networks those seed it who say so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name<'a> {
    pub(crate) name: &'a str,
    pub(crate) by: Namer,
    pub(crate) spread: usize,
}

/// Who gave a content its name: the peer, and the network that it is in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Namer {
    pub(crate) peer: PeerId,
    pub(crate) network: IpAddr,
}

/// All contents of one name.
#[derive(Default)]
struct Named {
    order: BTreeSet<(Rank, ContentId)>,
    /// Contents of this name that a peer named, and peers of a network that did so.
    peers: HashMap<PeerId, u32>,
    networks: HashMap<IpAddr, u32>,
}

impl Named {
    /// The turn of one more content of this peer, which is counted.
    fn enter(&mut self, by: Namer) -> u32 {
        let own = self.peers.entry(by.peer).or_default();
        let network = self.networks.entry(by.network).or_default();
        if *own == 0 {
            *network += 1;
        }
        *own += 1;
        (*own - 1).saturating_add(*network - 1)
    }

    fn leave(&mut self, by: Namer) {
        let Some(own) = self.peers.get_mut(&by.peer) else { return };
        *own -= 1;
        if *own > 0 {
            return;
        }
        self.peers.remove(&by.peer);
        if let Some(network) = self.networks.get_mut(&by.network) {
            *network -= 1;
            if *network == 0 {
                self.networks.remove(&by.network);
            }
        }
    }
}

impl Catalogue {
    /// A content is shared, and has these names now, each once.
    /// The id of a private swarm is in no list and has no name.
    pub(crate) fn set(&mut self, content: ContentId, names: &[Name]) {
        if content.is_private() {
            return;
        }
        let Catalogue { next, contents, by_age, by_name } = self;
        let entry = contents.entry(content).or_insert_with(|| {
            *next += 1;
            by_age.insert(*next, content);
            CatalogueEntry { born: *next, places: Vec::new() }
        });
        let gone = |place: &mut Place| !names.iter().any(|given| *given.name == *place.name);
        entry.places.extract_if(.., gone).for_each(|place| leave(by_name, content, place));
        for Name { name, by, spread } in names {
            if let Some(place) = entry.places.iter_mut().find(|place| *place.name == **name) {
                let rank = (place.rank.0, Reverse(*spread), place.rank.2);
                if rank != place.rank
                    && let Some(named) = by_name.get_mut(&place.name)
                {
                    named.order.remove(&(place.rank, content));
                    named.order.insert((rank, content));
                    place.rank = rank;
                }
                continue;
            }
            let name = by_name.get_key_value(*name).map_or_else(|| Arc::from(*name), |(name, _)| name.clone());
            let named = by_name.entry(name.clone()).or_default();
            let rank = (named.enter(*by), Reverse(*spread), entry.born);
            named.order.insert((rank, content));
            entry.places.reserve_exact(1);
            entry.places.push(Place { name, by: *by, rank });
        }
    }

    /// Nobody shares it any more.
    pub(crate) fn remove(&mut self, content: ContentId) {
        let Some(entry) = self.contents.remove(&content) else { return };
        self.by_age.remove(&entry.born);
        entry.places.into_iter().for_each(|place| leave(&mut self.by_name, content, place));
    }

    /// The content of this id, or those whose id begins so, or else those of this name; everything for an empty question, and
    /// nothing for what is meant as a ticket. What reads as an id is never looked up as a name.
    pub(crate) fn find(&self, query: &str) -> Vec<ContentId> {
        if query.is_empty() {
            return self.page(None).0;
        }
        match query.parse() {
            // A peer that names one has a ticket of it.
            Ok(Query::Id(id)) if id.is_private() => vec![id],
            Ok(Query::Id(id)) => self.contents.contains_key(&id).then_some(id).into_iter().collect(),
            Ok(query @ Query::Prefix(_)) => {
                // The first id that could begin so: the ids are ordered, and a question should not walk through all of them.
                let digits = query.to_string();
                let Ok(first) = format!("{digits:0<64}").parse::<ContentId>() else { return Vec::new() };
                let ids = self.contents.range(first..).map(|(content, _)| *content);
                ids.take_while(|content| query.fits(*content, "")).take(MAX_MATCHES).collect()
            }
            Ok(Query::Name(name)) => {
                let named = self.by_name.get(&*name).into_iter().flat_map(|named| &named.order);
                named.take(MAX_MATCHES).map(|(_, content)| *content).collect()
            }
            Ok(Query::Private(_)) | Err(_) => Vec::new(),
        }
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

/// A content has this name no more.
fn leave(by_name: &mut HashMap<Arc<str>, Named>, content: ContentId, place: Place) {
    let Some(named) = by_name.get_mut(&place.name) else { return };
    named.order.remove(&(place.rank, content));
    named.leave(place.by);
    if named.order.is_empty() {
        by_name.remove(&place.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Digest;

    impl Catalogue {
        /// A content has one name at most, and keeps the first.
        fn add(&mut self, content: ContentId, name: Option<&str>, by: Namer, spread: usize) {
            let known = self.contents.get(&content).and_then(|entry| entry.places.first());
            let known = known.map(|place| place.name.to_string()).or(name.map(str::to_owned));
            let names: Vec<_> = known.iter().map(|name| Name { name, by, spread }).collect();
            self.set(content, &names);
        }
    }

    #[test]
    fn a_content_is_found_by_each_of_its_names_while_it_has_them() {
        let mut catalogue = Catalogue::default();
        let name = |name: &'static str, peer, spread| Name { name, by: by(peer, peer as u8), spread };
        catalogue.set(content(1), &[name("evil", 1, 1)]);
        catalogue.set(content(1), &[name("evil", 1, 1), name("model.bin", 2, 3)]);
        catalogue.set(content(2), &[name("model.bin", 4, 2)]);
        assert_eq!(catalogue.find("evil"), [content(1)]);
        assert_eq!(catalogue.find("model.bin"), [content(1), content(2)]);
        catalogue.set(content(1), &[name("evil", 1, 1), name("model.bin", 2, 1)]);
        assert_eq!(catalogue.find("model.bin"), [content(2), content(1)], "fewer call it so");
        catalogue.set(content(1), &[name("model.bin", 2, 1)]);
        assert_eq!(catalogue.find("evil"), []);
        catalogue.remove(content(1));
        catalogue.remove(content(2));
        assert!(catalogue.by_name.is_empty() && catalogue.by_age.is_empty());
    }

    fn content(first: u8) -> ContentId {
        ContentId(Digest([first; 32]))
    }

    fn numbered(number: u32) -> ContentId {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&number.to_be_bytes());
        ContentId(Digest(digest))
    }

    fn by(peer: u32, network: u8) -> Namer {
        Namer { peer: PeerId::of_public_key(&peer.to_le_bytes()), network: [10, 0, network, 0].into() }
    }

    #[test]
    fn a_name_finds_every_content_of_that_name_the_first_one_first() {
        let mut catalogue = Catalogue::default();
        catalogue.add(content(1), Some("a"), by(1, 1), 1);
        catalogue.add(content(2), None, by(2, 2), 0);
        catalogue.add(content(3), Some("a"), by(3, 3), 1);
        catalogue.add(content(2), Some("a"), by(2, 2), 1);
        catalogue.add(content(4), Some("b"), by(4, 4), 1);
        assert_eq!(catalogue.find("a"), [content(1), content(2), content(3)]);
        assert_eq!(catalogue.find(""), [content(4), content(3), content(2), content(1)]);
        catalogue.add(content(3), Some("b"), by(3, 3), 2);
        assert_eq!(catalogue.find("a"), [content(3), content(1), content(2)], "seeded from two networks");
        catalogue.remove(content(3));
        catalogue.remove(content(3));
        assert_eq!(catalogue.find("a"), [content(1), content(2)]);
        assert_eq!(catalogue.find("c"), []);
    }

    /// Of one peer, of peers of one network; before the honest one and after it.
    #[test]
    fn ten_thousand_contents_of_a_name_hide_no_other() {
        type Flood = fn(u32) -> Namer;
        let floods: [(&str, Flood); 3] = [
            ("a peer", |_| by(7, 7)),
            ("forty peers of a network", |number| by(number % 40 + 10, 7)),
            ("a peer of the network of the honest one", |_| by(7, 1)),
        ];
        for (what, flood) in floods {
            for before in [0, 5_000, 10_000] {
                let mut catalogue = Catalogue::default();
                (0..before).for_each(|number| catalogue.add(numbered(number), Some("model.bin"), flood(number), 9));
                catalogue.add(content(0xff), Some("model.bin"), by(1, 1), 1);
                (before..10_000)
                    .for_each(|number| catalogue.add(numbered(number), Some("model.bin"), flood(number), 9));
                let found = catalogue.find("model.bin");
                assert_eq!(found.len(), MAX_MATCHES);
                assert!(found[..3].contains(&content(0xff)), "{what}, {before} before it");
                (0..10_000).for_each(|number| catalogue.remove(numbered(number)));
                assert_eq!(catalogue.find("model.bin"), [content(0xff)]);
                catalogue.remove(content(0xff));
                assert!(catalogue.by_name.is_empty() && catalogue.contents.is_empty() && catalogue.by_age.is_empty());
            }
        }
    }

    #[test]
    fn pages_list_everything_once_whatever_goes_meanwhile() {
        let mut catalogue = Catalogue::default();
        (0..200).for_each(|number| catalogue.add(numbered(number), None, by(1, 1), 1));
        let (first, next) = catalogue.page(None);
        assert_eq!((first.len(), first[0], next), (MAX_MATCHES, numbered(199), Some(137)));
        // The one that a page ends with is gone, one that is listed already is back, and a new one is here.
        catalogue.remove(numbered(136));
        catalogue.remove(numbered(150));
        catalogue.add(numbered(150), None, by(1, 1), 1);
        catalogue.add(numbered(1000), None, by(1, 1), 1);
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
    fn what_reads_as_an_id_finds_ids_and_never_a_name() {
        let mut catalogue = Catalogue::default();
        let id = content(0xab).to_string();
        // What unmodified peers may still announce.
        for (number, name) in
            [id.clone(), id.to_uppercase(), "ababab".to_owned(), "abcdef".to_owned()].iter().enumerate()
        {
            catalogue.add(numbered(number as u32), Some(name), by(1, 1), 1);
        }
        catalogue.add(content(0xab), Some("a"), by(2, 2), 1);
        for query in [id.clone(), id.to_uppercase(), format!(" {id}\n"), id[..63].to_owned(), "ababab".to_owned()] {
            assert_eq!(catalogue.find(&query), [content(0xab)], "{query:?}");
        }
        assert_eq!(catalogue.find("ababa"), [], "too short to be meant as an id");
        assert_eq!(catalogue.find("abcdef"), [], "a name that reads as the beginning of an id");
        catalogue.remove(content(0xab));
        assert_eq!(catalogue.find(&id), []);
    }

    #[test]
    fn a_private_swarm_is_found_by_its_whole_id_alone() {
        let mut catalogue = Catalogue::default();
        let private = protocol::Secret::new([7; 16]).share_key().swarm();
        catalogue.add(private, Some("a"), by(1, 1), 1);
        let id = private.to_string();
        for query in ["", "a", &id[..16], &id[..63]] {
            assert_eq!(catalogue.find(query), [], "{query:?}");
        }
        assert_eq!((catalogue.find(&id), catalogue.page(None)), (vec![private], (vec![], None)));
    }

    #[test]
    fn a_ticket_finds_its_content_alone() {
        let mut catalogue = Catalogue::default();
        let tracker = PeerId::of_public_key(b"tracker");
        let ticket =
            protocol::Ticket::new(tracker, vec!["10.0.0.1:9999".parse().unwrap()], content(1)).unwrap().to_string();
        catalogue.add(content(2), Some(&ticket), by(1, 1), 1);
        catalogue.add(content(3), Some(&ticket[..40]), by(1, 1), 1);
        assert_eq!(catalogue.find(&ticket), []);
        assert_eq!(catalogue.find(&ticket[..40]), []);
        catalogue.add(content(1), None, by(1, 1), 1);
        assert_eq!(catalogue.find(&ticket), [content(1)]);
    }
}
