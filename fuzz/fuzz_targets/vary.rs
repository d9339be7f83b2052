//! The target `vary`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("vary");
