//! The packet filter's user side: loads, attaches and pins the program; reads and edits its maps.
//!
//! | file | does |
//! |---|---|
//! | `shield` | [`Shield`] and [`detach`]: what the control thread holds |
//! | `plan`, `bring_up`, `attach`, `watch` | what to do, all of it at once, one interface, and again when it is lost |
//! | `load`, `object` | the embedded program into the kernel |
//! | `pins`, `links`, `interface`, `slots`, `programs` | what is pinned where, attached where, counted where, whose it is |
//! | `maps` | [`Maps`]: lists, counters, settings |
//! | `samples` | drops out of the ring |
//! | [`feed`] | files of networks to block, read and parsed |
//! | [`addresses`] | this host's own addresses |
//! | [`sysctl`] | the switches of the network stack that SYN cookies depend on |
//!
//! It decides nothing about packets (that is `proxy-ebpf`) nor about who is blocked (that is `detect`).

pub mod addresses;
mod attach;
mod bring_up;
mod error;
pub mod feed;
mod interface;
mod links;
mod load;
mod maps;
mod object;
mod pins;
mod plan;
mod programs;
mod samples;
mod settings;
mod shield;
mod slots;
pub mod sysctl;
mod watch;

pub use self::error::{ErrorKind, ShieldError};
pub use self::maps::{
    Census, Inserted, List, ListedEntry, MapMemory, Maps, Replaced, SourceRow, map_memory,
};
pub use self::programs::{pinned_programs, program_name};
pub use self::samples::DropSample;
pub use self::settings::{Feed, Limits, Mode, Rate, Sanity, Settings, SynCookies, Tables};
pub use self::shield::{Leftover, Shield, detach, release};

/// What to do about XDP programs of others on the interfaces to guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// Refuse to start.
    Nothing,
    /// Take them off.
    Foreign,
}

/// How the program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachedMode {
    /// In the driver.
    Native,
    /// In the stack, after the skb is allocated.
    Generic,
}

impl AttachedMode {
    /// As in `[shield] mode`, `weir status` and the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// One guarded interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Index.
    pub ifindex: u32,
    /// Slot in the TOTALS map.
    pub slot: u32,
    /// Mode.
    pub mode: AttachedMode,
    /// Why not native, in the driver's error, when `mode` was auto and it is generic.
    pub fallback: Option<String>,
    /// Kernel id of the attached program.
    pub program_id: u32,
}
