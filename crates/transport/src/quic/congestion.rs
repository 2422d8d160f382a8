//! How fast a connection sends: which controller decides it.

mod by_rtt;
mod controller;
mod delivery;
mod path;
mod round;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::str::FromStr;
use std::sync::Arc;

use quinn::congestion::{BbrConfig, ControllerFactory, CubicConfig, NewRenoConfig};

/// The congestion controllers, as flags name them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Congestion {
    /// CUBIC over short paths, [`Congestion::Delivery`] over long ones.
    #[default]
    Auto,
    /// Sends what the path was seen to deliver, and takes a little loss for chance.
    Delivery,
    /// CUBIC (RFC 9438): takes every loss for congestion.
    Cubic,
    /// NewReno (RFC 9002): the same, and grows more slowly afterwards.
    NewReno,
    /// quinn's BBR, which is experimental: fills a path that loses packets, and wastes much of it.
    Bbr,
}

/// The name is no congestion controller's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown congestion controller {0:?}: use auto, delivery, cubic, newreno or bbr")]
pub struct UnknownCongestion(String);

impl FromStr for Congestion {
    type Err = UnknownCongestion;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "auto" => Ok(Congestion::Auto),
            "delivery" => Ok(Congestion::Delivery),
            "cubic" => Ok(Congestion::Cubic),
            "newreno" => Ok(Congestion::NewReno),
            "bbr" => Ok(Congestion::Bbr),
            _ => Err(UnknownCongestion(name.to_owned())),
        }
    }
}

impl Congestion {
    /// What makes a controller for each path.
    pub(super) fn factory(self) -> Arc<dyn ControllerFactory + Send + Sync> {
        match self {
            Congestion::Auto => Arc::new(by_rtt::ByRttFactory),
            Congestion::Delivery => Arc::new(controller::DeliveryFactory),
            Congestion::Cubic => Arc::new(CubicConfig::default()),
            Congestion::NewReno => Arc::new(NewRenoConfig::default()),
            Congestion::Bbr => Arc::new(BbrConfig::default()),
        }
    }
}
