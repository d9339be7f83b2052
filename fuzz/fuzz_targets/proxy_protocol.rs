//! The target `proxy_protocol`.
#![cfg_attr(feature = "libfuzzer", no_main)]

weir_fuzz::target!("proxy_protocol");
