//! One listener's side of the shared credentials.

use std::cell::RefCell;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use super::certs::Served;
use super::{Credentials, ListenerSettings};

/// Accepts TLS with a listener's own protocols in ALPN (RFC 7301) and its own demands. Connections that are accepted
/// after the shared credentials were replaced get the new ones.
pub(crate) struct Acceptor {
    shared: Arc<ArcSwap<Credentials>>,
    settings: ListenerSettings,
    protocols: Vec<Vec<u8>>,
    /// What of the shared credentials was current, and the settings made of it.
    made: RefCell<Option<(Arc<Credentials>, Arc<ServerConfig>)>>,
}

/// For one connection.
pub(crate) struct ClientOffer {
    pub(crate) acceptor: TlsAcceptor,
    credentials: Arc<Credentials>,
}

impl Acceptor {
    /// `protocols` by preference, best first.
    pub(crate) fn new(
        shared: &Arc<ArcSwap<Credentials>>,
        settings: ListenerSettings,
        protocols: Vec<Vec<u8>>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            settings,
            protocols,
            made: RefCell::new(None),
        }
    }

    /// For a connection that came in now; `None` when what the listener needs is not there.
    pub(crate) fn current(&self) -> Option<ClientOffer> {
        let shared = self.shared.load();
        let mut made = self.made.borrow_mut();
        if made
            .as_ref()
            .is_none_or(|(current, _)| !Arc::ptr_eq(&shared, current))
        {
            let config = shared.server_config(&self.settings, &self.protocols)?;
            *made = Some((Arc::clone(&shared), Arc::new(config)));
        }
        let (credentials, config) = made.as_ref()?;
        Some(ClientOffer {
            acceptor: TlsAcceptor::from(Arc::clone(config)),
            credentials: Arc::clone(credentials),
        })
    }

    /// What a client that named `name` was shown under `offer`.
    pub(crate) fn served(&self, offer: &ClientOffer, name: Option<&str>) -> Served {
        offer.credentials.served(name, self.settings.sni)
    }
}
