//! The target `config_value`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("config_value");
