//! Whether this host is fit to run the shield, and what to do where it is not.
//!
//! | part | does |
//! |---|---|
//! | `facts` | a host as it was seen, and what is wanted of it |
//! | `host` | sees: `/proc`, `/sys`, rtnetlink, ethtool's netlink |
//! | `checks` | judges: facts in, findings out, no I/O |
//! | `finding` | what is said |
//!
//! It changes nothing and needs neither root nor a running weir; what it may not see, it says so.

mod checks;
mod facts;
mod finding;
mod host;

pub use self::checks::examine;
pub use self::facts::{
    BondMode, Capabilities, CgroupMemory, Channels, Device, Facts, Hardware, Interfaces, Kernel,
    Layer, Link, Memory, Offload, Offloads, Pairing, Process, Program, Sysctls, Wanted,
    XdpFeatures,
};
pub use self::finding::{Finding, Severity, Unseen};
pub use self::host::look;
