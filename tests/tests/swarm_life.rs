//! Peers and trackers come, stall, lie, crash and leave; downloads go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use peer::Node;
use storage::wrappers::Rotten;
use testbed::event::{Banned, Completed, Event, Lacking, TrackerBack};
use tests::{PATIENCE, Swarm, noise};
use transport::{Config, Identity, Quic};

#[test]
fn a_download_says_what_nobody_has_and_ends_when_someone_comes() {
    let swarm = Swarm::new();
    let bytes = noise(100_000, 1);
    swarm.put("half", "file", &bytes);
    swarm.put("rest", "file", &bytes);
    let _half = swarm.seeder("half", 1, &["--piece-size=1KiB", "-r2", "0.5"]);
    let mut downloader = swarm.downloader("downloader", "file", &["--exit-when-done"]);
    downloader.event::<Lacking>();
    let _rest = swarm.seeder("rest", 1, &["--piece-size=1KiB", "-r1=0.5"]);
    downloader.ends_with(0);
    assert!(swarm.output("downloader", "file") == bytes);
}

#[test]
fn a_downloader_becomes_a_seeder_for_those_who_come_late() {
    let swarm = Swarm::new();
    let bytes = noise(3_000_000, 1);
    swarm.put("seeder", "file", &bytes);
    let mut seeder = swarm.seeder("seeder", 1, &[]);
    let mut first = swarm.downloader("first", "file", &[]);
    first.event::<Completed>();
    seeder.type_line("exit");
    seeder.ends_with(0);
    swarm.downloader("late", "file", &["--exit-when-done"]).ends_with(0);
    assert!(swarm.output("late", "file") == bytes);
}

#[cfg(unix)]
#[test]
fn a_stalled_seeder_holds_nothing_up() {
    let swarm = Swarm::new();
    let bytes = noise(6 << 20, 1);
    swarm.put("stalls", "file", &bytes);
    swarm.put("works", "file", &bytes);
    let arguments = ["--piece-size=64KiB", "--up-rate=2MiB"];
    let stalls = swarm.seeder("stalls", 1, &arguments);
    let _works = swarm.seeder("works", 1, &arguments);
    let mut downloader = swarm.downloader("downloader", "file", &["--exit-when-done"]);
    downloader.pieces(10);
    stalls.signal("STOP");
    downloader.ends_with(0);
    assert!(swarm.output("downloader", "file") == bytes);
}

/// The original waited for every peer's answer before it ended.
#[cfg(unix)]
#[test]
fn exit_does_not_wait_for_a_silent_peer_or_a_silent_tracker() {
    let swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(6 << 20, 1));
    let seeder = swarm.seeder("seeder", 1, &["--up-rate=1MiB"]);
    let mut downloader = swarm.downloader("downloader", "file", &[]);
    downloader.pieces(1);
    seeder.signal("STOP");
    swarm.tracker.signal("STOP");
    downloader.type_line("  Exit ");
    downloader.ends_with(0);
}

/// The original listed crashed peers for ever.
#[test]
fn a_crashed_seeder_is_forgotten() {
    let swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(1000, 1));
    let mut seeder = swarm.seeder("seeder", 1, &[]);
    seeder.kill();
    let until = Instant::now() + PATIENCE;
    loop {
        let mut asks = swarm.downloader("asks", "file", &["--exit-when-done", "--wait", "0s"]);
        let found = asks.find_event("an answer", |event| match event {
            Event::Wanted(_) => Some(true),
            Event::Error(_) => Some(false),
            _ => None,
        });
        if !found {
            return asks.ends_with(4);
        }
        assert!(Instant::now() < until, "the tracker still names a crashed seeder");
        // A peer that asks takes part, so it has to leave in good order.
        asks.type_line("exit");
        asks.ends_with(11);
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn downloads_outlive_their_tracker_and_come_back_to_a_new_one() {
    let mut swarm = Swarm::new();
    let bytes = noise(4 << 20, 1);
    swarm.put("seeder", "file", &bytes);
    let mut seeder = swarm.seeder("seeder", 1, &["--piece-size=64KiB", "--up-rate=2MiB"]);
    let mut downloader = swarm.downloader("downloader", "file", &[]);
    downloader.pieces(5);
    swarm.tracker.kill();
    downloader.event::<Completed>();
    assert!(swarm.output("downloader", "file") == bytes);
    swarm.restart_tracker();
    seeder.event::<TrackerBack>();
    swarm.downloader("late", "file", &["--wait=30s", "--exit-when-done"]).ends_with(0);
    assert!(swarm.output("late", "file") == bytes);
}

#[test]
fn one_name_with_two_contents_is_chosen_by_id() {
    let swarm = Swarm::new();
    let (old, new) = (noise(5000, 1), noise(6000, 2));
    swarm.put("old", "file", &old);
    swarm.put("new", "file", &new);
    let _old = swarm.seeder("old", 1, &[]);
    let mut seeder = swarm.peer("new", &["-S"]);
    let line = seeder.line("Sharing file");
    let id = line.rsplit(' ').next().unwrap().to_owned();
    let mut unsure = swarm.peer("unsure", &["-f", "file"]);
    unsure.ends_with(2);
    let said = unsure.errors();
    let listed: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    assert!(listed.len() == 2 && listed[1].starts_with(&id), "what was here first comes first:\n{said}");
    swarm.downloader("sure", &id[..8], &["--exit-when-done"]).ends_with(0);
    assert!(swarm.output("sure", "file") == new);
}

#[test]
fn prog_and_exit_say_the_originals_words() {
    let swarm = Swarm::new();
    swarm.put("seeder", "file", &noise(4096, 1));
    let mut seeder = swarm.peer("seeder", &["-S", "--piece-size=1KiB", "-m", "0"]);
    seeder.line("Sharing file");
    seeder.type_line("prog");
    assert_eq!(seeder.line("Pieces on Seeder"), "Pieces on Seeder: 3 (75%).");
    let mut downloader = swarm.peer("downloader", &["-f", "file"]);
    downloader.line("Nobody who is connected has 1 piece: 0");
    downloader.type_line(" PROG ");
    downloader.line("Download in Progress...");
    assert_eq!(downloader.line("downloaded."), "3/4 (75%) downloaded.");
    swarm.put("other", "file", &noise(4096, 1));
    let _other = swarm.seeder("other", 1, &["--piece-size=1KiB"]);
    let done = downloader.line("Successfully");
    assert_eq!(done, "Successfully Downloaded file to output/file");
    downloader.type_line("prog");
    downloader.line("Download Finished!");
    // The end of input is not a crash.
    downloader.end_input();
    seeder.type_line("exit");
    seeder.line("Exited swarm.");
    seeder.line("Shutdown complete.");
    seeder.ends_with(0);
    swarm.downloader("late", "file", &["--exit-when-done"]).ends_with(0);
}

/// The original never asked again for a piece that came wrong. The download takes longer than a liar has to withdraw.
#[test]
fn a_lying_peer_is_shut_out_and_its_pieces_come_from_others() {
    let swarm = Swarm::new();
    let bytes = noise(2 << 20, 1);
    swarm.put("honest", "file", &bytes);
    swarm.put("liar", "file", &bytes);
    let _honest = swarm.seeder("honest", 1, &["--piece-size=16KiB", "--up-rate=512KiB"]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let liar = runtime.block_on(async {
        let listeners = vec!["127.0.0.1:0".parse().unwrap()];
        let transport = Quic::bind(Config::new(Identity::generate().unwrap(), listeners)).unwrap();
        // It hashes what is right, and then serves something else.
        let lies = Arc::new(AtomicBool::new(false));
        let lying = lies.clone();
        let flip = move |_, bytes: &mut [u8]| bytes[bytes.len() / 2] ^= u8::from(lying.load(Ordering::Relaxed));
        let storage = Arc::new(Rotten::new(storage::backend("mmap").unwrap(), flip));
        let folder = swarm.folder("liar");
        let node = Node::builder(Arc::new(transport)).storage(storage).hashes(folder.join("hashes")).start();
        node.join(swarm.tracker_address()).await.unwrap();
        node.share(folder.join("input/file")).piece_size(16 << 10).await.unwrap();
        lies.store(true, Ordering::Relaxed);
        node
    });
    let mut downloader = swarm.downloader("downloader", "file", &["--exit-when-done"]);
    assert_eq!(downloader.event::<Banned>().peer, liar.id().to_string());
    downloader.ends_with(0);
    assert!(swarm.output("downloader", "file") == bytes);
    runtime.shutdown_background();
}
