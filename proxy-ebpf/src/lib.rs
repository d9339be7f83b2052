//! weir's packet filter: the parser and the verdicts, for BPF and for the host.
#![cfg_attr(not(test), no_std)]
