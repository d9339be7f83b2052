//! Watches the frames of an HTTP/2 connection for floods of those that cost work and carry nothing.
//!
//! hyper and h2 speak the protocol and bound memory; they do not bound how much work one connection makes. Two budgets:
//!
//! - frames that carry nothing (everything but `HEADERS`, and `DATA` with content or an end): a burst, so many a
//!   second, and one for every few bytes that went to the client, as it has to say that it took them;
//! - `RST_STREAM`, each of which throws away what a request cost (CVE-2023-44487): a burst and so many a second.
//!
//! Honest clients stay far below: they open windows and send PINGs in proportion to what they are sent.

use std::time::Instant;

/// What was seen of one connection.
#[derive(Debug)]
pub(super) struct Frames {
    state: State,
    idle: Budget,
    resets: Budget,
    /// Bytes sent to the client that are not yet turned into budget.
    sent: u64,
    flood: Option<Flood>,
}

/// What a connection is closed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flood {
    /// Frames that carry nothing.
    Frames,
    /// Requests that are taken back.
    Resets,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Bytes of the preface, then of payloads, that are still to come.
    Skip(usize),
    /// What came of a frame's head.
    Head([u8; HEAD_BYTES], usize),
}

#[derive(Debug)]
struct Budget {
    left: u32,
    burst: u32,
    per_second: u32,
    filled: Instant,
}

impl Frames {
    /// Of a connection that began at `now` and may have `streams` at a time.
    pub(super) fn new(streams: u32, now: Instant) -> Self {
        Self {
            state: State::Skip(PREFACE_BYTES),
            idle: Budget::new(IDLE_BURST, IDLE_PER_SECOND, now),
            // Whoever leaves a page takes back all that is under way.
            resets: Budget::new(
                RESET_BURST.max(streams.saturating_mul(2)),
                RESETS_PER_SECOND,
                now,
            ),
            sent: 0,
            flood: None,
        }
    }

    /// `bytes` came in. `now` is asked for when a budget is used up.
    pub(super) fn observe(&mut self, mut bytes: &[u8], now: impl Fn() -> Instant) {
        while !bytes.is_empty() && self.flood.is_none() {
            bytes = match self.state {
                State::Skip(left) => {
                    let length = left.min(bytes.len());
                    self.state = match left - length {
                        0 => State::Head([0; HEAD_BYTES], 0),
                        left => State::Skip(left),
                    };
                    &bytes[length..]
                }
                State::Head(mut head, have) => {
                    let length = (HEAD_BYTES - have).min(bytes.len());
                    head[have..have + length].copy_from_slice(&bytes[..length]);
                    self.state = State::Head(head, have + length);
                    if have + length == HEAD_BYTES {
                        self.frame(head, &now);
                    }
                    &bytes[length..]
                }
            };
        }
    }

    /// `bytes` went to the client.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes as u64);
    }

    /// Why the connection is to be closed, if it is.
    pub(super) fn flood(&self) -> Option<Flood> {
        self.flood
    }

    /// RFC 9113 §4.1: length, type, flags, stream.
    fn frame(&mut self, head: [u8; HEAD_BYTES], now: &impl Fn() -> Instant) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        self.state = match length {
            0 => State::Head([0; HEAD_BYTES], 0),
            length => State::Skip(length),
        };
        let (kind, flags) = (head[3], head[4]);
        let carries = match kind {
            DATA => length > 0 || flags & END_STREAM != 0,
            HEADERS => true,
            // Answers to our own SETTINGS and PING, too: we send few.
            _ => false,
        };
        if kind == RST_STREAM && !self.resets.take(0, now) {
            self.flood = Some(Flood::Resets);
        } else if !carries && self.idle.left > 0 {
            self.idle.left -= 1;
        } else if !carries {
            let earned = std::mem::take(&mut self.sent) / BYTES_PER_FRAME;
            if !self.idle.take(earned, now) {
                self.flood = Some(Flood::Frames);
            }
        }
    }
}

impl Budget {
    fn new(burst: u32, per_second: u32, now: Instant) -> Self {
        Self {
            left: burst,
            burst,
            per_second,
            filled: now,
        }
    }

    /// Takes one; when nothing is left, first fills in what time and `earned` give.
    fn take(&mut self, earned: u64, now: &impl Fn() -> Instant) -> bool {
        if self.left == 0 {
            let now = now();
            let since = now.saturating_duration_since(self.filled);
            // Less than one does not count as filled, or a client that asks often would never get any.
            let by_time = since.as_millis() * u128::from(self.per_second) / 1000;
            if by_time > 0 {
                self.filled = now;
            }
            let all = by_time.saturating_add(u128::from(earned));
            self.left = u32::try_from(all).map_or(self.burst, |all| all.min(self.burst));
        }
        let any = self.left > 0;
        self.left = self.left.saturating_sub(1);
        any
    }
}

const HEAD_BYTES: usize = 9;
const PREFACE_BYTES: usize = 24;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const END_STREAM: u8 = 0x1;

/// Frames that carry nothing, at once and per second.
const IDLE_BURST: u32 = 1_000;
const IDLE_PER_SECOND: u32 = 100;
/// And one more for so many bytes sent: a `WINDOW_UPDATE` or `PING` for each small frame.
const BYTES_PER_FRAME: u64 = 64;
/// `RST_STREAM` at once, or twice the streams if that is more, and per second.
const RESET_BURST: u32 = 200;
const RESETS_PER_SECOND: u32 = 50;

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;
    use crate::clock;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const ACK: u8 = 0x1;
    const SETTINGS: u8 = 0x4;
    const PING: u8 = 0x6;
    const GOAWAY: u8 = 0x7;
    const WINDOW_UPDATE: u8 = 0x8;
    const CONTINUATION: u8 = 0x9;

    fn frame(kind: u8, flags: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).expect("short");
        [&[0, 0, length, kind, flags, 0, 0, 0, 1], content].concat()
    }

    struct Case {
        frames: Frames,
        now: Cell<Instant>,
    }

    impl Case {
        fn new() -> Self {
            let now = clock::now();
            let mut case = Self {
                frames: Frames::new(100, now),
                now: Cell::new(now),
            };
            case.send(PREFACE);
            case
        }

        fn send(&mut self, bytes: &[u8]) {
            let now = self.now.get();
            self.frames.observe(bytes, || now);
        }

        fn wait(&self, time: Duration) {
            self.now.set(self.now.get() + time);
        }

        /// How many of `frame` pass.
        fn until_flood(&mut self, frame: &[u8], most: u32) -> u32 {
            for count in 0..most {
                self.send(frame);
                if self.frames.flood().is_some() {
                    return count;
                }
            }
            most
        }
    }

    #[test]
    fn each_kind_of_frame_that_carries_nothing_has_its_end() {
        for (what, frame) in [
            ("PING", frame(PING, 0, &[0; 8])),
            ("PING's answer", frame(PING, ACK, &[0; 8])),
            ("SETTINGS", frame(SETTINGS, 0, &[])),
            ("SETTINGS' answer", frame(SETTINGS, ACK, &[])),
            ("GOAWAY", frame(GOAWAY, 0, &[0; 8])),
            ("empty DATA", frame(DATA, 0, &[])),
            ("CONTINUATION", frame(CONTINUATION, 0, &[0; 4])),
            ("PRIORITY", frame(2, 0, &[0; 5])),
            ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, &[0, 0, 0, 1])),
            ("unknown", frame(0xfe, 0, &[1, 2, 3])),
        ] {
            let mut case = Case::new();
            assert_eq!(case.until_flood(&frame, 5_000), IDLE_BURST, "{what}");
            assert_eq!(case.frames.flood(), Some(Flood::Frames));
        }
    }

    #[test]
    fn requests_and_content_are_free() {
        for frame in [
            frame(HEADERS, 5, b"x"),
            frame(DATA, 0, b"x"),
            frame(DATA, END_STREAM, b""),
        ] {
            assert_eq!(Case::new().until_flood(&frame, 5_000), 5_000);
        }
    }

    #[test]
    fn who_takes_much_may_say_so_often() {
        let update = frame(WINDOW_UPDATE, 0, &[0, 0, 0x40, 0]);
        let mut case = Case::new();
        for _ in 0..50_000 {
            case.frames.sent(16_384);
            case.send(&update);
            case.send(&update);
        }
        assert_eq!(case.frames.flood(), None);
        // One byte at a time is another matter: nine more go with it.
        let update = frame(WINDOW_UPDATE, 0, &[0, 0, 0, 1]);
        let mut case = Case::new();
        for _ in 0..2_000 {
            case.frames.sent(10);
            case.send(&update);
        }
        assert_eq!(case.frames.flood(), Some(Flood::Frames));
    }

    #[test]
    fn time_fills_the_budgets_and_no_further_than_full() {
        let ping = frame(PING, 0, &[0; 8]);
        let mut case = Case::new();
        assert_eq!(case.until_flood(&ping, IDLE_BURST), IDLE_BURST);
        case.wait(Duration::from_secs(1));
        assert_eq!(case.until_flood(&ping, IDLE_PER_SECOND), IDLE_PER_SECOND);
        case.wait(Duration::from_secs(1_000));
        assert_eq!(case.until_flood(&ping, 5_000), IDLE_BURST);
    }

    #[test]
    fn rapid_resets_end_and_a_page_that_is_left_does_not() {
        let reset = frame(RST_STREAM, 0, &[0, 0, 0, 8]);
        let request = frame(HEADERS, 5, b"x");
        let mut case = Case::new();
        let pair = [request, reset.clone()].concat();
        assert_eq!(case.until_flood(&pair, 5_000), RESET_BURST);
        assert_eq!(case.frames.flood(), Some(Flood::Resets));
        let mut case = Case::new();
        for _ in 0..20 {
            assert_eq!(case.until_flood(&reset, 100), 100);
            case.wait(Duration::from_secs(2));
        }
    }

    #[test]
    fn bytes_in_any_portions_are_the_same_frames() {
        let mut stream = PREFACE.to_vec();
        for _ in 0..IDLE_BURST {
            stream.extend(frame(PING, 0, &[6; 8]));
            stream.extend(frame(DATA, 0, &[0; 255]));
        }
        for portion in [1, 2, 7, 9, 1000, stream.len()] {
            let now = clock::now();
            let mut frames = Frames::new(100, now);
            for part in stream.chunks(portion) {
                frames.observe(part, || now);
            }
            assert_eq!(frames.flood(), None, "{portion}");
            frames.observe(&frame(PING, 0, &[6; 8]), || now);
            assert_eq!(frames.flood(), Some(Flood::Frames), "{portion}");
        }
    }
}
