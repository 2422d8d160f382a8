//! One port that a router forwards: asked for, renewed and given back in the protocol that the router speaks.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use crab_nat::{InternetProtocol, PortMapping, PortMappingOptions, PortMappingType, TimeoutConfig, natpmp};
use igd_next::aio::Gateway;
use igd_next::aio::tokio::{Tokio, search_gateway};
use igd_next::{AddAnyPortError, AddPortError, PortMappingProtocol, RequestError, SearchOptions};
use peer::Moment;

use super::lan::Lan;
use crate::session::place::is_public;

/// For how long a port is asked for, in seconds. It is renewed before.
const LEASE: u32 = 3600;
/// The lease that has no end, for routers that know nothing else.
const PERMANENT: u32 = 0;
/// How a router says in UPnP that it knows nothing else.
const PERMANENT_ALONE: u16 = 725;
/// How PCP and NAT-PMP are asked: twice, within less than a second.
const TIMES: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(250),
    max_retries: 1,
    max_retry_timeout: Some(Duration::from_millis(500)),
};
/// A router that knows UPnP says so, and what it can do, within this time: they are slow.
const SEARCH: Duration = Duration::from_secs(4);
/// How the reason begins where what is granted leads nowhere.
const BEHIND_ANOTHER: &str = "the router is behind another one";
/// What the port is for, as the router shows it.
const DESCRIPTION: &str = "p2p-fileshare";

/// What carries packets to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    Udp,
    Tcp,
}

/// A port that is forwarded.
pub(super) struct Granted {
    pub(super) port: u16,
    /// Where others reach it.
    pub(super) address: SocketAddr,
    how: How,
}

enum How {
    /// By PCP or NAT-PMP.
    Pmp(PortMapping),
    /// By UPnP, since then for so long; for good if there is no time.
    Upnp { router: Gateway<Tokio>, carrier: PortMappingProtocol, since: Moment, life: Option<Duration> },
}

/// What the router speaks.
#[derive(Clone)]
pub(super) enum Router {
    Pmp,
    Upnp(Gateway<Tokio>),
}

impl Router {
    /// Finds out by asking for a port: by PCP or NAT-PMP, and if it knows neither by UPnP, for which is searched meanwhile.
    pub(super) async fn find(lan: &Lan, port: u16, carrier: Carrier) -> Result<(Self, Granted), String> {
        let (pmp, search) = (by_pmp(lan, port, carrier), search(lan));
        tokio::pin!(pmp, search);
        let mut found = None;
        let first = loop {
            tokio::select! {
                granted = &mut pmp => match granted {
                    Ok(granted) => return Ok((Router::Pmp, granted)),
                    // It would forward a port to itself by another protocol too.
                    Err(error) if error.starts_with(BEHIND_ANOTHER) => return Err(error),
                    Err(error) => break error,
                },
                gateway = &mut search, if found.is_none() => found = Some(gateway),
            }
        };
        let gateway = match found {
            Some(gateway) => gateway,
            None => search.await,
        };
        let router = gateway.map(Router::Upnp).map_err(|second| {
            tracing::debug!(pmp = %first, upnp = %second, "no router forwards ports on request");
            "the router answers neither PCP, NAT-PMP nor UPnP".to_owned()
        })?;
        let granted = router.ask(lan, port, carrier).await?;
        Ok((router, granted))
    }

    /// Asks for a port.
    pub(super) async fn ask(&self, lan: &Lan, port: u16, carrier: Carrier) -> Result<Granted, String> {
        match self {
            Router::Pmp => by_pmp(lan, port, carrier).await,
            Router::Upnp(gateway) => by_upnp(lan, gateway.clone(), port, carrier).await,
        }
    }
}

/// Takes back what was asked for without an answer, as far as it is known how. A port that PCP alone has granted stays for its
/// lease: nobody but the one who has the answer can give that back.
pub(super) async fn forget(router: Option<&Router>, lan: &Lan, port: u16, carrier: Carrier) {
    match router {
        Some(Router::Upnp(gateway)) => drop(gateway.remove_port(carrier.upnp(), port).await),
        Some(Router::Pmp) | None => {
            drop(natpmp::try_drop_mapping(lan.router.into(), carrier.pmp(), NonZeroU16::new(port), Some(TIMES)).await);
        }
    }
}

impl Carrier {
    fn pmp(self) -> InternetProtocol {
        match self {
            Carrier::Udp => InternetProtocol::Udp,
            Carrier::Tcp => InternetProtocol::Tcp,
        }
    }

    fn upnp(self) -> PortMappingProtocol {
        match self {
            Carrier::Udp => PortMappingProtocol::UDP,
            Carrier::Tcp => PortMappingProtocol::TCP,
        }
    }
}

async fn by_pmp(lan: &Lan, port: u16, carrier: Carrier) -> Result<Granted, String> {
    let protocol = carrier.pmp();
    let wanted = NonZeroU16::new(port).ok_or("port 0 is none")?;
    let options =
        PortMappingOptions { external_port: Some(wanted), lifetime_seconds: Some(LEASE), timeout_config: Some(TIMES) };
    let router = lan.router.into();
    let mapping = match PortMapping::new(router, lan.own.into(), protocol, wanted, options).await {
        Ok(mapping) => mapping,
        // Some routers know NAT-PMP alone, and say nothing at all to what they do not know.
        Err(_) => natpmp::port_mapping(router, protocol, wanted, options).await.map_err(|error| error.to_string())?,
    };
    let outside = match mapping.mapping_type() {
        PortMappingType::Pcp { external_ip, .. } => external_ip.to_canonical(),
        PortMappingType::NatPmp => {
            match natpmp::external_address(router, Some(TIMES)).await {
                Ok(outside) => outside.into(),
                Err(error) => {
                    // It leads nowhere that is known.
                    drop(mapping.try_drop().await);
                    return Err(error.to_string());
                }
            }
        }
    };
    let address = SocketAddr::new(outside, mapping.external_port().get());
    granted(port, address, How::Pmp(mapping)).await
}

/// A router that knows UPnP.
async fn search(lan: &Lan) -> Result<Gateway<Tokio>, String> {
    let mut options = SearchOptions::default();
    options.bind_addr = SocketAddr::from((lan.own, 0));
    (options.timeout, options.single_search_timeout) = (Some(SEARCH), Some(SEARCH));
    search_gateway(options).await.map_err(|error| error.to_string())
}

async fn by_upnp(lan: &Lan, router: Gateway<Tokio>, port: u16, carrier: Carrier) -> Result<Granted, String> {
    let outside = router.get_external_ip().await.map_err(|error| error.to_string())?;
    let carrier = carrier.upnp();
    let here = SocketAddr::from((lan.own, port));
    let mut lease = LEASE;
    let mut added = router.add_port(carrier, port, here, lease, DESCRIPTION).await;
    if let Err(AddPortError::OnlyPermanentLeasesSupported) = added {
        lease = PERMANENT;
        added = router.add_port(carrier, port, here, lease, DESCRIPTION).await;
    }
    let there = match added {
        Ok(()) => port,
        // Another machine has that one.
        Err(_) => match router.add_any_port(carrier, here, lease, DESCRIPTION).await {
            Err(error) if lease != PERMANENT && knows_permanent_alone(&error) => {
                lease = PERMANENT;
                router.add_any_port(carrier, here, lease, DESCRIPTION).await
            }
            added => added,
        }
        .map_err(|error| error.to_string())?,
    };
    let life = (lease != PERMANENT).then(|| Duration::from_secs(lease.into()));
    let how = How::Upnp { router, carrier, since: Moment::now(), life };
    granted(port, SocketAddr::new(outside, there), how).await
}

fn knows_permanent_alone(error: &AddAnyPortError) -> bool {
    matches!(
        error,
        AddAnyPortError::OnlyPermanentLeasesSupported
            | AddAnyPortError::RequestError(RequestError::ErrorCode(PERMANENT_ALONE, _))
    )
}

/// A port that others can reach. One at an address that is translated again leads nowhere, and is given back.
async fn granted(port: u16, address: SocketAddr, how: How) -> Result<Granted, String> {
    let granted = Granted { port, address, how };
    if let Err(reason) = must_be_outside(address.ip()) {
        granted.give_back().await;
        return Err(reason);
    }
    Ok(granted)
}

/// The router's address, if others can reach it. The addresses of this machine that are asked for are those of IPv4.
fn must_be_outside(address: IpAddr) -> Result<IpAddr, String> {
    match address.is_ipv4() && is_public(address) {
        true => Ok(address),
        false => Err(format!("{BEHIND_ANOTHER}: its own address is {address}")),
    }
}

impl Granted {
    /// For how long it is granted.
    pub(super) fn lease(&self) -> Duration {
        match &self.how {
            How::Pmp(mapping) => mapping.expiration().saturating_duration_since(Instant::now()),
            How::Upnp { since, life, .. } => life.map_or(Duration::MAX, |life| life.saturating_sub(since.elapsed())),
        }
    }

    /// The protocol that the router speaks.
    pub(super) fn by(&self) -> &'static str {
        match &self.how {
            How::Pmp(mapping) => match mapping.mapping_type() {
                PortMappingType::NatPmp => "NAT-PMP",
                PortMappingType::Pcp { .. } => "PCP",
            },
            How::Upnp { .. } => "UPnP",
        }
    }

    /// Asks for it again. The router may have another address by then, or another port.
    pub(super) async fn renew(&mut self, lan: &Lan) -> Result<(), String> {
        let outside = match &mut self.how {
            How::Pmp(mapping) => {
                mapping.renew().await.map_err(|error| error.to_string())?;
                self.address.set_port(mapping.external_port().get());
                match mapping.mapping_type() {
                    PortMappingType::Pcp { external_ip, .. } => Some(external_ip.to_canonical()),
                    PortMappingType::NatPmp => {
                        let outside = natpmp::external_address(lan.router.into(), Some(TIMES)).await;
                        outside.ok().map(IpAddr::from)
                    }
                }
            }
            How::Upnp { router, carrier, since, life } => {
                let here = SocketAddr::from((lan.own, self.port));
                let lease = if life.is_some() { LEASE } else { PERMANENT };
                let again = router.add_port(*carrier, self.address.port(), here, lease, DESCRIPTION).await;
                again.map_err(|error| error.to_string())?;
                *since = Moment::now();
                router.get_external_ip().await.ok()
            }
        };
        if let Some(outside) = outside {
            // Some say 0.0.0.0 while their line is down.
            self.address.set_ip(must_be_outside(outside)?);
        }
        Ok(())
    }

    /// The router need not forward it any more.
    pub(super) async fn give_back(self) {
        match self.how {
            How::Pmp(mapping) => drop(mapping.try_drop().await),
            How::Upnp { router, carrier, .. } => drop(router.remove_port(carrier, self.address.port()).await),
        }
    }
}

#[cfg(test)]
impl Granted {
    /// By UPnP, for so long, by a router at this address.
    pub(super) fn until(router: SocketAddr, left: Duration) -> Self {
        let (router, carrier) = (gateway(router), PortMappingProtocol::UDP);
        let how = How::Upnp { router, carrier, since: Moment::now(), life: Some(left) };
        Granted { port: 9000, address: SocketAddr::from(([203, 0, 113, 7], 9000)), how }
    }
}

/// A router that speaks UPnP at this address.
#[cfg(test)]
pub(super) fn gateway(addr: SocketAddr) -> Gateway<Tokio> {
    let arguments = ["NewExternalPort", "NewProtocol", "NewInternalPort", "NewInternalClient", "NewLeaseDuration"];
    let schema = ["AddPortMapping", "DeletePortMapping"];
    Gateway {
        addr,
        root_url: "/".to_owned(),
        control_url: "/control".to_owned(),
        control_schema_url: "/schema".to_owned(),
        control_schema: schema.map(|action| (action.to_owned(), arguments.map(str::to_owned).to_vec())).into(),
        service_type: "urn:schemas-upnp-org:service:WANIPConnection:1".to_owned(),
        provider: Tokio,
    }
}
