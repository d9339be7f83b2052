//! What listeners serve by: one immutable snapshot, replaced whole when a file or the configuration changes.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoClientAuth, NoServerSessionStorage};

use super::certs::{ByName, Resolver, Served};
use super::client::Authority;
use super::tickets::{Policy, TicketKeys, Tickets};
use super::{ClientAuthSettings, ListenerSettings, Sni};

/// Certificates by name, authorities of client certificates, ticket keys.
#[derive(Debug)]
pub struct Credentials {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) by_name: Arc<ByName>,
    pub(super) authorities: HashMap<ClientAuthSettings, Arc<Authority>>,
    pub(super) tickets: Arc<TicketKeys>,
}

impl Credentials {
    /// rustls settings for one listener. `None` when its authorities are not among the credentials.
    pub(super) fn server_config(
        &self,
        settings: &ListenerSettings,
        protocols: &[Vec<u8>],
    ) -> Option<ServerConfig> {
        let (verifier, policy) = match &settings.client_auth {
            None => (Arc::new(NoClientAuth) as Arc<_>, NO_CLIENT_AUTH),
            Some(wanted) => {
                let authority = self.authorities.get(wanted)?;
                (Arc::clone(&authority.verifier), authority.policy)
            }
        };
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("invariant: the provider has suites for TLS 1.2 and 1.3")
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(Resolver {
                by_name: Arc::clone(&self.by_name),
                sni: settings.sni,
            }));
        config.alpn_protocols = protocols.to_vec();
        // Tickets only: a store of sessions would be a lock that all workers share. No early data, so nothing can be
        // replayed.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::new(Tickets::new(&self.tickets, policy));
        Some(config)
    }

    pub(super) fn served(&self, name: Option<&str>, sni: Sni) -> Served {
        self.by_name.served(name, sni)
    }
}

/// Policy of listeners that ask for no certificate; digests of others are not all zero.
const NO_CLIENT_AUTH: Policy = [0; 32];
