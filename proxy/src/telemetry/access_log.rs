//! One line a request. Workers hand lines over without waiting; a thread of its own formats and writes them, so that a
//! slow disk or terminal never slows a request. A full queue loses lines and counts them.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, SystemTime};

use super::{AccessTarget, Format};

/// Handle to the access log's bounded queue and writer thread. Cheap to clone; a disabled log costs one branch.
#[derive(Debug, Clone, Default)]
pub struct AccessLog {
    queue: Option<Queue>,
}

/// What the access log says of one request. Texts are as the client sent them; the writer quotes them.
#[derive(Debug, Clone)]
pub struct Line {
    /// When the request head had arrived.
    pub time: SystemTime,
    /// Who asked.
    pub client: IpAddr,
    /// Method.
    pub method: Box<str>,
    /// Host asked for.
    pub host: Box<str>,
    /// Path and query.
    pub target: Box<str>,
    /// `1.1`, `2`.
    pub version: &'static str,
    /// Status sent; `None` when the client went before there was one.
    pub status: Option<u16>,
    /// Content bytes sent.
    pub bytes: u64,
    /// Whether the response was sent to its end.
    pub complete: bool,
    /// `Referer`.
    pub referer: Option<Box<str>>,
    /// `User-Agent`.
    pub user_agent: Option<Box<str>>,
    /// `upstream/host:port` that answered last.
    pub origin: Option<Box<str>>,
    /// As in `Cache-Status`, without the cache's name.
    pub cache: Option<Box<str>>,
    /// As in `Proxy-Status`, without the proxy's name.
    pub error: Option<&'static str>,
    /// Request head to the end of the response.
    pub duration: Duration,
    /// As in `X-Request-Id`.
    pub request_id: Box<str>,
}

impl AccessLog {
    /// Opens `target` and starts the writer. `Off` gives a disabled log.
    pub fn start(target: &AccessTarget, format: Format) -> io::Result<Self> {
        let sink = match target {
            AccessTarget::Off => return Ok(Self::default()),
            AccessTarget::Stdout => Sink::Stdout(io::stdout()),
            AccessTarget::File(path) => Sink::File(
                OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(path)
                    .map_err(|error| {
                        let text = format!("cannot open access log {}: {error}", path.display());
                        io::Error::new(error.kind(), text)
                    })?,
            ),
        };
        Self::spawn(sink, format)
    }

    fn spawn(sink: Sink, format: Format) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(LINES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            receiver,
            sink: BufWriter::with_capacity(BUFFER_BYTES, sink),
            format,
        };
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || writer.run())?;
        Ok(Self {
            queue: Some(Queue { sender, lost }),
        })
    }

    /// Whether lines go anywhere: if not, do not make one.
    pub fn is_enabled(&self) -> bool {
        self.queue.is_some()
    }

    /// Queues `line`, or counts it as lost when the queue is full.
    pub fn write(&self, line: Box<Line>) {
        if let Some(queue) = &self.queue
            && queue.sender.try_send(Message::Line(line)).is_err()
        {
            queue.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines lost because the queue was full.
    pub fn lost(&self) -> u64 {
        self.queue
            .as_ref()
            .map_or(0, |queue| queue.lost.load(Ordering::Relaxed))
    }

    /// Waits until everything queued so far is written.
    pub fn flush(&self) {
        if let Some(queue) = &self.queue {
            let (done, wait) = sync_channel(1);
            if queue.sender.send(Message::Flush(done)).is_ok() {
                // An error means that the writer is gone, and then there is nothing to wait for.
                let _ = wait.recv();
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Queue {
    sender: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(Box<Line>),
    Flush(SyncSender<()>),
}

enum Sink {
    Stdout(io::Stdout),
    File(File),
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => stdout.write(bytes),
            Self::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::File(file) => file.flush(),
        }
    }
}

struct Writer {
    receiver: Receiver<Message>,
    sink: BufWriter<Sink>,
    format: Format,
}

impl Writer {
    /// Until the last handle is dropped. A write error is told once in a row and costs the line, never a request.
    fn run(mut self) {
        let mut failing = false;
        while let Some(message) = self.next() {
            let outcome = match message {
                Message::Line(line) => self.line(&line),
                Message::Flush(done) => {
                    let flushed = self.sink.flush();
                    let _ = done.send(());
                    flushed
                }
            };
            match outcome {
                Ok(()) => failing = false,
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "access log cannot be written");
                    }
                    failing = true;
                }
            }
        }
        let _ = self.sink.flush();
    }

    /// The next message; flushes before it would wait.
    fn next(&mut self) -> Option<Message> {
        match self.receiver.try_recv() {
            Ok(message) => Some(message),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => {
                let _ = self.sink.flush();
                self.receiver.recv().ok()
            }
        }
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        match self.format {
            Format::Text => text(line, &mut self.sink),
            Format::Json => json(line, &mut self.sink),
        }
    }
}

/// Combined log format (client, time, request, status, bytes, referer, agent), then host, origin, cache, error, seconds
/// and request id.
fn text(line: &Line, out: &mut impl Write) -> io::Result<()> {
    let time = humantime::format_rfc3339_millis(line.time);
    write!(out, "{} - - [{time}] \"", line.client)?;
    quoted(&line.method, out)?;
    out.write_all(b" ")?;
    quoted(&line.target, out)?;
    write!(out, " HTTP/{}\" ", line.version)?;
    match line.status {
        Some(status) => write!(out, "{status}")?,
        None => out.write_all(b"-")?,
    }
    write!(
        out,
        " {}{}",
        line.bytes,
        if line.complete { "" } else { "!" }
    )?;
    for (key, value) in [
        ("", line.referer.as_deref()),
        ("", line.user_agent.as_deref()),
        ("host=", Some(&*line.host)),
        ("origin=", line.origin.as_deref()),
        ("cache=", line.cache.as_deref()),
        ("error=", line.error),
    ] {
        write!(out, " {key}")?;
        match value {
            None => out.write_all(b"-")?,
            Some(value) => {
                out.write_all(b"\"")?;
                quoted(value, out)?;
                out.write_all(b"\"")?;
            }
        }
    }
    let seconds = line.duration.as_secs_f64();
    writeln!(out, " time={seconds:.6} id={}", line.request_id)
}

/// One log line must stay one line, and a quoted text must stay inside its quotes, whatever a client sends.
fn quoted(text: &str, out: &mut impl Write) -> io::Result<()> {
    for character in text.chars() {
        match character {
            '"' | '\\' => write!(out, "\\{character}")?,
            character if character.is_control() => write!(out, "{}", character.escape_default())?,
            character => write!(out, "{character}")?,
        }
    }
    Ok(())
}

fn json(line: &Line, out: &mut impl Write) -> io::Result<()> {
    let value = serde_json::json!({
        "time": humantime::format_rfc3339_millis(line.time).to_string(),
        "client": line.client,
        "method": line.method,
        "host": line.host,
        "target": line.target,
        "version": line.version,
        "status": line.status,
        "bytes": line.bytes,
        "complete": line.complete,
        "referer": line.referer,
        "user_agent": line.user_agent,
        "origin": line.origin,
        "cache": line.cache,
        "error": line.error,
        "seconds": line.duration.as_secs_f64(),
        "request_id": line.request_id,
    });
    serde_json::to_writer(&mut *out, &value)?;
    out.write_all(b"\n")
}

/// Lines that may wait for the writer. A line is at most about 10 KiB (its texts are cut by whoever makes it), so
/// 80 MiB if every one of them is an attacker's.
const LINES_MAX: usize = 8192;
const BUFFER_BYTES: usize = 64 << 10;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn line() -> Line {
        Line {
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            client: "198.18.0.1".parse().unwrap(),
            method: "GET".into(),
            host: "a.test".into(),
            target: "/x?y=1".into(),
            version: "1.1",
            status: Some(200),
            bytes: 5,
            complete: true,
            referer: None,
            user_agent: Some("curl/8".into()),
            origin: Some("app/10.0.0.1:80".into()),
            cache: None,
            error: None,
            duration: Duration::from_micros(1500),
            request_id: "1f".into(),
        }
    }

    fn formatted(line: &Line) -> String {
        let mut out = Vec::new();
        text(line, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_lines_begin_like_the_combined_format() {
        assert_eq!(
            formatted(&line()),
            "198.18.0.1 - - [2023-11-14T22:13:20.000Z] \"GET /x?y=1 HTTP/1.1\" 200 5 - \"curl/8\" \
             host=\"a.test\" origin=\"app/10.0.0.1:80\" cache=- error=- time=0.001500 id=1f\n"
        );
    }

    #[test]
    fn a_client_can_neither_end_a_line_nor_leave_its_quotes() {
        let mut line = line();
        line.user_agent = Some("x\"\n198.18.0.9 \\ \u{1b}[2J\u{85}".into());
        let text = formatted(&line);
        assert_eq!(text.matches('\n').count(), 1);
        assert!(
            text.contains(r#""x\"\n198.18.0.9 \\ \u{1b}[2J\u{85}""#),
            "{text}"
        );
    }

    #[test]
    fn json_lines_parse_back() {
        let mut line = line();
        line.user_agent = Some("x\"\n".into());
        let mut out = Vec::new();
        json(&line, &mut out).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(out.split(|byte| *byte == b'\n').count(), 2);
        assert_eq!(value["user_agent"], "x\"\n");
        assert_eq!(value["status"], 200);
    }

    #[test]
    fn flush_waits_for_what_was_queued() {
        let path = std::env::temp_dir().join(format!("weir-access-{}", std::process::id()));
        let log = AccessLog::start(&AccessTarget::File(path.clone()), Format::Text).unwrap();
        log.write(Box::new(line()));
        log.write(Box::new(line()));
        log.flush();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert_eq!(log.lost(), 0);
    }

    #[test]
    fn an_unwritable_file_is_named() {
        let target = AccessTarget::File("/nonexistent/access.log".into());
        let error = AccessLog::start(&target, Format::Text).unwrap_err();
        assert!(
            error.to_string().contains("/nonexistent/access.log"),
            "{error}"
        );
    }

    #[test]
    fn a_disabled_log_takes_lines_and_forgets_them() {
        let log = AccessLog::start(&AccessTarget::Off, Format::Text).unwrap();
        assert!(!log.is_enabled());
        log.write(Box::new(line()));
        assert_eq!(log.lost(), 0);
    }
}
