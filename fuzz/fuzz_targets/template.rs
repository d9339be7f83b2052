//! The target `template`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("template");
