//! Carries out what the handles ask, or starts a task for what takes time.

use std::collections::BTreeMap;

use protocol::{ContentId, PeerId};
use swarm::Event;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::state::Driver;
use crate::command::{Command, Rates};
use crate::disk::manifests::manifests_of;
use crate::disk::share::share;
use crate::error::PeerError;
use crate::net::link;
use crate::net::tracker::ToClient;
use crate::overview::{Overview, pieces_here};
use crate::report::Report;
use crate::tracker_status::TrackerNumber;

/// Most peers that are asked for their caps at once.
const MOST_ASKED: usize = 32;

impl Driver {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Track { trackers, secret, reply } => {
                self.join_trackers(trackers, secret, reply);
                self.publish_trackers();
            }
            Command::AddPeer { content, peer, reply } => {
                let id = peer.id;
                self.event(Event::Found { content, peers: vec![peer] });
                self.prove_to(content, &[id]);
                let _ = reply.send(());
            }
            Command::Trackers { reply } => {
                let _ = reply.send(self.trackers.statuses());
            }
            Command::Places { content, reply } => {
                let _ = reply.send(self.trackers.places(content));
            }
            Command::Find { tracker, query, reply } => self.ask_tracker(Some(tracker), ToClient::Find { query, reply }),
            Command::List { tracker, before, reply } => {
                self.ask_tracker(Some(tracker), ToClient::List { before, reply })
            }
            Command::Watch { content, after, reply } => {
                let tracker = self.trackers.first_of(content);
                self.ask_tracker(tracker, ToClient::Watch { content, after, reply })
            }
            Command::Manifest { content, secret, origin, reply } => {
                self.await_manifest(content, (secret, origin), reply);
            }
            Command::Approach { addresses, secret, reply } => {
                self.approach(addresses, secret);
                let _ = reply.send(());
            }
            Command::Expect { content, secret, reply } => {
                self.expect_download(content, secret);
                let _ = reply.send(());
            }
            Command::Unexpect { content, reply } => {
                self.unexpect_download(content);
                let _ = reply.send(());
            }
            Command::Share { path, options, reply } => {
                let (storage, hashes, reports) =
                    (self.setup.storage.clone(), self.setup.downloads.hashes.clone(), self.reports.clone());
                let (events, mut scan) = (self.events.clone(), self.setup.scan.clone());
                scan.own.push(hashes.clone());
                let by_place = self.setup.manifests_by_place;
                tokio::spawn(async move {
                    let (up, secret) = (options.up, options.secret.clone());
                    let work = move || {
                        let hashes = if by_place { manifests_of(&hashes, &path) } else { hashes };
                        share(&path, &options, &scan, &*storage, &hashes, &events)
                    };
                    let result = tokio::task::spawn_blocking(work).await.unwrap_or(Err(PeerError::ShutDown));
                    let secret = secret.zip(result.as_ref().ok()).map(|(secret, opened)| secret.0(opened.store.id()));
                    let _ = reports.send(Report::Shared { result, up, secret, reply }).await;
                });
            }
            Command::Download { content, options, reply } => {
                let _ = reply.send(self.download(content, options));
            }
            Command::Pause { key, reply } => self.pause(key, reply),
            Command::Resume { key, reply } => {
                self.resume(key);
                let _ = reply.send(());
            }
            Command::Stop { key, reply } => self.stop(key, reply),
            Command::Read { key, place, reply } => self.read(key, place, reply),
            Command::Open { content, reply } => {
                let _ = reply.send(self.open_content(content));
            }
            Command::Contents { reply } => {
                let _ = reply.send(self.items.keys().copied().collect());
            }
            Command::Overview { content, parts, reply } => {
                let pieces = self.engine.have(content).map(|have| pieces_here(have, parts));
                let sites = self.engine.sites(content).into_iter().map(|(peer, site)| (peer, site.to_owned()));
                let _ = reply.send(pieces.map(|pieces| Overview { pieces, sites: sites.collect() }));
            }
            Command::Status { content, reply } => {
                let _ = reply.send(self.publish(content));
            }
            Command::WaitingFor { content, reply } => {
                let _ = reply.send(self.waiting_for(content));
            }
            Command::AnnounceAlso { addresses, reply } => {
                if self.setup.announces_own {
                    self.announced.1 = addresses;
                    self.announce_addresses();
                }
                let _ = reply.send(());
            }
            Command::EndShare { content, reason, reply } => {
                self.end_share(content, &reason);
                let _ = reply.send(());
            }
            Command::UpRates { content, reply } => self.up_rates(content, reply),
            Command::SetRates { rates, reply } => {
                match rates {
                    Rates::Up(rate) => self.setup.up.set(rate),
                    Rates::Down(rate) => self.setup.down.set(rate),
                }
                let _ = reply.send(());
            }
            Command::Shutdown { reply } => drop(reply),
        }
    }

    /// Asks some of those who take part in a content for their caps, side by side.
    fn up_rates(&self, content: ContentId, reply: oneshot::Sender<BTreeMap<PeerId, u64>>) {
        let (connected, _) = self.engine.participants(content);
        let may_ask = connected.iter().filter(|conn| self.may_pass(**conn, content));
        let connections = may_ask.filter_map(|conn| self.links.get(conn)).take(MOST_ASKED);
        let mut asked = JoinSet::new();
        for link in connections {
            let connection = link.connection.clone();
            asked.spawn(async move { Some((connection.peer_id(), link::ask_up_rate(connection, content).await?)) });
        }
        tokio::spawn(async move {
            let rates = asked.join_all().await;
            let _ = reply.send(rates.into_iter().flatten().collect());
        });
    }

    fn ask_tracker(&self, tracker: Option<TrackerNumber>, question: ToClient) {
        match tracker.and_then(|number| self.trackers.client(number)) {
            Some(tracker) => {
                if let Err(error) = tracker.try_send(question) {
                    error.into_inner().unheard();
                }
            }
            None => question.unheard(),
        }
    }
}
