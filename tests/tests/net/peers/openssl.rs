//! OpenSSL as a client: sessions are resumed by a library that is not weir's.

use anyhow::ensure;
use weir_lab::pki::SERVER_NAME;
use weir_lab::topology::{HTTPS, gateway_address};
use weir_lab::{Config, Lab, Weir, peer};

use super::clients::source;
use crate::Test;

#[test]
fn openssl_resumes_its_sessions_in_either_version_of_tls() -> Test {
    let lab = Lab::new()?;
    let config = Config {
        interfaces: Vec::new(),
        ..Config::default()
    };
    let _weir = Weir::start(&lab, &config)?;
    let session = lab.directory().join("session");
    let server = format!("{}:{HTTPS}", gateway_address(source()));
    for version in ["tls1_2", "tls1_3"] {
        // A whole response, since in TLS 1.3 tickets come after the handshake.
        let ask = |option: &str| {
            let script = format!(
                "printf 'GET / HTTP/1.0\\r\\nHost: {SERVER_NAME}\\r\\n\\r\\n' | timeout 60 openssl s_client -{version} \
                 -connect {server} -servername {SERVER_NAME} -{option} '{}' -ign_eof 2>&1",
                session.display()
            );
            peer::run(&lab.clients, "sh", &["-c", &script])
        };
        let first = ask("sess_out")?;
        ensure!(
            first.stdout.contains("HTTP/1.0 200") || first.stdout.contains("HTTP/1.1 200"),
            "{first:?}"
        );
        ensure!(first.stdout.contains("New, TLSv1."), "{version}: {first:?}");
        let second = ask("sess_in")?;
        ensure!(
            second.stdout.contains("Reused, TLSv1."),
            "{version}: {second:?}"
        );
        ensure!(second.stdout.contains(" 200 "), "{version}: {second:?}");
        std::fs::remove_file(&session)?;
    }
    Ok(())
}
