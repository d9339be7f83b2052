//! The target `cache`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("cache");
