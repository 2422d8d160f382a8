//! Which places are tried against which.

use std::str::FromStr;

use crate::places::{ALL, Place};

/// Both sides public, one of them, the two ways of a direct path between routers, TCP where UDP is dropped, two that come
/// to the tracker over a family that the other has not, one of them behind a router, and firewalls on both sides: with both families,
/// and with IPv6 as the only way.
const SMOKE: [(Place, Place); 9] = [
    (Place::Public, Place::Home),
    (Place::Home, Place::Public),
    (Place::Home, Place::Masq),
    (Place::Masq, Place::Masq),
    (Place::NoUdp, Place::Public),
    (Place::Dual, Place::Home),
    (Place::Six, Place::Home),
    (Place::Wall, Place::Wall),
    (Place::Lite, Place::Lite),
];

/// Pairs of places: the sharer's, and the getter's.
#[derive(Debug, Clone)]
pub struct Pairs(Vec<(Place, Place)>);

impl Pairs {
    pub fn list(&self) -> impl Iterator<Item = (Place, Place)> + '_ {
        self.0.iter().copied()
    }
}

impl FromStr for Pairs {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let pair = |word: &str| {
            let (sharer, getter) = word.split_once('-').ok_or_else(|| format!("{word:?} is no pair as home-masq"))?;
            Ok((sharer.parse()?, getter.parse()?))
        };
        Ok(Pairs(match text {
            "all" => ALL.into_iter().flat_map(|sharer| ALL.map(|getter| (sharer, getter))).collect(),
            "smoke" => SMOKE.to_vec(),
            words => words.split(',').map(pair).collect::<Result<_, String>>()?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_named_or_all_of_them() {
        let of = |text: &str| text.parse::<Pairs>().map(|pairs| pairs.list().collect::<Vec<_>>());
        assert_eq!(of("all").unwrap().len(), 25);
        assert_eq!(of("dual-noudp").unwrap(), [(Place::Dual, Place::NoUdp)]);
        assert_eq!(of("home-masq,sym-public").unwrap(), [(Place::Home, Place::Masq), (Place::Sym, Place::Public)]);
        assert!(of("home").is_err() && of("home-moon").is_err());
        assert!(SMOKE.iter().all(|(sharer, getter)| sharer.reaches(*getter)));
    }
}
