//! The server over a real socket with a [`Control`](super::Control) that remembers, asked in raw HTTP and by the client.

mod client;
mod fake;
mod http;
mod running;
mod socket;

use self::fake::Fake;
use self::running::nets;
use super::{Control as _, api};

#[test]
fn answers_survive_the_way_through_json() {
    let fake = Fake::default();
    let status = serde_json::to_string(&fake.status()).expect("to JSON");
    assert_eq!(
        serde_json::from_str::<api::Status>(&status).expect("back"),
        fake.status()
    );
    let request = r#"{"networks":["2001:db8::7/64","192.0.2.7"]}"#;
    let request: api::BlockRequest = serde_json::from_str(request).expect("from JSON");
    assert_eq!(request.networks, nets(&["2001:db8::/64", "192.0.2.7/32"]));
    let back = serde_json::to_string(&request).expect("to JSON");
    assert_eq!(
        back,
        r#"{"networks":["2001:db8::/64","192.0.2.7"],"reason":""}"#
    );
}
