//! What the shield needs to know of the host, and what it needs the host to be: its own addresses, and the switches of the
//! network stack that SYN cookies depend on.

use std::path::PathBuf;

use weir_common::settings::CookieMode;

use crate::xdp::addresses::{self, Watcher};
use crate::xdp::sysctl::{self, Assessment};
use crate::xdp::{Maps, Settings, ShieldError};

/// What was told the program last, and when to look again.
pub(super) struct Host {
    state_dir: PathBuf,
    /// `None`: the kernel lets nobody watch, so the addresses are read every time.
    watcher: Option<Watcher>,
    assessment: Assessment,
    /// The program has not been told the addresses as they are now.
    stale: bool,
    /// Addresses that the program had no room for; told when it changes.
    left_out: usize,
    /// Looking at the addresses failed; told once.
    told: bool,
}

impl Host {
    /// Watches from now on, and tells `maps` what is so.
    pub(super) fn look(
        state_dir: PathBuf,
        settings: &Settings,
        maps: &Maps,
    ) -> Result<Self, ShieldError> {
        let watcher = Watcher::new()
            .inspect_err(|error| tracing::warn!(%error, "cannot watch this host's addresses; they are read every few seconds"))
            .ok();
        let mut host = Self {
            state_dir,
            watcher,
            assessment: Assessment::default(),
            stale: true,
            left_out: 0,
            told: false,
        };
        host.tell_addresses(maps)?;
        let found = host.settle(settings);
        maps.set_cookies(settings.syn_cookies.mode, &found)?;
        host.adopt(found);
        Ok(host)
    }

    /// Makes the switches what `wanted` settings want and allow, around `apply`, which puts into force what it is told of SYN
    /// cookies: before it what they need, after it what nothing needs any more. If it fails, the switches are as they were
    /// `in_force`.
    pub(super) fn reconfigure(
        &mut self,
        in_force: &Settings,
        wanted: &Settings,
        apply: impl FnOnce(&Assessment) -> Result<(), ShieldError>,
    ) -> Result<(), ShieldError> {
        let off = wanted.syn_cookies.mode == CookieMode::Off;
        let found = if off {
            Assessment::default()
        } else {
            self.settle(wanted)
        };
        if let Err(error) = apply(&found) {
            if !off {
                self.settle(in_force);
            }
            return Err(error);
        }
        let found = if off { self.settle(wanted) } else { found };
        self.adopt(found);
        Ok(())
    }

    /// Makes the switches what `settings` want and allow, and says what works with them.
    fn settle(&self, settings: &Settings) -> Assessment {
        let mode = settings.syn_cookies.mode;
        let settled = sysctl::settle(mode, settings.manage_sysctls, &self.state_dir);
        for news in &settled.news {
            tracing::info!("{news}");
        }
        settled.assessment
    }

    /// Looks whether anything changed, and tells `maps`. Writes no switch: who changed one since meant to.
    pub(super) fn check(&mut self, settings: &Settings, maps: &Maps) -> Result<(), ShieldError> {
        self.stale |= self.watcher.as_mut().is_none_or(Watcher::changed);
        if self.stale {
            self.tell_addresses(maps)?;
        }
        let assessment = sysctl::assess(settings.syn_cookies.mode, false, &sysctl::found());
        let same = (
            assessment.cookies_work,
            assessment.options,
            assessment.window_scale,
            assessment.ecn,
        ) == (
            self.assessment.cookies_work,
            self.assessment.options,
            self.assessment.window_scale,
            self.assessment.ecn,
        );
        if same {
            return Ok(());
        }
        maps.set_cookies(settings.syn_cookies.mode, &assessment)?;
        self.adopt(assessment);
        Ok(())
    }

    /// Tells what does not work, and remembers what was told the program.
    fn adopt(&mut self, assessment: Assessment) {
        for finding in &assessment.findings {
            tracing::warn!(hint = %finding.fix, "{}", finding.sentence);
        }
        self.assessment = assessment;
    }

    fn tell_addresses(&mut self, maps: &Maps) -> Result<(), ShieldError> {
        match addresses::list() {
            Ok(addresses) => {
                self.told = false;
                let left_out = maps.set_own(&addresses)?;
                if left_out > 0 && left_out != self.left_out {
                    tracing::warn!(
                        addresses = addresses.len(),
                        left_out,
                        "this host has more addresses than the shield has room for: the last ones are judged as if they were somebody else's, without SYN cookies"
                    );
                }
                self.left_out = left_out;
                self.stale = false;
                Ok(())
            }
            Err(error) => {
                if !std::mem::replace(&mut self.told, true) {
                    tracing::warn!(%error, "cannot read this host's addresses: packets that claim to come from them are not told apart");
                }
                Ok(())
            }
        }
    }
}
