//! `/v1/blocks` and `/v1/allows`: entries of the lists, and edits.

#![allow(clippy::struct_field_names, reason = "field names are the JSON's")]

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::super::network;

/// `GET /v1/blocks`, `GET /v1/allows`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entries {
    /// Sorted by network.
    pub entries: Vec<Entry>,
}

/// An entry of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Which list.
    pub list: List,
    /// Address or prefix.
    #[serde(with = "network::text")]
    pub network: IpNet,
    /// When it ends; `null` = never.
    pub expires_in_seconds: Option<f64>,
    /// How long ago it was made.
    pub added_seconds_ago: f64,
    /// Packets dropped because of it, or that would have been.
    #[serde(default)]
    pub hits: u64,
    /// `config`, `cli`, `detect:<rule>`, `feed:<name>`.
    pub origin: String,
    /// Why, in the words of whoever made it.
    pub reason: String,
}

/// Which list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum List {
    /// Beats the blocklist.
    Allow,
    /// Dropped.
    Block,
}

/// `POST /v1/blocks`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockRequest {
    /// Addresses or prefixes; at least one.
    #[serde(with = "network::texts")]
    pub networks: Vec<IpNet>,
    /// 1 to 31,536,000 (365 days); absent = `[shield] block_for`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// At most 47 bytes; may be empty.
    #[serde(default)]
    pub reason: String,
}

/// `POST /v1/allows`; `DELETE /v1/blocks?network=…&network=…` and `DELETE /v1/allows` say the same in the query, since
/// content of a DELETE has no defined meaning (RFC 9110 §9.3.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworksRequest {
    /// Addresses or prefixes; at least one.
    #[serde(with = "network::texts")]
    pub networks: Vec<IpNet>,
}

/// Answer to edits of a list: one change per network, in the order of the request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// One per network.
    pub changes: Vec<Change>,
}

/// What became of one network of an edit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Address or prefix.
    #[serde(with = "network::text")]
    pub network: IpNet,
    /// What was done.
    pub change: ChangeKind,
    /// When the entry ends; `null` = never, or it was removed.
    pub expires_in_seconds: Option<f64>,
    /// Of one that was kept: who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// The entry is there now; one it replaced is gone.
    Added,
    /// Another's entry for the same network lasts longer, and stays.
    Kept,
    /// The entry is gone.
    Removed,
    /// There was no such entry.
    Absent,
}
