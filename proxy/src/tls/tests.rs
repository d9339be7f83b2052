//! Certificates made on the fly, read back, picked by name and replaced while in use.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Instant;

use rustls::SignatureAlgorithm;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::certs::ByName;
use super::*;
use crate::clock;

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weir-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn certificate(&self, file: &str, names: &[&str]) -> CertificateSettings {
        self.pair(file, names, &rcgen::KeyPair::generate().unwrap())
    }

    fn of(&self, file: &str, algorithm: &'static rcgen::SignatureAlgorithm) -> CertificateSettings {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        self.pair(file, &["a.test"], &key)
    }

    fn rsa(&self, file: &str, names: &[&str]) -> CertificateSettings {
        let size = rcgen::RsaKeySize::_2048;
        let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap();
        self.pair(file, names, &key)
    }

    fn pair(&self, file: &str, names: &[&str], key: &rcgen::KeyPair) -> CertificateSettings {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let parameters = rcgen::CertificateParams::new(names).unwrap();
        let certificate = parameters.self_signed(key).unwrap();
        let settings = CertificateSettings {
            chain: self.0.join(format!("{file}.pem")),
            key: self.0.join(format!("{file}.key")),
            names: Vec::new(),
        };
        std::fs::write(&settings.chain, certificate.pem()).unwrap();
        std::fs::write(&settings.key, key.serialize_pem()).unwrap();
        settings
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn store(certificates: &[CertificateSettings]) -> Result<Store, CertificateError> {
    Store::load(certificates, [], clock::now())
}

fn refused(certificates: &[CertificateSettings]) -> CertificateError {
    store(certificates).expect_err("refused")
}

fn by_name(certificates: &[CertificateSettings]) -> Arc<ByName> {
    store(certificates).unwrap().credentials().by_name
}

fn leaf(settings: &CertificateSettings) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(&settings.chain).unwrap()
}

#[test]
fn sni_picks_exact_then_wildcard_then_the_first_or_none() {
    let dir = Dir::new("pick");
    let all = [
        dir.certificate("first", &["first.test"]),
        dir.certificate("wild", &["*.example.com", "example.com"]),
        dir.certificate("exact", &["www.example.com"]),
    ];
    let by_name = by_name(&all);
    for (name, named) in [
        (None, None),
        (Some("unknown.test"), None),
        (Some("localhost"), None),
        (Some("first.test"), Some(0)),
        (Some("example.com"), Some(1)),
        (Some("api.example.com"), Some(1)),
        (Some("www.example.com"), Some(2)),
        (Some("a.b.example.com"), None),
    ] {
        let found = |sni| {
            by_name
                .find(name, sni)
                .map(|group| group[0].key.cert[0].clone())
        };
        assert_eq!(
            found(Sni::Strict),
            named.map(|at: usize| leaf(&all[at])),
            "{name:?}"
        );
        assert_eq!(
            found(Sni::Default),
            Some(leaf(&all[named.unwrap_or(0)])),
            "{name:?}"
        );
    }
}

#[test]
fn ecdsa_and_rsa_stand_side_by_side_and_the_shorter_signature_comes_first() {
    let dir = Dir::new("kinds");
    let by_name = by_name(&[
        dir.rsa("rsa", &["a.test", "b.test"]),
        dir.certificate("ecdsa", &["a.test"]),
        dir.certificate("late", &["a.test"]),
    ]);
    let kinds = |name, sni| {
        let group = by_name.find(Some(name), sni).unwrap();
        group.iter().map(|one| one.kind()).collect::<Vec<_>>()
    };
    let both = [SignatureAlgorithm::ECDSA, SignatureAlgorithm::RSA];
    assert_eq!(kinds("a.test", Sni::Strict), both);
    assert_eq!(kinds("b.test", Sni::Strict), [SignatureAlgorithm::RSA]);
    assert_eq!(
        kinds("unknown.test", Sni::Default),
        both,
        "the default's own name"
    );
}

#[test]
fn a_connection_covers_what_its_certificate_is_for() {
    let dir = Dir::new("covers");
    let by_name = by_name(&[
        dir.certificate("one", &["*.example.com", "example.org"]),
        dir.certificate("two", &["www.example.com"]),
    ]);
    let served = by_name.served(Some("api.example.com"), Sni::Default);
    for (host, covered) in [
        ("www.example.com", true), // Its own certificate would be another, but this one is good for it.
        ("example.org", true),
        ("example.com", false),
        ("a.b.example.com", false),
        ("other.test", false),
        ("", false),
    ] {
        assert_eq!(served.covers(host), covered, "{host}");
    }
    assert!(!by_name.served(Some("x.test"), Sni::Strict).covers("x.test"));
}

#[test]
fn names_can_be_narrowed_but_not_widened() {
    let dir = Dir::new("names");
    let mut settings = dir.certificate("one", &["*.example.com", "example.org"]);
    settings.names = vec!["www.example.com".into(), "*.example.com".into()];
    let by_name = by_name(&[settings.clone()]);
    assert!(by_name.find(Some("www.example.com"), Sni::Strict).is_some());
    assert!(by_name.find(Some("example.org"), Sni::Strict).is_none());
    settings.names = vec!["example.com".into()];
    let error = refused(&[settings.clone()]);
    assert_eq!(error.path, settings.chain);
    assert_eq!(error.message, "is not for example.com, which `names` lists");
}

#[test]
fn a_key_of_another_certificate_is_refused_by_name() {
    let dir = Dir::new("mismatch");
    let mut settings = dir.certificate("one", &["one.test"]);
    settings.key = dir.certificate("two", &["two.test"]).key;
    let error = refused(&[settings.clone()]);
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
    let error = refused(&[settings.clone()]);
    assert!(error.message.starts_with("cannot be read"), "{error}");
    std::fs::write(&settings.chain, "no pem here").unwrap();
    let error = refused(&[settings.clone()]);
    assert!(error.message.contains("holds no certificate"), "{error}");
    settings.chain = good_chain;
    std::fs::write(&settings.key, "").unwrap();
    let error = refused(&[settings]);
    assert!(error.message.contains("holds no private key"), "{error}");
}

/// Looks twice, as a change must be still to count.
fn refresh(store: &mut Store) -> Option<Credentials> {
    let now: Instant = clock::now();
    assert!(store.refresh(now).is_none(), "a pair may be half replaced");
    store.refresh(now)
}

#[test]
fn a_pair_that_changes_is_taken_up_and_a_bad_one_is_not() {
    let dir = Dir::new("watch");
    let settings = dir.certificate("one", &["one.test"]);
    let mut store = store(std::slice::from_ref(&settings)).unwrap();
    assert!(refresh(&mut store).is_none());

    std::fs::write(&settings.key, "").unwrap();
    assert!(refresh(&mut store).is_none());
    let state = store.certificates().next().unwrap();
    assert_eq!(state.error.unwrap().path, settings.key);
    assert_eq!(state.names, ["one.test"]);

    dir.certificate("one", &["two.test"]);
    let fresh = refresh(&mut store).expect("taken up");
    assert!(fresh.by_name.find(Some("two.test"), Sni::Strict).is_some());
    assert!(fresh.by_name.find(Some("one.test"), Sni::Strict).is_none());
    assert!(store.certificates().next().unwrap().error.is_none());
    assert!(refresh(&mut store).is_none(), "taken up once");
}

#[test]
fn a_key_that_is_replaced_before_its_certificate_is_waited_for() {
    let dir = Dir::new("window");
    let settings = dir.certificate("one", &["one.test"]);
    let mut store = store(std::slice::from_ref(&settings)).unwrap();
    let next = dir.certificate("next", &["two.test"]);
    std::fs::rename(&next.key, &settings.key).unwrap();
    assert!(refresh(&mut store).is_none());
    let error = store.certificates().next().unwrap().error.unwrap().clone();
    assert_eq!(error.path, settings.key);
    assert!(error.hint.contains("look again"), "{}", error.hint);
    let served = store.credentials().by_name;
    assert!(served.find(Some("one.test"), Sni::Strict).is_some());

    std::fs::rename(&next.chain, &settings.chain).unwrap();
    let fresh = refresh(&mut store).expect("taken up");
    assert!(fresh.by_name.find(Some("two.test"), Sni::Strict).is_some());
    assert!(store.certificates().next().unwrap().error.is_none());
}

#[test]
fn files_that_are_gone_and_back_are_taken_up() {
    let dir = Dir::new("gone");
    let settings = dir.certificate("one", &["one.test"]);
    let mut store = store(std::slice::from_ref(&settings)).unwrap();
    let away = dir.0.join("away");
    std::fs::rename(&settings.key, &away).unwrap();
    assert!(refresh(&mut store).is_none());
    let error = store.certificates().next().unwrap().error.unwrap().clone();
    assert!(error.message.starts_with("cannot be read"), "{error}");
    std::fs::rename(&away, &settings.key).unwrap();
    assert!(refresh(&mut store).is_some());
    assert!(store.certificates().next().unwrap().error.is_none());
}

#[test]
fn a_chain_in_another_order_is_refused_and_one_that_is_none_remarked_on() {
    let dir = Dir::new("order");
    let (one, two) = (
        dir.certificate("one", &["one.test"]),
        dir.certificate("two", &["two.test"]),
    );
    let read = |path| std::fs::read_to_string(path).unwrap();
    let both = read(&one.chain) + &read(&two.chain);
    std::fs::write(&one.chain, both).unwrap();
    let swapped = CertificateSettings {
        key: two.key.clone(),
        ..one.clone()
    };
    let error = refused(&[swapped]);
    assert_eq!(error.path, two.key);
    assert!(
        error.hint.contains("own certificate first"),
        "{}",
        error.hint
    );
    // Self-signed both, by the same name: rcgen's.
    let store = store(&[one]).unwrap();
    let facts = store.certificates().next().unwrap().facts.clone();
    assert_eq!(facts.remarks(clock::wall()).next(), None);
}

#[test]
fn a_certificate_for_no_host_is_remarked_on() {
    let dir = Dir::new("nameless");
    let store = store(&[dir.certificate("none", &[])]).unwrap();
    let state = store.certificates().next().unwrap();
    let remarks: Vec<_> = state.facts.remarks(clock::wall()).collect();
    assert!(remarks[0].contains("is for no host"), "{remarks:?}");
}

#[test]
fn a_symbolic_link_that_is_turned_counts_as_a_change() {
    let dir = Dir::new("link");
    let (old, new) = (
        dir.certificate("old", &["old.test"]),
        dir.certificate("new", &["new.test"]),
    );
    let link = CertificateSettings {
        chain: dir.0.join("link.pem"),
        key: dir.0.join("link.key"),
        names: Vec::new(),
    };
    let point = |to: &CertificateSettings| {
        for (link, to) in [(&link.chain, &to.chain), (&link.key, &to.key)] {
            let _ = std::fs::remove_file(link);
            std::os::unix::fs::symlink(to, link).unwrap();
        }
    };
    point(&old);
    let mut store = store(std::slice::from_ref(&link)).unwrap();
    point(&new);
    let fresh = refresh(&mut store).expect("taken up");
    assert!(fresh.by_name.find(Some("new.test"), Sni::Strict).is_some());
}

#[test]
fn a_reload_reads_only_what_changed() {
    let dir = Dir::new("reload");
    let all = [
        dir.certificate("a", &["a.test"]),
        dir.certificate("b", &["b.test"]),
    ];
    let store = store(&all).unwrap();
    dir.certificate("b", &["b.test"]);
    let next = store.next(&all, []).unwrap();
    let key = |store: &Store, name| {
        let found = store.credentials().by_name;
        Arc::clone(&found.find(Some(name), Sni::Strict).unwrap()[0])
    };
    assert!(Arc::ptr_eq(&key(&store, "a.test"), &key(&next, "a.test")));
    assert!(!Arc::ptr_eq(&key(&store, "b.test"), &key(&next, "b.test")));
}

#[test]
fn facts_say_what_a_certificate_is() {
    let dir = Dir::new("facts");
    let all = [
        dir.certificate("ecdsa", &["a.test"]),
        dir.rsa("rsa", &["a.test"]),
        dir.of("p521", &rcgen::PKCS_ECDSA_P521_SHA512),
        dir.of("ed", &rcgen::PKCS_ED25519),
    ];
    let store = store(&all).unwrap();
    let types: Vec<_> = store
        .certificates()
        .map(|state| state.facts.key_type.clone())
        .collect();
    assert_eq!(types, ["ECDSA P-256", "RSA 2048", "ECDSA P-521", "Ed25519"]);
}

#[test]
fn post_quantum_key_exchange_is_preferred() {
    let groups = aws_lc_rs::default_provider().kx_groups;
    assert_eq!(groups[0].name(), rustls::NamedGroup::X25519MLKEM768);
}

#[test]
fn an_authority_that_is_none_is_refused_by_name() {
    let dir = Dir::new("authority");
    let settings = dir.certificate("one", &["one.test"]);
    let auth = |ca: &PathBuf| ClientAuthSettings {
        ca: ca.clone(),
        mode: ClientAuthMode::Required,
    };
    let error = Store::load(&[], [&auth(&settings.key)], clock::now()).expect_err("a key");
    assert_eq!(error.path, settings.key);
    let absent = dir.0.join("absent.pem");
    let error = Store::load(&[], [&auth(&absent)], clock::now()).expect_err("nothing");
    assert!(error.message.starts_with("cannot be read"), "{error}");
}

/// A subject and names made to be mistaken for others.
#[test]
fn an_identity_is_printable_and_cannot_be_mistaken() {
    let mut parameters = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    let mut name = rcgen::DistinguishedName::new();
    name.push(rcgen::DnType::OrganizationName, "x,CN=root\r\nX: é");
    name.push(rcgen::DnType::CommonName, " alice ");
    parameters.distinguished_name = name;
    let uri = "spiffe://a/b,DNS:root%2C".try_into().unwrap();
    parameters.subject_alt_names.push(rcgen::SanType::URI(uri));
    let address = "192.0.2.1".parse().unwrap();
    parameters
        .subject_alt_names
        .push(rcgen::SanType::IpAddress(address));
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let identity = Identity::of(certificate.der()).unwrap();
    assert_eq!(
        identity.subject,
        r"CN=\ alice\ ,O=x\,CN\=root\0d\0aX: \c3\a9"
    );
    assert_eq!(
        identity.alternative_names,
        "DNS:a.test,URI:spiffe://a/b%2CDNS:root%252C,IP:192.0.2.1"
    );
    assert_eq!(identity.fingerprint.len(), 64);
    assert!(!identity.is_expired(clock::wall()));
}
