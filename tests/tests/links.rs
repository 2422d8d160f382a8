//! Real networks: datagrams that are lost, late, out of order or doubled, and uplinks that are slow.

use testbed::namespaces::try_namespaces;
use tests::swarm;

#[test]
fn a_file_arrives_over_links_that_lose_reorder_and_double() {
    let link = "rtt=10ms,jitter=3ms,loss=3%,reorder=5%,duplicate=5%,rate=100mbit";
    let outcome = swarm(&format!("--seeders 1 --downloaders 2 --size 2MB --piece-size 64KiB --link {link}"));
    let total = outcome.links.expect("relays were between them").total();
    assert!(total.lost > 0, "{total:?}");
    // All of the payload passed the relays: nobody found a way around them.
    let downloaded: u64 = outcome.peers.iter().map(|peer| peer.downloaded).sum();
    assert!(total.carried >= downloaded, "{total:?} carried less than {downloaded}");
}

#[test]
fn every_listener_has_its_relay() {
    let outcome = swarm("--seeders 2 --downloaders 2 --size 2MB --listeners 2 --link rtt=2ms,rebind=200ms");
    let links = outcome.links.expect("relays were between them");
    assert!(links.total().carried >= 4_000_000, "{links:?}");
}

#[test]
fn peers_with_a_network_of_their_own_and_slow_uplinks_find_each_other() {
    if let Err(error) = try_namespaces() {
        eprintln!("skipped, no network namespaces here: {error:#}");
        return;
    }
    let outcome = swarm("--seeders 1 --downloaders 3 --size 2MB --netns --uplink 20mbit");
    let optimum = outcome.optimum.expect("uplinks are limited");
    assert!(optimum.bound > 0.8 && optimum.real.last >= optimum.bound, "{optimum:?} cannot be");
    assert!(optimum.real.copies >= 1.0, "{optimum:?} cannot be");
    assert!(optimum.simulated.is_some(), "the same can be simulated");
}
