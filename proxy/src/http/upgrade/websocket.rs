//! The opening handshake of WebSocket, as its client (RFC 6455 §4.1): the key, and the proof that the origin read it.

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

/// `Sec-WebSocket-Key`.
pub(super) struct Key(String);

impl Key {
    /// `None` if the system has no random bytes.
    pub(super) fn random() -> Option<Self> {
        let mut nonce = [0; 16];
        rand::fill(&mut nonce).ok()?;
        Some(Self(STANDARD.encode(nonce)))
    }

    pub(super) fn field(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("invariant: base64 is ASCII")
    }

    /// Whether `accept` is `Sec-WebSocket-Accept` to this key.
    pub(super) fn is_accepted(&self, accept: Option<&HeaderValue>) -> bool {
        let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        hash.update(self.0.as_bytes());
        hash.update(GUID);
        let expected = STANDARD.encode(hash.finish());
        accept.is_some_and(|accept| accept.as_bytes() == expected.as_bytes())
    }
}

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_6455_is_accepted_and_nothing_else() {
        let key = Key("dGhlIHNhbXBsZSBub25jZQ==".to_owned());
        let accept = HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(key.is_accepted(Some(&accept)));
        assert!(!key.is_accepted(Some(&key.field())));
        assert!(!key.is_accepted(None));
    }

    #[test]
    fn keys_are_16_bytes_and_differ() {
        let (one, other) = (Key::random(), Key::random());
        let one = one.expect("random bytes");
        assert_eq!(STANDARD.decode(&one.0).map(|nonce| nonce.len()), Ok(16));
        assert_ne!(one.0, other.expect("random bytes").0);
    }
}
