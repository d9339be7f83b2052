//! The target `cache_control`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("cache_control");
