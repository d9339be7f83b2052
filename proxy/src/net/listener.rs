//! One `[[listen]]` as all workers and the control thread share it.

use std::net::TcpListener;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::{Admission, ListenSettings};

/// A listener that is open. Workers take their socket of it, and look at each connection whether its settings are still
/// the same.
#[derive(Debug)]
pub struct Listener {
    settings: ArcSwap<ListenSettings>,
    /// How many connections it has.
    pub admission: Arc<Admission>,
    /// One a worker, until that one takes it; locked once a worker.
    sockets: Mutex<Vec<Option<TcpListener>>>,
}

impl Listener {
    /// `sockets`: one a worker, listening and non-blocking.
    pub fn new(settings: ListenSettings, sockets: Vec<TcpListener>) -> Self {
        Self {
            settings: ArcSwap::from_pointee(settings),
            admission: Arc::default(),
            sockets: Mutex::new(sockets.into_iter().map(Some).collect()),
        }
    }

    /// As they are now.
    pub fn settings(&self) -> Arc<ListenSettings> {
        self.settings.load_full()
    }

    /// Whether `settings` are the ones of now. Writes nothing that workers share.
    pub(crate) fn is_current(&self, settings: &Arc<ListenSettings>) -> bool {
        Arc::ptr_eq(&self.settings.load(), settings)
    }

    /// For connections that come in from now on. The address stays.
    pub fn change(&self, settings: &ListenSettings) {
        if **self.settings.load() != *settings {
            self.settings.store(Arc::new(settings.clone()));
        }
    }

    /// The socket of worker number `worker`, once.
    pub(crate) fn take_socket(&self, worker: usize) -> Option<TcpListener> {
        self.sockets.lock().get_mut(worker)?.take()
    }
}
