//! The one hash of sketches and pre-tests.

/// 64 well-mixed bits of `key`, keyed by `seed`: two rounds of multiply and fold (the finaliser of `SplitMix64`). Not for
/// secrets; without the seed nobody can choose keys that collide.
#[inline(always)]
pub const fn mix(key: u64, seed: u64) -> u64 {
    let mut z = key ^ seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
