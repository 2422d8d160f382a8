//! `share` prints a code, `get` takes it in place of the ticket, and nobody else gets anywhere with it.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use peer::{CodeEvent, CodeOptions, Node, RedeemError, TrackerAddress};
use protocol::{
    Code, CodeMessage, MAX_FRAME, MailboxEvent, MailboxRefusal, MailboxRequest, Secret, Ticket, TrackerEvent,
    TrackerRequest, Wire,
};
use testbed::event::{self, CodeOver};
use tests::machines::{Machines, another_code, ticket};
use tests::{Process, Swarm, noise};
use transport::frame::{frame, read_frame};
use transport::{Config, Connection, Identity, Kind, Transport};

/// No answer takes longer; on a slow, busy machine most take milliseconds.
const DEADLINE: Duration = Duration::from_secs(20);
const WRONG: &str = "That code is wrong, or it has been used. Ask for a new one, or for the ticket.";
const NOBODY: &str =
    "Nobody offers that code there: it is wrong or not good any more, or it is offered at another tracker.";

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn transport(kind: Kind) -> Arc<dyn Transport> {
    kind.bind(Config::new(Identity::generate().unwrap(), vec!["127.0.0.1:0".parse().unwrap()])).unwrap()
}

/// What is typed behind `peer-cli get`, of the line that a sharer prints.
fn words(command: &str) -> Vec<String> {
    command.split(' ').skip(2).map(str::to_owned).collect()
}

fn get(machines: &Machines, machine: &str, words: &[String]) -> Process {
    machines.get(machine, &words.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_code_gets_what_its_ticket_would() {
    let machines = Machines::new();
    let bytes = noise(300_000, 1);
    machines.put("here", "file", &bytes);
    let mut sharer = machines.share("here", &["-d=0", "file"]);
    let first = sharer.event::<event::Code>();
    assert_eq!(first.seconds, 3600.0);
    let mut typed = words(&first.command);
    // As people note it.
    let code = typed.pop().unwrap().to_uppercase();
    typed.extend(code.split('-').map(str::to_owned));
    get(&machines, "there", &typed).ends_with(0);
    assert!(machines.read("there", "output/file") == bytes);
    let over = sharer.event::<CodeOver>();
    assert_eq!((over.code.as_str(), over.reason.as_str()), (first.code.as_str(), "used"));
    // It is good once. Another one follows, and those who were told the first one do not guess at that.
    let second = sharer.event::<event::Code>();
    let number = |code: &str| code.split('-').next().map(str::to_owned);
    assert!(number(&second.code) != number(&first.code), "{} after {}", second.code, first.code);
    for _ in 0..3 {
        let mut late = get(&machines, "late", &words(&first.command));
        late.ends_with(10);
        assert!(late.errors().contains(NOBODY), "{}", late.errors());
    }
    get(&machines, "next", &words(&second.command)).ends_with(0);
    assert!(machines.read("next", "output/file") == bytes);
}

/// The code is used up by then.
#[test]
fn what_fails_after_its_code_was_used_goes_on_by_the_ticket_that_is_named_then() {
    let machines = Machines::new();
    let bytes = noise(300_000, 1);
    machines.put("here", "file", &bytes);
    machines.put("there", "output/file", b"in the way");
    let mut sharer = machines.share("here", &["-d=0", "--receivers=1", "file"]);
    let typed = words(&sharer.event::<event::Code>().command);
    let mut getter = get(&machines, "there", &typed);
    getter.ends_with(7);
    let errors = getter.errors();
    let line = errors.lines().find_map(|line| line.split("To go on, with the same flags: peer-cli get ").nth(1));
    machines.get("there", &[line.expect(&errors).trim(), "--force"]).ends_with(0);
    assert!(machines.read("there", "output/file") == bytes);
    sharer.ends_with(0);
}

/// What is named second may take an hour to hash, or to come.
#[test]
fn while_other_paths_are_read_the_code_of_the_first_is_looked_after() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(30_000, 1));
    let mut sharer = Process::start("here", machines.command("here", "share", &["--json", "-d=0", "file", "-"]));
    let first = sharer.event::<event::Code>();
    get(&machines, "there", &words(&first.command)).ends_with(0);
    assert_eq!(sharer.event::<CodeOver>().reason, "used");
    let second = sharer.event::<event::Code>();
    sharer.type_line("what comes through standard input");
    sharer.end_input();
    let ticket = ticket(&mut sharer);
    machines.get("late", &[&ticket]).ends_with(0);
    get(&machines, "next", &words(&second.command)).ends_with(0);
    assert_eq!(machines.read("late", "output/stdin"), b"what comes through standard input\n");
}

#[test]
fn a_code_works_by_way_of_a_tracker_that_both_know() {
    let swarm = Swarm::new();
    let bytes = noise(300_000, 1);
    let machines = Machines::new();
    machines.put("here", "file", &bytes);
    let port = swarm.port.to_string();
    let id = swarm.tracker_address().id.to_string();
    let mut sharer = machines.share("here", &["-i=127.0.0.1", "-d", &port, "--tracker-id", &id, "file"]);
    let code = sharer.event::<event::Code>().code;
    assert!(code.starts_with("1-"), "{code}: the smallest number that is free");
    // The tracker is named by a setting, and its id by nothing: the code is enough.
    let mut command = machines.command("there", "get", &[&code]);
    command.env("P2P_TRACKER_IP", "127.0.0.1").env("P2P_TRACKER_PORT", &port);
    Process::start("there", command).ends_with(0);
    assert!(machines.read("there", "output/file") == bytes);
}

/// The line named an address of this machine at which that tracker does not listen.
#[test]
fn a_code_at_a_tracker_on_loopback_alone_leads_there() {
    let swarm = Swarm::new();
    let machines = Machines::new();
    machines.put("here", "file", &noise(30_000, 1));
    let (port, id) = (swarm.port.to_string(), swarm.tracker_address().id.to_string());
    let mut sharer = machines.share("here", &["-i=127.0.0.1", "-d", &port, "--tracker-id", &id, "file"]);
    let command = sharer.event::<event::Code>().command;
    assert!(command.starts_with(&format!("peer-cli get -i 127.0.0.1 -d {port} ")), "{command}");
    get(&machines, "there", &words(&command)).ends_with(0);
    assert_eq!(machines.read("there", "output/file").len(), 30_000);
}

#[test]
fn three_wrong_codes_burn_the_right_one_and_the_ticket_stays_good() {
    let machines = Machines::new();
    let bytes = noise(300_000, 1);
    machines.put("here", "file", &bytes);
    let mut sharer = machines.share("here", &["-d=0", "file"]);
    let ticket = self::ticket(&mut sharer);
    let first = sharer.event::<event::Code>();
    let mut wrong = words(&first.command);
    *wrong.last_mut().unwrap() = another_code(&first.code);
    for number in 0..3 {
        let mut getter = get(&machines, &format!("stranger{number}"), &wrong);
        getter.ends_with(10);
        assert!(getter.errors().contains(WRONG), "{}", getter.errors());
    }
    let over = sharer.event::<CodeOver>();
    assert_eq!((over.code.as_str(), over.reason.as_str()), (first.code.as_str(), "burnt"));
    assert!(over.message.starts_with("Someone has tried three wrong codes (from 127.0.0.1)."), "{}", over.message);
    assert!(over.message.ends_with("The ticket above still works."), "{}", over.message);
    // Not even the right one counts now.
    get(&machines, "late", &words(&first.command)).ends_with(10);
    machines.get("there", &[&ticket]).ends_with(0);
    assert!(machines.read("there", "output/file") == bytes);
}

#[test]
fn a_share_for_one_receiver_has_one_code() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(30_000, 1));
    let mut sharer =
        Process::start("here", machines.command("here", "share", &["-d=0", "--receivers=1", "--code-for=2h", "file"]));
    let line = sharer.line("Or, for 2h: peer-cli get -i 127.0.0.1 -d ");
    let typed: Vec<_> = line.split("peer-cli get ").nth(1).unwrap().split(' ').map(str::to_owned).collect();
    get(&machines, "there", &typed).ends_with(0);
    let used = sharer.line("was used by");
    assert!(used.ends_with("by 127.0.0.1."), "{used}");
    sharer.ends_with(0);
}

#[test]
fn a_code_that_nobody_uses_expires_and_none_is_printed_if_none_is_wanted() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(30_000, 1));
    let mut sharer = machines.share("here", &["-d=0", "--code-for=1s", "file"]);
    let code = sharer.event::<event::Code>();
    assert_eq!(sharer.event::<CodeOver>().reason, "expired");
    let mut late = get(&machines, "late", &words(&code.command));
    late.ends_with(10);
    assert!(late.errors().contains(NOBODY), "{}", late.errors());
    let mut silent = Process::start("here", machines.command("here", "share", &["-d=0", "--no-code", "file"]));
    silent.line("peer-cli get p2p");
    silent.wait_for("that it shares", |line| {
        assert!(!line.contains("Or, for"), "{line}");
        line.contains("Sharing file").then_some(())
    });
}

/// Whether it was stopped or has changed: who has the code is told at once that it is none.
#[test]
fn what_is_not_shared_any_more_has_no_code() {
    let machines = Machines::new();
    for name in ["stopped", "changed", "kept"] {
        machines.put("here", name, &noise(50_000, 1 + name.len() as u64));
    }
    let mut sharer = machines.share("here", &["-d=0", "stopped", "changed", "kept"]);
    let codes: Vec<_> = (0..3).map(|_| words(&sharer.event::<event::Code>().command)).collect();
    sharer.type_line("stop stopped");
    assert_eq!(sharer.event::<CodeOver>().reason, "withdrawn");
    machines.put("here", "changed", &noise(50_000, 9));
    assert_eq!(sharer.event::<CodeOver>().reason, "withdrawn");
    for code in &codes[..2] {
        let late = |_| {
            let mut late = get(&machines, "late", code);
            late.wait();
            late.errors()
        };
        // The tracker hears of it a moment later.
        assert!((0..20).map(late).any(|errors| errors.contains(NOBODY)), "{code:?}");
    }
    get(&machines, "there", &codes[2]).ends_with(0);
}

/// It once heard of nothing else until that was shared.
#[test]
fn what_ends_while_something_is_added_is_heard_of_at_once() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(50_000, 1));
    machines.put("here", "growing", b"a line\n");
    let mut sharer = machines.share("here", &["-d=0", "file"]);
    sharer.event::<event::Code>();
    let (stop, growing) = (AtomicBool::new(false), machines.folder("here").join("growing"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = std::fs::File::options().append(true).open(&growing).unwrap();
            while !stop.load(Ordering::Relaxed) {
                file.write_all(b"a line\n").unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let ends = StopsWriting(&stop);
        // On a busy machine the thread begins late.
        while std::fs::metadata(&growing).unwrap().len() < 50 {
            std::thread::sleep(Duration::from_millis(5));
        }
        sharer.type_line("add growing");
        sharer.event::<event::Waiting>();
        sharer.type_line("stop file");
        assert_eq!(sharer.event::<CodeOver>().reason, "withdrawn");
        drop(ends);
    });
    // Before it was given up.
    assert_eq!(sharer.event::<event::Sharing>().name, "growing");
}

/// A thread that writes ends with its test, whatever becomes of that.
struct StopsWriting<'a>(&'a AtomicBool);

impl Drop for StopsWriting<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The second code once took the place of the first, which nobody was told of.
#[test]
fn what_is_given_twice_is_shared_once() {
    let machines = Machines::new();
    machines.put("here", "file", &noise(50_000, 1));
    let mut sharer = machines.share("here", &["-d=0", "file", "./file"]);
    let code = sharer.event::<event::Code>();
    sharer.event::<event::Sharing>();
    sharer.type_line("add file");
    sharer.event::<event::Sharing>();
    get(&machines, "there", &words(&code.command)).ends_with(0);
    sharer.type_line("exit");
    let tickets = sharer.find_event("the end", |event| match event {
        event::Event::Ticket(ticket) => Some(Err(ticket)),
        event::Event::Bye(_) => Some(Ok(())),
        _ => None,
    });
    assert!(tickets.is_ok(), "{tickets:?}");
}

#[test]
fn what_looks_like_a_code_is_taken_for_one_only_if_it_is() {
    let swarm = Swarm::new();
    let machines = Machines::new();
    let (port, id) = (swarm.port.to_string(), swarm.tracker_address().id.to_string());
    let at = ["-i=127.0.0.1", "-d", &port, "--tracker-id", &id];
    let run = |machine: &str, rest: &[&str]| {
        let arguments: Vec<_> = at.iter().chain(rest).copied().collect();
        machines.get(machine, &arguments)
    };
    machines.put("here", "12-foo-bar", b"a name");
    machines.put("here", "7-aardvark-zucchini", b"a name as well");
    let mut sharer =
        machines.share("here", &[&at[..], &["--open", "--no-code", "12-foo-bar", "7-aardvark-zucchini"]].concat());
    let _tickets = [ticket(&mut sharer), ticket(&mut sharer)];
    run("name", &["12-foo-bar"]).ends_with(0);
    assert_eq!(machines.read("name", "output/12-foo-bar"), b"a name");
    run("code", &["7-aardvark-zucchini"]).ends_with(10);
    run("forced", &["-f", "7-aardvark-zucchini"]).ends_with(0);
    assert_eq!(machines.read("forced", "output/7-aardvark-zucchini"), b"a name as well");
    // A typing error is said before anything is.
    let mut typed = machines.get("typed", &["-i=127.0.0.1", "-d=1", "7-ardvark-zucchini"]);
    typed.ends_with(2);
    assert!(typed.errors().contains("did you mean 7-aardvark-zucchini?"), "{}", typed.errors());
    // So is that the number is missing: the rest is all that is secret.
    let mut wordy = machines.get("typed", &["-i=127.0.0.1", "-d=1", "Aardvark", "zucchini"]);
    wordy.ends_with(2);
    assert!(wordy.errors().contains("a code begins with a number"), "{}", wordy.errors());
    run("forced", &["-f", "aardvark-zucchini"]).ends_with(4);
    let mut nowhere = machines.get("nowhere", &["7-aardvark-zucchini"]);
    nowhere.ends_with(2);
    assert!(nowhere.errors().contains("-i"), "{}", nowhere.errors());
}

#[test]
fn a_code_of_a_closed_swarm_is_for_members() {
    let swarm = Swarm::closed();
    let machines = Machines::new();
    machines.put("here", "file", &noise(30_000, 1));
    let (port, certs) = (swarm.port.to_string(), swarm.certs());
    let (ca, certs) = (certs.join("ca.pem").display().to_string(), certs.display().to_string());
    let member = ["--ca", &ca, "--certs", &certs];
    let at = ["-i=127.0.0.1", "-d", &port];
    let mut sharer = machines.share("here", &[&at[..], &member, &["file"]].concat());
    let code = sharer.event::<event::Code>().code;
    let mut stranger = machines.get("stranger", &[&at[..], &[&code]].concat());
    stranger.ends_with(3);
    machines.get("there", &[&at[..], &member, &[&code]].concat()).ends_with(0);
    assert_eq!(machines.read("there", "output/file").len(), 30_000);
}

/// A tracker in this process, and a node that offers codes at it.
struct Offered {
    place: TrackerAddress,
    node: Node,
    ticket: Ticket,
}

fn offered() -> Offered {
    let there = transport(Kind::Auto);
    let place = TrackerAddress { addresses: there.listeners(), id: there.peer_id(), name: None };
    let server = tracker::Server::new(there, tracker::ServerConfig::default());
    tokio::spawn(async move { server.run().await });
    let ticket = Ticket::private(place.id, place.addresses.clone(), Secret::new([7; 16]), None).unwrap();
    Offered { place, node: Node::builder(transport(Kind::Auto)).start(), ticket }
}

async fn next_code(offer: &mut peer::CodeOffer) -> Code {
    loop {
        match tokio::time::timeout(DEADLINE, offer.next()).await.unwrap().unwrap() {
            CodeEvent::New { code, .. } => return code,
            CodeEvent::None(reason) => panic!("{reason}"),
            _ => {}
        }
    }
}

/// So many guesses, so many at a time; none is right. Gives how many were refused as wrong.
async fn guess(place: &TrackerAddress, mailbox: u16, count: usize, at_a_time: usize, right: Code) -> usize {
    let strangers = [Kind::Quic, Kind::Tcp].map(|kind| Node::builder(transport(kind)).start());
    let (next, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..at_a_time {
        let node = strangers[task % 2].clone();
        let (place, next, refused) = (place.clone(), next.clone(), refused.clone());
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                let words = [(number / 1024) as u16, (number % 1024) as u16];
                let code = Code::new(mailbox, words);
                if code == right {
                    continue;
                }
                match node.redeem_code(&place, &code).await {
                    Ok(_) => panic!("{number} is no code"),
                    Err(RedeemError::Wrong | RedeemError::NoMailbox) => drop(refused.fetch_add(1, Ordering::Relaxed)),
                    Err(_) => {}
                }
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    refused.load(Ordering::Relaxed)
}

/// Of many guesses over many connections three are compared, and the sharer is told of them.
fn attack(count: usize) {
    runtime().block_on(async {
        let Offered { place, node, ticket } = offered();
        let mut offer = node.offer_code(place.clone(), ticket, CodeOptions::new(Duration::from_secs(3600)));
        let code = next_code(&mut offer).await;
        let refused = guess(&place, code.mailbox(), count, 100, code).await;
        assert!(refused > 3, "{refused}");
        let burnt = tokio::time::timeout(DEADLINE, offer.next()).await.unwrap();
        let Some(CodeEvent::Burnt { code: burnt, from, wait }) = burnt else { panic!("{burnt:?}") };
        assert_eq!((burnt, from.len()), (code, 3));
        assert!(wait > Duration::ZERO, "the next one is not at once");
        // The holder of the right code is too late, and nothing else has become of it.
        assert_eq!(redeem(&node, &place, &code).await, Err(RedeemError::Wrong));
    });
}

#[test]
fn of_a_thousand_guesses_three_are_evaluated() {
    attack(1000);
}

#[test]
#[ignore = "minutes"]
fn of_a_hundred_thousand_guesses_three_are_evaluated() {
    attack(100_000);
}

/// As `get` does: one that is busy is asked again.
async fn redeem(node: &Node, place: &TrackerAddress, code: &Code) -> Result<Ticket, RedeemError> {
    for _ in 0..50 {
        match node.redeem_code(place, code).await {
            Err(RedeemError::Busy) => tokio::time::sleep(Duration::from_millis(200)).await,
            other => return other,
        }
    }
    Err(RedeemError::Busy)
}

/// Someone who says what it likes about mailboxes.
struct Stranger(Arc<dyn Transport>);

impl Stranger {
    async fn open(
        &self,
        place: &TrackerAddress,
        messages: &[MailboxRequest],
    ) -> (Arc<dyn Connection>, Vec<MailboxEvent>) {
        let connection = self.0.dial_tracker(place.addresses[0], place.id).await.unwrap();
        let (mut send, mut recv) = connection.open().await.unwrap();
        for message in messages {
            let bytes = TrackerRequest::Mailbox(message.clone()).encode().unwrap();
            // The connection may have ended by what was said before.
            let _ = send.send(frame(&bytes)).await;
        }
        let mut heard = Vec::new();
        while let Ok(Ok(Some(bytes))) = tokio::time::timeout(DEADLINE, read_frame(&mut *recv, MAX_FRAME)).await {
            match TrackerEvent::decode(&bytes).unwrap() {
                TrackerEvent::Mailbox(event) => heard.push(event),
                other => panic!("{other:?}"),
            }
        }
        (connection, heard)
    }
}

fn begin() -> Vec<u8> {
    // Any element of the group, as a getter says it: the base point, of the side that is the getter's.
    let mut element = vec![0x42];
    element.extend([0x58]);
    element.extend([0x66; 31]);
    CodeMessage::Begin { element }.encode().unwrap()
}

/// It was void once the router had answered, or an address had changed.
#[test]
fn a_code_stands_for_the_newest_ticket_of_its_share() {
    runtime().block_on(async {
        let Offered { place, node, ticket } = offered();
        let mut offer = node.offer_code(place.clone(), ticket, CodeOptions::new(Duration::from_secs(3600)));
        let code = next_code(&mut offer).await;
        let moved =
            Ticket::private(place.id, vec!["203.0.113.7:9".parse().unwrap()], Secret::new([7; 16]), None).unwrap();
        offer.set_ticket(moved.clone());
        assert_eq!(redeem(&node, &place, &code).await, Ok(moved));
    });
}

/// To a tracker all of them are of one peer: two with one number would take it from each other.
#[test]
fn no_two_codes_of_a_sharer_have_one_number() {
    runtime().block_on(async {
        let Offered { place, node, ticket } = offered();
        let options = CodeOptions::new(Duration::from_secs(3600)).own_tracker(true);
        let offer = |_| node.offer_code(place.clone(), ticket.clone(), options.clone());
        let mut offers: Vec<_> = (0..30).map(offer).collect();
        let mut numbers = BTreeSet::new();
        for offer in &mut offers {
            numbers.insert(next_code(offer).await.mailbox());
        }
        assert_eq!(numbers.len(), offers.len(), "{numbers:?}");
    });
}

#[test]
fn a_connection_has_one_guess() {
    runtime().block_on(async {
        let Offered { place, node, ticket } = offered();
        let mut offer = node.offer_code(place.clone(), ticket, CodeOptions::new(Duration::from_secs(3600)));
        let code = next_code(&mut offer).await;
        let open = MailboxRequest::Open { mailbox: code.mailbox(), message: begin() };
        let proof = CodeMessage::Proof([7; 32]).encode().unwrap();
        let say = MailboxRequest::Say { message: proof };
        for kind in [Kind::Quic, Kind::Tcp] {
            let stranger = Stranger(transport(kind));
            // Opened twice, or proven twice: the second of each is not heard.
            let (_, heard) = stranger.open(&place, &[open.clone(), open.clone(), say.clone()]).await;
            let [MailboxEvent::Answered { message }] = &heard[..] else { panic!("{kind:?}: {heard:?}") };
            assert!(matches!(CodeMessage::decode(message), Ok(CodeMessage::Reply { .. })));
        }
        let stranger = Stranger(transport(Kind::Auto));
        let (_, heard) =
            stranger.open(&place, &[open.clone(), say.clone(), say.clone(), open.clone(), say.clone()]).await;
        assert_eq!(heard.len(), 2, "{heard:?}");
        // So one wrong guess was evaluated, and the code is still good.
        assert!(node.redeem_code(&place, &code).await.is_ok());
        let used = tokio::time::timeout(DEADLINE, offer.next()).await.unwrap();
        assert!(matches!(used, Some(CodeEvent::Used { .. })), "{used:?}");
        // Nobody has a mailbox of another number, and nobody may speak to one that it has not opened.
        let nothing = MailboxRequest::Open { mailbox: 4711, message: begin() };
        let (_, heard) = stranger.open(&place, &[nothing]).await;
        assert_eq!(heard, [MailboxEvent::Refused(MailboxRefusal::None)]);
        let (_, heard) = stranger.open(&place, &[say]).await;
        assert_eq!(heard, []);
    });
}

#[test]
fn who_opens_and_stalls_keeps_nobody_out() {
    runtime().block_on(async {
        let Offered { place, node, ticket } = offered();
        let mut offer = node.offer_code(place.clone(), ticket.clone(), CodeOptions::new(Duration::from_secs(3600)));
        let code = next_code(&mut offer).await;
        let stranger = transport(Kind::Quic);
        let open = MailboxRequest::Open { mailbox: code.mailbox(), message: begin() };
        let open = frame(&TrackerRequest::Mailbox(open).encode().unwrap());
        let mut held = Vec::new();
        for _ in 0..100 {
            let connection = stranger.dial_tracker(place.addresses[0], place.id).await.unwrap();
            let (mut send, recv) = connection.open().await.unwrap();
            send.send(open.clone()).await.unwrap();
            held.push((connection, send, recv));
        }
        let getter = Node::builder(transport(Kind::Auto)).start();
        assert_eq!(redeem(&getter, &place, &code).await, Ok(ticket));
    });
}

#[test]
fn an_owner_that_loses_its_tracker_has_the_same_code_when_it_is_back() {
    let mut swarm = Swarm::new();
    let machines = Machines::new();
    machines.put("here", "file", &noise(30_000, 1));
    let (port, id) = (swarm.port.to_string(), swarm.tracker_address().id.to_string());
    let at = ["-i=127.0.0.1", "-d", &port, "--tracker-id", &id];
    let mut sharer = machines.share("here", &[&at[..], &["file"]].concat());
    let code = sharer.event::<event::Code>().code;
    swarm.restart_tracker();
    sharer.event::<event::TrackerBack>();
    let mut tries = 0;
    loop {
        let mut getter = machines.get("there", &[&at[..], &["--json", &code]].concat());
        if getter.wait().success() {
            break;
        }
        tries += 1;
        assert!(tries < 20, "{}", getter.errors());
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(machines.read("there", "output/file").len(), 30_000);
}

#[test]
fn a_tracker_in_between_that_lies_gets_one_guess_and_no_ticket() {
    runtime().block_on(async {
        let Offered { place, node, ticket } = offered();
        let mut offer = node.offer_code(place.clone(), ticket, CodeOptions::new(Duration::from_secs(3600)));
        let code = next_code(&mut offer).await;
        // A tracker that passes everything on to the right one, as its own.
        let liar = transport(Kind::Quic);
        let lies = TrackerAddress { addresses: liar.listeners(), id: liar.peer_id(), name: None };
        let onward = place.clone();
        tokio::spawn(async move {
            while let Some(connection) = liar.accept().await {
                let (dialler, onward) = (liar.clone(), onward.clone());
                tokio::spawn(async move {
                    let right = dialler.dial_tracker(onward.addresses[0], onward.id).await.unwrap();
                    let (mut from, mut to) = (connection.accept().await.unwrap(), right.open().await.unwrap());
                    loop {
                        let Ok(Some(asked)) = read_frame(&mut *from.1, MAX_FRAME).await else { return };
                        to.0.send(frame(&asked)).await.unwrap();
                        let Ok(Some(answer)) = read_frame(&mut *to.1, MAX_FRAME).await else { return };
                        from.0.send(frame(&answer)).await.unwrap();
                    }
                });
            }
        });
        let getter = Node::builder(transport(Kind::Quic)).start();
        assert_eq!(getter.redeem_code(&lies, &code).await, Err(RedeemError::Wrong));
        // That was a wrong guess to the sharer, and the code is still good at the right one.
        assert!(getter.redeem_code(&place, &code).await.is_ok());
    });
}
