//! HAProxy: one process, its configuration around what a test adds.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::{Peer, directory, program, write};
use crate::namespace::Namespace;
use crate::topology::Lab;

impl Peer {
    /// Starts HAProxy in `namespace` with these sections, each `from http` or `from tcp`. A request of a section `from http`
    /// is logged with `client` (also from a PROXY protocol header), `method`, `target`, `version`, `status`, `connection`
    /// (the client's port) and `forwarded` (X-Forwarded-For, where the section captures it).
    pub fn haproxy(lab: &Lab, namespace: &Namespace, sections: &str) -> Result<Self> {
        let directory = directory(lab, "haproxy")?;
        let file = directory.join("haproxy.cfg");
        let socket = directory.join("stats.sock");
        write(
            &file,
            &format!(
                "global\nmaxconn 1000\nnbthread 1\nlog stderr format raw daemon\nstats socket {}\n{DEFAULTS}{sections}",
                socket.display()
            ),
        )?;
        Self::start(
            namespace,
            // In the foreground; a quiet one would not log either.
            Command::new(program("haproxy")?)
                .args(["-db", "-f"])
                .arg(file),
            || answers(&socket),
        )
    }
}

/// It does when all listeners are open.
fn answers(socket: &Path) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"show info\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.contains("Uptime"))
}

const DEFAULTS: &str = r#"defaults tcp
mode tcp
timeout connect 20s
timeout client 60s
timeout server 60s
defaults http
mode http
log global
timeout connect 20s
timeout client 60s
timeout server 60s
log-format '{"client":"%ci","method":"%HM","target":"%HU","version":"%HV","status":"%ST","connection":"%cp","forwarded":"%[capture.req.hdr(0)]"}'
"#;
