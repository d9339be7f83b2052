//! Listeners: opened at the start, and opened, changed and closed by a reload, each for itself.

use std::io;
use std::sync::Arc;

use anyhow::Context as _;

use crate::net::{self, Bound, ListenSettings, Listener, Transport};

/// A listener whose sockets have their address and get no connections yet.
pub(super) struct Opening {
    settings: ListenSettings,
    sockets: Vec<Bound>,
}

/// What a reload makes of the listeners; nothing has changed yet.
pub(super) struct Change {
    /// In file order: one that stays, with its settings, or a new one.
    wanted: Vec<(ListenSettings, Result<Arc<Listener>, Opening>)>,
}

/// One socket per worker and listener.
pub(super) fn bind(wanted: &[ListenSettings], workers: usize) -> io::Result<Vec<Opening>> {
    let opening = wanted.iter().map(|settings| {
        Ok(Opening {
            sockets: net::bind(settings, workers)?,
            settings: settings.clone(),
        })
    });
    opening.collect()
}

/// Lets connections in on all sockets.
pub(super) fn listen(opening: Vec<Opening>) -> anyhow::Result<Vec<Arc<Listener>>> {
    let listeners = opening.into_iter().map(Opening::listen);
    let listeners: io::Result<_> = listeners.collect();
    listeners.context("cannot listen")
}

impl Opening {
    fn listen(self) -> io::Result<Arc<Listener>> {
        let Self { settings, sockets } = self;
        let sockets: io::Result<_> = sockets.into_iter().map(Bound::listen).collect();
        let http: Vec<_> = settings.http.names().collect();
        tracing::info!(
            address = %settings.address,
            tls = settings.transport == Transport::Tls,
            http = http.join(", "),
            "listening"
        );
        Ok(Arc::new(Listener::new(settings, sockets?)))
    }
}

impl Change {
    /// From `current` to `wanted`: binds what is new, which is all that can fail because of somebody else.
    pub(super) fn prepare(
        current: &[Arc<Listener>],
        wanted: &[ListenSettings],
        workers: usize,
    ) -> io::Result<Self> {
        let wanted = wanted.iter().map(|settings| {
            let stays = current
                .iter()
                .find(|listener| listener.settings().address == settings.address);
            let listener = match stays {
                Some(listener) => Ok(Arc::clone(listener)),
                None => Err(Opening {
                    sockets: net::bind(settings, workers)?,
                    settings: settings.clone(),
                }),
            };
            Ok((settings.clone(), listener))
        });
        Ok(Self {
            wanted: wanted.collect::<io::Result<_>>()?,
        })
    }

    /// The listeners from now on; those of before that are not among them are closed by who is told of these.
    pub(super) fn apply(self) -> Vec<Arc<Listener>> {
        let listeners = self.wanted.into_iter().filter_map(|(settings, listener)| {
            let opened = match listener {
                Ok(stays) => {
                    stays.change(&settings);
                    return Some(stays);
                }
                Err(opening) => opening.listen(),
            };
            opened
                .map_err(
                    |error| tracing::error!(address = %settings.address, %error, "cannot listen"),
                )
                .ok()
        });
        listeners.collect()
    }
}
