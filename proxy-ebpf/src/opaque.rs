//! Numbers that LLVM knows nothing about. It would unroll a loop of few turns, and the verifier, the instruction cache and
//! the stack would pay for every copy of its body; and it would leave out a mask that it knows to change nothing, but the
//! verifier does not.
#![allow(
    unsafe_code,
    reason = "an assembly block is the only thing the optimiser takes at its word"
)]

/// `number`, as if it came from elsewhere.
#[inline(always)]
pub fn opaque(number: u32) -> u32 {
    #[cfg(target_arch = "bpf")]
    // SAFETY: copies one register into another.
    unsafe {
        let copy: u64;
        core::arch::asm!(
            "{copy} = {number}",
            copy = out(reg) copy,
            number = in(reg) u64::from(number),
            options(pure, nomem, nostack),
        );
        copy as u32
    }
    #[cfg(not(target_arch = "bpf"))]
    number
}

/// 0, which the verifier takes for any number of `unknown`'s bits: what is added to it has the same bounds along all paths,
/// which are then walked once.
#[inline(always)]
pub fn blur(unknown: u16) -> u32 {
    let unknown = u32::from(unknown);
    unknown ^ opaque(unknown)
}
