//! The target `feed`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("feed");
