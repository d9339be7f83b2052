//! Memory that all CPUs change at the same time, one field at a time: a map's value in the kernel, a cell on the host.
//! The same code runs on both; only the atomic operations are spelled differently.
#![allow(
    unsafe_code,
    reason = "fields of map values are reached through raw pointers; every one of them is made here"
)]

use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::NonNull;

use weir_common::{CpuState, DropClass, Entry, PrefixState, Pressure, SourceState};

/// A place that others may change at any time.
///
/// Never null, so that an `Option` of it is one word.
pub struct Shared<'a, T>(NonNull<T>, PhantomData<&'a Cell<T>>);

impl<T> Clone for Shared<'_, T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// A place on the host.
    pub fn of(cell: &'a Cell<T>) -> Self {
        Self(NonNull::from(cell).cast(), PhantomData)
    }

    /// A place in a map.
    ///
    /// # Safety
    ///
    /// `pointer` is aligned and valid for reads and writes for `'a`, and others touch it only as this module does.
    #[inline(always)]
    pub unsafe fn from_ptr(pointer: NonNull<T>) -> Self {
        Self(pointer, PhantomData)
    }
}

impl<T: Copy> Shared<'_, T> {
    /// What is there now.
    #[inline(always)]
    pub fn read(self) -> T {
        // SAFETY: the constructors' promise.
        unsafe { self.0.as_ptr().read_volatile() }
    }

    /// Puts `value` there, whatever others do.
    #[inline(always)]
    pub fn write(self, value: T) {
        // SAFETY: as in `read`.
        unsafe { self.0.as_ptr().write_volatile(value) }
    }
}

/// The atomic operations of one integer type.
macro_rules! atomic {
    ($integer:ty, $atomic:ident) => {
        impl Shared<'_, $integer> {
            /// Adds `n`, wrapping.
            #[inline(always)]
            pub fn add(self, n: $integer) {
                #[cfg(target_arch = "bpf")]
                // SAFETY: as in `read`. The result is not used, so this is BPF's plain atomic add, not a fetch.
                unsafe {
                    use core::intrinsics::{AtomicOrdering, atomic_xadd};
                    atomic_xadd::<$integer, $integer, { AtomicOrdering::Relaxed }>(
                        self.0.as_ptr(),
                        n,
                    );
                }
                #[cfg(not(target_arch = "bpf"))]
                // SAFETY: as in `read`.
                unsafe {
                    use core::sync::atomic::{Ordering, $atomic};
                    $atomic::from_ptr(self.0.as_ptr()).fetch_add(n, Ordering::Relaxed);
                }
            }

            /// Puts `new` there if `old` is there; whether it did.
            #[inline(always)]
            pub fn replace(self, old: $integer, new: $integer) -> bool {
                #[cfg(target_arch = "bpf")]
                // SAFETY: as in `read`.
                unsafe {
                    use core::intrinsics::{AtomicOrdering, atomic_cxchg};
                    atomic_cxchg::<
                                                                        $integer,
                                                                        { AtomicOrdering::SeqCst },
                                                                        { AtomicOrdering::SeqCst },
                                                                    >(self.0.as_ptr(), old, new)
                                                                    .1
                }
                #[cfg(not(target_arch = "bpf"))]
                // SAFETY: as in `read`.
                unsafe {
                    use core::sync::atomic::{Ordering, $atomic};
                    $atomic::from_ptr(self.0.as_ptr())
                        .compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst)
                        .is_ok()
                }
            }
        }
    };
}

atomic!(u32, AtomicU32);
atomic!(u64, AtomicU64);

/// Methods that give one field of a struct as a place of its own.
macro_rules! fields {
    ($name:ty { $($(#[$doc:meta])* $field:ident: $kind:ty),* $(,)? }) => {
        impl<'a> Shared<'a, $name> {
            $(
                $(#[$doc])*
                #[inline(always)]
                pub fn $field(self) -> Shared<'a, $kind> {
                    let whole = self.0.as_ptr();
                    // SAFETY: a field of a valid place is one, and not null; nothing is read.
                    let field = unsafe { NonNull::new_unchecked(&raw mut (*whole).$field) };
                    Shared(field, PhantomData)
                }
            )*
        }
    };
}

fields!(Entry {
    /// [`Entry::expiry_and_added`]
    expiry_and_added: u64,
    /// [`Entry::hits_note_and_len`]
    hits_note_and_len: u64,
});

fields!(SourceState {
    /// [`SourceState::packets_and_bytes`]
    packets_and_bytes: u64,
    /// [`SourceState::syn`]
    syn: u32,
    /// [`SourceState::udp`]
    udp: u32,
    /// [`SourceState::icmp`]
    icmp: u32,
    /// [`SourceState::syns`]
    syns: u32,
    /// [`SourceState::packets`]
    packets: u64,
    /// [`SourceState::bytes`]
    bytes: u64,
    /// [`SourceState::last_seen`]
    last_seen: u32,
});

fields!(PrefixState {
    /// [`PrefixState::packets_and_bytes`]
    packets_and_bytes: u64,
    /// [`PrefixState::syn`]
    syn: u32,
    /// [`PrefixState::udp`]
    udp: u32,
    /// [`PrefixState::icmp`]
    icmp: u32,
    /// [`PrefixState::last_seen`]
    last_seen: u32,
});

fields!(CpuState {
    /// [`CpuState::epoch`]
    epoch: u32,
    /// [`CpuState::strangers`]
    strangers: u32,
    /// [`CpuState::strangers_before`]
    strangers_before: u32,
    /// [`CpuState::syns`]
    syns: u32,
    /// [`CpuState::samples`]
    samples: u32,
    /// [`CpuState::pause`]
    pause: u32,
    /// [`CpuState::forged`]
    forged: u32,
    /// [`CpuState::unanswerable`]
    unanswerable: u32,
    /// [`CpuState::skipped`]
    skipped: u64,
});

fields!(Pressure {
    /// [`Pressure::until`]
    until: u32,
    /// [`Pressure::judged`]
    judged: u32,
});

impl<'a> Shared<'a, SourceState> {
    /// [`SourceState::drops`] of `class`.
    #[inline(always)]
    pub fn drops(self, class: DropClass) -> Shared<'a, u32> {
        // SAFETY: as in `fields!`; the discriminants are below the array's length.
        Shared(
            unsafe {
                let drops = (&raw mut (*self.0.as_ptr()).drops).cast::<u32>();
                NonNull::new_unchecked(drops.add(class as usize))
            },
            PhantomData,
        )
    }
}

impl<'a> Shared<'a, Pressure> {
    /// [`Pressure::syns`] of `epoch`.
    #[inline(always)]
    pub fn syns(self, epoch: u32) -> Shared<'a, u32> {
        // SAFETY: as in `fields!`; the mask keeps it below the array's length, 4.
        Shared(
            unsafe {
                let syns = (&raw mut (*self.0.as_ptr()).syns).cast::<u32>();
                NonNull::new_unchecked(syns.add((epoch & 3) as usize))
            },
            PhantomData,
        )
    }
}

/// For tests of what several CPUs do at once.
#[cfg(test)]
pub(crate) mod racing {
    use core::cell::UnsafeCell;
    use core::ptr::NonNull;

    use super::Shared;

    /// A value that threads share, as CPUs share a map's.
    pub(crate) struct Racing<T>(UnsafeCell<T>);

    // SAFETY: reached through `Shared` only, whose operations are volatile or atomic, as on a map's value.
    unsafe impl<T> Sync for Racing<T> {}

    impl<T> Racing<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(UnsafeCell::new(value))
        }

        pub(crate) fn share(&self) -> Shared<'_, T> {
            let place = NonNull::new(self.0.get()).expect("invariant: a cell has an address");
            // SAFETY: the cell lives as long as the borrow, and is aligned.
            unsafe { Shared::from_ptr(place) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_replaced_only_if_it_holds_what_was_expected() {
        let cell = Cell::new(5_u64);
        let place = Shared::of(&cell);
        assert!(!place.replace(4, 9));
        assert_eq!(cell.get(), 5);
        assert!(place.replace(5, 9));
        place.add(1);
        assert_eq!(cell.get(), 10);
    }

    #[test]
    fn every_drop_class_has_a_counter_of_its_own() {
        let cell = Cell::new(SourceState::first_seen_at(1));
        let source = Shared::of(&cell);
        for class in [
            DropClass::Sanity,
            DropClass::Rate,
            DropClass::Prefix,
            DropClass::Cookie,
        ] {
            source.drops(class).add(class as u32 + 1);
        }
        assert_eq!(cell.get().drops, [1, 2, 3, 4]);
    }
}
