//! The shield, and what looks after it while weir runs.

use std::cell::RefCell;
use std::sync::Arc;

use crate::config::Settings;
use crate::xdp::{Shield, ShieldError};

use super::feeds::Feeds;
use super::host::Host;
use super::sweep::Sweep;
use super::unguard;

/// The shield and the threads that look after its lists.
pub(super) struct Guard {
    pub(super) shield: RefCell<Shield>,
    pub(super) sweep: Arc<Sweep>,
    pub(super) feeds: Arc<Feeds>,
    pub(super) host: RefCell<Host>,
}

impl Guard {
    /// Tells the program what it needs to know of the host, and starts the threads.
    pub(super) fn start(shield: Shield, settings: &Settings) -> anyhow::Result<Self> {
        let pin_dir = &settings.shield.pin_dir;
        let state_dir = settings.process.state_dir.clone();
        let host = Host::look(state_dir, &settings.shield, shield.maps())?;
        Ok(Self {
            host: RefCell::new(host),
            shield: RefCell::new(shield),
            sweep: Sweep::start(pin_dir)?,
            feeds: Feeds::start(pin_dir, &settings.shield.feeds)?,
        })
    }

    /// Applies what may change at run time; on an error what was `in_force` stays so.
    pub(super) fn reconfigure(
        &self,
        in_force: &Settings,
        wanted: &Settings,
    ) -> Result<(), ShieldError> {
        let mut shield = self.shield.borrow_mut();
        if wanted.shield.interfaces.is_empty() {
            return unguard::now(&mut shield, &in_force.process.state_dir);
        }
        let mut host = self.host.borrow_mut();
        let wanted = &wanted.shield;
        host.reconfigure(&in_force.shield, wanted, |found| {
            shield.reconfigure(wanted, found)
        })?;
        self.feeds.set(&wanted.feeds);
        Ok(())
    }
}
