//! The target `rate_limit`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("rate_limit");
