//! Permission for aya to copy the shared types in and out of maps.
#![allow(
    unsafe_code,
    reason = "`aya::Pod` is an unsafe trait; this module is nothing but its impls"
)]

use crate::{
    CpuState, Entry, InterfaceSlot, Note, PrefixState, Pressure, Sample, ShieldSettings,
    SourceState, Tally, Totals,
};

macro_rules! pod {
    ($($name:ty),* $(,)?) => {
        $(
            // SAFETY: `#[repr(C)]`, only integers and byte arrays inside, no padding (sizes are asserted where the type is
            // defined), so every bit pattern is a value and every byte is initialised.
            unsafe impl aya::Pod for $name {}
        )*
    };
}

pod!(
    CpuState,
    Entry,
    InterfaceSlot,
    Note,
    PrefixState,
    Pressure,
    Sample,
    ShieldSettings,
    SourceState,
    Tally,
    Totals
);
