//! One listener's side of the shared TLS settings.

use std::cell::RefCell;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

/// Accepts TLS with a listener's own protocols in ALPN (RFC 7301). Connections that are accepted after the shared settings
/// were replaced get the new ones.
pub(crate) struct Acceptor {
    shared: Arc<ArcSwap<ServerConfig>>,
    protocols: Vec<Vec<u8>>,
    /// What of the shared settings was current, and the acceptor made of it.
    made: RefCell<(Arc<ServerConfig>, TlsAcceptor)>,
}

impl Acceptor {
    /// `protocols` by preference, best first.
    pub(crate) fn new(shared: &Arc<ArcSwap<ServerConfig>>, protocols: Vec<Vec<u8>>) -> Self {
        let config = shared.load_full();
        let acceptor = make(&config, &protocols);
        Self {
            shared: Arc::clone(shared),
            protocols,
            made: RefCell::new((config, acceptor)),
        }
    }

    /// The acceptor for a connection that came in now.
    pub(crate) fn current(&self) -> TlsAcceptor {
        let shared = self.shared.load();
        let mut made = self.made.borrow_mut();
        if !Arc::ptr_eq(&shared, &made.0) {
            *made = (Arc::clone(&shared), make(&shared, &self.protocols));
        }
        made.1.clone()
    }
}

fn make(config: &ServerConfig, protocols: &[Vec<u8>]) -> TlsAcceptor {
    let mut config = config.clone();
    config.alpn_protocols = protocols.to_vec();
    TlsAcceptor::from(Arc::new(config))
}
