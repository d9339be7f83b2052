//! Accept loops: one per listener and worker.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{Stop, Worker, add};
use crate::http::server::Listener;

/// Accepts until the worker is to stop; then takes what the kernel has already accepted, because closing the socket would
/// reset it.
pub(super) async fn run(
    worker: Rc<Worker>,
    number: usize,
    socket: TcpListener,
    listener: Rc<Listener>,
    mut stop: watch::Receiver<Stop>,
) {
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop != Stop::Run) => break,
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => admit(&worker, number, &listener, stream, peer),
                Err(error) => pause(&listener, &error).await,
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
            admit(&worker, number, &listener, stream, peer);
        }
    }
}

fn admit(
    worker: &Rc<Worker>,
    number: usize,
    listener: &Rc<Listener>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    add(&worker.counters.accepted);
    match worker
        .admission
        .admit(number, peer.ip(), &listener.settings.limits)
    {
        Ok(permit) => {
            let (worker, listener) = (Rc::clone(worker), Rc::clone(listener));
            // A panic in it is caught by the task and costs this connection only.
            tokio::task::spawn_local(async move {
                let _open = worker.opened();
                listener
                    .serve(Rc::clone(&worker), stream, peer, permit)
                    .await;
            });
        }
        Err(refused) => {
            add(&worker.counters.refused);
            tracing::debug!(client = %peer, ?refused, "connection refused");
        }
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
