//! `POST /v1/drain` and `DELETE /v1/drain`: taking an origin server out, and in again.

#![allow(clippy::struct_field_names, reason = "field names are the JSON's")]

use serde::{Deserialize, Serialize};

/// Which server. `POST` has it as JSON, `DELETE` as query parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Name of the upstream.
    pub upstream: String,
    /// `host:port`, or the host alone if there is only one of it.
    pub server: String,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// Name of the upstream.
    pub upstream: String,
    /// `host:port`
    pub server: String,
    /// Whether it is left out from now on.
    pub drained: bool,
    /// False: it was so before.
    pub changed: bool,
    /// Requests that have not come to the end of their response.
    pub in_flight: u64,
}
