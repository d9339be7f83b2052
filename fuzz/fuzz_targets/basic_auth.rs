//! The target `basic_auth`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("basic_auth");
