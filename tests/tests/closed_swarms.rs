//! A closed swarm works as an open one does, for those who have a certificate of its CA; others get no name, no manifest
//! and no byte.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use protocol::{ContentId, MAX_FRAME, PeerId, Request, TrackerRequest, VERSION, Wire};
use testbed::event::{Connected, Ready, Sharing, TrackerLost};
use tests::{Process, Swarm, noise, peer_cli, swarm};
use transport::frame::{frame, read_frame};
use transport::{
    Authority, Config, Identity, Kind, Transport, TransportError, Trust, from_now, peer_id_of_certificate_pem,
};

/// What makes a peer a member of the swarm: one flag, and a certificate that nobody else uses is found.
fn member(swarm: &Swarm) -> String {
    format!("--ca={}", swarm.certs().join("ca.pem").display())
}

fn authority(swarm: &Swarm) -> Authority {
    Authority::load(&swarm.certs().join("ca.pem"), &swarm.certs().join("ca.key")).unwrap()
}

/// A flag that names a file of the swarm.
fn own_file(swarm: &Swarm, flag: &str, name: &str) -> String {
    format!("--{flag}={}", swarm.certs().join(name).display())
}

/// A peer that is told nothing but where the tracker is.
fn by_hand(swarm: &Swarm, peer: &str, arguments: &[&str]) -> Process {
    let mut command = peer_cli();
    let port = swarm.port.to_string();
    command.current_dir(swarm.folder(peer)).args(["-i", "127.0.0.1", "-p", "0", "-d", &port]).args(arguments);
    Process::start(peer, command)
}

#[test]
fn whole_swarms_are_closed_by_one_flag() {
    for transport in ["quic", "tcp"] {
        swarm(&format!("--seeders 2 --downloaders 2 --size 10MB --closed --transport {transport}"));
    }
}

#[test]
fn a_closed_swarm_transfers_and_ids_stay_those_of_keys() {
    let swarm = Swarm::closed();
    let (bytes, ca) = (noise(3_000_000, 1), member(&swarm));
    swarm.put("seeder", "file", &bytes);
    let mut seeder = swarm.peer("seeder", &["-S", "--json", &ca]);
    let id = seeder.event::<Ready>().id;
    assert_eq!(id, peer_id_of_certificate_pem(&swarm.certs().join("peer-1.pem")).unwrap().to_string());
    seeder.event::<Sharing>();
    let mut downloader = swarm.downloader("downloader", "file", &[&ca, "--exit-when-done"]);
    assert_ne!(downloader.event::<Ready>().id, id);
    assert_eq!(downloader.event::<Connected>().peer, id);
    downloader.ends_with(0);
    assert!(swarm.output("downloader", "file") == bytes);
}

#[test]
fn the_programs_say_what_is_wrong_with_a_certificate() {
    let swarm = Swarm::closed();
    let ca = member(&swarm);
    let path = |name: &str| swarm.certs().join(name).display().to_string();
    let fails = |name: &str, arguments: &[&str], code: i32, word: &str| {
        let mut peer = swarm.peer(name, arguments);
        peer.ends_with(code);
        assert!(peer.errors().contains(word), "{name}: {}", peer.errors());
    };
    // Someone of an open swarm: the tracker's certificate is none that it knows what to do with.
    fails("open", &["-f", "file"], 3, "this swarm is closed: give --ca");
    // Whose certificate is of another swarm.
    let other = Authority::generate().unwrap();
    let stranger = Identity::load_or_create(&swarm.certs().join("stranger.key")).unwrap();
    let valid = from_now(Duration::from_secs(3600));
    other
        .certify("stranger", &stranger, valid)
        .unwrap()
        .write_certificate(&swarm.certs().join("stranger.pem"))
        .unwrap();
    let own = [format!("--cert={}", path("stranger.pem")), format!("--key={}", path("stranger.key"))];
    fails("stranger", &[&ca, &own[0], &own[1], "-f", "file"], 9, "not of a CA that is trusted here");
    // Whose certificate is too old, or too new.
    let (now, day) = (SystemTime::now(), Duration::from_secs(24 * 60 * 60));
    for (valid, word) in [(now - 9 * day..now - day, "expired on"), (now + 2 * day..now + 9 * day, "not valid before")]
    {
        let dated = authority(&swarm).certify("stranger", &stranger, valid).unwrap();
        dated.write_certificate(&swarm.certs().join("stranger.pem")).unwrap();
        fails("dated", &[&ca, &own[0], &own[1], "-f", "file"], 9, word);
    }
    // Two peers with one certificate.
    let first = [format!("--cert={}", path("peer-1.pem")), format!("--key={}", path("peer-1.key"))];
    swarm.put("seeder", "file", b"bytes");
    let _seeder = swarm.seeder("seeder", 1, &[&ca, &first[0], &first[1]]);
    fails("twin", &[&ca, &first[0], &first[1], "-f", "file"], 2, "in use");
    // A folder without certificates for peers.
    std::fs::create_dir(swarm.folder("bare").join("certs")).unwrap();
    let mut bare = by_hand(&swarm, "bare", &[&ca, "--bind=127.0.0.1", "-f", "file"]);
    bare.ends_with(2);
    assert!(bare.errors().contains("holds no certificate for a peer"), "{}", bare.errors());
    // A tracker that forgot its flag must not open the swarm.
    let said = swarm.tracker_ends(&["-p", "0"], 9);
    assert!(said.contains("closed swarm"), "{said}");
}

/// Only a sharer is warned: a downloader offers nothing that was not open before.
#[test]
fn an_open_swarm_is_said_to_be_open_to_who_shares_beyond_this_machine() {
    let swarm = Swarm::new();
    swarm.put("seeder", "file", b"bytes");
    let warned = |arguments: &[&str]| {
        let certs = format!("--certs={}", swarm.certs().display());
        let arguments: Vec<_> = arguments.iter().copied().chain([&*certs]).collect();
        let mut peer = by_hand(&swarm, "seeder", &arguments);
        if arguments.contains(&"-S") {
            peer.line("Sharing file");
        }
        peer.type_line("exit");
        let mut warned = false;
        peer.wait_for("the end", |line| {
            warned |= line.starts_with("This swarm is open: anyone who reaches");
            (line == "Exited swarm.").then_some(())
        });
        assert!(!peer.errors().contains("open"), "{}", peer.errors());
        warned
    };
    assert!(warned(&["-S"]));
    assert!(!warned(&["-S", "--bind=127.0.0.1"]), "it listens on loopback alone");
    assert!(!warned(&["-f", "file", "--wait=1h"]), "it only gets");
}

/// Someone who knows every address and id, speaks the protocol, and lacks nothing but the right certificate.
struct Stranger {
    transport: Arc<dyn Transport>,
}

impl Stranger {
    fn new(kind: Kind, identity: Identity, trust: Trust) -> Self {
        let listeners = vec!["127.0.0.1:0".parse().unwrap()];
        Stranger { transport: kind.bind(Config::new(identity, listeners).trust(trust)).unwrap() }
    }

    /// What comes back on a stream on which this was said; nothing but an error may.
    async fn ask(&self, address: &str, id: PeerId, says: &[u8]) -> Result<Option<Vec<u8>>, TransportError> {
        let connection = self.transport.dial(address.parse().unwrap(), id).await?;
        let (mut send, mut recv) = connection.open().await?;
        send.send(frame(says)).await?;
        read_frame(&mut *recv, MAX_FRAME).await
    }
}

#[test]
fn strangers_get_no_name_no_manifest_and_no_byte() {
    let swarm = Swarm::closed();
    swarm.put("seeder", "file", &noise(100_000, 1));
    let mut seeder = swarm.peer("seeder", &["-S", "--json", &member(&swarm)]);
    let ready = seeder.event::<Ready>();
    let content: ContentId = seeder.event::<Sharing>().content.parse().unwrap();
    let seeder_id: PeerId = ready.id.parse().unwrap();
    let seeder_address = ready.listeners[0].clone();
    let tracker_id = peer_id_of_certificate_pem(&swarm.certs().join("tracker.pem")).unwrap();
    let tracker_address = format!("127.0.0.1:{}", swarm.port);

    let hello = TrackerRequest::Hello { version: VERSION, listeners: vec![] }.encode().unwrap();
    let manifest = Request::Manifest { content }.encode().unwrap();
    let pieces = Request::Pieces { content, run: protocol::PieceRange { first: 0, count: 1 } }.encode().unwrap();
    let other = Authority::generate().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        for kind in [Kind::Quic, Kind::Tcp] {
            let self_signed = || Identity::generate().unwrap();
            let of_another = || other.certify("x", &self_signed(), from_now(Duration::from_secs(60))).unwrap();
            for identity in [self_signed(), of_another()] {
                // It trusts the CA, so that it is not the stranger who ends the talk.
                let stranger = Stranger::new(kind, identity, authority(&swarm).trust());
                let questions = [
                    (&tracker_address, tracker_id, &hello),
                    (&seeder_address, seeder_id, &manifest),
                    (&seeder_address, seeder_id, &pieces),
                ];
                for (address, id, says) in questions {
                    let answer = stranger.ask(address, id, says).await;
                    assert!(matches!(answer, Err(TransportError::NotAdmitted(_))), "{kind:?}: {answer:?}");
                }
            }
        }
        // The same questions, from someone with a certificate, are answered: it was not the questions.
        let identity =
            authority(&swarm).certify("m", &Identity::generate().unwrap(), from_now(Duration::from_secs(60)));
        let member = Stranger::new(Kind::Quic, identity.unwrap(), authority(&swarm).trust());
        assert!(matches!(member.ask(&tracker_address, tracker_id, &hello).await, Ok(Some(_))));
    });
    // And the swarm never noticed.
    swarm.downloader("downloader", "file", &[&member(&swarm), "--exit-when-done"]).ends_with(0);
}

/// Old and new certificates side by side, and at last the old ones are out: also for a peer that was connected before.
#[test]
fn a_ca_is_replaced_while_the_swarm_runs() {
    let mut swarm = Swarm::closed();
    let bytes = noise(200_000, 1);
    let certs = swarm.certs();
    let path = |name: &str| certs.join(name);
    // What another machine has: files of its own, which nobody renews behind its back.
    let machine = swarm.folder("seeder").join("certs");
    std::fs::create_dir(&machine).unwrap();
    let copy = |name: &str| assert!(std::fs::copy(path(name), machine.join(name)).unwrap() > 0);
    ["peer-1.pem", "peer-1.key"].into_iter().for_each(copy);
    let renew = || copy("peer-1.pem");
    let own = ["--cert=certs/peer-1.pem", "--key=certs/peer-1.key"];
    swarm.tracker_ends(&["--init-closed", "--rotate"], 0);
    let (new, old) = (trusting(&path("ca.pem")), trusting(&path("ca-old.pem")));
    swarm.restart_tracker_with(&[&new, &old]);
    swarm.put("seeder", "file", &bytes);
    let mut seeder = swarm.seeder("seeder", 1, &[&new, &old, own[0], own[1]]);
    // Those here have others: an id that two peers share would throw each other out.
    let others = [own_file(&swarm, "cert", "peer-2.pem"), own_file(&swarm, "key", "peer-2.key")];
    let flags = [&others[0], &others[1], "--wait=30s", "--exit-when-done"];
    swarm.downloader("downloader", "file", &[&[new.as_str(), &old], &flags[..]].concat()).ends_with(0);
    assert!(swarm.output("downloader", "file") == bytes);

    // The old one is not trusted any more: what stood before helps nobody to come back.
    swarm.restart_tracker_with(&[&new]);
    seeder.event::<TrackerLost>();
    let mut late = swarm.downloader("late", "file", &[&new, &others[0], &others[1], "--wait=2s"]);
    late.ends_with(4);
    assert_eq!(std::fs::read_dir(swarm.folder("late").join("hashes")).into_iter().flatten().count(), 0);
    seeder.kill();
    let mut again = swarm.peer("seeder", &["-S", &new, &old, own[0], own[1]]);
    again.ends_with(10);
    assert!(again.errors().contains("rejects our certificate"), "{}", again.errors());
    // With its new certificate the seeder is back.
    renew();
    let _seeder = swarm.seeder("seeder", 1, &[&new, own[0], own[1]]);
    swarm.downloader("late", "file", &[&[new.as_str()], &flags[..]].concat()).ends_with(0);
    assert!(swarm.output("late", "file") == bytes);
}

/// Where names are bound to a publisher, a member that takes one first gains nothing by it.
#[test]
fn a_name_leads_to_what_the_publisher_shares_and_to_nothing_else() {
    let mut swarm = Swarm::closed();
    let (certs, ca) = (swarm.certs(), member(&swarm));
    let publisher = format!("--publisher={}", certs.join("peer-2.pem").display());
    swarm.restart_tracker_with(&[&trusting(&certs.join("ca.pem")), &publisher]);
    let own = |name: &str| {
        [own_file(&swarm, "cert", &format!("{name}.pem")), own_file(&swarm, "key", &format!("{name}.key")), ca.clone()]
    };
    let start = |name: &str, who: &str| {
        let [cert, key, ca] = own(who);
        swarm.seeder(name, 1, &[&cert, &key, &ca])
    };
    let bytes = noise(100_000, 1);
    swarm.put("hostile", "model.bin", &noise(100_000, 2));
    let _hostile = start("hostile", "peer-1");
    let [cert, key, ca] = own("peer-3");
    let get = |flags: &[&str]| swarm.downloader("downloader", "model.bin", &[&[&*cert, &key, &ca], flags].concat());
    get(&[]).ends_with(4);
    swarm.put("publisher", "model.bin", &bytes);
    let _publisher = start("publisher", "peer-2");
    get(&["--exit-when-done"]).ends_with(0);
    assert!(swarm.output("downloader", "model.bin") == bytes);
    // Who the publisher is must be said so that it is understood.
    let said = swarm.tracker_ends(&["-p", "0", "--publisher=nobody.pem"], 2);
    assert!(said.contains("neither the id of a peer nor the file"), "{said}");
}

/// `--rotate` while everything runs: what runs goes on with the CA that it was started with, and who comes with files of the
/// new one is told why it is not taken.
#[test]
fn programs_that_run_go_on_with_the_ca_that_they_started_with() {
    let swarm = Swarm::closed();
    let bytes = noise(200_000, 2);
    // What another machine was given before.
    let machine = swarm.folder("old").join("certs");
    std::fs::create_dir(&machine).unwrap();
    for name in ["ca.pem", "tracker.pem", "peer-2.pem", "peer-2.key"] {
        std::fs::copy(swarm.certs().join(name), machine.join(name)).unwrap();
    }
    swarm.put("seeder", "file", &bytes);
    let mut seeder = swarm.peer("seeder", &["-S", "--json", &member(&swarm)]);
    seeder.event::<Sharing>();
    swarm.tracker_ends(&["--init-closed", "--rotate"], 0);
    let mut new = swarm.peer("new", &["-f", "file", &member(&swarm)]);
    new.ends_with(3);
    assert!(new.errors().contains("not of a CA that is trusted here"), "{}", new.errors());
    let both = ["ca.pem", "ca-old.pem"].map(|name| trusting(&swarm.certs().join(name)));
    let mut trusts_both = swarm.peer("new", &["-f", "file", &both[0], &both[1]]);
    trusts_both.ends_with(10);
    assert!(trusts_both.errors().contains("rejects our certificate"), "{}", trusts_both.errors());
    let old = ["--ca=certs/ca.pem", "--cert=certs/peer-2.pem", "--key=certs/peer-2.key", "--exit-when-done"];
    swarm.downloader("old", "file", &old).ends_with(0);
    assert!(swarm.output("old", "file") == bytes);
}

fn trusting(path: &Path) -> String {
    format!("--ca={}", path.display())
}
