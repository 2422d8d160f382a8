//! How peers are reached: QUIC, TCP where that gets no answer, and datagrams of any size.

use testbed::event::Connected;
use tests::{Swarm, noise, swarm};

#[test]
fn a_peer_that_quic_does_not_reach_is_reached_over_tcp() {
    let swarm = Swarm::new();
    let bytes = noise(3_000_000, 1);
    swarm.put("seeder", "file", &bytes);
    // As behind a firewall that drops UDP: nobody answers there.
    let _seeder = swarm.seeder("seeder", 1, &["--transport=tcp"]);
    let mut downloader = swarm.downloader("downloader", "file", &["--exit-when-done"]);
    assert_eq!(downloader.event::<Connected>().transport, "tcp");
    downloader.ends_with(0);
    assert!(swarm.output("downloader", "file") == bytes);
}

#[test]
fn quic_is_used_where_it_gets_through() {
    let swarm = Swarm::new();
    let bytes = noise(300_000, 1);
    swarm.put("seeder", "file", &bytes);
    let _seeder = swarm.seeder("seeder", 1, &[]);
    let mut downloader = swarm.downloader("downloader", "file", &["--exit-when-done"]);
    assert_eq!(downloader.event::<Connected>().transport, "quic");
    downloader.ends_with(0);
    assert!(swarm.output("downloader", "file") == bytes);
}

#[test]
fn every_transport_runs_a_swarm() {
    for transport in ["quic", "tcp", "auto"] {
        let plan = "--seeders 2 --downloaders 2 --size 20MB --piece-size 64KiB --listeners 2";
        swarm(&format!("{plan} --transport {transport}"));
    }
}

#[test]
fn datagrams_of_ethernets_size_carry_a_swarm_too() {
    swarm("--seeders 2 --downloaders 2 --size 20MB --transport quic --mtu 1452");
}
