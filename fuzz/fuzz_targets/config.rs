//! The target `config`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("config");
