//! How fast a path delivers, sampled with every acknowledgement (draft-cheng-iccrg-delivery-rate-estimation).
//!
//! A sample is what was delivered between the sending of a packet and its acknowledgement, over the time that this took
//! or over the time in which it was sent, whichever is longer: so neither a burst nor acknowledgements that come in a
//! lump look like a fast path. quinn tells a controller when an acknowledged packet was sent, not which one it was, so
//! what was known at that time is looked up by the time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Times of sending that are remembered: a few round trips of them. quinn does not say whether what it sends will be
/// acknowledged, so they also fill up where nothing is.
const REMEMBERED: usize = 256;

/// What was known when something was sent.
#[derive(Debug, Clone, Copy)]
struct Sent {
    at: Instant,
    delivered: u64,
    delivered_at: Instant,
    first_sent: Instant,
    app_limited: bool,
}

/// What an acknowledgement tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// Bytes that it acknowledged.
    pub(super) acked: u64,
    /// Bytes a second.
    pub(super) rate: f64,
    pub(super) rtt: Duration,
    /// The application had nothing to send for a part of the time, so the path may deliver more.
    pub(super) app_limited: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Delivery {
    sent: VecDeque<Sent>,
    delivered: u64,
    delivered_at: Instant,
    /// When the first packet of the present sample was sent.
    first_sent: Instant,
    /// Until so much is delivered, samples tell what the application had to send.
    app_limited_until: Option<u64>,
    idle: bool,
    /// Of the acknowledgement that is being read: bytes, and when its newest packet was sent.
    acked: u64,
    newest: Option<Instant>,
}

impl Delivery {
    pub(super) fn new(now: Instant) -> Self {
        Delivery {
            sent: VecDeque::new(),
            delivered: 0,
            delivered_at: now,
            first_sent: now,
            app_limited_until: None,
            idle: true,
            acked: 0,
            newest: None,
        }
    }

    /// Something was sent. What is sent within a fraction of a round trip is remembered as one.
    pub(super) fn on_sent(&mut self, now: Instant, rtt: Duration) {
        if std::mem::replace(&mut self.idle, false) {
            (self.first_sent, self.delivered_at) = (now, now);
        }
        if self.sent.back().is_some_and(|last| now.saturating_duration_since(last.at) < rtt / 64) {
            return;
        }
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent {
            at: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent: self.first_sent,
            app_limited: self.app_limited_until.is_some(),
        });
    }

    /// A packet was acknowledged.
    pub(super) fn on_ack(&mut self, sent: Instant, bytes: u64) {
        self.acked += bytes;
        self.newest = self.newest.max(Some(sent));
    }

    /// All packets of an acknowledgement were named.
    pub(super) fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool) -> Option<Sample> {
        let (acked, newest) = (std::mem::take(&mut self.acked), self.newest.take());
        self.delivered += acked;
        self.delivered_at = now;
        if self.app_limited_until.is_some_and(|until| self.delivered > until) {
            self.app_limited_until = None;
        }
        if app_limited {
            self.app_limited_until = Some(self.delivered + in_flight);
        }
        self.idle = in_flight == 0;
        let newest = newest?;
        let known = self.sent.partition_point(|sent| sent.at <= newest).checked_sub(1)?;
        let then = self.sent[known];
        // An older one is asked for again only by packets that came late.
        self.sent.drain(..known);
        self.first_sent = newest;
        let took =
            now.saturating_duration_since(then.delivered_at).max(newest.saturating_duration_since(then.first_sent));
        let rate = (self.delivered - then.delivered) as f64 / took.as_secs_f64().max(1e-6);
        let rtt = now.saturating_duration_since(newest);
        Some(Sample { acked, rate, rtt, app_limited: then.app_limited })
    }
}
