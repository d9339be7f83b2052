//! The target `cache_key`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("cache_key");
