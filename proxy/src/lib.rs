//! weir: an eBPF-accelerated reverse proxy for Linux gateway hosts.
//!
//! | module | does |
//! |---|---|
//! | [`cli`] | the command line; every command but `run` talks to the pinned maps or to the running weir's socket |
//! | [`app`] | composition root: turns settings into threads, wires detection to the shield, reloads, drains |
//! | [`config`] | `weir.toml` → the settings of each module, with every error found |
//! | [`xdp`] | loads, attaches and pins the packet filter; reads and edits its maps |
//! | [`net`] | listeners, accept loops, connection limits, drain |
//! | [`tls`] | certificates by name, rustls settings |
//! | [`http`] | the request path: server, pipeline, forwarding, upstream connections, faults |
//! | [`route`], [`balance`], [`cache`], [`detect`] | decisions; no I/O, no clock: they take `now` |
//! | [`doctor`] | whether this host is fit to run the shield |
//! | [`admin`] | the JSON API on the admin socket, and its client |
//! | [`telemetry`] | log and access log |

pub mod admin;
pub mod app;
pub mod balance;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod detect;
pub mod doctor;
pub mod http;
pub mod net;
mod netlink;
pub mod route;
pub mod telemetry;
pub mod tls;
pub mod xdp;
