//! Tickets of both kinds, as people copy them.

use proptest::prelude::*;

use super::*;

fn tracker() -> PeerId {
    PeerId(Digest([0xab; 32]))
}

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn open() -> Ticket {
    Ticket::new(tracker(), addresses(&["192.168.1.5:9999", "[2001:db8::1]:443"]), ContentId(Digest([7; 32]))).unwrap()
}

fn private(texts: &[&str], content: Option<ContentId>) -> Ticket {
    let secret = Secret::new(std::array::from_fn(|at| at as u8 * 17));
    Ticket::private(tracker(), addresses(texts), secret, content).unwrap()
}

/// With three trackers, one of which has two addresses.
fn several(private: bool) -> Ticket {
    let tracker =
        |number, texts: &[&str]| TicketTracker { id: PeerId(Digest([number; 32])), addresses: addresses(texts) };
    let trackers = vec![
        tracker(1, &["192.168.1.5:9999"]),
        tracker(2, &["[2001:db8::1]:443", "10.0.0.1:9"]),
        tracker(3, &["192.168.1.7:9999"]),
    ];
    let secret = private.then(|| Secret::new(std::array::from_fn(|at| at as u8 * 17)));
    Ticket::of_trackers(trackers, ContentId(Digest([7; 32])), secret).unwrap()
}

fn all() -> Vec<Ticket> {
    let content = Some(ContentId(Digest([7; 32])));
    vec![
        several(false),
        several(true),
        open(),
        private(&["192.168.1.5:9999"], None),
        private(&["[2001:db8::1]:443"], None),
        private(&["192.168.1.5:9999", "10.0.0.1:9999", "[2001:db8::1]:443"], None),
        private(&["192.168.1.5:9999"], content),
        private(&["192.168.1.5:9999", "127.0.0.1:9999"], content),
        private(&["192.168.1.5:9999", "127.0.0.1:9998"], None),
        private(&["[2001:db8::1]:9999"], content),
        private(&["192.168.1.5:9999", "10.0.0.1:9999"], content),
    ]
}

#[test]
fn a_ticket_is_one_word_that_a_double_click_selects() {
    for ticket in all() {
        let text = ticket.to_string();
        assert!(text.starts_with("p2p"));
        assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{text}");
        assert_eq!(text.parse(), Ok(ticket));
    }
}

#[test]
fn a_private_ticket_is_short() {
    let (v4, v6, content) = ("192.168.1.5:9999", "[2001:db8::1]:54321", Some(ContentId(Digest([7; 32]))));
    let length = |texts: &[&str], content| private(texts, content).to_string().len();
    assert_eq!((length(&[v4], None), length(&[v6], None), length(&[v4], content)), (69, 90, 120));
    assert_eq!(length(&[v4, "127.0.0.1:9999"], content), 120, "a tracker on the machine of who shares");
    assert_eq!(length(&[v4, "10.0.0.1:9999"], None), 77);
}

#[test]
fn a_ticket_of_several_trackers_is_longer_and_has_a_bound() {
    let tracker =
        |number, address: &str| TicketTracker { id: PeerId(Digest([number; 32])), addresses: addresses(&[address]) };
    let length = |trackers: Vec<TicketTracker>, private: bool| {
        let secret = private.then(|| Secret::new([9; 16]));
        Ticket::of_trackers(trackers, ContentId(Digest([7; 32])), secret).unwrap().to_string().len()
    };
    let of = |count, address: &str| (0..count).map(|number| tracker(number, address)).collect::<Vec<_>>();
    assert_eq!((length(of(2, "10.0.0.1:9"), false), length(of(3, "10.0.0.1:9"), false)), (143, 181));
    assert_eq!((length(of(2, "10.0.0.1:9"), true), length(of(3, "10.0.0.1:9"), true)), (168, 207));
    let two = |mut tracker: TicketTracker| {
        tracker.addresses.push("[2001:db8::2]:9".parse().unwrap());
        tracker
    };
    let longest = length(of(8, "[2001:db8::1]:9").into_iter().map(two).collect(), true);
    assert!(longest == 795 && longest <= LONGEST_TICKET);
    let content = ContentId(Digest([7; 32]));
    for wrong in [of(9, "10.0.0.1:9"), vec![], vec![tracker(1, "10.0.0.1:0"), tracker(2, "10.0.0.1:9")]] {
        assert_eq!(Ticket::of_trackers(wrong, content, None), Err(TicketError::Addresses));
    }
}

/// With one tracker, older programs read it.
#[test]
fn a_ticket_of_one_tracker_is_as_short_as_ever() {
    let trackers = vec![TicketTracker { id: tracker(), addresses: addresses(&["192.168.1.5:9999"]) }];
    let content = ContentId(Digest([7; 32]));
    let secret = Secret::new([9; 16]);
    let one = |secret| Ticket::of_trackers(trackers.clone(), content, secret).unwrap();
    assert_eq!(one(None), Ticket::new(tracker(), trackers[0].addresses.clone(), content).unwrap());
    let private = Ticket::private(tracker(), trackers[0].addresses.clone(), secret, Some(content)).unwrap();
    assert_eq!((one(Some(secret)).to_string().len(), one(Some(secret))), (120, private));
}

/// What a program of the first version says: it reads the version, and the checksum of all before.
#[test]
fn an_older_program_reads_the_version_of_a_ticket_of_several_trackers() {
    for private in [false, true] {
        let text = several(private).to_string();
        assert_eq!(later_version(&text.as_bytes()[PREFIX.len()..]), TicketError::Version(2));
        assert!(text.len() >= 68, "so long a text is taken for a ticket");
    }
}

/// As the first version printed it.
#[test]
fn a_ticket_of_an_open_share_is_what_it_was() {
    let ticket = Ticket::new(tracker(), addresses(&["192.168.1.5:9999"]), ContentId(Digest([7; 32]))).unwrap();
    let text = ticket.to_string();
    assert_eq!((&text[..20], text.len()), ("p2paedqobyha4dqobyha", 127));
    let bytes = BASE32_NOPAD_NOCASE.decode(&text.as_bytes()[3..]).unwrap();
    assert_eq!((bytes[0], &bytes[1..33], &bytes[33..65]), (1, &[7; 32][..], &[0xab; 32][..]));
    assert_eq!(bytes[65..73], [1, 4, 192, 168, 1, 5, 0x27, 0x0f]);
    assert_eq!(bytes[73..], checksum(&bytes[..73]));
    assert_eq!((ticket.content(), ticket.secret()), (Some(ContentId(Digest([7; 32]))), None));
}

#[test]
fn what_mails_and_chats_do_to_a_ticket_is_undone() {
    for ticket in all() {
        let text = ticket.to_string();
        let broken = |by: &str, every: usize| {
            let lines: Vec<_> = text.as_bytes().chunks(every).map(|line| str::from_utf8(line).unwrap()).collect();
            lines.join(by)
        };
        let line = format!("peer-cli get {text}");
        for pasted in [
            text.to_uppercase(),
            format!(" {text}\r\n"),
            format!("\u{feff}{text}\u{200b}"),
            format!("{text}."),
            format!("\"{text}\""),
            format!("'{text}',"),
            format!("\u{201c}{text}\u{201d}"),
            format!("\u{201e}{text}\u{201c}!"),
            format!("\u{ab}{text}\u{bb}"),
            format!("\u{2018}{text}\u{2019}"),
            format!("`{text}`"),
            format!("**{text}**"),
            format!("<{text}>"),
            format!("({text})"),
            broken("\n", 40),
            broken("\r\n> ", 30),
            broken("\n>> ", 64),
            broken(" ", 4),
            broken("\u{200b}", 1),
            broken("\u{ad}", 10),
            broken("=\r\n", 76),
            broken("\u{2028}", 20),
            text.bytes().map(|byte| char::from_u32(u32::from(byte) + 0xfee0).unwrap()).collect(),
            line.clone(),
            format!("$ {line}"),
            format!("PS C:\\> .\\peer-cli.exe get {text}"),
            line.to_uppercase(),
            format!("Here it is:\n\n  {line}\n\nSee you, p2p fan"),
            format!("> {} \n> {}", &line[..50], &line[50..]),
            format!("p2p is how I send it: {text}, bye"),
            format!("v{text}"),
            format!("peer-cli get{text}"),
        ] {
            assert_eq!(pasted.parse(), Ok(ticket.clone()), "{pasted:?}");
            assert!(Ticket::is_meant(&pasted));
        }
    }
}

#[test]
fn a_second_ticket_in_a_text_is_not_passed_over() {
    let texts: Vec<_> = all().iter().map(Ticket::to_string).collect();
    let damaged = |text: &str| format!("{}0{}", &text[..30], &text[31..]);
    for (at, one) in texts.iter().enumerate() {
        let (other, third) = (&texts[(at + 1) % texts.len()], &texts[(at + 2) % texts.len()]);
        for between in [" ", ",", ", ", ";", "|", "/", "\n", "\r\n> ", " and ", "\npeer-cli get ", "\u{3001}"] {
            for pasted in [
                format!("{one}{between}{other}"),
                format!("\"{one}{between}{other}\"."),
                format!("{one}{between}{}", other.to_uppercase()),
                format!("{one}{between}{}\n{}", &other[..40], &other[40..]),
                format!("{one}{between}{other}{between}{one}"),
                format!("{one}{between}{}", damaged(other)),
                format!("{}{between}{other}", damaged(one)),
            ] {
                assert_eq!(pasted.parse::<Ticket>(), Err(TicketError::Several(2)), "{pasted:?}");
                assert!(Ticket::is_meant(&pasted));
            }
            assert_eq!(format!("{one}{other}").parse::<Ticket>(), Err(TicketError::Several(2)));
            let three = format!("{one}{between}{other}{between}{third}");
            assert_eq!(three.parse::<Ticket>(), Err(TicketError::Several(3)), "{three:?}");
        }
    }
    let cut_off = format!("{} {}", open(), &several(true).to_string()[..40]);
    assert_eq!(cut_off.parse::<Ticket>(), Err(TicketError::Several(2)), "{cut_off:?}");
}

#[test]
fn one_ticket_that_is_there_more_than_once_is_one() {
    for ticket in all() {
        let text = ticket.to_string();
        for pasted in [
            format!("{text}\n{text}\nthat is all"),
            format!("{text} {}, {text}.", text.to_uppercase()),
            format!("{}\u{2026}\npeer-cli get {text}", &text[..40]),
            format!("peer-cli get {text}\n> peer-cli get {}\n> {}", &text[..50], &text[50..]),
            format!("peer-cli get {text}\nOr, for an hour: peer-cli get -i host 7-violin-tadpole"),
        ] {
            assert_eq!(pasted.parse(), Ok(ticket.clone()), "{pasted:?}");
        }
    }
}

#[test]
fn every_change_of_one_character_is_refused() {
    for ticket in all() {
        let text = ticket.to_string();
        for at in PREFIX.len()..text.len() {
            for other in (b'0'..=b'9').chain(b'a'..=b'z').map(char::from) {
                let mut typed: Vec<char> = text.chars().collect();
                if typed[at] == other {
                    continue;
                }
                typed[at] = other;
                let typed = String::from_iter(typed);
                let error = typed.parse::<Ticket>().expect_err(&typed);
                assert!(matches!(error, TicketError::Mistyped | TicketError::CutOff(_)), "{other} at {at}: {error}");
            }
        }
    }
}

#[test]
fn a_character_that_is_missing_doubled_or_swapped_is_refused() {
    for ticket in all() {
        let text = ticket.to_string();
        for at in PREFIX.len()..text.len() {
            let (before, after) = text.split_at(at);
            let slips = [format!("{before}{}", &after[1..]), format!("{before}{}{after}", &after[..1])];
            for slip in slips {
                let error = slip.parse::<Ticket>().expect_err(&slip);
                assert!(matches!(error, TicketError::Mistyped | TicketError::CutOff(_)), "at {at}: {error}");
            }
            if let (Some(one), Some(two)) = (after.get(..1), after.get(1..2))
                && one != two
            {
                let swapped = format!("{before}{two}{one}{}", &after[2..]);
                assert!(swapped.parse::<Ticket>().is_err(), "at {at}");
            }
        }
    }
}

#[test]
fn what_is_no_ticket_says_so() {
    for text in ["", "p2p", "hello", "q2pabc"] {
        assert_eq!(text.parse::<Ticket>(), Err(TicketError::Prefix), "{text}");
    }
}

fn with_checksum(mut bytes: Vec<u8>) -> String {
    let sum = checksum(&bytes);
    bytes.extend(sum);
    format!("p2p{}", BASE32_NOPAD_NOCASE.encode(&bytes))
}

#[test]
fn what_is_well_copied_but_wrong_is_told_from_a_slip() {
    let whole = open().encode(ContentId(Digest([7; 32])));
    let told = &whole[..whole.len() - CHECKSUM];
    let mut later = told.to_vec();
    later[0] = 3;
    assert_eq!(with_checksum(later).parse::<Ticket>(), Err(TicketError::Version(3)));
    let mut none = told[..66].to_vec();
    none[65] = 0;
    assert_eq!(with_checksum(none).parse::<Ticket>(), Err(TicketError::Malformed));
    let mut many = told[..65].to_vec();
    many.push(255);
    many.extend([4, 127, 0, 0, 1, 0, 9].repeat(255));
    assert_eq!(with_checksum(many).parse::<Ticket>(), Err(TicketError::Malformed));
}

#[test]
fn only_what_looks_like_one_is_meant_as_one() {
    for ticket in all() {
        let text = ticket.to_string();
        assert!(Ticket::is_meant(&text[..text.len() - 1]), "{text}");
        assert!(Ticket::is_meant(&format!("{}0{}", &text[..30], &text[31..])), "{text}");
    }
    let names = [
        "p2p",
        "p2p.tar",
        "p2pfileshare",
        "",
        "пример",
        "p2psharedfolderofmyphotos",
        "p2p 2fast2furious.mkv",
        "p2p2backup.tar.gz",
        "my p2p notes and everything else that is worth keeping for a long time.txt",
        "p2pahead.tar.gz",
        "p2p-aead-notes",
        "myp2paeadnotes",
        "photosp2p22222222222222222222222222222222222222222222222222222222222222222222",
        "model.bin",
    ];
    for name in names {
        assert!(!Ticket::is_meant(name), "{name:?}");
    }
}

#[test]
fn a_ticket_that_was_cut_off_is_told_from_a_name() {
    for ticket in all() {
        let text = ticket.to_string();
        for len in 20..text.len() {
            assert_eq!(text[..len].parse::<Ticket>(), Err(TicketError::CutOff(len)), "{text}");
        }
    }
}

#[test]
fn the_beginning_of_a_ticket_is_told_from_a_name() {
    for beginning in ["p2p2aeb6…", "p2p2aeb6", "P2P5AEB6...", "p2p…", "p2p...", "p2pa…", "p2pahm4rgg"] {
        assert!(Ticket::is_shortened(beginning), "{beginning}");
    }
    for name in [
        "p2p",
        "p2p2",
        "p2p3test",
        "p2p-notes…",
        "p2p2 notes…",
        "p2pnotes…",
        "p2p-fileshare",
        "p2p2aeb6.bin",
        "p2p2023…",
        "…",
    ] {
        assert!(!Ticket::is_shortened(name), "{name}");
    }
}

#[test]
fn a_damaged_ticket_that_is_broken_up_is_told_from_words() {
    for ticket in all() {
        let mut text = ticket.to_string();
        let damaged = if &text[30..31] == "a" { "b" } else { "a" };
        text.replace_range(30..31, damaged);
        let parts: Vec<_> = text.as_bytes().chunks(16).map(|part| std::str::from_utf8(part).unwrap()).collect();
        assert_eq!(Ticket::damage(&parts.join(" ")), Some(TicketError::Mistyped), "{text}");
        assert_eq!(Ticket::damage(&parts[..2].join(" ")), Some(TicketError::CutOff(32)), "{text}");
    }
    for words in ["p2p2 my notes", "p2p notes of last summer and winter", "get p2p-files from the other machine here"] {
        assert_eq!(Ticket::damage(words), None, "{words}");
    }
}

fn address() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), 1..=u16::MAX).prop_map(SocketAddr::from)
}

proptest! {
    #[test]
    fn a_ticket_comes_back_as_it_went(
        tracker: [u8; 32], content: [u8; 32], secret: [u8; 16], told: bool,
        addresses in prop::collection::vec(address(), 1..=MAX_ADDRESSES),
    ) {
        let (tracker, content) = (PeerId(Digest(tracker)), ContentId(Digest(content)));
        let private = Ticket::private(tracker, addresses.clone(), Secret::new(secret), (!told).then_some(content));
        let one = |address| TicketTracker { id: tracker, addresses: vec![address] };
        let several = addresses.iter().copied().take(MAX_TICKET_TRACKERS).map(one).collect();
        let several = Ticket::of_trackers(several, content, told.then_some(Secret::new(secret)));
        for ticket in [Ticket::new(tracker, addresses, content), private, several] {
            let ticket = ticket.unwrap();
            prop_assert!(Ticket::is_meant(&ticket.to_string()));
            prop_assert_eq!(ticket.to_string().parse(), Ok(ticket));
        }
    }

    #[test]
    fn any_text_is_a_ticket_or_an_error(text: String, body in "[a-z2-7]{0,200}") {
        let _ = text.parse::<Ticket>();
        let _ = format!("p2p{text}").parse::<Ticket>();
        let _ = format!("p2p{body}").parse::<Ticket>();
    }
}
