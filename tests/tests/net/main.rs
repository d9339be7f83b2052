//! The net ring: weir as its users run it, in a lab of network namespaces, seen only through its configuration file,
//! its command line and its sockets; `swap` and `upgrade` also look at what is pinned. Needs root and the release binary (`cargo xtask test net` sees to both); run with
//! `--test-threads=1`, since each test has a lab and a weir of its own.

#![allow(
    clippy::disallowed_methods,
    reason = "the lab measures real time, spawns on its own runtimes and is not part of the proxy"
)]

mod balancing;
mod cache;
mod cookies;
mod detection;
mod doctor;
mod failover;
mod failstatic;
mod feeds;
mod flood;
mod grpc;
mod lab;
mod lifecycle;
mod limits;
mod lists;
mod names;
mod path_mtu;
mod peers;
mod reload;
mod sanity;
mod shield;
mod slow;
mod swap;
mod traffic;
mod upgrade;
mod versions;
mod wire;

use std::time::Duration;

/// A test ends with the first thing that is not as it should be.
type Test = anyhow::Result<()>;

/// How long the tests wait for what should happen soon: generous, because it is over as soon as that has happened, and other
/// machines have fewer cores and other work. Only `detection` has a limit that is part of the behaviour.
const SOON: Duration = Duration::from_secs(30);
