//! The target `fields`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("fields");
