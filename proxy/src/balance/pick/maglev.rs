//! Maglev's consistent hashing (Eisenbud et al., NSDI 2016, §3.4): every server fills a table in an order of its own, one
//! entry at a time, so that each has its share of it and a server that goes takes hardly more than its own entries along.
//!
//! A server that is only left out for a while stays in the table: its keys, and no others, go to the rest.

use crate::balance::hash::{Key, spread, stable};

/// A look-up table from hash to server.
#[derive(Debug)]
pub(in crate::balance) struct Maglev {
    /// 64 KiB.
    table: Box<[u8]>,
}

/// A server's own order of the table's entries.
struct Order {
    server: u8,
    weight: u64,
    next: usize,
    skip: usize,
    /// Turns, times the largest weight, that its entries so far are worth.
    due: u64,
}

impl Maglev {
    /// Names decide where a server's entries are, so weirs side by side, and this one after a reload, agree.
    pub(in crate::balance) fn new<'a>(servers: impl Iterator<Item = (&'a str, u32)>) -> Self {
        let mut orders: Vec<(u64, Order)> = (0..=u8::MAX)
            .zip(servers)
            .map(|(server, (name, weight))| (stable(name, 0), Order::new(server, name, weight)))
            .collect();
        // Not the order of the file: a server inserted at its beginning must not move the others'.
        orders.sort_unstable_by_key(|(hash, _)| *hash);
        let heaviest = orders.iter().map(|(_, order)| order.weight).max();
        Self {
            table: heaviest.map_or_else(Box::default, |heaviest| fill(&mut orders, heaviest)),
        }
    }

    /// The server for `key` among those that have a share. While one has less than its `full` share, the rest of its keys
    /// goes elsewhere.
    pub(in crate::balance) fn choose(
        &self,
        key: Key,
        shares: &[u32],
        full: impl Fn(usize) -> u32,
    ) -> Option<usize> {
        let place = remainder(key.0, self.table.len())?;
        let index = usize::from(*self.table.get(place)?);
        let share = shares.get(index).copied().unwrap_or(0);
        if share > 0 {
            let drawn = remainder(spread(key.0), full(index) as usize).unwrap_or(0);
            if drawn < share as usize {
                return Some(index);
            }
        }
        rendezvous(key, shares, index).or((share > 0).then_some(index))
    }
}

impl Order {
    fn new(server: u8, name: &str, weight: u32) -> Self {
        Self {
            server,
            weight: weight.max(1).into(),
            next: remainder(stable(name, 1), ENTRIES).unwrap_or(0),
            skip: remainder(stable(name, 2), ENTRIES - 1).unwrap_or(0) + 1,
            due: 0,
        }
    }

    /// The first entry of its order that is free. There is one: `ENTRIES` is prime, so the order has all of them.
    fn claim(&mut self, table: &mut [Option<u8>]) {
        while table[self.next].is_some() {
            self.step();
        }
        table[self.next] = Some(self.server);
        self.step();
    }

    fn step(&mut self) {
        self.next = (self.next + self.skip) % ENTRIES;
    }
}

/// Servers take turns; one with half the largest weight takes an entry every second turn.
fn fill(orders: &mut [(u64, Order)], heaviest: u64) -> Box<[u8]> {
    let mut table = vec![None; ENTRIES];
    let mut free = ENTRIES;
    let mut turn = 0;
    while free > 0 {
        turn += 1;
        for (_, order) in orders.iter_mut() {
            if turn * order.weight < order.due || free == 0 {
                continue;
            }
            order.due += heaviest;
            order.claim(&mut table);
            free -= 1;
        }
    }
    table.into_iter().flatten().collect()
}

/// Among the others, the one that comes first in the key's own order of them (highest random weight).
fn rendezvous(key: Key, shares: &[u32], except: usize) -> Option<usize> {
    let rank = |index: usize, share: u32| {
        let random = spread(key.0 ^ spread(index as u64)) >> 11;
        #[allow(clippy::cast_precision_loss, reason = "53 bits are what an f64 holds")]
        let unit = (random as f64 + 0.5) / (1_u64 << 53) as f64;
        // Exponentially distributed with the share as rate: the least of them is each server's with its share.
        -unit.ln() / f64::from(share)
    };
    let others = shares.iter().enumerate();
    others
        .filter(|(index, share)| *index != except && **share > 0)
        .map(|(index, share)| (rank(index, *share), index))
        .min_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, index)| index)
}

/// `hash` modulo `divisor`; `None` for 0.
fn remainder(hash: u64, divisor: usize) -> Option<usize> {
    usize::try_from(hash.checked_rem(divisor as u64)?).ok()
}

/// A prime, and 256 times as many as there can be servers: each server's share is then right within a percent.
const ENTRIES: usize = 65_537;
