//! The target `admin`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("admin");
