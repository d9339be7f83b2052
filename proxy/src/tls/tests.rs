//! Certificates made on the fly, read back and picked by name.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weir-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn certificate(&self, file: &str, names: &[&str]) -> CertificateSettings {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let settings = CertificateSettings {
            chain: self.0.join(format!("{file}.pem")),
            key: self.0.join(format!("{file}.key")),
        };
        std::fs::write(&settings.chain, made.cert.pem()).unwrap();
        std::fs::write(&settings.key, made.signing_key.serialize_pem()).unwrap();
        settings
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn sni_picks_exact_then_wildcard_then_first() {
    let dir = Dir::new("pick");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut by_name = ByName::default();
    let mut chains = Vec::new();
    for (file, names) in [
        ("first", &["first.test"][..]),
        ("wild", &["*.example.com", "example.com"][..]),
        ("exact", &["www.example.com"][..]),
    ] {
        let loaded = load::certificate(&dir.certificate(file, names), &provider).unwrap();
        chains.push(loaded.key.cert.clone());
        by_name.add(Arc::new(loaded.key), &loaded.names);
    }
    for (name, expected) in [
        (None, 0),
        (Some("unknown.test"), 0),
        (Some("localhost"), 0),
        (Some("first.test"), 0),
        (Some("example.com"), 1),
        (Some("api.example.com"), 1),
        (Some("www.example.com"), 2),
        (Some("a.b.example.com"), 0),
    ] {
        assert_eq!(
            by_name.find(name).unwrap().cert,
            chains[expected],
            "{name:?}"
        );
    }
}

#[test]
fn a_key_of_another_certificate_is_refused_by_name() {
    let dir = Dir::new("mismatch");
    let mut settings = dir.certificate("one", &["one.test"]);
    settings.key = dir.certificate("two", &["two.test"]).key;
    let error = server_config(&[settings.clone()]).unwrap_err();
    assert_eq!(error.path, settings.key);
    assert!(
        error.message.contains("is not the key of the certificate"),
        "{error}"
    );
}

#[test]
fn missing_and_empty_files_are_told_apart() {
    let dir = Dir::new("missing");
    let mut settings = dir.certificate("one", &["one.test"]);
    let good_chain = settings.chain.clone();
    settings.chain = dir.0.join("absent.pem");
    let error = server_config(&[settings.clone()]).unwrap_err();
    assert!(error.message.starts_with("cannot be read"), "{error}");
    std::fs::write(&settings.chain, "no pem here").unwrap();
    let error = server_config(&[settings.clone()]).unwrap_err();
    assert!(error.message.contains("holds no certificate"), "{error}");
    settings.chain = good_chain;
    std::fs::write(&settings.key, "").unwrap();
    let error = server_config(&[settings]).unwrap_err();
    assert!(error.message.contains("holds no private key"), "{error}");
}
