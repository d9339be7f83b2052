//! Other people's programs around weir: nginx and HAProxy behind it and before it, curl and nghttp as its clients.

mod clients;
mod curl;
mod haproxy;
mod nghttp;
mod nginx;
mod openssl;
mod proxy_protocol;
mod websocket;

use anyhow::{Result, ensure};
use serde_json::Value;
use weir_lab::topology::origin_address;
use weir_lab::{Config, Lab};

/// Everything to one server at origin 1's address, `more` being further lines of its `[[upstream]]`.
fn to(scheme: &str, port: u16, more: &str) -> Config {
    let address = origin_address(1);
    Config {
        site: format!(
            "[[upstream]]\nname = \"peer\"\nservers = [\"{scheme}://{address}:{port}\"]\n{more}\n
[[route]]\npath = \"/\"\nupstream = \"peer\"\n"
        ),
        ..Config::default()
    }
}

/// `[[upstream]]`'s line for servers that have the lab's certificate.
fn verified(lab: &Lab) -> String {
    let authority = lab.pki.authority.display();
    format!("tls = {{ ca = \"{authority}\", server_name = \"weir.test\" }}\n")
}

/// Bytes that no part of is like another.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        // xorshift64 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_be_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// Where two contents differ first, instead of both.
fn ensure_same(content: &[u8], expected: &[u8]) -> Result<()> {
    let differs = content.iter().zip(expected).position(|(a, b)| a != b);
    ensure!(
        content.len() == expected.len() && differs.is_none(),
        "{} bytes of {}, the first other one at {differs:?}",
        content.len(),
        expected.len()
    );
    Ok(())
}

/// The values of `key` in all of `requests`.
fn all<'a>(requests: &'a [Value], key: &str) -> Vec<&'a str> {
    let values = requests.iter().map(|request| request[key].as_str());
    values.map(Option::unwrap_or_default).collect()
}
