//! The trackers that are named with -i: several have commas between them, and each may have a port of its own.

use std::collections::HashSet;

use protocol::{Code, MAX_TICKET_TRACKERS as MOST, PeerId, Ticket};

use crate::error::{ExitCode, Failure};

/// A tracker as it was named.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamedTracker {
    pub host: String,
    pub port: u16,
}

/// One of which is known who it must prove to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TrustedTracker {
    pub named: NamedTracker,
    pub id: PeerId,
}

/// The trackers in what was given with -i, each at this port unless it says another.
pub fn trackers(given: &[String], port: u16) -> Result<Vec<NamedTracker>, Failure> {
    let usage = |sentence: &str| Err(Failure::new(ExitCode::Usage, sentence));
    let words: Vec<&str> = given.iter().flat_map(|given| given.split(',')).map(str::trim).collect();
    if words.iter().any(|word| Ticket::is_meant(word)) {
        // What opens a private share is for no name server, and for no screen.
        return usage(match words.len() {
            1 => {
                "this is a ticket, where the name of a tracker is expected. These take it: peer-cli get, ls, inspect, doctor"
            }
            _ => "one of the trackers is a ticket. Use it with: peer-cli get, ls, inspect, doctor",
        });
    }
    if words.iter().any(|word| Code::find(word).is_some()) {
        return usage("this is a code, where the name of a tracker is expected. It is for peer-cli get");
    }
    let (mut trackers, mut seen) = (Vec::new(), HashSet::new());
    for word in &words {
        match (word.is_empty(), words.len()) {
            (true, 1) => return usage("the tracker's name is missing: -i takes a name or an address"),
            (true, _) => return usage("a tracker is missing between the commas behind -i"),
            (false, _) => {}
        }
        let (host, own) = host_and_port(word)?;
        let tracker = NamedTracker { host: host.to_owned(), port: own.unwrap_or(port) };
        if seen.insert(tracker.clone()) {
            trackers.push(tracker);
        }
    }
    match trackers.len() {
        0 => usage("the tracker's name is missing: -i takes a name or an address"),
        count if count > MOST => usage(&format!("{count} trackers are too many: {MOST} are the most")),
        _ => Ok(trackers),
    }
}

/// What was given with -i as one word that may be typed again: `A, B` in quotes is two trackers.
pub fn as_one_word(given: &[String]) -> String {
    let words: Vec<&str> = given.iter().flat_map(|given| given.split(',')).map(str::trim).collect();
    words.join(",")
}

/// How others are to type what was given with -i: one tracker by its host, as its port stands beside it, and several in one word.
pub fn to_type(given: &[String]) -> String {
    let word = as_one_word(given);
    let host = (!word.contains(',')).then(|| host_and_port(&word).ok()).flatten().map(|(host, _)| host.to_owned());
    host.unwrap_or(word)
}

/// Pairs trackers with the ids that were given: one for all of them, one for each in their order, or several that are all behind
/// one name.
pub fn with_ids(named: Vec<NamedTracker>, ids: &[PeerId]) -> Result<Vec<TrustedTracker>, Failure> {
    let trusted = |(named, &id)| TrustedTracker { named, id };
    match (&named[..], ids) {
        (_, [only]) => Ok(named.into_iter().map(|named| (named, only)).map(trusted).collect()),
        ([only], ids) if ids.len() <= MOST => Ok(ids.iter().map(|id| (only.clone(), id)).map(trusted).collect()),
        (all, ids) if all.len() == ids.len() => Ok(named.into_iter().zip(ids).map(trusted).collect()),
        (all, ids) => {
            let sentence = format!(
                "{} trackers are named, and {} ids with --tracker-id: give one id for all of them, or one for each, in their order",
                all.len(),
                ids.len()
            );
            Err(Failure::new(ExitCode::Usage, sentence))
        }
    }
}

/// `HOST`, `HOST:PORT`, `[IPv6]:PORT` or an IPv6 address alone.
fn host_and_port(text: &str) -> Result<(&str, Option<u16>), Failure> {
    let wrong = || Failure::new(ExitCode::Usage, format!("{text:?} is no HOST or HOST:PORT"));
    let (host, port) = match text.rsplit_once(':') {
        // More than one colon, and no brackets that say where the address ends: there is no port.
        Some((host, _)) if host.contains(':') && !host.ends_with(']') => (text, None),
        Some((host, port)) if !text.ends_with(']') => {
            (host, Some(port.parse().ok().filter(|&port| port != 0).ok_or_else(wrong)?))
        }
        _ => (text, None),
    };
    if host.is_empty() { Err(wrong()) } else { Ok((host, port)) }
}

#[cfg(test)]
mod tests {
    use protocol::Digest;

    use super::*;

    fn named(given: &[&str]) -> Option<Vec<(String, u16)>> {
        let given: Vec<_> = given.iter().map(|&text| text.to_owned()).collect();
        let named = trackers(&given, 9999).ok()?;
        Some(named.into_iter().map(|NamedTracker { host, port }| (host, port)).collect())
    }

    fn pairs(all: &[(&str, u16)]) -> Option<Vec<(String, u16)>> {
        Some(all.iter().map(|&(host, port)| (host.to_owned(), port)).collect())
    }

    #[test]
    fn a_tracker_is_named_as_people_name_machines() {
        let parsed = |text| host_and_port(text).ok();
        assert_eq!(parsed("localhost"), Some(("localhost", None)));
        assert_eq!(parsed("localhost:9998"), Some(("localhost", Some(9998))));
        assert_eq!(parsed("10.0.0.1:1"), Some(("10.0.0.1", Some(1))));
        assert_eq!(parsed("::1"), Some(("::1", None)));
        assert_eq!(parsed("[::1]"), Some(("[::1]", None)));
        assert_eq!(parsed("[::1]:9998"), Some(("[::1]", Some(9998))));
        for wrong in ["", ":9998", "host:", "host:many", "host:0", "host:70000"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_was_given_in_quotes_is_printed_without_spaces() {
        assert_eq!(as_one_word(&["a, b:1".to_owned(), "c".to_owned()]), "a,b:1,c");
        for (given, typed) in [("a:1", "a"), ("a", "a"), ("a:1,b:2", "a:1,b:2"), ("[::1]:1", "[::1]")] {
            assert_eq!(to_type(&[given.to_owned()]), typed);
        }
    }

    #[test]
    fn one_tracker_may_have_its_port_behind_it_as_each_of_several() {
        assert_eq!(named(&["localhost"]), pairs(&[("localhost", 9999)]));
        assert_eq!(named(&[" localhost:1 "]), pairs(&[("localhost", 1)]));
        assert_eq!(named(&["::1"]), pairs(&[("::1", 9999)]));
        assert_eq!(named(&["[::1]:2"]), pairs(&[("[::1]", 2)]));
        for wrong in ["", " ", "localhost:0", "localhost:many", ":1"] {
            assert_eq!(named(&[wrong]), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_secret_is_looked_up_nowhere() {
        let failure = |text: &str| trackers(&[text.to_owned()], 1).unwrap_err().message;
        let code = Code::new(7, [3, 900]).to_string();
        assert!(failure(&code).contains("for peer-cli get") && !failure(&code).contains(&code));
        assert!(failure(&format!("localhost,{code}")).contains("for peer-cli get"));
    }

    #[test]
    fn several_trackers_have_commas_or_flags_of_their_own() {
        let three = pairs(&[("a", 9999), ("10.0.0.1", 7), ("[::1]", 9998)]);
        assert_eq!(named(&["a,10.0.0.1:7,[::1]:9998"]), three);
        assert_eq!(named(&["a", " 10.0.0.1:7 , [::1]:9998"]), three);
        assert_eq!(named(&["a,b,a"]), pairs(&[("a", 9999), ("b", 9999)]), "each once");
        for wrong in ["a,,b", "a,", ",", "a,b:0", "a,b:many"] {
            assert_eq!(named(&[wrong]), None, "{wrong}");
        }
        let many: Vec<_> = (0..9).map(|number| format!("h{number}")).collect();
        assert_eq!(named(&[&many.join(",")]), None);
        assert_eq!(named(&[&many[..8].join(",")]).map(|all| all.len()), Some(8));
    }

    #[test]
    fn ids_are_for_all_trackers_or_for_each_or_all_behind_one_name() {
        let id = |number| PeerId(Digest([number; 32]));
        let ids = |names: &str, ids: &[PeerId]| {
            let named = trackers(&[names.to_owned()], 1).unwrap();
            let trusted = with_ids(named, ids).ok()?;
            Some(trusted.into_iter().map(|one| (one.named.host, one.id)).collect::<Vec<_>>())
        };
        let pair = |host: &str, number| (host.to_owned(), id(number));
        assert_eq!(ids("a,b", &[id(1)]), Some(vec![pair("a", 1), pair("b", 1)]));
        assert_eq!(ids("a,b", &[id(1), id(2)]), Some(vec![pair("a", 1), pair("b", 2)]));
        assert_eq!(ids("a", &[id(1), id(2)]), Some(vec![pair("a", 1), pair("a", 2)]));
        assert_eq!(ids("a,b,c", &[id(1), id(2)]), None);
    }
}
