//! The target `forwarded`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("forwarded");
