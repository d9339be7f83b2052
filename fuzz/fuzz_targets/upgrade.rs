//! The target `upgrade`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("upgrade");
