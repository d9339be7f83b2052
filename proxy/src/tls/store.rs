//! Certificates as the control thread keeps them: read once, read again when their files change.

use std::sync::Arc;
use std::time::Instant;

use rustls::crypto::{CryptoProvider, aws_lc_rs};

use super::certs::ByName;
use super::client::{self, Authority};
use super::load::{self, Certificate, Facts};
use super::tickets::TicketKeys;
use super::watched::{Files, Watched};
use super::{CertificateError, CertificateSettings, ClientAuthSettings, Credentials};

/// All certificates of a configuration and the authorities of its listeners, with their files' state.
#[derive(Debug)]
pub struct Store {
    provider: Arc<CryptoProvider>,
    certificates: Vec<Watched<CertificateSettings, Certificate>>,
    authorities: Vec<Watched<ClientAuthSettings, Authority>>,
    tickets: Arc<TicketKeys>,
}

/// One `[[certificate]]`, for `weir certs`.
#[derive(Debug)]
pub struct CertificateState<'a> {
    /// Where it comes from.
    pub settings: &'a CertificateSettings,
    /// What is in use.
    pub facts: &'a Facts,
    /// Names it is served for.
    pub names: &'a [String],
    /// Why the files as they are now are not what is in use.
    pub error: Option<&'a CertificateError>,
}

impl Store {
    /// Reads every file. The first certificate is the default one.
    pub fn load<'a>(
        certificates: &[CertificateSettings],
        authorities: impl IntoIterator<Item = &'a ClientAuthSettings>,
        now: Instant,
    ) -> Result<Self, CertificateError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let nothing = Self {
            provider,
            certificates: Vec::new(),
            authorities: Vec::new(),
            tickets: Arc::new(TicketKeys::new(now)),
        };
        nothing.next(certificates, authorities)
    }

    /// The store after a reload: files that did not change are not read again, and tickets stay good.
    pub fn next<'a>(
        &self,
        certificates: &[CertificateSettings],
        authorities: impl IntoIterator<Item = &'a ClientAuthSettings>,
    ) -> Result<Self, CertificateError> {
        let known = Watched::by_settings(&self.certificates);
        let certificates = certificates.iter().map(|settings| {
            Watched::new(settings, &known, |settings| {
                load::certificate(settings, &self.provider)
            })
        });
        let certificates = certificates.collect::<Result<_, _>>()?;
        let known = Watched::by_settings(&self.authorities);
        let authorities = authorities.into_iter().map(|settings| {
            Watched::new(settings, &known, |settings| {
                client::authority(settings, &self.provider)
            })
        });
        Ok(Self {
            certificates,
            authorities: authorities.collect::<Result<_, _>>()?,
            provider: Arc::clone(&self.provider),
            tickets: Arc::clone(&self.tickets),
        })
    }

    /// Looks whether files changed, and whether ticket keys are due. New credentials if there are any. Costs one system
    /// call a file.
    pub fn refresh(&mut self, now: Instant) -> Option<Credentials> {
        self.tickets.rotate(now);
        let mut changed = false;
        for certificate in &mut self.certificates {
            if certificate.refresh(|settings| load::certificate(settings, &self.provider)) {
                tracing::info!(chain = %certificate.settings.chain.display(), "certificate reloaded");
                changed = true;
            }
        }
        for authority in &mut self.authorities {
            if authority.refresh(|settings| client::authority(settings, &self.provider)) {
                tracing::info!(ca = %authority.settings.ca.display(), "client authorities reloaded");
                changed = true;
            }
        }
        changed.then(|| self.credentials())
    }

    /// What listeners serve by.
    pub fn credentials(&self) -> Credentials {
        let mut by_name = ByName::default();
        for certificate in &self.certificates {
            by_name.add(&certificate.value);
        }
        let authorities = self.authorities.iter();
        Credentials {
            provider: Arc::clone(&self.provider),
            by_name: Arc::new(by_name),
            authorities: authorities
                .map(|authority| (authority.settings.clone(), Arc::clone(&authority.value)))
                .collect(),
            tickets: Arc::clone(&self.tickets),
        }
    }

    /// The same while listeners are still told of a reload: they find the authorities of `before`, too.
    pub fn credentials_after(&self, before: &Self) -> Credentials {
        let mut credentials = self.credentials();
        for known in &before.authorities {
            credentials
                .authorities
                .entry(known.settings.clone())
                .or_insert_with(|| Arc::clone(&known.value));
        }
        credentials
    }

    /// Every certificate, in file order.
    pub fn certificates(&self) -> impl Iterator<Item = CertificateState<'_>> {
        self.certificates
            .iter()
            .map(|certificate| CertificateState {
                settings: &certificate.settings,
                facts: &certificate.value.facts,
                names: &certificate.value.names,
                error: certificate.error.as_ref(),
            })
    }

    /// What is wrong with files of client authorities now; the last good ones are in use.
    pub fn authority_errors(&self) -> impl Iterator<Item = &CertificateError> {
        self.authorities
            .iter()
            .filter_map(|authority| authority.error.as_ref())
    }
}

impl Files for CertificateSettings {
    fn files(&self) -> Vec<&std::path::PathBuf> {
        vec![&self.chain, &self.key]
    }
}

impl Files for ClientAuthSettings {
    fn files(&self) -> Vec<&std::path::PathBuf> {
        vec![&self.ca]
    }
}
