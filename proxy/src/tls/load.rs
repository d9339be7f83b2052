//! Reads one certificate with its key and checks that they belong together.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, SignatureAlgorithm};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::certs::covers;
use super::pem::{self, refuse};
use super::{CertificateError, CertificateSettings};
use crate::clock;

/// A certificate ready to serve.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    /// What it is served for, lower case.
    pub(super) names: Vec<String>,
    /// What it says of itself.
    pub(super) facts: Facts,
}

/// What a certificate says of itself, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// `ECDSA P-256`, `RSA 2048`, `Ed25519`.
    pub key_type: String,
    /// Who issued it.
    pub issuer: String,
    /// Validity.
    pub not_before: SystemTime,
    /// Validity.
    pub not_after: SystemTime,
    /// What is odd about it at any time.
    oddities: Vec<&'static str>,
}

/// Reads a pair and checks that its parts belong together.
pub(super) fn certificate(
    settings: &CertificateSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Certificate, CertificateError> {
    let chain = pem::certificates(&settings.chain)?;
    let (own, facts) = read_chain(&settings.chain, &chain)?;
    for remark in facts.remarks(clock::wall()) {
        tracing::warn!(chain = %settings.chain.display(), "{remark}");
    }
    let names = if settings.names.is_empty() {
        own
    } else {
        for name in &settings.names {
            if !own.contains(name) && !covers(&own, name) {
                let message = format!("is not for {name}, which `names` lists");
                let hint = if own.is_empty() {
                    "it names no host: have one issued that does".to_owned()
                } else {
                    format!("it is for {}", own.join(", "))
                };
                return Err(refuse(&settings.chain, message, hint));
            }
        }
        settings.names.clone()
    };
    let key = key(settings, chain, &facts, provider)?;
    Ok(Certificate {
        key: Arc::new(key),
        names,
        facts,
    })
}

/// The key with its chain, if they belong together.
fn key(
    settings: &CertificateSettings,
    chain: Vec<CertificateDer<'static>>,
    facts: &Facts,
    provider: &Arc<CryptoProvider>,
) -> Result<CertifiedKey, CertificateError> {
    let key = pem::key(&settings.key)?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|_why| {
            let message = format!(
                "cannot be used as a private key (that of the certificate is {})",
                facts.key_type
            );
            refuse(&settings.key, message, USABLE_KEYS)
        })?;
    let mut key = CertifiedKey::new(chain, key);
    match key.keys_match() {
        // Unknown: no key of this provider keeps its public half to itself.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(key),
        Err(rustls::Error::InconsistentKeys(_)) => {
            let place = settings.chain.display();
            let message = format!("is not the key of the certificate in {place}");
            // Of those after the first.
            let later = loop {
                key.cert.remove(0);
                if key.cert.is_empty() || key.keys_match().is_ok() {
                    break !key.cert.is_empty();
                }
            };
            let hint = if later {
                "it is the key of a later one there: put the server's own certificate first"
            } else {
                "name the key that this certificate was requested with; if both were being replaced, look again"
            };
            Err(refuse(&settings.key, message, hint))
        }
        Err(error) => {
            let message = format!("holds a certificate that cannot be served: {error}");
            Err(refuse(&settings.chain, message, "have it issued again"))
        }
    }
}

impl Certificate {
    /// Kind of its key.
    pub(super) fn kind(&self) -> SignatureAlgorithm {
        self.key.key.algorithm()
    }
}

impl Facts {
    /// What is wrong with it at `now`, though it can be served.
    ///
    /// A certificate outside its time is served and complained about: clients may still be better off with it than with
    /// nothing, and a weir that refuses to start over it turns one expired name into an outage of all.
    pub fn remarks(&self, now: SystemTime) -> impl Iterator<Item = String> {
        let oddities = self.oddities.iter().map(ToString::to_string);
        self.out_of_time(now).into_iter().chain(oddities)
    }

    pub(super) fn out_of_time(&self, now: SystemTime) -> Option<String> {
        if now > self.not_after {
            return Some(format!(
                "the certificate expired on {}",
                date(self.not_after)
            ));
        }
        (now < self.not_before).then(|| {
            format!(
                "the certificate is not valid before {}",
                date(self.not_before)
            )
        })
    }
}

/// Subject alternative names and facts. The common name is long obsolete (RFC 9525 §2).
pub(super) fn read_chain(
    path: &Path,
    chain: &[CertificateDer<'_>],
) -> Result<(Vec<String>, Facts), CertificateError> {
    let broken = |message: String| refuse(path, message, "copy it again, or have it issued again");
    let (leaf, issuers) = chain.split_first().expect("invariant: never empty");
    let (_, certificate) = X509Certificate::from_der(leaf)
        .map_err(|error| broken(format!("holds a broken certificate: {error}")))?;
    let alternative = certificate
        .subject_alternative_name()
        .map_err(|error| broken(format!("has broken subject alternative names: {error}")))?;
    let names = alternative.map_or_else(Vec::new, |extension| {
        let names = extension.value.general_names.iter();
        names.filter_map(name).collect()
    });
    let names: Vec<String> = names;
    let mut oddities = Vec::new();
    if names.is_empty() {
        oddities.push(NAMELESS);
    }
    if !is_chained(&certificate, issuers) {
        oddities.push(UNCHAINED);
    }
    let validity = certificate.validity();
    let facts = Facts {
        oddities,
        key_type: key_type(&certificate),
        issuer: certificate.issuer().to_string(),
        not_before: time(validity.not_before),
        not_after: time(validity.not_after),
    };
    Ok((names, facts))
}

/// Whether each certificate is followed by its issuer's, as far as they can be read.
fn is_chained(leaf: &X509Certificate<'_>, issuers: &[CertificateDer<'_>]) -> bool {
    let mut wanted = leaf.issuer().as_raw().to_vec();
    issuers.iter().all(|next| {
        let Ok((_, next)) = X509Certificate::from_der(next) else {
            return true;
        };
        let follows = next.subject().as_raw() == wanted;
        wanted = next.issuer().as_raw().to_vec();
        follows
    })
}

fn key_type(certificate: &X509Certificate<'_>) -> String {
    let algorithm = &certificate.public_key().algorithm;
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(PublicKey::EC(_)) => {
            let curve = algorithm
                .parameters
                .as_ref()
                .and_then(|it| it.as_oid().ok());
            let curve = curve.map(|curve| curve.to_id_string()).unwrap_or_default();
            // RFC 5480 §2.1.1.1.
            match curve.as_str() {
                "1.2.840.10045.3.1.7" => "ECDSA P-256".to_owned(),
                "1.3.132.0.34" => "ECDSA P-384".to_owned(),
                "1.3.132.0.35" => "ECDSA P-521".to_owned(),
                other => format!("ECDSA {other}"),
            }
        }
        // RFC 8410 §3.
        _ => match algorithm.algorithm.to_id_string().as_str() {
            "1.3.101.112" => "Ed25519".to_owned(),
            "1.3.101.113" => "Ed448".to_owned(),
            other => other.to_owned(),
        },
    }
}

/// Times before 1970 count as then.
fn time(time: ASN1Time) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

fn date(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Addresses are left out: SNI carries names only (RFC 6066 §3).
fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    }
}

const USABLE_KEYS: &str =
    "weir takes ECDSA keys of P-256, P-384 and P-521, RSA of 2048 to 8192 bits, and Ed25519";
const NAMELESS: &str = "the certificate is for no host (it has no subject alternative name), so only clients that get the \
                        default certificate are shown it, and none of them will trust it";
const UNCHAINED: &str = "a certificate in it is not followed by its issuer's, so some clients will not trust it: put the \
                         server's first and after each that of its issuer";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_outside_its_time_is_remarked_on() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let facts = Facts {
            key_type: String::new(),
            issuer: String::new(),
            not_before: at(1_000),
            not_after: at(2_000),
            oddities: Vec::new(),
        };
        for (now, part) in [
            (999, Some("not valid before")),
            (1_000, None),
            (2_000, None),
            (2_001, Some("expired on 1970-01-01T00:33:20Z")),
        ] {
            let remark = facts.remarks(at(now)).next();
            assert_eq!(remark.is_some(), part.is_some(), "{remark:?}");
            assert!(
                remark
                    .unwrap_or_default()
                    .contains(part.unwrap_or_default())
            );
        }
    }
}
