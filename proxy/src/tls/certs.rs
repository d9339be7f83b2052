//! Which certificate a client gets: by the name it asks for (SNI, RFC 6066 §3).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Certificates by name. Of several for one name, the one added first serves.
#[derive(Debug, Default)]
pub(super) struct ByName {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// `*.example.com` under `example.com`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    /// For clients that name nothing or something unknown.
    first: Option<Arc<CertifiedKey>>,
}

impl ByName {
    /// Serves `key` for `names`, which are lower case.
    pub(super) fn add(&mut self, key: Arc<CertifiedKey>, names: &[String]) {
        for name in names {
            let (map, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcard, parent),
                None => (&mut self.exact, name.as_str()),
            };
            map.entry(name.to_owned())
                .or_insert_with(|| Arc::clone(&key));
        }
        self.first.get_or_insert(key);
    }

    /// Exact name, then a wildcard for its leftmost label (RFC 6125 §6.4.3: exactly one label), then the first.
    /// rustls hands out the name in lower case and without a trailing dot.
    pub(super) fn find(&self, name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let named = name.and_then(|name| {
            self.exact
                .get(name)
                .or_else(|| self.wildcard.get(name.split_once('.')?.1))
        });
        named.or(self.first.as_ref())
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name()).cloned()
    }
}
