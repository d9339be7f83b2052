//! The tasks of HTTP/2 streams, by number: dropping one is the only way to reset a stream from outside, as hyper does not
//! look at a response while its client keeps the window shut.

use std::cell::RefCell;
use std::collections::HashMap;

use tokio::task::{AbortHandle, Id};

thread_local! {
    /// Of this worker, while they run.
    static TASKS: RefCell<HashMap<Id, AbortHandle, foldhash::fast::RandomState>> = RefCell::default();
}

/// Runs `future` beside what runs, on this thread.
pub(super) fn spawn<F: Future + 'static>(future: F) {
    let task = tokio::task::spawn_local(async move {
        let _registered = Registered(tokio::task::id());
        future.await;
    });
    TASKS.with_borrow_mut(|tasks| tasks.insert(task.id(), task.abort_handle()));
}

/// Drops what the task runs, if it still does.
pub(super) fn abort(task: Id) {
    let handle = TASKS.with_borrow_mut(|tasks| tasks.remove(&task));
    if let Some(handle) = handle {
        handle.abort();
    }
}

/// Takes a task off the list when it ends.
struct Registered(Id);

impl Drop for Registered {
    fn drop(&mut self) {
        // When the thread ends its list may be gone before its tasks.
        let _ = TASKS.try_with(|tasks| tasks.borrow_mut().remove(&self.0));
    }
}
