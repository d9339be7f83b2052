//! What is under way on a client connection, and when its time is up. Decides only: takes `now`, owns no timer.
//!
//! hyper speaks the protocol, but the deadlines are kept here: its own head timeout also runs while a connection is idle,
//! and its HTTP/2 side has none.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use tokio::task::Id;

use super::stalls::Stalls;
use crate::net::ClientLimits;

/// Protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Http {
    One,
    Two,
}

/// What a connection is doing; written by its byte stream and its requests, read by its driver.
#[derive(Debug)]
pub(super) struct Activity {
    http: Http,
    requests: Cell<u64>,
    in_flight: Cell<usize>,
    /// Streams, by their tasks, and which of them have content that the client has not taken; HTTP/2 only.
    streams: RefCell<Stalls<Id>>,
    /// Since when nothing is in flight.
    idle_since: Cell<Instant>,
    /// First byte of a request head, while it is incomplete; HTTP/1 only.
    head_since: Cell<Option<Instant>>,
    /// Content last moved to the client.
    progress: Cell<Instant>,
}

/// What has been decided about the end of a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ending {
    /// When the worker began to drain.
    pub(super) drain_since: Option<Instant>,
    /// When this client was asked to go.
    pub(super) shutdown_since: Option<Instant>,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Ask the client to go.
    Shutdown,
    /// Give up on a request head.
    SlowHead,
    /// Close, as the client takes no content.
    Unread,
    /// Reset the streams of which it takes none; it does of others.
    Stalled,
    /// Close, whatever the client says.
    Close,
}

/// When to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Now.
    Now(Due),
    /// At this time, as things stand; `None`: nothing is due while they stand so.
    Wait(Option<Instant>),
}

impl Activity {
    /// A connection that was opened at `now`.
    pub(super) fn new(http: Http, now: Instant) -> Self {
        Self {
            http,
            requests: Cell::new(0),
            in_flight: Cell::new(0),
            streams: RefCell::new(Stalls::new()),
            idle_since: Cell::new(now),
            head_since: Cell::new(None),
            progress: Cell::new(now),
        }
    }

    pub(super) fn http(&self) -> Http {
        self.http
    }

    /// Requests so far.
    pub(super) fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Bytes came in: if no request is in flight, they begin a head. HTTP/2's frames say nothing here; a client that
    /// sends frames without ever opening a stream is idle.
    pub(super) fn received(&self, now: impl FnOnce() -> Instant) {
        if self.http == Http::One && self.in_flight.get() == 0 && self.head_since.get().is_none() {
            self.head_since.set(Some(now()));
        }
    }

    /// How long the head that has not come to its end has been coming.
    pub(super) fn head_took(&self, now: Instant) -> Duration {
        let since = self.head_since.get();
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    pub(super) fn request_began(&self, now: Instant) {
        self.head_since.set(None);
        self.requests.set(self.requests.get() + 1);
        if self.in_flight.replace(self.in_flight.get() + 1) == 0 {
            self.progress.set(now);
        }
    }

    pub(super) fn request_ended(&self, now: Instant) {
        self.in_flight.set(self.in_flight.get() - 1);
        self.idle_since.set(now);
    }

    /// The stream that `task` runs has a response with content: its place among the others.
    pub(super) fn stream_began(&self, task: Id) -> usize {
        self.streams.borrow_mut().join(task)
    }

    pub(super) fn stream_ended(&self, place: usize) {
        self.streams.borrow_mut().leave(place);
    }

    /// Content moved to the client, and more waits for it.
    pub(super) fn client_owes(&self, place: usize, now: Instant) {
        self.progress.set(now);
        self.streams.borrow_mut().owes(place, now);
    }

    /// It has all that there is.
    pub(super) fn client_took(&self, place: usize) {
        self.streams.borrow_mut().took(place);
    }

    /// The tasks of streams that are to be reset at `now`, each once.
    pub(super) fn take_stalled(&self, limits: &ClientLimits, now: Instant) -> Vec<Id> {
        let mut streams = self.streams.borrow_mut();
        streams.take_overdue(limits.write_timeout, now)
    }

    /// Whether a drain ends this connection after what is in flight. One that has not asked anything yet may still ask
    /// once: its request may be on the way already.
    pub(super) fn drains(&self, ending: &Ending) -> bool {
        ending.drain_since.is_some() && self.requests.get() > 0
    }

    /// When something is due, as things stand.
    pub(super) fn deadline(&self, limits: &ClientLimits, ending: &Ending) -> Option<Instant> {
        if self.in_flight.get() > 0 {
            // A stream whose window the client keeps shut shows only here: to the socket all is written. Else it is the
            // origin's turn or the socket's, and both have timers of their own.
            return self.streams.borrow().deadline(limits.write_timeout);
        }
        if let Some(since) = self.head_since.get() {
            return Some(since + limits.header_timeout);
        }
        let idle = self.idle_since.get() + limits.idle_timeout;
        let asked = ending.shutdown_since.map(|at| at + SHUTDOWN_GRACE);
        let drained = ending.drain_since.map(|at| at + FIRST_REQUEST_GRACE);
        Some(asked.or(drained).map_or(idle, |at| idle.min(at)))
    }

    /// What to do at `now`.
    pub(super) fn verdict(&self, limits: &ClientLimits, ending: &Ending, now: Instant) -> Verdict {
        if self.in_flight.get() > 0 {
            let timeout = limits.write_timeout;
            // Makes the deadline exact.
            if !self.streams.borrow_mut().is_any_overdue(timeout, now) {
                return Verdict::Wait(self.deadline(limits, ending));
            }
            // Tunnels, uploads and quiet streams move, too, or may be quiet: only what waits for the client does neither.
            let moves = now < self.progress.get() + timeout
                || self.in_flight.get() > self.streams.borrow().owing();
            return Verdict::Now(if moves { Due::Stalled } else { Due::Unread });
        }
        match self.deadline(limits, ending) {
            Some(deadline) if now >= deadline => Verdict::Now(self.due(ending)),
            deadline => Verdict::Wait(deadline),
        }
    }

    /// What is, with nothing in flight.
    fn due(&self, ending: &Ending) -> Due {
        if self.head_since.get().is_some() {
            Due::SlowHead
        } else if ending.shutdown_since.is_some() {
            Due::Close
        } else {
            Due::Shutdown
        }
    }
}

/// How long a client that was asked to go may take, with nothing in flight.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How long a connection without a request may wait for its first one while the worker drains.
pub(super) const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::net::tests::limits;

    const DRAINED: u64 = 3;

    struct Case {
        activity: Activity,
        limits: ClientLimits,
        ending: Ending,
        start: Instant,
    }

    impl Case {
        fn new(http: Http) -> Self {
            let start = clock::now();
            Self {
                activity: Activity::new(http, start),
                limits: limits(),
                ending: Ending::default(),
                start,
            }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        fn verdict(&self, seconds: u64) -> Verdict {
            self.activity
                .verdict(&self.limits, &self.ending, self.at(seconds))
        }
    }

    #[test]
    fn an_idle_client_is_asked_to_go_and_then_made_to() {
        for http in [Http::One, Http::Two] {
            let mut case = Case::new(http);
            assert_eq!(case.verdict(59), Verdict::Wait(Some(case.at(60))));
            assert_eq!(case.verdict(60), Verdict::Now(Due::Shutdown));
            case.ending.shutdown_since = Some(case.at(60));
            assert_eq!(case.verdict(65), Verdict::Now(Due::Close));
        }
    }

    #[test]
    fn a_head_has_its_own_time_from_its_first_byte() {
        let case = Case::new(Http::One);
        case.activity.received(|| case.at(50));
        case.activity.received(|| case.at(59));
        assert_eq!(case.verdict(59), Verdict::Wait(Some(case.at(60))));
        assert_eq!(case.verdict(60), Verdict::Now(Due::SlowHead));
        case.activity.request_began(case.at(60));
        assert_eq!(case.verdict(1000), Verdict::Wait(None));
        case.activity.request_ended(case.at(1000));
        assert_eq!(case.verdict(1000), Verdict::Wait(Some(case.at(1060))));
    }

    #[test]
    fn frames_without_a_stream_do_not_keep_http_2_alive() {
        let case = Case::new(Http::Two);
        case.activity.received(|| case.at(59));
        assert_eq!(case.verdict(60), Verdict::Now(Due::Shutdown));
    }

    #[tokio::test]
    async fn only_an_unread_stream_counts_against_its_client() {
        let case = Case::new(Http::Two);
        case.activity.request_began(case.at(10));
        assert_eq!(case.verdict(1000), Verdict::Wait(None));
        let stream = case.activity.stream_began(task().await);
        case.activity.client_owes(stream, case.at(1000));
        assert_eq!(case.verdict(1000), Verdict::Wait(Some(case.at(1030))));
        assert_eq!(case.verdict(1030), Verdict::Now(Due::Unread));
        case.activity.client_took(stream);
        assert_eq!(case.verdict(1030), Verdict::Wait(None));
    }

    #[tokio::test]
    async fn an_unread_stream_beside_one_that_moves_is_reset_alone() {
        let case = Case::new(Http::Two);
        let (stands, moves) = (task().await, task().await);
        for _ in 0..2 {
            case.activity.request_began(case.at(10));
        }
        let stream = case.activity.stream_began(stands);
        case.activity.client_owes(stream, case.at(10));
        let other = case.activity.stream_began(moves);
        case.activity.client_owes(other, case.at(39));
        assert_eq!(case.verdict(39), Verdict::Wait(Some(case.at(40))));
        assert_eq!(case.verdict(40), Verdict::Now(Due::Stalled));
        let stalled = case.activity.take_stalled(&case.limits, case.at(40));
        assert_eq!(stalled, [stands]);
        assert_eq!(case.verdict(40), Verdict::Wait(Some(case.at(69))));
        case.activity.stream_ended(stream);
        case.activity.request_ended(case.at(40));
        assert_eq!(case.verdict(69), Verdict::Now(Due::Unread));
    }

    #[tokio::test]
    async fn a_stream_that_stands_ends_alone_beside_one_that_waits_for_no_client() {
        let case = Case::new(Http::Two);
        let stands = task().await;
        // A tunnel, an upload or a stream whose origin is quiet: it never says that content waits.
        case.activity.request_began(case.at(0));
        case.activity.request_began(case.at(0));
        let stream = case.activity.stream_began(stands);
        case.activity.client_owes(stream, case.at(10));
        assert_eq!(case.verdict(40), Verdict::Now(Due::Stalled));
        assert_eq!(
            case.activity.take_stalled(&case.limits, case.at(40)),
            [stands]
        );
        case.activity.stream_ended(stream);
        case.activity.request_ended(case.at(40));
        assert_eq!(case.verdict(10_000), Verdict::Wait(None));
    }

    /// A task's number.
    async fn task() -> Id {
        #[allow(clippy::disallowed_methods, reason = "it ends before the test does")]
        let task = tokio::spawn(async { tokio::task::id() });
        task.await.expect("it does not panic")
    }

    #[test]
    fn a_drain_ends_used_connections_at_once_and_lets_fresh_ones_ask() {
        let mut case = Case::new(Http::One);
        case.ending.drain_since = Some(case.at(DRAINED));
        assert!(!case.activity.drains(&case.ending));
        assert_eq!(
            case.verdict(DRAINED),
            Verdict::Wait(Some(case.at(DRAINED + 1)))
        );
        assert_eq!(case.verdict(DRAINED + 1), Verdict::Now(Due::Shutdown));
        case.activity.request_began(case.at(DRAINED));
        assert!(case.activity.drains(&case.ending));
    }

    #[test]
    fn a_head_that_began_before_the_drain_has_its_full_time() {
        let mut case = Case::new(Http::One);
        case.activity.received(|| case.at(DRAINED));
        case.ending.drain_since = Some(case.at(DRAINED));
        assert_eq!(
            case.verdict(DRAINED + 5),
            Verdict::Wait(Some(case.at(DRAINED + 10)))
        );
    }
}
