//! The target `certificate`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("certificate");
