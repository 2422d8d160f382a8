//! A total that counts on where its node begins anew, as it does with a share that it opens again.

/// Bytes that were received or sent, of which the node knows what it has counted itself.
#[derive(Debug, Default)]
pub(super) struct Total {
    before: u64,
    since: u64,
}

impl Total {
    /// The node has counted so many. Fewer than it had mean that it has begun anew.
    pub(super) fn count(&mut self, since: u64) {
        if since < self.since {
            self.keep();
        }
        self.since = since;
    }

    /// What the node has counted is over.
    pub(super) fn keep(&mut self) {
        self.before += std::mem::take(&mut self.since);
    }

    /// All of it.
    pub(super) fn all(&self) -> u64 {
        self.before + self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_before_a_new_beginning_counts_once() {
        let mut total = Total::default();
        for (since, all) in [(5, 5), (9, 9), (0, 9), (2, 11), (2, 11)] {
            total.count(since);
            assert_eq!(total.all(), all);
        }
        total.keep();
        total.keep();
        total.count(1);
        assert_eq!(total.all(), 12);
    }
}
