//! What stored responses are found by (RFC 9111 §2).

use std::sync::Arc;

/// What identifies a resource: scheme, host, path and query, each length-prefixed so that no two collide.
/// Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// `host` is lower case with the port unless default; `path_and_query` is exactly what goes to the origin.
    pub fn new(scheme: &str, host: &str, path_and_query: &str) -> Self {
        let text = format!(
            "{}:{scheme}{}:{host}{}:{path_and_query}",
            scheme.len(),
            host.len(),
            path_and_query.len()
        );
        Self(text.into())
    }

    /// Bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_equal_only_if_every_part_is() {
        let key = Key::new("https", "example.com", "/a?b");
        assert_eq!(key, Key::new("https", "example.com", "/a?b"));
        for (scheme, host, path) in [
            ("http", "example.com", "/a?b"),
            ("https", "example.com:8443", "/a?b"),
            ("https", "example.com", "/a"),
            ("https", "example.com", "/a?b="),
            ("https", "example.com", "/A?b"),
            ("https", "example.co", "m/a?b"),
            ("https", "", "example.com/a?b"),
            ("", "https11:example.com", "/a?b"),
        ] {
            assert_ne!(key, Key::new(scheme, host, path), "{scheme} {host} {path}");
        }
    }
}
