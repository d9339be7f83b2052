//! The request path, end to end in one process: a worker on loopback between raw sockets, so that every byte on either
//! side is the test's own.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    reason = "tests: a panic is a failure, and deadlines of the harness read the clock"
)]

mod actions;
mod auth;
mod caching;
mod client;
mod compress;
mod connections;
mod content;
mod drain;
mod failover;
mod fields;
mod framing;
mod http2;
mod limits;
mod origin;
mod paths;
mod process;
mod routing;
mod tls;
mod weir;
