//! The target `sticky`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("sticky");
