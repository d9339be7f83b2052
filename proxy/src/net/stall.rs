//! Bounds how long something may make no progress.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A timer that runs only while its owner waits. Made at the first wait, then reused: what never waits pays nothing.
#[derive(Debug)]
pub(crate) struct Stall {
    after: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Stall {
    /// Expires when [`Self::poll_waiting`] has been called without [`Self::progressed`] for `after`.
    pub(crate) fn new(after: Duration) -> Self {
        Self {
            after,
            sleep: None,
            waiting: false,
        }
    }

    /// The wait is over.
    pub(crate) fn progressed(&mut self) {
        self.waiting = false;
    }

    /// Whether the last thing that happened was a wait.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Still waiting; ready when that took too long.
    pub(crate) fn poll_waiting(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.waiting {
            self.waiting = true;
            let deadline = Instant::from_std(crate::clock::now() + self.after);
            match &mut self.sleep {
                Some(sleep) => sleep.as_mut().reset(deadline),
                None => self.sleep = Some(Box::pin(tokio::time::sleep_until(deadline))),
            }
        }
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}
