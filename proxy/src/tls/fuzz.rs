//! What holds of files and certificates, whatever is in them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::client::Identity;
use super::load::read_chain;

/// A PEM file with certificates, a key, or neither: it is read or refused.
pub fn pem(content: &[u8]) {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(content)
        .filter_map(Result::ok)
        .collect();
    for leaf in &chain {
        certificate(leaf);
    }
    if let Ok(key) = PrivateKeyDer::from_pem_slice(content) {
        let _refused_or_not = CertifiedKey::from_der(chain, key, &provider);
    }
}

/// What is said of a certificate is text that a field, a log line and a terminal can take.
pub fn certificate(der: &[u8]) {
    let der = CertificateDer::from(der);
    let path = Path::new("fuzz.pem");
    match read_chain(path, std::slice::from_ref(&der)) {
        Ok((names, facts)) => {
            let epoch = SystemTime::UNIX_EPOCH;
            for now in [epoch, epoch + Duration::from_hours(24 * 365 * 8_000)] {
                let remark = facts.out_of_time(now);
                assert!(remark.is_none_or(|remark| !remark.is_empty()));
            }
            for name in names {
                assert_eq!(name, name.to_ascii_lowercase());
            }
        }
        Err(refused) => assert!(!refused.message.is_empty()),
    }
    if let Some(identity) = Identity::of(&der) {
        for text in [
            &identity.subject,
            &identity.alternative_names,
            &identity.fingerprint,
        ] {
            let value = HeaderValue::from_str(text).expect("visible ASCII");
            assert!(value.to_str().is_ok_and(|seen| seen == text));
        }
        assert!(!identity.alternative_names.contains(' '));
        let _either = identity.is_expired(SystemTime::UNIX_EPOCH);
    }
}
