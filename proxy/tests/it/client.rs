//! A client that speaks raw HTTP/1.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::weir::PATIENCE;

/// One connection.
pub struct Client {
    reader: BufReader<TcpStream>,
}

/// One message head and its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Request line or status line.
    pub start: String,
    /// Lower-case names.
    pub fields: Vec<(String, String)>,
    pub content: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            reader: BufReader::new(stream),
        }
    }

    pub fn send(&mut self, text: &str) {
        self.try_send(text.as_bytes()).unwrap();
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// A second handle on the connection, to write while this one reads.
    pub fn uploader(&self) -> TcpStream {
        self.reader.get_ref().try_clone().unwrap()
    }

    /// Sends a GET and reads the response.
    pub fn get(&mut self, path: &str) -> Message {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        self.response()
    }

    /// Reads a whole response to anything but HEAD.
    pub fn response(&mut self) -> Message {
        read_message(&mut self.reader, Content::Framed).unwrap()
    }

    /// Reads a response that has no content whatever its fields say.
    pub fn head_response(&mut self) -> Message {
        read_message(&mut self.reader, Content::None).unwrap()
    }

    /// Reads a response that may break off: the message, or what is wrong with it.
    pub fn try_response(&mut self) -> std::io::Result<Message> {
        read_message(&mut self.reader, Content::Framed)
    }

    /// Whether the other side has closed, with nothing more to read.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    pub fn shutdown(&mut self) {
        self.reader.get_ref().shutdown(Shutdown::Both).unwrap();
    }
}

impl Message {
    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The only value of `name`.
    pub fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} is repeated: {all:?}");
        all.first().copied()
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        let matching = self.fields.iter().filter(|(field, _)| field == name);
        matching.map(|(_, value)| value.as_str()).collect()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.content).unwrap()
    }
}

/// How a message's content ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// As its fields say.
    Framed,
    /// There is none.
    None,
}

/// Reads one message; an error if it breaks off.
pub fn read_message(reader: &mut impl BufRead, content: Content) -> std::io::Result<Message> {
    let start = line(reader)?;
    let fields = field_lines(reader)?;
    let mut message = Message {
        start,
        fields,
        content: Vec::new(),
        trailers: Vec::new(),
    };
    let is_request = !message.start.starts_with("HTTP/");
    if content == Content::None {
        return Ok(message);
    }
    if message.field("transfer-encoding") == Some("chunked") {
        loop {
            let size = usize::from_str_radix(line(reader)?.split(';').next().unwrap(), 16).unwrap();
            if size == 0 {
                break;
            }
            let mut chunk = vec![0; size];
            reader.read_exact(&mut chunk)?;
            message.content.extend(chunk);
            assert_eq!(line(reader)?, "");
        }
        message.trailers = field_lines(reader)?;
    } else if let Some(length) = message.field("content-length") {
        message.content = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut message.content)?;
    } else if !is_request && !matches!(message.status(), 204 | 304) {
        reader.read_to_end(&mut message.content)?;
    }
    Ok(message)
}

fn field_lines(reader: &mut impl BufRead) -> std::io::Result<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = line(reader)?;
        if line.is_empty() {
            return Ok(fields);
        }
        let (name, value) = line.split_once(':').unwrap();
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn line(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}
