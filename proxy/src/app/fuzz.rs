//! What holds of the servers of a service, whatever its records say.

use std::collections::HashSet;

use super::origins::servers;
use crate::net::Service;

/// Servers are the records of the lowest priority, each with a weight within bounds.
pub fn services(records: &[Service]) {
    let found = servers(records);
    let lowest = records.iter().map(|record| record.priority).min();
    let preferred: HashSet<_> = records
        .iter()
        .filter(|record| Some(record.priority) == lowest)
        .map(|record| (record.host.as_str(), record.port))
        .collect();
    assert_eq!(found.is_empty(), records.is_empty());
    for server in &found {
        assert!((1..=256).contains(&server.weight));
        assert!(preferred.contains(&(server.host.as_str(), server.port)));
    }
}
