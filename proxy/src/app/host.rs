//! What the shield needs to know of the host, and what it needs the host to be: its own addresses, and the switches of the
//! network stack that SYN cookies depend on.

use std::path::PathBuf;

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
            told: false,
        };
        host.tell_addresses(maps)?;
        host.settle(settings, maps)?;
        Ok(host)
    }

    /// Makes the switches what `settings` want and allow, and tells `maps` what works with them.
    pub(super) fn settle(&mut self, settings: &Settings, maps: &Maps) -> Result<(), ShieldError> {
        let mode = settings.syn_cookies.mode;
        let settled = sysctl::settle(mode, settings.manage_sysctls, &self.state_dir);
        for news in &settled.news {
            tracing::info!("{news}");
        }
        self.adopt(settled.assessment, settings, maps)
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
        self.adopt(assessment, settings, maps)
    }

    fn adopt(
        &mut self,
        assessment: Assessment,
        settings: &Settings,
        maps: &Maps,
    ) -> Result<(), ShieldError> {
        for finding in &assessment.findings {
            tracing::warn!(hint = %finding.fix, "{}", finding.sentence);
        }
        maps.set_cookies(settings.syn_cookies.mode, &assessment)?;
        self.assessment = assessment;
        Ok(())
    }

    fn tell_addresses(&mut self, maps: &Maps) -> Result<(), ShieldError> {
        match addresses::list() {
            Ok(addresses) => {
                self.told = false;
                maps.set_own(&addresses)?;
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
