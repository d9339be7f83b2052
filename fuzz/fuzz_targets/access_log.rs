//! The target `access_log`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("access_log");
