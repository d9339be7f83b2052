//! The lab: a small internet of network namespaces with clients, attackers, a gateway that runs weir, and origin
//! servers. The end-to-end tests and the demo are written with it. It treats weir as a black box: it starts the
//! binary, and speaks to it through its configuration file, its command line and its sockets.
//!
//! Nothing here has a route out: every link is a veth pair between namespaces that the lab makes and removes itself,
//! also on panic and on a signal ([`cleanup`]). Floods are bounded in packets and in time, and their spoofed sources
//! come from `198.18.0.0/15` and `2001:db8::/32` only ([`flood`]).

#![allow(
    clippy::disallowed_methods,
    reason = "the lab measures real time, spawns on its own runtimes and is not part of the proxy"
)]

pub mod cleanup;
pub mod client;
pub mod flood;
pub mod frame;
pub mod interrupt;
pub mod load;
pub mod names;
pub mod namespace;
pub mod origin;
pub mod peer;
pub mod pipe;
pub mod pki;
mod process;
pub mod tcp;
pub mod topology;
pub mod wait;
pub mod weir;

pub use client::{Answer, Client, Protocol};
pub use flood::{Flood, Report, Sources};
pub use frame::Kind;
pub use load::{Load, LoadPlan, Stats};
pub use names::NameServer;
pub use namespace::Namespace;
pub use origin::Origin;
pub use peer::Peer;
pub use topology::Lab;
pub use wait::{until, within};
pub use weir::{Config, Output, Weir};
