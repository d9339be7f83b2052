//! The targets by name, and the program of each.

use crate::{caching, files, messages, operators, packets, routes};

/// A property and its name: of the binary, of the folder in `corpus`, and for `cargo xtask fuzz`.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As a file is called.
    pub name: &'static str,
    /// Panics where the property does not hold.
    pub property: fn(&[u8]),
}

macro_rules! targets {
    ($($name:ident: $property:path),* $(,)?) => {
        /// All of them.
        pub const TARGETS: &[Target] = &[$(Target { name: stringify!($name), property: $property }),*];
    };
}

targets! {
    access_log: operators::access_log,
    admin: operators::admin,
    basic_auth: files::basic_auth,
    cache: caching::storing,
    cache_control: caching::cache_control,
    cache_key: caching::keys,
    certificate: files::certificate,
    cli: operators::command_line,
    compress: messages::compress,
    config: files::config,
    config_value: files::config_value,
    feed: files::feed,
    fields: messages::fields,
    forwarded: messages::forwarded,
    frames: messages::frames,
    framing: messages::framing,
    packet: packets::packet,
    path: routes::path,
    proxy_protocol: messages::proxy_protocol,
    rate_limit: messages::rate_limit,
    rewrite: routes::rewrite,
    routing: routes::routing,
    services: operators::services,
    sticky: messages::sticky,
    target: messages::target,
    template: routes::template,
    upgrade: messages::upgrade,
    vary: caching::vary,
}

impl Target {
    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        TARGETS.iter().copied().find(|target| target.name == name)
    }

    /// Whether the property holds of `data`: panics if not.
    ///
    /// # Panics
    /// If there is no target of that name, too.
    pub fn run(name: &str, data: &[u8]) {
        let target = Self::named(name).expect("invariant: each binary is named after a target");
        (target.property)(data);
    }
}

/// Runs the target `name` on the files that the command line names: what a binary does that was built without libFuzzer, to
/// see a crash again.
pub fn repeat(name: &str) -> std::io::Result<()> {
    for file in std::env::args_os().skip(1) {
        Target::run(name, &std::fs::read(file)?);
    }
    Ok(())
}

/// The program of a target: libFuzzer around it with the feature `libfuzzer`, else [`repeat`].
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        #[cfg(feature = "libfuzzer")]
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::Target::run($name, data));

        #[cfg(not(feature = "libfuzzer"))]
        fn main() -> std::io::Result<()> {
            $crate::repeat($name)
        }
    };
}
