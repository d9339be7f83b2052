//! The target `path`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("path");
