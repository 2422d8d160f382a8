//! What will happen, in order: a calendar of short days, so that putting an event in and taking it out costs the same
//! however many there are (Brown, "Calendar queues: a fast O(1) priority queue implementation for the simulation event
//! set problem", CACM 1988, with days of a fixed length).
//!
//! Events of the same instant come out in the order in which they were put in: nothing depends on chance.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Nanoseconds since the start of the world.
pub(crate) type Time = u64;

/// A day is 2^18 ns, a quarter of a millisecond.
const DAY: u32 = 18;
/// Days that lie open: 4.3 s. What is later waits in a heap.
const DAYS: usize = 1 << 14;

/// Instant, turn, and where the event itself lies.
type Entry = (Time, u64, u32);

pub(crate) struct Queue<T> {
    items: Vec<Option<T>>,
    free: Vec<u32>,
    /// The day that is being taken apart, and what was added to it or an earlier one meanwhile.
    today: BinaryHeap<Reverse<Entry>>,
    day: u64,
    days: Vec<Vec<Entry>>,
    /// Entries in `days`.
    soon: usize,
    later: BinaryHeap<Reverse<Entry>>,
    turn: u64,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Queue {
            items: Vec::new(),
            free: Vec::new(),
            today: BinaryHeap::new(),
            day: 0,
            days: (0..DAYS).map(|_| Vec::new()).collect(),
            soon: 0,
            later: BinaryHeap::new(),
            turn: 0,
        }
    }

    pub(crate) fn push(&mut self, at: Time, item: T) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.items[slot as usize] = Some(item);
                slot
            }
            None => {
                self.items.push(Some(item));
                (self.items.len() - 1) as u32
            }
        };
        let entry = (at, self.turn, slot);
        self.turn += 1;
        self.file(entry);
    }

    fn file(&mut self, entry: Entry) {
        let day = entry.0 >> DAY;
        if day <= self.day {
            self.today.push(Reverse(entry));
        } else if day < self.day + DAYS as u64 {
            self.days[day as usize % DAYS].push(entry);
            self.soon += 1;
        } else {
            self.later.push(Reverse(entry));
        }
    }

    pub(crate) fn pop(&mut self) -> Option<(Time, T)> {
        loop {
            if let Some(Reverse((at, _, slot))) = self.today.pop() {
                let item = self.items[slot as usize].take()?;
                self.free.push(slot);
                return Some((at, item));
            }
            self.next_day()?;
        }
    }

    /// Goes on to the next day on which something happens; nothing if there is none.
    fn next_day(&mut self) -> Option<()> {
        let first_later = self.later.peek().map(|Reverse(entry)| entry.0 >> DAY);
        if self.soon == 0 {
            self.day = first_later?;
        } else {
            self.day += 1;
            while self.days[self.day as usize % DAYS].is_empty() && first_later.is_none_or(|day| self.day < day) {
                self.day += 1;
            }
        }
        // Today's entries are sorted by the heap; the vector keeps its room for a day to come.
        let mut entries = std::mem::take(&mut self.days[self.day as usize % DAYS]);
        self.soon -= entries.len();
        self.today.extend(entries.drain(..).map(Reverse));
        self.days[self.day as usize % DAYS] = entries;
        while let Some(&Reverse(entry)) = self.later.peek() {
            if entry.0 >> DAY >= self.day + DAYS as u64 {
                break;
            }
            self.later.pop();
            self.file(entry);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_by_time_and_then_by_turn() {
        let (mut queue, mut random) = (Queue::new(), fastrand::Rng::with_seed(1));
        let mut expected = Vec::new();
        for turn in 0..2000u64 {
            // Same instants, near ones, and ones far past the days that lie open.
            let at = [5, random.u64(..1 << 20), random.u64(..20_000_000_000)][turn as usize % 3];
            queue.push(at, turn);
            expected.push((at, turn));
        }
        expected.sort();
        // Half comes out, then more is added that is due at once or later.
        let (mut out, mut rest) = (Vec::new(), expected.split_off(1000));
        for _ in 0..1000 {
            out.push(queue.pop().unwrap());
        }
        assert_eq!(out, expected);
        let now = expected[999].0;
        for turn in 2000..2100 {
            let at = now + [0, 3, 1 << 30][turn as usize % 3];
            queue.push(at, turn);
            rest.push((at, turn));
        }
        rest.sort();
        assert_eq!(std::iter::from_fn(|| queue.pop()).collect::<Vec<_>>(), rest);
    }
}
