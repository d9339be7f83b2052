//! Configuration files for the lab.

use crate::topology::{ATTACKER_SIDE, CLIENT_SIDE, Lab, origin_url};

/// A configuration for the lab; the fields are what tests vary.
#[derive(Debug, Clone)]
pub struct Config {
    /// Interfaces to guard.
    pub interfaces: Vec<String>,
    /// More lines of `[shield]`.
    pub shield: String,
    /// More lines of the listener at port 443, then whole `[[listen]]` sections.
    pub listen: String,
    /// Lines of `[limits]`.
    pub limits: String,
    /// Whole `[[upstream]]` and `[[route]]` sections.
    pub site: String,
    /// Whole `[[detect]]` sections.
    pub detect: String,
    /// Lines of `[log]`.
    pub log: String,
}

impl Default for Config {
    /// Both public links guarded; everything goes to both origins in turn, `/static/` through the cache.
    fn default() -> Self {
        Self {
            interfaces: vec![CLIENT_SIDE.into(), ATTACKER_SIDE.into()],
            shield: String::new(),
            listen: String::new(),
            limits: "drain = \"20s\"\n".into(),
            site: format!(
                r#"[[upstream]]
name = "app"
servers = ["{}", "{}"]

[[route]]
path = "/static/"
upstream = "app"
cache = true

[[route]]
path = "/"
upstream = "app"
"#,
                origin_url(1),
                origin_url(2)
            ),
            detect: String::new(),
            log: "access = \"off\"\n".into(),
        }
    }
}

impl Config {
    /// The file's text for `lab`.
    pub fn text(&self, lab: &Lab) -> String {
        let Self {
            interfaces,
            shield,
            listen,
            limits,
            site,
            detect,
            log,
        } = self;
        let (directory, pki) = (lab.directory().display(), &lab.pki);
        let (chain, key) = (pki.chain.display(), pki.key.display());
        format!(
            r#"[process]
workers = 2
state_dir = "{directory}/state"
run_dir = "{directory}/run"

[shield]
interfaces = {interfaces:?}
pin_dir = "{directory}/bpf/weir"
{shield}
[shield.tables]
sources = 65536
blocks = 65536
prefixes = 1024

[[listen]]
address = "[::]:443"
tls = true
http = ["1.1", "2"]
{listen}
[limits]
{limits}
[[certificate]]
chain = "{chain}"
key = "{key}"

{site}
{detect}
[cache]
memory = "16MiB"

[log]
{log}"#
        )
    }
}
