//! The target `compress`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("compress");
