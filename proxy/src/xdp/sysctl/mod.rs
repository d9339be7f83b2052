//! The switches of the network stack that SYN cookies from XDP depend on: whether they are right, and with the operator's
//! consent (`[shield] manage_sysctls`) made right, remembered, and put back.
//!
//! | file | does |
//! |---|---|
//! | `assess` | decides, of what was found: what works, what is wrong, what to write |
//! | `host` | reads and writes below `/proc/sys`, and knows which boot and network namespace this is |
//! | `memory` | what was there before weir wrote, in `<state_dir>/sysctls.json` |
//! | `manage` | writes and puts back, so that a crash at any point loses nothing |
//!
//! All of it is about the network namespace of the calling thread; the switches are the namespace's own. Writing takes
//! `CAP_NET_ADMIN` in it (the kernel's `net_ctl_permissions`), not root, and a `/proc/sys` that is not mounted read-only,
//! as containers have it. Nothing is ever written without consent.
//!
//! What the kernel does was read in the sources of Linux 6.1.192 and 6.12.117 and tried on 6.18.

mod assess;
mod host;
mod manage;
mod memory;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::assess::{Assessment, Found, assess, window_scale};
pub use self::host::found;
pub use self::manage::{Restored, Settled, restore, settle};

/// A switch that weir may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Sysctl {
    /// `net.ipv4.tcp_syncookies`, for IPv6 too; 0 never, 1 when a listener's queue is full (the kernel's default), 2 always.
    ///
    /// `bpf_tcp_gen_syncookie` makes a cookie only with 2, or while the queue of that very listener is full, which it is not
    /// when XDP answers instead of the stack (`tcp_get_syncookie_mss`).
    #[serde(rename = "net.ipv4.tcp_syncookies")]
    Syncookies,
    /// `net.ipv4.tcp_timestamps`, for IPv6 too; 0 none, 1 with a secret offset for each connection (the kernel's default),
    /// 2 without.
    ///
    /// A cookie has 2 bits for the MSS and none for window scale and SACK: they go into the low 6 bits of the timestamp
    /// that the client echoes. Before the kernel decodes them it subtracts the offset (`secure_tcp_ts_off`, 0 unless the
    /// switch is 1), which XDP cannot know. The price of 2: peers see how long the host has been up.
    #[serde(rename = "net.ipv4.tcp_timestamps")]
    Timestamps,
}

impl Sysctl {
    /// As sysctl(8) has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syncookies => "net.ipv4.tcp_syncookies",
            Self::Timestamps => "net.ipv4.tcp_timestamps",
        }
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that does not work, or not as well as it could.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// One sentence, without its full stop.
    pub sentence: String,
    /// What to do about it.
    pub fix: String,
}
