//! One line a request. Workers hand lines over without waiting; a thread of its own formats and writes them, so that a
//! slow disk or terminal never slows a request. A full queue loses lines and counts them.

mod format;
#[cfg(feature = "fuzzing")]
pub(super) mod fuzz;
mod line;

pub use line::{Line, Text};

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::Duration;

use super::{AccessTarget, Format};

/// Handle to the access log's bounded queue and writer thread. Cheap to clone; a disabled log costs one branch.
#[derive(Debug, Clone, Default)]
pub struct AccessLog {
    queue: Option<Queue>,
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

    /// Waits until everything queued so far is written, but not longer than `limit`: whoever reads the log may have
    /// stopped reading. False when it took longer.
    pub fn flush(&self, limit: Duration) -> bool {
        /// How often a full queue is tried again.
        const RETRY: Duration = Duration::from_millis(10);
        let Some(queue) = &self.queue else {
            return true;
        };
        let (done, wait) = sync_channel(1);
        let mut message = Message::Flush(done);
        let mut left = limit;
        while let Err(error) = queue.sender.try_send(message) {
            match error {
                // The writer is gone, and with it what was queued.
                TrySendError::Disconnected(_) => return false,
                TrySendError::Full(_) if left.is_zero() => return false,
                TrySendError::Full(same) => message = same,
            }
            std::thread::sleep(RETRY);
            left = left.saturating_sub(RETRY);
        }
        wait.recv_timeout(left).is_ok()
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

    /// The next message; flushes before it would wait. Whoever queues a line for a writer that waits has to wake it, which
    /// costs a system call, so after a wait the writer lets some more come first.
    fn next(&mut self) -> Option<Message> {
        match self.receiver.try_recv() {
            Ok(message) => Some(message),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => {
                let _ = self.sink.flush();
                let first = self.receiver.recv().ok();
                std::thread::sleep(GATHERING);
                first
            }
        }
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        match self.format {
            Format::Text => format::text(line, &mut self.sink),
            Format::Json => format::json(line, &mut self.sink),
        }
    }
}

/// Lines that may wait for the writer. A line's texts are cut to 2 KiB each and lie in one buffer of at most 16 KiB, so
/// 130 MiB wait if every one of them is an attacker's.
const LINES_MAX: usize = 8192;
const BUFFER_BYTES: usize = 64 << 10;
/// How long a line may wait for others to be written with. The queue holds what 1.6 million requests a second make of it.
const GATHERING: Duration = Duration::from_millis(5);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::line::tests::line;
    use super::*;

    #[test]
    fn flush_waits_for_what_was_queued() {
        let path = std::env::temp_dir().join(format!("weir-access-{}", std::process::id()));
        let log = AccessLog::start(&AccessTarget::File(path.clone()), Format::Text).unwrap();
        log.write(Box::new(line()));
        log.write(Box::new(line()));
        assert!(log.flush(Duration::from_secs(10)));
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
