//! nginx: one process, its configuration around what a test adds.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Peer, directory, program, shelf, write};
use crate::namespace::Namespace;
use crate::topology::Lab;

/// What a test adds to nginx's configuration; what is empty is left out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nginx<'a> {
    /// Within `http { … }`.
    pub http: &'a str,
    /// Within `stream { … }`.
    pub stream: &'a str,
}

impl Peer {
    /// Starts nginx in `namespace`. A request is logged with `peer` (who connected), `client` (whom a PROXY protocol header
    /// names), `method`, `target`, `version`, `status`, `connection` (its number) and `forwarded` (X-Forwarded-For).
    pub fn nginx(lab: &Lab, namespace: &Namespace, nginx: Nginx<'_>) -> Result<Self> {
        let directory = directory(lab, "nginx")?;
        let file = directory.join("nginx.conf");
        write(&file, &text(nginx))?;
        let pid = directory.join("nginx.pid");
        Self::start(
            namespace,
            Command::new(program("nginx")?)
                // Complaints before the configuration is read go there, too.
                .args(["-e", "stderr", "-p"])
                .arg(&directory)
                .arg("-c")
                .arg(file),
            // Written when all listeners are open.
            || std::fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n')),
        )
    }
}

/// Paths are relative to the server's directory. Without a master process the one that was started is all there is.
fn text(nginx: Nginx<'_>) -> String {
    let module = stream_module().map(|module| format!("load_module {module};\n"));
    let module = module.unwrap_or_default();
    let http = match nginx.http {
        "" => String::new(),
        http => format!("http {{\n{HTTP}{http}}}\n"),
    };
    let stream = match nginx.stream {
        "" => String::new(),
        stream => format!("stream {{\n{stream}}}\n"),
    };
    format!("{MAIN}{module}events {{ worker_connections 1024; }}\n{http}{stream}")
}

/// Debian has it in a file; where there is none it is built in.
fn stream_module() -> Option<String> {
    let root = Path::new("/");
    [shelf().as_path(), root]
        .map(|root| root.join("usr/lib/nginx/modules/ngx_stream_module.so"))
        .into_iter()
        .find(|module| module.exists())
        .map(|module| module.display().to_string())
}

const MAIN: &str = "daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
";
/// Files in its own directory, the log, and content as large as tests send.
const HTTP: &str = r#"client_body_temp_path client_body;
proxy_temp_path proxy;
fastcgi_temp_path fastcgi;
uwsgi_temp_path uwsgi;
scgi_temp_path scgi;
log_format lab escape=json
'{"peer":"$remote_addr","client":"$proxy_protocol_addr","method":"$request_method","target":"$request_uri",'
'"version":"$server_protocol","status":"$status","connection":"$connection","forwarded":"$http_x_forwarded_for"}';
access_log /dev/stderr lab;
client_max_body_size 64m;
"#;
