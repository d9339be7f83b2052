//! Requests that wait for a connection because every server has as many as it may: one queue for each upstream, bounded
//! in length and time. An upstream is known by its name, so those that came before a reload and after it wait together.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Pool;
use crate::balance::Upstream;

/// One worker's queues, by upstream; only those that somebody waits in.
#[derive(Default)]
pub(super) struct Queues(RefCell<HashMap<String, Rc<Queue>, foldhash::fast::RandomState>>);

#[derive(Default)]
struct Queue {
    /// At most `limits.pending`.
    waiting: Cell<usize>,
    /// Wakes them one after the other.
    freed: Notify,
}

/// What came of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Waited {
    /// There may be a connection now.
    Freed,
    /// There was no room to wait, or no time left.
    InVain,
}

/// One that waits; dropping it ends that.
struct Waiting<'a> {
    queues: &'a Queues,
    queue: Rc<Queue>,
    upstream: &'a str,
}

impl Pool {
    /// Whether requests to `upstream` wait: then a new one must not overtake them.
    pub(in crate::http) fn is_awaited(&self, upstream: &Upstream) -> bool {
        let queues = self.queues.0.borrow();
        !queues.is_empty() && queues.contains_key(&upstream.settings.name)
    }

    /// Waits for a connection to be freed, but not beyond `deadline`.
    pub(in crate::http) async fn wait(
        self: &Rc<Self>,
        upstream: &Upstream,
        deadline: Instant,
    ) -> Waited {
        let Some(waiting) = self.line_up(upstream) else {
            return Waited::InVain;
        };
        let freed = waiting.queue.freed.notified();
        match tokio::time::timeout_at(deadline.into(), freed).await {
            Ok(()) => Waited::Freed,
            Err(_elapsed) => Waited::InVain,
        }
    }

    fn line_up<'a>(&'a self, upstream: &'a Upstream) -> Option<Waiting<'a>> {
        let most = upstream.settings.limits.pending;
        if most == 0 {
            return None;
        }
        let name = upstream.settings.name.as_str();
        let mut queues = self.queues.0.borrow_mut();
        let queue = queues.get(name).cloned().unwrap_or_else(|| {
            let queue = Rc::new(Queue::default());
            tokio::task::spawn_local(tick(Rc::clone(&queue)));
            queues.insert(name.to_owned(), Rc::clone(&queue));
            queue
        });
        if queue.waiting.get() >= most {
            return None;
        }
        queue.waiting.set(queue.waiting.get() + 1);
        Some(Waiting {
            queues: &self.queues,
            queue,
            upstream: name,
        })
    }
}

impl Queues {
    /// A connection to a server of `upstream` was given back or closed.
    pub(super) fn freed(&self, upstream: &Upstream) {
        if let Some(queue) = self.of(upstream) {
            queue.freed.notify_one();
        }
    }

    /// There is room for several requests to `upstream`.
    pub(super) fn freed_all(&self, upstream: &Upstream) {
        if let Some(queue) = self.of(upstream) {
            queue.freed.notify_waiters();
        }
    }

    fn of(&self, upstream: &Upstream) -> Option<Rc<Queue>> {
        let queues = self.0.borrow();
        // Told of every exchange: most find nobody waiting.
        if queues.is_empty() {
            return None;
        }
        queues.get(&upstream.settings.name).map(Rc::clone)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.queue.waiting.set(self.queue.waiting.get() - 1);
        if self.queue.waiting.get() == 0 {
            self.queues.0.borrow_mut().remove(self.upstream);
        }
    }
}

/// Connections are counted over all workers, but another worker that closes one cannot say so here: let one that waits
/// look, now and then.
async fn tick(queue: Rc<Queue>) {
    while queue.waiting.get() > 0 {
        tokio::time::sleep(TICK).await;
        queue.freed.notify_one();
    }
}

const TICK: Duration = Duration::from_millis(5);
