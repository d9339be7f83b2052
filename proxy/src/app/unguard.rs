//! `interfaces = []`: what an earlier run, or the same one before a reload, has attached is taken off.

use std::path::Path;

use crate::config::Settings;
use crate::xdp::{self, ErrorKind, Leftover, Shield, ShieldError, sysctl};

/// At the start. That it cannot be done is no reason to serve nobody: whoever may not look has attached nothing either.
pub(super) fn after_an_earlier_run(settings: &Settings) {
    let pin_dir = &settings.shield.pin_dir;
    match xdp::release(pin_dir) {
        Ok(Leftover::None) => {}
        Ok(Leftover::Detached(interfaces)) => told(&interfaces, &settings.process.state_dir),
        Ok(Leftover::LeftAlone(why)) => {
            tracing::warn!(pin_dir = %pin_dir.display(), "a packet filter that is not this weir's stays: {why}");
        }
        Err(error) if error.kind == ErrorKind::NotPermitted => {
            tracing::debug!(%error, "cannot look for the packet filter of an earlier run");
        }
        Err(error) => {
            tracing::warn!(%error, hint = %error.hint, "cannot take off the packet filter of an earlier run");
        }
    }
}

/// On a reload.
pub(super) fn now(shield: &mut Shield, state_dir: &Path) -> Result<(), ShieldError> {
    let interfaces = shield.release()?;
    told(&interfaces, state_dir);
    Ok(())
}

fn told(interfaces: &[String], state_dir: &Path) {
    for interface in interfaces {
        tracing::info!(interface, "no longer configured: packet filter detached");
    }
    // Last: until here SYN cookies may have been sent that need them.
    let restored = sysctl::restore(state_dir);
    for news in &restored.news {
        tracing::info!("{news}");
    }
    for finding in &restored.findings {
        tracing::warn!(hint = %finding.fix, "{}", finding.sentence);
    }
}
