//! The admin API: JSON over HTTP/1.1 on `run_dir/admin.sock`, read-only on `[admin] listen`, and its client.

use std::net::SocketAddr;

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Read-only TCP listener. Default none.
    pub listen: Option<SocketAddr>,
}
