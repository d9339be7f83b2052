//! Which certificate a client gets: by the name it asks for (SNI, RFC 6066 §3) and the signatures it understands.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};
use smallvec::SmallVec;

use super::Sni;
use super::load::Certificate;

/// Certificates by name.
#[derive(Debug, Default)]
pub(super) struct ByName {
    exact: HashMap<String, Group, foldhash::fast::RandomState>,
    /// `*.example.com` under `example.com`.
    wildcard: HashMap<String, Group, foldhash::fast::RandomState>,
    /// For clients that name nothing or something unknown: the first, and others for the same name.
    default: Group,
}

/// Certificates for one name: those with a shorter signature first, so that a client that understands both ECDSA and RSA
/// costs less. Of the same kind, the one added first serves.
type Group = SmallVec<[Arc<Certificate>; 2]>;

/// The certificates that a connection's client may have been shown.
#[derive(Debug)]
pub(crate) struct Served(Group);

impl ByName {
    /// Serves `certificate` for its names.
    pub(super) fn add(&mut self, certificate: &Arc<Certificate>) {
        for name in &certificate.names {
            let (map, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcard, parent),
                None => (&mut self.exact, name.as_str()),
            };
            insert(map.entry(name.to_owned()).or_default(), certificate);
        }
        let is_beside_default = self.default.first().is_none_or(|first| {
            let name = first.names.first();
            name.is_some_and(|name| certificate.names.contains(name))
        });
        if is_beside_default {
            insert(&mut self.default, certificate);
        }
    }

    /// Exact name, then a wildcard for its leftmost label (RFC 9525 §6.3: exactly one label), then as `sni` says.
    /// rustls hands out the name in lower case and without a trailing dot.
    pub(super) fn find(&self, name: Option<&str>, sni: Sni) -> Option<&Group> {
        let named = name.and_then(|name| {
            self.exact
                .get(name)
                .or_else(|| self.wildcard.get(name.split_once('.')?.1))
        });
        match sni {
            Sni::Default => named.or((!self.default.is_empty()).then_some(&self.default)),
            Sni::Strict => named,
        }
    }

    /// What a client that named `name` was shown.
    pub(super) fn served(&self, name: Option<&str>, sni: Sni) -> Served {
        Served(self.find(name, sni).cloned().unwrap_or_default())
    }
}

impl Served {
    /// Whether a certificate that was shown is for `host` too, which is in lower case: then a client may well use this
    /// connection for it (RFC 9113 §9.1.1).
    pub(crate) fn covers(&self, host: &str) -> bool {
        self.0
            .iter()
            .any(|certificate| covers(&certificate.names, host))
    }
}

/// Whether one of `names` is `host` or a wildcard for it.
pub(super) fn covers(names: &[String], host: &str) -> bool {
    let parent = host.split_once('.').map(|(_, parent)| parent);
    names.iter().any(|name| match name.strip_prefix("*.") {
        Some(suffix) => parent == Some(suffix),
        None => name == host,
    })
}

/// Of several of one kind, only the first is kept.
fn insert(group: &mut Group, certificate: &Arc<Certificate>) {
    if group.iter().any(|other| other.kind() == certificate.kind()) {
        return;
    }
    let at = group.partition_point(|other| rank(other.kind()) <= rank(certificate.kind()));
    group.insert(at, Arc::clone(certificate));
}

fn rank(kind: SignatureAlgorithm) -> u8 {
    match kind {
        SignatureAlgorithm::ECDSA => 0,
        SignatureAlgorithm::ED25519 => 1,
        _ => 2,
    }
}

/// One listener's view of the certificates.
#[derive(Debug)]
pub(super) struct Resolver {
    pub(super) by_name: Arc<ByName>,
    pub(super) sni: Sni,
}

impl Resolver {
    fn pick(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Arc<CertifiedKey>> {
        let group = self.by_name.find(name, self.sni)?;
        group
            .iter()
            .map(|certificate| &certificate.key)
            .find(|key| key.key.choose_scheme(schemes).is_some())
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.pick(hello.server_name(), hello.signature_schemes())
            .cloned()
    }
}
