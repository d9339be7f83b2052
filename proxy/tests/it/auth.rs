//! Routes that ask for a password.

use crate::client::{Client, Message};
use crate::origin::Origin;
use crate::weir::{Setup, routes};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// `secret`, at a cost that takes no time.
const USERS: &str = "a:$2y$04$4ghEu0ljIKmZUxdzQlZmOefEUqI1yZgOpguCn2T0hJPpvb/QwB9c2\n";

fn get(client: &mut Client, path: &str, fields: &str) -> Message {
    client.send(&format!(
        "GET {path} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n"
    ));
    client.response()
}

#[test]
fn only_users_of_the_file_reach_the_origin_which_does_not_see_their_credentials() {
    let dir = std::env::temp_dir().join(format!("weir-users-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("users");
    std::fs::write(&file, USERS).unwrap();
    let text = format!(
        "[[route]]\nupstream = \"app\"\ncache = true\nbasic_auth = {{ file = \"{0}\", realm = \"r\" }}\n\
         [[route]]\npath = \"/forward\"\nupstream = \"app\"\nbasic_auth = {{ file = \"{0}\", forward = true }}",
        file.display()
    );
    let origin = Origin::answering(OK);
    let weir = Setup::to(&[origin.address])
        .with(|setup| setup.routes = Some(routes(&text)))
        .start();
    std::fs::remove_dir_all(dir).unwrap();
    let mut client = Client::connect(weir.address);
    for fields in [
        "",
        "Authorization: Basic YTp3cm9uZw==\r\n",
        // Another user, and two that may mean different ones.
        "Authorization: Basic YjpzZWNyZXQ=\r\n",
        "Authorization: Basic YTpzZWNyZXQ=\r\nAuthorization: Basic YTpzZWNyZXQ=\r\n",
        "Authorization: Bearer YTpzZWNyZXQ=\r\n",
        "Authorization: Basic YQ==\r\n",
    ] {
        let refused = get(&mut client, "/", fields);
        assert_eq!(refused.status(), 401, "{fields}");
        assert_eq!(
            refused.field("www-authenticate"),
            Some("Basic realm=\"r\", charset=\"UTF-8\"")
        );
    }
    assert_eq!(origin.connections(), 0);
    let right = "Authorization: Basic YTpzZWNyZXQ=\r\n";
    for path in ["/", "/", "/forward"] {
        let response = get(&mut client, path, right);
        assert_eq!(response.status(), 200);
        assert_eq!(response.field("www-authenticate"), None);
    }
    let seen = origin.requests();
    let credentials: Vec<_> = seen.iter().map(|r| r.field("authorization")).collect();
    assert_eq!(credentials, [None, None, Some("Basic YTpzZWNyZXQ=")]);
}
