//! Certificates and keys from PEM files (RFC 7468), and in words what is in a file that holds none.

use std::io::{self, Read as _};
use std::path::Path;

use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::CertificateError;

/// What a file is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// `chain`, or authorities.
    Certificate,
    /// `key`.
    Key,
}

/// Certificates of a PEM file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(path, &error, Wanted::Certificate))?;
    if found.is_empty() {
        return Err(unreadable(
            path,
            &pem::Error::NoItemsFound,
            Wanted::Certificate,
        ));
    }
    Ok(found)
}

/// The first private key of a PEM file.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| unreadable(path, &error, Wanted::Key))
}

/// What is in a file is not what it should be.
pub(super) fn refuse(
    path: &Path,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> CertificateError {
    CertificateError {
        path: path.to_path_buf(),
        message: message.into(),
        hint: hint.into(),
        kind: io::ErrorKind::InvalidData,
    }
}

fn unreadable(path: &Path, error: &pem::Error, wanted: Wanted) -> CertificateError {
    if let pem::Error::Io(error) = error {
        return inaccessible(path, error);
    }
    match beginning(path) {
        Ok(content) => {
            let (message, hint) = diagnosis(&content, error, wanted);
            refuse(path, message, hint)
        }
        Err(error) => inaccessible(path, &error),
    }
}

fn inaccessible(path: &Path, error: &io::Error) -> CertificateError {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "let the user that weir runs as read it, and enter the directories above it"
        }
        _ => "name a file that is there and that weir may read",
    };
    CertificateError {
        path: path.to_path_buf(),
        message: format!("cannot be read: {error}"),
        hint: hint.to_owned(),
        kind: error.kind(),
    }
}

/// Enough to say what it is.
fn beginning(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    std::fs::File::open(path)?
        .take(LOOKED_AT_BYTES)
        .read_to_end(&mut content)?;
    Ok(content)
}

/// What is wrong with `content`, and what to do about it.
fn diagnosis(content: &[u8], error: &pem::Error, wanted: Wanted) -> (String, String) {
    let (what, convert) = match wanted {
        Wanted::Certificate => ("certificate", "openssl x509"),
        Wanted::Key => ("private key", "openssl pkey"),
    };
    let text = String::from_utf8_lossy(content);
    let labels = labels(&text);
    if wanted == Wanted::Key && (labels.contains(&ENCRYPTED) || text.contains(ENCRYPTED_BEFORE)) {
        return (
            "holds a private key that is encrypted with a passphrase".to_owned(),
            "weir asks for none: `openssl pkey -in FILE -out NEW` decrypts it; let nobody but weir read NEW"
                .to_owned(),
        );
    }
    match error {
        pem::Error::MissingSectionEnd { .. } => (
            "is cut off: a section of it has no END line".to_owned(),
            "copy it again; whatever writes it should do so under another name and rename it then"
                .to_owned(),
        ),
        pem::Error::Base64Decode(_) => (
            format!("is damaged: {} is not base64", labels.join(" or ")),
            "copy it again, whole and unchanged".to_owned(),
        ),
        _ if labels.is_empty() => {
            let found = if content.iter().all(u8::is_ascii_whitespace) {
                "it is empty"
            } else if content.starts_with(DER_SEQUENCE) {
                "it is DER, not PEM"
            } else if content.starts_with(UTF_16[0]) || content.starts_with(UTF_16[1]) {
                "it is UTF-16, not ASCII"
            } else {
                "it has no PEM section"
            };
            let hint = match found {
                "it is DER, not PEM" => format!("`{convert} -inform DER -in FILE -out NEW`"),
                _ => format!("name a file that has `-----BEGIN` and a {what}"),
            };
            (format!("holds no {what}: {found}"), hint)
        }
        _ => (
            format!("holds no {what}, but {}", labels.join(", ")),
            match wanted {
                Wanted::Certificate => {
                    "name the certificate that was issued, and in its file, after it, those of its issuers"
                }
                Wanted::Key => "name the private key that the certificate was requested with",
            }
            .to_owned(),
        ),
    }
}

/// What sections say they are, each once.
fn labels(text: &str) -> Vec<&str> {
    let mut labels = Vec::new();
    for line in text.lines() {
        let label = line.trim().strip_prefix("-----BEGIN ");
        if let Some(label) = label.and_then(|label| label.strip_suffix("-----"))
            && !labels.contains(&label)
        {
            labels.push(label);
        }
    }
    labels
}

/// RFC 5958 in RFC 7468 §11; and as OpenSSL wrote it before.
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
const ENCRYPTED_BEFORE: &str = "Proc-Type: 4,ENCRYPTED";
/// Every certificate and every key is one.
const DER_SEQUENCE: &[u8] = &[0x30];
/// Byte order marks.
const UTF_16: [&[u8]; 2] = [&[0xff, 0xfe], &[0xfe, 0xff]];
const LOOKED_AT_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> String {
        format!("-----BEGIN {text}-----\n")
    }

    #[test]
    fn what_a_file_holds_instead_is_said() {
        let cut = pem::Error::MissingSectionEnd { end_marker: vec![] };
        let damaged = pem::Error::Base64Decode(String::new());
        let none = pem::Error::NoItemsFound;
        let (certificate, private) = (Wanted::Certificate, Wanted::Key);
        for (content, error, wanted, part) in [
            (String::new(), &none, private, "private key: it is empty"),
            (" \n".into(), &none, certificate, "certificate: it is empty"),
            ("0\u{7f}".into(), &none, private, "it is DER, not PEM"),
            ("hello".into(), &none, private, "it has no PEM section"),
            (key("CERTIFICATE"), &cut, certificate, "no END line"),
            (
                key("EC PRIVATE KEY"),
                &damaged,
                private,
                "EC PRIVATE KEY is not base64",
            ),
            (
                key("CERTIFICATE REQUEST"),
                &none,
                certificate,
                "but CERTIFICATE REQUEST",
            ),
            (
                key("ENCRYPTED PRIVATE KEY"),
                &none,
                private,
                "with a passphrase",
            ),
            (
                key("EC PRIVATE KEY") + "Proc-Type: 4,ENCRYPTED\n",
                &damaged,
                private,
                "with a passphrase",
            ),
            (
                key("CERTIFICATE") + &key("CERTIFICATE") + &key("PUBLIC KEY"),
                &none,
                private,
                "holds no private key, but CERTIFICATE, PUBLIC KEY",
            ),
        ] {
            let (message, hint) = diagnosis(content.as_bytes(), error, wanted);
            assert!(message.contains(part), "{content}: {message}");
            assert!(!hint.is_empty());
        }
    }
}
