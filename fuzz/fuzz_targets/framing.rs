//! The target `framing`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("framing");
