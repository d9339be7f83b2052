//! What an origin's entries are to be, and how those that there are differ.

use ipnet::IpNet;
use weir_common::Text;

use super::super::List;
use super::keys::{Table, canonical};
use super::lists::NewEntry;
use super::notes::note;
use super::replace::Replaced;

/// What an origin's entries are to be.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) origin: String,
    /// By table, sorted.
    networks: [Vec<IpNet>; Table::ALL.len()],
    reasons: [String; 2],
    pub(super) added_ns: u64,
}

impl Wanted {
    /// Entries without end, with the reason of their list (allow, block).
    pub(super) fn new(
        origin: &str,
        networks: impl IntoIterator<Item = (List, IpNet)>,
        [allow, block]: [&str; 2],
        added_ns: u64,
    ) -> Self {
        let mut sorted: [Vec<IpNet>; Table::ALL.len()] = Default::default();
        for (list, network) in networks {
            let network = canonical(network);
            sorted[Table::of(list, &network) as usize].push(network);
        }
        for networks in &mut sorted {
            networks.sort_unstable();
            networks.dedup();
        }
        Self {
            origin: origin.to_owned(),
            networks: sorted,
            reasons: [allow.to_owned(), block.to_owned()],
            added_ns,
        }
    }

    pub(super) fn entry(&self, list: List) -> NewEntry {
        let [allow, block] = &self.reasons;
        NewEntry {
            expires_ns: 0,
            added_ns: self.added_ns,
            note: note(
                Text::truncated(&self.origin),
                match list {
                    List::Allow => allow,
                    List::Block => block,
                },
            ),
        }
    }

    pub(super) fn is_for(&self, list: List) -> bool {
        Table::ALL
            .into_iter()
            .any(|table| table.list() == list && !self.of(table).is_empty())
    }

    pub(super) fn of(&self, table: Table) -> &[IpNet] {
        &self.networks[table as usize]
    }
}

/// How the entries of an origin differ from those that are wanted.
#[derive(Debug, Default)]
pub(super) struct Difference {
    pub(super) missing: Vec<(List, IpNet)>,
    pub(super) leftover: Vec<(Table, IpNet)>,
    pub(super) kept: usize,
}

impl Difference {
    /// Entries to be made or removed.
    pub(super) fn edits(&self) -> usize {
        self.missing.len() + self.leftover.len()
    }

    /// What has become of the entries if nothing is to be done.
    pub(super) fn nothing_done(&self) -> Replaced {
        Replaced {
            entries: self.kept,
            ..Replaced::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_canonical_sorted_and_each_network_once() {
        let networks = [
            "192.0.2.9/24",
            "::ffff:192.0.2.1/120",
            "2001:db8::/64",
            "10.0.0.1/32",
        ];
        let networks = networks.map(|text| (List::Block, text.parse().expect("a network")));
        let wanted = Wanted::new("feed:a", networks, ["", "drop.txt"], 0);
        let named =
            |table| -> Vec<String> { wanted.of(table).iter().map(ToString::to_string).collect() };
        assert_eq!(named(Table::BlockLpm4), ["192.0.2.0/24"]);
        assert_eq!(named(Table::Block6), ["2001:db8::/64"]);
        assert_eq!(named(Table::Block4), ["10.0.0.1/32"]);
        assert_eq!(wanted.entry(List::Block).note.reason.as_str(), "drop.txt");
    }
}
