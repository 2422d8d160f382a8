//! CUBIC over short paths, `delivery` over long ones.
//!
//! Where a round trip is short, a loss is repaired before anyone notices, nearly every one comes from a queue that is
//! full, and CUBIC shares an uplink among many with the least waste. Where it is long, CUBIC takes a second or more to
//! come back from each loss, whatever caused it, and one per cent of them leave it a hundredth of the path. Both are
//! told everything, so either is ready when the path turns out to be of its kind.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory, CubicConfig};
use quinn_proto::RttEstimator;

use super::controller;

/// A path is long from this round trip on, of the shortest that was seen.
const LONG: Duration = Duration::from_millis(10);

pub(super) struct ByRttFactory;

impl ControllerFactory for ByRttFactory {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        let short = Arc::new(CubicConfig::default()).build(now, mtu);
        let long = Arc::new(controller::DeliveryFactory).build(now, mtu);
        Box::new(ByDistance { short, long, is_long: false })
    }
}

struct ByDistance {
    short: Box<dyn Controller>,
    long: Box<dyn Controller>,
    is_long: bool,
}

impl ByDistance {
    fn chosen(&self) -> &dyn Controller {
        if self.is_long { &*self.long } else { &*self.short }
    }
}

impl Controller for ByDistance {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.short.on_sent(now, bytes, last_packet_number);
        self.long.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.is_long = rtt.min() >= LONG;
        self.short.on_ack(now, sent, bytes, app_limited, rtt);
        self.long.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_acked: Option<u64>) {
        self.short.on_end_acks(now, in_flight, app_limited, largest_acked);
        self.long.on_end_acks(now, in_flight, app_limited, largest_acked);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, persistent: bool, lost: u64) {
        self.short.on_congestion_event(now, sent, persistent, lost);
        self.long.on_congestion_event(now, sent, persistent, lost);
    }

    fn on_mtu_update(&mut self, mtu: u16) {
        self.short.on_mtu_update(mtu);
        self.long.on_mtu_update(mtu);
    }

    fn window(&self) -> u64 {
        self.chosen().window()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(ByDistance { short: self.short.clone_box(), long: self.long.clone_box(), is_long: self.is_long })
    }

    fn initial_window(&self) -> u64 {
        self.chosen().initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
