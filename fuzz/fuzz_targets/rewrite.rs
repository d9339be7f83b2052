//! The target `rewrite`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("rewrite");
