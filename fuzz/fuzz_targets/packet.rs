//! The target `packet`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("packet");
