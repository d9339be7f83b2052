//! The target `services`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("services");
