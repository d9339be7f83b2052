//! `[process]`, `[admin]` and `[log]`.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;

use super::ProcessSettings;
use super::reader::{Node, Table};
use super::unique::Unique;
use super::value::{self, Refusal};
use crate::telemetry::{AccessTarget, Format, Level};

/// Longest path of a unix socket, in bytes: `sun_path` less its terminating zero (unix(7)).
const SOCKET_PATH_MAX: usize = 107;

/// `[process]`
pub(super) fn process(root: &mut Table<'_>) -> ProcessSettings {
    let mut table = root.section("process");
    let settings = ProcessSettings {
        workers: table
            .take("workers")
            .and_then(|node| workers(&node))
            .unwrap_or_else(cores),
        state_dir: table.path("state_dir", "/var/lib/weir"),
        run_dir: table
            .take("run_dir")
            .and_then(|node| node.read(run_dir))
            .unwrap_or_else(|| PathBuf::from("/run/weir")),
    };
    table.finish(&["user"]);
    settings
}

/// `[admin]`; its address may not be one that `listeners` holds.
pub(super) fn admin(
    root: &mut Table<'_>,
    listeners: &Unique<SocketAddr>,
) -> crate::admin::Settings {
    let mut table = root.section("admin");
    let listen = table.take("listen").and_then(|node| {
        let address = node.read(value::socket_address)?;
        if let Some((key, line)) = listeners.place(&address) {
            node.refuse(Refusal::conflict(
                format!("the same as {key} on line {line}"),
                "give each its own port",
            ));
        }
        Some(address)
    });
    table.finish(&[]);
    crate::admin::Settings { listen }
}

/// `[log]`
pub(super) fn log(root: &mut Table<'_>) -> crate::telemetry::Settings {
    let mut table = root.section("log");
    let settings = crate::telemetry::Settings {
        format: table.choice(
            "format",
            Format::Text,
            &[("text", Format::Text), ("json", Format::Json)],
            &[],
        ),
        access: table
            .take("access")
            .and_then(|node| node.read(access))
            .unwrap_or(AccessTarget::Stdout),
        level: table.choice(
            "level",
            Level::Info,
            &[
                ("error", Level::Error),
                ("warn", Level::Warn),
                ("info", Level::Info),
                ("debug", Level::Debug),
                ("trace", Level::Trace),
            ],
            &[],
        ),
    };
    table.finish(&[]);
    settings
}

/// `"auto"` or a number.
fn workers(node: &Node<'_>) -> Option<usize> {
    match node.text() {
        Some("auto") => Some(cores()),
        Some(_) => {
            node.refuse(Refusal::invalid(
                "not a number of workers",
                "write \"auto\" or a number without quotes",
            ));
            None
        }
        None => node.integer(1..=1024),
    }
}

/// Cores this process may run on.
fn cores() -> usize {
    std::thread::available_parallelism()
        .map_or(1, NonZero::get)
        .min(1024)
}

fn run_dir(text: &str) -> Result<PathBuf, Refusal> {
    let path = value::absolute_path(text)?;
    let socket = path.join("admin.sock");
    if socket.as_os_str().len() > SOCKET_PATH_MAX {
        return Err(Refusal::invalid(
            "too long for the path of a unix socket",
            format!("keep {} within {SOCKET_PATH_MAX} bytes", socket.display()),
        ));
    }
    Ok(path)
}

fn access(text: &str) -> Result<AccessTarget, Refusal> {
    match text {
        "stdout" => Ok(AccessTarget::Stdout),
        "off" => Ok(AccessTarget::Off),
        file => match value::absolute_path(file) {
            Ok(path) => Ok(AccessTarget::File(path)),
            Err(_) => Err(Refusal::invalid(
                "not a target of the access log",
                "write \"stdout\", \"off\" or the whole path of a file, from /",
            )),
        },
    }
}
