//! What a reload can apply and what takes a restart.

use super::{ProcessSettings, Settings};

impl Settings {
    /// Keys that differ in `new` and take effect only at a restart, in file order. Everything else (listeners and
    /// limits, routes, upstreams, certificates, detection rules, all of the shield but where else it is attached and how
    /// large its tables are) applies on reload.
    pub fn diff(&self, new: &Self) -> Vec<&'static str> {
        // Destructured so that a new setting cannot be forgotten here.
        let Self {
            process,
            shield,
            listen: _,
            drain: _,
            upgrades: _,
            certificates: _,
            upstreams: _,
            origin_tls: _,
            requests: _,
            error_pages: _,
            routes: _,
            warnings: _,
            cache,
            detect: _,
            admin,
            log,
        } = self;
        let mut changed = process.diff(&new.process);
        changed.extend(shield_diff(shield, &new.shield));
        changed.extend(cache_diff(cache, &new.cache));
        changed.extend(admin_diff(admin, &new.admin));
        changed.extend(log_diff(log, &new.log));
        changed
    }
}

impl ProcessSettings {
    fn diff(&self, new: &Self) -> Vec<&'static str> {
        let Self {
            workers,
            state_dir,
            run_dir,
        } = self;
        named([
            ("process.workers", *workers != new.workers),
            ("process.state_dir", *state_dir != new.state_dir),
            ("process.run_dir", *run_dir != new.run_dir),
        ])
    }
}

fn shield_diff(old: &crate::xdp::Settings, new: &crate::xdp::Settings) -> Vec<&'static str> {
    let crate::xdp::Settings {
        interfaces,
        mode,
        enforce: _,
        pin_dir,
        allow: _,
        block: _,
        block_for: _,
        feeds: _,
        sanity: _,
        amplification_ports: _,
        failsafe_ports: _,
        quic_ports: _,
        manage_sysctls: _,
        limits: _,
        syn_cookies: _,
        tables,
    } = old;
    named([
        // None at all is another matter: that takes the packet filter off.
        (
            "shield.interfaces",
            !new.interfaces.is_empty() && *interfaces != new.interfaces,
        ),
        ("shield.mode", *mode != new.mode),
        ("shield.pin_dir", *pin_dir != new.pin_dir),
        // The lists' maps are exchanged while the program runs; the sources' are its own.
        (
            "shield.tables.sources",
            tables.sources != new.tables.sources,
        ),
    ])
}

fn cache_diff(old: &crate::cache::Settings, new: &crate::cache::Settings) -> Vec<&'static str> {
    let crate::cache::Settings { memory, max_object } = old;
    named([
        ("cache.memory", *memory != new.memory),
        ("cache.max_object", *max_object != new.max_object),
    ])
}

fn admin_diff(old: &crate::admin::Settings, new: &crate::admin::Settings) -> Vec<&'static str> {
    let crate::admin::Settings { listen } = old;
    named([("admin.listen", *listen != new.listen)])
}

fn log_diff(
    old: &crate::telemetry::Settings,
    new: &crate::telemetry::Settings,
) -> Vec<&'static str> {
    let crate::telemetry::Settings {
        format,
        access,
        level,
    } = old;
    named([
        ("log.format", *format != new.format),
        ("log.access", *access != new.access),
        ("log.level", *level != new.level),
    ])
}

fn named<const N: usize>(changes: [(&'static str, bool); N]) -> Vec<&'static str> {
    changes
        .into_iter()
        .filter(|(_, changed)| *changed)
        .map(|(key, _)| key)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Settings, parse};

    const BASE: &str = r#"
        [process]
        workers = 2
        [shield]
        interfaces = ["eth0"]
        allow = ["192.0.2.1"]
        [limits]
        drain = "30s"
        [[listen]]
        address = "[::]:80"
        [[upstream]]
        name = "app"
        servers = ["http://10.0.0.1"]
        [[route]]
        upstream = "app"
        [cache]
        memory = "64MiB"
        [log]
        level = "info"
    "#;

    fn settings(text: &str) -> Settings {
        parse(text, Path::new("weir.toml")).expect("valid")
    }

    #[test]
    fn what_takes_a_restart_is_named() {
        for (from, to, expected) in [
            ("workers = 2", "workers = 3", &["process.workers"][..]),
            (
                "workers = 2",
                "workers = 2\nstate_dir = \"/s\"\nrun_dir = \"/r\"",
                &["process.state_dir", "process.run_dir"],
            ),
            ("\"eth0\"", "\"eth1\"", &["shield.interfaces"]),
            (
                "allow =",
                "mode = \"generic\"\npin_dir = \"/p\"\ntables = { sources = 2000 }\nallow =",
                &["shield.mode", "shield.pin_dir", "shield.tables.sources"],
            ),
            (
                "\"64MiB\"",
                "\"128MiB\"\nmax_object = \"1MiB\"",
                &["cache.memory", "cache.max_object"],
            ),
            (
                "[log]",
                "[admin]\nlisten = \"127.0.0.1:9180\"\n[log]",
                &["admin.listen"],
            ),
            (
                "level = \"info\"",
                "level = \"warn\"\nformat = \"json\"\naccess = \"off\"",
                &["log.format", "log.access", "log.level"],
            ),
        ] {
            assert!(BASE.contains(from), "{from}");
            let new = settings(&BASE.replacen(from, to, 1));
            assert_eq!(settings(BASE).diff(&new), expected, "{from} -> {to}");
        }
    }

    #[test]
    fn what_applies_on_reload_is_not_named() {
        for (from, to) in [
            ("192.0.2.1", "192.0.2.2"),
            (
                "allow =",
                "enforce = false\nblock_for = \"2h\"\nfragments = \"pass\"\nallow =",
            ),
            (
                "[limits]",
                "[shield.sanity]\nmalformed = \"count\"\ninner_headers = true\n[limits]",
            ),
            (
                "allow =",
                "amplification_ports = [53]\nfailsafe_ports = []\nquic_ports = []\nmanage_sysctls = true\nallow =",
            ),
            (
                "allow =",
                "feeds = [{ name = \"a\", file = \"/a\" }]\nallow =",
            ),
            (
                "[limits]",
                "[shield.limits]\nudp = \"off\"\nprefix_factor = 4\n[limits]",
            ),
            (
                "[limits]",
                "[shield.syn_cookies]\nmode = \"off\"\nstart = 9\n[limits]",
            ),
            ("interfaces = [\"eth0\"]", "interfaces = []"),
            ("drain = \"30s\"", "drain = \"10s\""),
            ("drain = \"30s\"", "upgrades = 7"),
            ("\"http://10.0.0.1\"", "\"https://10.0.0.1\""),
            ("drain = \"30s\"", "streams = 7"),
            ("[::]:80", "[::]:81"),
            ("[::]:80\"", "[::]:80\"\nhttp = [\"2\"]"),
            ("http://10.0.0.1", "http://10.0.0.2"),
            (
                "upstream = \"app\"\n        [cache]",
                "upstream = \"app\"\npath = \"/x\"\n        [cache]",
            ),
            ("[cache]", "[requests]\nunderscores = \"refuse\"\n[cache]"),
            (
                "[cache]",
                "[[certificate]]\nchain = \"/c\"\nkey = \"/k\"\n[cache]",
            ),
            (
                "[cache]",
                "[[detect]]\nname = \"a\"\ncount = \"requests\"\nlimit = 1\nwindow = \"1s\"\n[cache]",
            ),
        ] {
            assert!(BASE.contains(from), "{from}");
            let new = settings(&BASE.replacen(from, to, 1));
            assert_ne!(settings(BASE), new, "{from} -> {to}");
            assert_eq!(settings(BASE).diff(&new), [""; 0], "{from} -> {to}");
        }
    }
}
