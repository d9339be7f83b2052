//! What holds of upgrades, whatever a client asks for and an origin answers.

use http::header::{CONNECTION, UPGRADE};
use http::{Request, Version, request};

use super::websocket::Key;
use super::{LAYERED, SEC_WEBSOCKET_ACCEPT, Upgrade};
use crate::http::activity::Http;
use crate::http::forward::Size;

/// An upgrade is one protocol, nominated by `Connection`, and none that would carry requests past every check.
pub fn upgrade(parts: &request::Parts) {
    let mut asking = Request::new(()).into_parts().0;
    asking.version = parts.version;
    asking.headers.clone_from(&parts.headers);
    let Ok(Some(asked)) = Upgrade::asked(&mut asking, Http::One, Size::Empty) else {
        return;
    };
    assert_eq!(parts.version, Version::HTTP_11);
    assert!(parts.headers.contains_key(CONNECTION));
    let lines: Vec<_> = parts.headers.get_all(UPGRADE).iter().collect();
    assert_eq!(lines, [&asked.protocol]);
    let protocol = asked.protocol.as_bytes().to_ascii_lowercase();
    let name = protocol.split(|byte| *byte == b'/').next();
    assert!(!LAYERED.iter().any(|layered| name == Some(*layered)));
    assert!(!protocol.iter().any(|byte| b", \t".contains(byte)));
    // Nobody guesses the answer to a key that nobody has seen.
    if let Some(key) = Key::random() {
        let accept = parts.headers.get(SEC_WEBSOCKET_ACCEPT);
        assert!(!key.is_accepted(accept));
    }
}
