//! The request path, end to end in one process: a worker on loopback between raw sockets, so that every byte on either
//! side is the test's own.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    reason = "tests: a panic is a failure, and deadlines of the harness read the clock"
)]

mod abuse;
mod actions;
mod attacks;
mod auth;
mod balancing;
mod caching;
mod certificates;
mod client;
mod compress;
mod connections;
mod content;
mod desync;
mod drain;
mod exhaustion;
mod failover;
mod faults;
mod fields;
mod forwarded;
mod framing;
mod grpc;
mod h2_requests;
mod handshakes;
mod http2;
mod identity;
mod interim;
mod lies;
mod lies_h2;
mod limits;
mod listeners;
mod origin;
mod origin_h2;
mod paths;
mod process;
mod proxy_protocol;
mod raw_h2;
mod reload;
mod routing;
mod shortage;
mod streams;
mod strict;
mod tls;
mod upgrade;
mod upstream_h2;
mod upstream_probe;
mod upstream_proxy;
mod upstream_tls;
mod upstream_uploads;
mod weir;
