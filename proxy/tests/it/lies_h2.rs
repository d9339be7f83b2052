//! Origins that speak HTTP/2 and do not keep to it, frame by frame: the client sees an error, never a part as the whole,
//! and never what was meant for another request.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};

use weir::balance::Protocol;

use crate::client::{Client, Message};
use crate::origin::Origin;
use crate::raw_h2::{DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, fields, frame};
use crate::weir::{Setup, Weir};

const STATUS: (&str, &str) = (":status", "200");

/// Answers its first request, which comes on `stream`, with what `lie` makes of that, and all others with their number.
fn lying(lie: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) -> Origin {
    let count = AtomicUsize::new(0);
    Origin::raw(move |mut stream, _| {
        let mut preface = [0; 24];
        if stream.read_exact(&mut preface).is_err() {
            return;
        }
        // The connection may be closed by weir at any time.
        let _ = stream.write_all(&frame(SETTINGS, 0, 0, &[]));
        while let Some((kind, flags, id)) = next(&mut stream) {
            let answer = match kind {
                SETTINGS if flags & 1 == 0 => frame(SETTINGS, 1, 0, &[]),
                HEADERS => match count.fetch_add(1, Ordering::SeqCst) {
                    0 => lie(id),
                    number => {
                        let head = frame(HEADERS, END_HEADERS, id, &fields(&[STATUS]));
                        let content = number.to_string();
                        [head, frame(DATA, END_STREAM, id, content.as_bytes())].concat()
                    }
                },
                _ => continue,
            };
            let _ = stream.write_all(&answer);
        }
    })
}

/// Kind, flags and stream of the next frame.
fn next(stream: &mut TcpStream) -> Option<(u8, u8, u32)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    stream.read_exact(&mut vec![0; length as usize]).ok()?;
    let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Some((head[3], head[4], id))
}

fn weir(origin: &Origin) -> Weir {
    Setup::to(&[origin.address])
        .with(|setup| setup.transport.protocol = Protocol::H2c)
        .start()
}

/// The next requests get their own answers.
fn recovers(weir: &Weir, what: &str) {
    let mut last = 0;
    for _ in 0..2 {
        let response = Client::connect(weir.address).get("/");
        assert_eq!(response.status(), 200, "{what}");
        let number = response.text().parse().unwrap();
        assert!(number > last, "{what}: {number}");
        last = number;
    }
}

#[test]
fn heads_that_are_none_in_http_2_are_502() {
    let heads: [(&str, &[(&str, &str)]); 19] = [
        ("no status", &[("x", "y")]),
        ("two statuses", &[STATUS, STATUS]),
        ("a status that is no number", &[(":status", "abc")]),
        ("a short status", &[(":status", "20")]),
        ("a long status", &[(":status", "2000")]),
        ("an unknown pseudo-field", &[STATUS, (":x", "y")]),
        ("a pseudo-field after fields", &[("x", "y"), STATUS]),
        ("upper case", &[STATUS, ("X", "y")]),
        ("an empty name", &[STATUS, ("", "y")]),
        ("a name with a line end", &[STATUS, ("x\r\ny", "z")]),
        (
            "a value with a line",
            &[STATUS, ("x", "a\r\nset-cookie: b=c")],
        ),
        ("a value with CR", &[STATUS, ("x", "a\rb")]),
        ("a value with NUL", &[STATUS, ("x", "a\0b")]),
        ("connection", &[STATUS, ("connection", "close")]),
        ("keep-alive", &[STATUS, ("keep-alive", "5")]),
        ("upgrade", &[STATUS, ("upgrade", "h2c")]),
        (
            "transfer-encoding",
            &[STATUS, ("transfer-encoding", "chunked")],
        ),
        ("101", &[(":status", "101")]),
        (
            "a length that is no number",
            &[STATUS, ("content-length", "x")],
        ),
    ];
    let mut passed = Vec::new();
    for (what, head) in heads {
        let section = fields(head);
        let origin = lying(move |id| {
            let content = frame(DATA, END_STREAM, id, b"forged");
            [frame(HEADERS, END_HEADERS, id, &section), content].concat()
        });
        let weir = weir(&origin);
        let mut client = Client::connect(weir.address);
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let response = client.try_response();
        if response.as_ref().map_or(0, Message::status) != 502 {
            passed.push((what, response));
            continue;
        }
        recovers(&weir, what);
    }
    assert!(passed.is_empty(), "{passed:?}");
}

/// What an answer to a request of one kind looks like on a stream.
type Lie = fn(u32) -> Vec<u8>;

fn head(id: u32, flags: u8, lines: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | flags, id, &fields(lines))
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table of cases")]
fn content_in_frames_out_of_order_never_looks_whole() {
    let lies: [(&str, Lie); 8] = [
        ("DATA before HEADERS", |id| {
            [
                frame(DATA, 0, id, b"forged"),
                head(id, END_STREAM, &[STATUS]),
            ]
            .concat()
        }),
        ("less than said", |id| {
            let lines = [STATUS, ("content-length", "9")];
            [head(id, 0, &lines), frame(DATA, END_STREAM, id, b"short")].concat()
        }),
        ("more than said", |id| {
            let lines = [STATUS, ("content-length", "2")];
            [
                head(id, 0, &lines),
                frame(DATA, END_STREAM, id, b"too long"),
            ]
            .concat()
        }),
        ("nothing of what was said", |id| {
            head(id, END_STREAM, &[STATUS, ("content-length", "9")])
        }),
        ("two lengths", |id| {
            let lines = [STATUS, ("content-length", "2"), ("content-length", "8")];
            [
                head(id, 0, &lines),
                frame(DATA, END_STREAM, id, b"too long"),
            ]
            .concat()
        }),
        ("a reset", |id| {
            let reset = frame(crate::raw_h2::RST_STREAM, 0, id, &[0, 0, 0, 0]);
            [head(id, 0, &[STATUS]), frame(DATA, 0, id, b"part"), reset].concat()
        }),
        ("trailers without an end", |id| {
            [
                head(id, 0, &[STATUS]),
                frame(DATA, 0, id, b"part"),
                head(id, 0, &[("x", "y")]),
            ]
            .concat()
        }),
        ("a pushed response", |id| {
            let request = fields(&crate::raw_h2::GET);
            let pushed = frame(
                0x5,
                END_HEADERS,
                id,
                &[&[0, 0, 0, 2][..], &request].concat(),
            );
            [
                pushed,
                head(2, 0, &[STATUS]),
                frame(DATA, END_STREAM, 2, b"forged"),
            ]
            .concat()
        }),
    ];
    let mut passed = Vec::new();
    for (what, lie) in lies {
        let origin = lying(lie);
        let weir = weir(&origin);
        let mut client = Client::connect(weir.address);
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let outcome = client.try_response();
        if outcome
            .as_ref()
            .is_ok_and(|response| response.status() != 502)
        {
            passed.push((what, outcome));
            continue;
        }
        recovers(&weir, what);
    }
    assert!(passed.is_empty(), "{passed:?}");
}

#[test]
fn content_where_there_must_be_none_is_nobodys() {
    let lies: [(&str, &str, Lie); 4] = [
        ("GET", "204 with content", |id| {
            let forged = frame(DATA, END_STREAM, id, b"forged");
            [head(id, 0, &[(":status", "204")]), forged].concat()
        }),
        ("GET", "304 with content", |id| {
            let forged = frame(DATA, END_STREAM, id, b"forged");
            [head(id, 0, &[(":status", "304")]), forged].concat()
        }),
        ("HEAD", "HEAD with content", |id| {
            let lines = [STATUS, ("content-length", "6")];
            [head(id, 0, &lines), frame(DATA, END_STREAM, id, b"forged")].concat()
        }),
        ("GET", "content after the end", |id| {
            let forged = frame(DATA, END_STREAM, id, b"forged");
            [head(id, END_STREAM, &[STATUS]), forged].concat()
        }),
    ];
    for (method, what, lie) in lies {
        let origin = lying(lie);
        let weir = weir(&origin);
        let mut client = Client::connect(weir.address);
        client.send(&format!("{method} / HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        let response = client.head_response();
        assert!(matches!(response.status(), 200 | 204 | 304 | 502), "{what}");
        // What comes next on this connection, if it is still there, is an answer.
        let asked = client.try_send(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
        let mut rest = Vec::new();
        if asked.is_ok() {
            let _ = std::io::Read::read_to_end(&mut client.uploader(), &mut rest);
        }
        assert!(!String::from_utf8_lossy(&rest).contains("forged"), "{what}");
        recovers(&weir, what);
    }
}

#[test]
fn trailers_of_an_origin_frame_and_name_nothing() {
    let origin = lying(|id| {
        let lines = [
            STATUS,
            ("trailer", "x-ok, content-length, set-cookie, server"),
        ];
        let trailers = [
            ("x-ok", "1"),
            ("content-length", "9"),
            ("set-cookie", "a=b"),
            ("server", "secret/1"),
            ("location", "/forged"),
        ];
        let content = frame(DATA, 0, id, b"ok");
        [
            head(id, 0, &lines),
            content,
            head(id, END_STREAM, &trailers),
        ]
        .concat()
    });
    let weir = weir(&origin);
    let mut client = Client::connect(weir.address);
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nConnection: te\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status(), response.text()), (200, "ok"));
    assert_eq!(response.trailers, [("x-ok".to_owned(), "1".to_owned())]);
}
