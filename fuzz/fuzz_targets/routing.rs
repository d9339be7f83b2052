//! The target `routing`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("routing");
