//! HTTP/2 frames as bytes: what no honest client would send.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::weir::PATIENCE;

pub const DATA: u8 = 0x0;
pub const HEADERS: u8 = 0x1;
pub const PRIORITY: u8 = 0x2;
pub const RST_STREAM: u8 = 0x3;
pub const SETTINGS: u8 = 0x4;
pub const PING: u8 = 0x6;
pub const GOAWAY: u8 = 0x7;
pub const WINDOW_UPDATE: u8 = 0x8;
pub const CONTINUATION: u8 = 0x9;

pub const END_STREAM: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;

/// A connection in cleartext, after both sides' preface.
pub struct Raw {
    stream: TcpStream,
}

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub content: Vec<u8>,
}

impl Raw {
    pub fn connect(address: SocketAddr) -> Self {
        Self::with_settings(address, &[])
    }

    /// `settings`: the content of the first frame.
    pub fn with_settings(address: SocketAddr, settings: &[u8]) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, settings)).unwrap();
        Self { stream }
    }

    /// Whether the other side still takes it.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends `bytes` over and over until the other side closes; false if it does not within `times`.
    pub fn is_closed_within(
        &mut self,
        times: usize,
        mut bytes: impl FnMut(u32) -> Vec<u8>,
    ) -> bool {
        for time in 0..times {
            if !self.send(&bytes(u32::try_from(time).unwrap())) {
                return true;
            }
        }
        self.rest();
        true
    }

    /// The next frame; `None` when the connection ends.
    pub fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut content = vec![0; length as usize];
        self.stream.read_exact(&mut content).ok()?;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            content,
        })
    }

    /// Everything until the connection ends, which it has to within the patience of these tests.
    pub fn rest(&mut self) -> Vec<Frame> {
        let frames = std::iter::from_fn(|| self.next()).collect();
        let mut byte = [0];
        if let Err(error) = self.stream.read(&mut byte) {
            let kind = error.kind();
            assert_ne!(
                kind,
                std::io::ErrorKind::WouldBlock,
                "the connection stays open"
            );
        }
        frames
    }

    /// The first frame that says how `stream` fares: `HEADERS`, `RST_STREAM` or `GOAWAY`.
    pub fn outcome(&mut self, stream: u32) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            let is_its = frame.stream == stream && matches!(frame.kind, HEADERS | RST_STREAM);
            if is_its || frame.kind == GOAWAY {
                return Some(frame);
            }
        }
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

/// A field section (RFC 7541 §6.2.2): literals without indexing and without Huffman coding.
pub fn fields(lines: &[(&str, &str)]) -> Vec<u8> {
    let text = |out: &mut Vec<u8>, text: &str| {
        assert!(text.len() < 127, "one byte of length");
        out.push(u8::try_from(text.len()).unwrap());
        out.extend_from_slice(text.as_bytes());
    };
    let mut out = Vec::new();
    for (name, value) in lines {
        out.push(0);
        text(&mut out, name);
        text(&mut out, value);
    }
    out
}

/// The pseudo-fields of an ordinary request.
pub const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "a.test"),
    (":path", "/"),
];

/// An ordinary request without content.
pub fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields(&GET))
}

/// A request whose content is to follow.
pub fn post(stream: u32) -> Vec<u8> {
    let mut lines = GET;
    lines[0].1 = "POST";
    frame(HEADERS, END_HEADERS, stream, &fields(&lines))
}
