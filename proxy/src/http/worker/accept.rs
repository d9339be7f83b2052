//! Accept loops: one per listener and worker.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Stop, Worker, add};
use crate::http::server::Listener;
use crate::net;
use crate::tls::Credentials;

/// The accept loops of one worker.
pub(super) struct Accepting {
    worker: Rc<Worker>,
    credentials: Arc<ArcSwap<Credentials>>,
    stop: watch::Receiver<Stop>,
    /// Says that settings may have changed; dropping the sender closes the listener.
    open: HashMap<*const net::Listener, watch::Sender<()>, foldhash::fast::RandomState>,
    loops: JoinSet<()>,
}

impl Accepting {
    pub(super) fn new(
        worker: &Rc<Worker>,
        credentials: Arc<ArcSwap<Credentials>>,
        stop: watch::Receiver<Stop>,
    ) -> Self {
        Self {
            worker: Rc::clone(worker),
            credentials,
            stop,
            open: HashMap::default(),
            loops: JoinSet::new(),
        }
    }

    /// Opens those of `wanted` that are not yet, closes those that are not among them, and has the others look at their
    /// settings.
    pub(super) fn settle(&mut self, wanted: &[Arc<net::Listener>]) -> io::Result<()> {
        self.open
            .retain(|open, _| wanted.iter().any(|listener| Arc::as_ptr(listener) == *open));
        for open in self.open.values() {
            open.send_replace(());
        }
        for listener in wanted {
            let key = Arc::as_ptr(listener);
            let Some(socket) = listener.take_socket(self.worker.index()) else {
                continue;
            };
            let (news, heard) = watch::channel(());
            self.open.insert(key, news);
            let accept = Accept {
                worker: Rc::clone(&self.worker),
                current: Rc::new(Listener::new(listener.settings(), &self.credentials)),
                credentials: Arc::clone(&self.credentials),
                listener: Arc::clone(listener),
            };
            let socket = TcpListener::from_std(socket)?;
            self.loops
                .spawn_local(accept.run(socket, heard, self.stop.clone()));
        }
        Ok(())
    }

    /// Waits until all have ended.
    pub(super) async fn ended(&mut self) {
        while self.loops.join_next().await.is_some() {}
    }
}

/// One accept loop.
struct Accept {
    worker: Rc<Worker>,
    listener: Arc<net::Listener>,
    credentials: Arc<ArcSwap<Credentials>>,
    current: Rc<Listener>,
}

impl Accept {
    /// Accepts until the listener is closed or the worker is to stop; then takes what the kernel has already accepted,
    /// because closing the socket would reset it.
    async fn run(
        mut self,
        socket: TcpListener,
        mut news: watch::Receiver<()>,
        mut stop: watch::Receiver<Stop>,
    ) {
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop != Stop::Run) => break,
                told = news.changed() => match told {
                    Ok(()) => self.refresh(),
                    Err(_) => break,
                },
                accepted = socket.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer),
                    Err(error) => pause(&self.current, &error).await,
                },
            }
        }
        // The runtime may not know yet that the queue has something: ask the kernel.
        let Ok(socket) = socket.into_std() else {
            return;
        };
        for _ in 0..QUEUED_MAX {
            let Ok((stream, peer)) = socket.accept() else {
                break;
            };
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                self.admit(stream, peer);
            }
        }
        if *stop.borrow() == Stop::Run {
            self.worker.retire(&self.current);
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        add(&self.worker.counters.accepted);
        let limits = &self.current.settings.limits;
        let mut admitted = self.listener.admission.admit(limits);
        // Who is behind a balancer counts, not the balancer; that is known later.
        if let Ok(permit) = &mut admitted
            && !self.current.is_announced(peer.ip())
            && let Err(refused) = permit.claim(peer.ip(), limits)
        {
            admitted = Err(refused);
        }
        match admitted {
            Ok(permit) => {
                let (worker, listener) = (Rc::clone(&self.worker), Rc::clone(&self.current));
                // A panic in it is caught by the task and costs this connection only.
                tokio::task::spawn_local(async move {
                    let _open = worker.opened();
                    listener
                        .serve(Rc::clone(&worker), stream, peer, permit)
                        .await;
                });
            }
            Err(refused) => self.worker.refused(peer.ip(), refused),
        }
    }

    /// Takes up changed settings. Connections under a policy that is no longer in force are asked to go after what is in
    /// flight; other limits do not matter that much.
    fn refresh(&mut self) {
        if self.listener.is_current(&self.current.settings) {
            return;
        }
        let before = Rc::clone(&self.current);
        let settings = self.listener.settings();
        let limits_only = before.settings.is_like(&settings);
        let mut next = Listener::new(settings, &self.credentials);
        if limits_only {
            // What becomes of the policy later concerns connections from before, too.
            next.retired = Rc::clone(&before.retired);
        } else {
            self.worker.retire(&before);
        }
        self.current = Rc::new(next);
    }
}

/// After an error of the one connection that was to be accepted, go on. After any other (no descriptors, no memory) the
/// queue stays full and accept would fail again at once: wait until others have closed theirs.
async fn pause(listener: &Listener, error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if !matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    ) {
        tracing::warn!(listener = %listener.settings.address, %error, "cannot accept");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Connections taken from the kernel's queue when the drain begins; its length, see `net::bind`.
const QUEUED_MAX: usize = 4096;
const PAUSE: Duration = Duration::from_millis(100);
