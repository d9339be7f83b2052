//! Certificates between the configuration, the workers and the admin API.

use std::io::ErrorKind;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::admin::api;
use crate::config::Settings;
use crate::tls::{CertificateError, ClientAuthSettings, Store};
use crate::{clock, tls};

/// How often certificate files are looked at: a pair that is replaced is in use within two of these.
pub(super) const WATCH: Duration = Duration::from_millis(500);

/// What a check found.
#[derive(Debug, thiserror::Error)]
pub enum Finding {
    /// Wrong wherever the configuration is used: what is in a file cannot be served.
    #[error("{0}")]
    Broken(CertificateError),
    /// A file is not there or cannot be read by this user; that may be otherwise where weir runs.
    #[error("weir would not start here: {0}")]
    Unreadable(CertificateError),
    /// Served nevertheless.
    #[error("{0}")]
    Remark(String),
}

/// Reads the certificates and authorities that `settings` name, each for itself.
pub fn check(settings: &Settings) -> Vec<Finding> {
    let nothing = Store::load(&[], [], clock::now());
    let Ok(nothing) = nothing else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for certificate in &settings.certificates {
        match nothing.next(std::slice::from_ref(certificate), []) {
            Ok(store) => findings.extend(store.certificates().flat_map(|state| {
                let remarks = state.facts.remarks(clock::wall());
                let chain = certificate.chain.display();
                remarks.map(move |remark| Finding::Remark(format!("{chain}: {remark}")))
            })),
            Err(error) => findings.push(Finding::of(error)),
        }
    }
    for authority in authorities(settings) {
        if let Err(error) = nothing.next(&[], [authority]) {
            findings.push(Finding::of(error));
        }
    }
    for origins in &settings.origin_tls {
        if let Err(error) = tls::origins(std::slice::from_ref(origins)) {
            findings.push(Finding::of(error));
        }
    }
    findings
}

impl Finding {
    fn of(error: CertificateError) -> Self {
        match error.kind {
            ErrorKind::InvalidData => Self::Broken(error),
            _ => Self::Unreadable(error),
        }
    }
}

/// Reads everything for a start.
pub(super) fn load(settings: &Settings) -> Result<Store, CertificateError> {
    Store::load(&settings.certificates, authorities(settings), clock::now())
}

/// What a reload makes of `current`.
pub(super) fn next(current: &Store, settings: &Settings) -> Result<Store, CertificateError> {
    current.next(&settings.certificates, authorities(settings))
}

/// For `/v1/certs`.
pub(super) fn to_api(store: &Store, now: SystemTime) -> api::Certificates {
    api::Certificates {
        certificates: store
            .certificates()
            .map(|state| certificate(&state, now))
            .collect(),
        problems: store.authority_errors().map(ToString::to_string).collect(),
    }
}

fn certificate(state: &tls::CertificateState<'_>, now: SystemTime) -> api::Certificate {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (not_after, now) = (seconds(state.facts.not_after), seconds(now));
    api::Certificate {
        names: state.names.to_vec(),
        key_type: state.facts.key_type.clone(),
        issuer: state.facts.issuer.clone(),
        not_before: seconds(state.facts.not_before),
        not_after,
        expires_in_seconds: not_after.cast_signed() - now.cast_signed(),
        chain: state.settings.chain.clone(),
        key: state.settings.key.clone(),
        error: state.error.map(ToString::to_string),
    }
}

fn authorities(settings: &Settings) -> impl Iterator<Item = &ClientAuthSettings> {
    let listeners = settings.listen.iter();
    listeners.filter_map(|listener| listener.tls.client_auth.as_ref())
}
