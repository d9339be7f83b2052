//! The target `cli`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("cli");
