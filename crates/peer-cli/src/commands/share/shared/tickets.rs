//! What the tickets and codes of a share say: which trackers, and at which of their addresses others reach them.

use std::net::{IpAddr, SocketAddr};

use protocol::{PeerId, Query, Ticket, TicketTracker};
use transport::{Likelihood, OwnAddress};

use super::Shared;
use crate::error::{ExitCode, Failure, RAISE_LIMIT};
use crate::flags::guess::quoted;
use crate::session::Session;
use crate::session::bind::TRACKER_PORT;
use crate::session::codes::CodeCommand;
use crate::session::place::{Place, is_private, is_public_ipv4};

/// Most addresses of all trackers in a ticket together.
const TICKET_ADDRESSES: usize = 16;

impl Shared {
    /// Says how what is shared openly can be had on this network.
    pub(in crate::commands::share) fn say_names(&self, session: &Session) {
        let names = self.contents.iter().filter_map(|(content, _)| session.called(*content));
        let names: Vec<_> = names.filter(|name| Query::is_name(name)).collect();
        names.iter().for_each(|name| session.note(&format!("On this network: peer-cli get {}", quoted(name))));
        if !names.is_empty() {
            session.note(&format!("The id to compare there: {}", self.tracker));
        }
    }

    /// The addresses that a ticket has: those of this machine, and those at which a router forwards the tracker's port.
    pub(in crate::commands::share) fn addresses(&self) -> Vec<OwnAddress> {
        self.place.with_mapped(&self.mapped.borrow().ports)
    }

    /// Those at which a router forwards the tracker's port.
    pub(in crate::commands::share) fn forwarded(&self) -> Vec<SocketAddr> {
        self.place.forwarded(&self.mapped.borrow().ports)
    }

    /// Says with which ticket a content can be had.
    pub(in crate::commands::share) async fn give_ticket(
        &mut self,
        session: &Session,
        number: usize,
        of_several: Option<&str>,
    ) -> Result<(), Failure> {
        let no_ticket = |error| Failure::new(ExitCode::Other, format!("there is no ticket: {error}"));
        let addresses: Vec<_> = self.told.iter().map(|own| own.address).collect();
        if addresses.is_empty() && self.others.is_empty() {
            let sentence = format!("there is no ticket: the addresses of this machine cannot be read. {RAISE_LIMIT}");
            return Err(Failure::new(ExitCode::Other, sentence));
        }
        let (content, secret) = self.contents[number];
        let ticket = match secret {
            _ if !self.others.is_empty() => Ticket::of_trackers(self.all_trackers(addresses), content, secret),
            // This process cannot lie to itself: its tracker tells the content to holders of the ticket.
            Some(secret) => Ticket::private(self.tracker, addresses, secret, (!self.is_own).then_some(content)),
            None => Ticket::new(self.tracker, addresses, content),
        };
        let ticket = ticket.map_err(no_ticket)?;
        session.ticket(content, &ticket, of_several, self.qr)?;
        let command = self.before_code();
        if let Some(codes) = &mut self.codes {
            codes.set_command(command);
            codes.offer(session, content, ticket).await;
        }
        Ok(())
    }

    /// All trackers of a ticket, the first of which is at these addresses. Of all addresses that others have, each tracker gets as
    /// many as there is room for.
    fn all_trackers(&self, first: Vec<SocketAddr>) -> Vec<TicketTracker> {
        let others = self.others.iter().map(|other| {
            let addresses = Place::Known(other.addresses.clone()).for_ticket();
            (other.id, addresses.into_iter().map(|own| own.address).collect::<Vec<_>>())
        });
        let all: Vec<_> = std::iter::once((self.tracker, first)).chain(others).collect();
        // A name may lead nowhere now.
        let all: Vec<_> = all.into_iter().filter(|(_, addresses)| !addresses.is_empty()).collect();
        let room = (TICKET_ADDRESSES / all.len().max(1)).max(1);
        let tracker = |(id, mut addresses): (PeerId, Vec<SocketAddr>)| {
            addresses.truncate(room);
            TicketTracker { id, addresses }
        };
        all.into_iter().map(tracker).collect()
    }

    /// What is typed elsewhere before a code: it has to name a tracker that both know, unless that is found on the network.
    pub(in crate::commands::share) fn before_code(&self) -> CodeCommand {
        // Where this machine is seen from everywhere, that is of use to more people.
        let public = self.told.iter().find(|own| is_public_ipv4(own));
        let told = public.or(self.told.first()).map(|own| own.address);
        let near = told.is_some_and(|told| is_private(told.ip()));
        if self.is_near && near {
            return CodeCommand { words: "peer-cli get".to_owned(), near };
        }
        let bare = |host: &str| host.trim_start_matches('[').trim_end_matches(']').parse();
        let is_here = |host: &str| host == "localhost" || bare(host).is_ok_and(|ip: IpAddr| ip.is_loopback());
        let port = match &self.place {
            Place::Known(known) => known.first().map(SocketAddr::port),
            _ => told.map(|told| told.port()),
        };
        let (host, near) = match (&self.host, told) {
            (Some(host), _) if !is_here(host) => (host.clone(), false),
            (_, Some(told)) => (told.ip().to_string(), near),
            (host, None) => (host.clone().unwrap_or_else(|| "localhost".to_owned()), false),
        };
        if let Some(several) = self.host.as_ref().filter(|host| host.contains(',')) {
            let port = self.named_port.filter(|&port| port != TRACKER_PORT);
            let port = port.map_or_else(String::new, |port| format!(" -d {port}"));
            return CodeCommand { words: format!("peer-cli get -i {several}{port}"), near: false };
        }
        let words = match port.filter(|&port| port != TRACKER_PORT) {
            Some(port) => format!("peer-cli get -i {host} -d {port}"),
            None => format!("peer-cli get -i {host}"),
        };
        CodeCommand { words, near }
    }

    /// Whether no other machine can be meant to get here, though nobody has said so.
    pub(in crate::commands::share) fn leads_nowhere(&self) -> bool {
        let everywhere = |listening: &Vec<SocketAddr>| listening.iter().any(|address| address.ip().is_unspecified());
        let here = matches!(&self.place, Place::Here(listening) if everywhere(listening));
        here && self.told.iter().all(|own| own.likelihood == Likelihood::Loopback)
    }
}

#[cfg(test)]
mod tests {
    use Likelihood::{DefaultRoute, Network};

    use super::super::fixtures::{at, shared};
    use super::*;
    use crate::session::mapped::Mapped;

    #[test]
    fn a_code_names_the_address_that_leads_here_from_everywhere() {
        let command = |told: &[OwnAddress]| {
            let CodeCommand { words, near } = shared(told, Mapped::default()).before_code();
            (words, near)
        };
        let home = at("192.168.1.5:9999", DefaultRoute);
        assert_eq!(command(&[home]), ("peer-cli get".to_owned(), true));
        let (public, other_port) = (at("203.0.113.7:9999", Network), at("203.0.113.7:4711", Network));
        assert_eq!(command(&[home, public]), ("peer-cli get -i 203.0.113.7".to_owned(), false));
        assert_eq!(command(&[home, other_port]), ("peer-cli get -i 203.0.113.7 -d 4711".to_owned(), false));
        // A firewall of the router keeps most from it.
        assert_eq!(command(&[home, at("[2001:db8::5]:9999", DefaultRoute)]).0, "peer-cli get");
        let far = Shared { is_near: false, ..shared(&[home], Mapped::default()) };
        assert_eq!(far.before_code(), CodeCommand { words: "peer-cli get -i 192.168.1.5".to_owned(), near: true });
        let named =
            Shared { host: Some("trk.example".to_owned()), is_near: false, ..shared(&[home], Mapped::default()) };
        assert_eq!(named.before_code(), CodeCommand { words: "peer-cli get -i trk.example".to_owned(), near: false });
    }
}
