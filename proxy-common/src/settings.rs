//! What user space tells the XDP program, through maps rather than constants, so that it can change at run time.

use crate::Text;

/// What to do with a class of packets.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// Let it pass, uncounted under this class.
    Pass = 0,
    /// Count it under this class, let it pass.
    Count = 1,
    /// Drop it.
    Drop = 2,
}

/// Value of the one-element `SETTINGS` map.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShieldSettings {
    /// 1: drops are carried out. 0: packets that would be dropped are counted and sampled as such, and pass.
    pub enforce: u8,
    /// [`Policy`] for malformed packets.
    pub malformed: u8,
    /// [`Policy`] for fragments.
    pub fragments: u8,
    /// Samples written per CPU and 256 ms window; 0 = none.
    pub samples_per_window: u8,
    /// Bit set (`LIST_…`) of the list maps that hold entries; the others are not looked up.
    pub lists: u32,
}

impl ShieldSettings {
    /// `lists` bit: `ALLOW_LPM4` has entries.
    pub const LIST_ALLOW4: u32 = 1;
    /// `lists` bit: `ALLOW_LPM6` has entries.
    pub const LIST_ALLOW6: u32 = 1 << 1;
    /// `lists` bit: `BLOCK4` has entries.
    pub const LIST_BLOCK4: u32 = 1 << 2;
    /// `lists` bit: `BLOCK6` has entries.
    pub const LIST_BLOCK6: u32 = 1 << 3;
    /// `lists` bit: `BLOCK6_64` has entries.
    pub const LIST_BLOCK6_64: u32 = 1 << 4;
    /// `lists` bit: `BLOCK_LPM4` has entries.
    pub const LIST_BLOCK_LPM4: u32 = 1 << 5;
    /// `lists` bit: `BLOCK_LPM6` has entries.
    pub const LIST_BLOCK_LPM6: u32 = 1 << 6;
    /// All `lists` bits: what a loader sets when it does not know better.
    pub const LIST_ALL: u32 = (1 << 7) - 1;
}

/// Value of the `INTERFACES` map: which interface a slot belongs to. Slots are kept over restarts by name.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InterfaceSlot {
    /// Interface index at the last attach; 0 = the slot is free.
    pub ifindex: u32,
    /// Interface name (IFNAMSIZ is 16 with its NUL).
    pub name: Text<16>,
}

const _: () = assert!(size_of::<ShieldSettings>() == 8);
const _: () = assert!(size_of::<InterfaceSlot>() == 20);
