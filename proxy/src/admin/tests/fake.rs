//! A [`Control`] that remembers what was blocked, and refuses or fails at the rest.

use std::cell::RefCell;

use super::super::{Control, Failure, FailureKind, api, view};
use weir_common::Totals;

fn drained(request: &api::DrainRequest, drained: bool) -> api::Drained {
    api::Drained {
        upstream: request.upstream.clone(),
        server: request.server.clone(),
        drained,
        changed: true,
        in_flight: 0,
    }
}

#[derive(Default)]
pub(super) struct Fake {
    blocked: RefCell<Vec<api::Entry>>,
}

impl Control for Fake {
    fn status(&self) -> api::Status {
        api::Status {
            version: "1.2.3".into(),
            abi: 1,
            pid: 7,
            uptime_seconds: 1.5,
            state: api::State::Serving,
            config: "weir.toml".into(),
            generation: 1,
            workers: 2,
            shield: None,
            attack: api::Attack::default(),
            listeners: vec![],
            connections: api::Connections::default(),
            tls: api::Tls::default(),
            upgrades: api::Upgrades::default(),
            responses: api::Responses::default(),
            upstreams: vec![],
            cache: api::Cache::default(),
            detect: api::Detect::default(),
        }
    }

    fn drops(&self) -> Result<api::Drops, Failure> {
        Ok(view::drops(true, &[("eth0".into(), Totals::ZERO)]))
    }

    fn sources(&self, query: &api::SourcesQuery) -> Result<api::Sources, Failure> {
        Ok(api::Sources {
            total: query.top,
            sources: vec![],
        })
    }

    fn blocks(&self) -> Result<api::Entries, Failure> {
        let entries = self.blocked.borrow().clone();
        Ok(api::Entries { entries })
    }

    fn allows(&self) -> Result<api::Entries, Failure> {
        Err(Failure::new(FailureKind::NoShield, "no shield", "set one"))
    }

    fn certs(&self) -> api::Certificates {
        api::Certificates {
            certificates: vec![],
            problems: vec![],
        }
    }

    fn upstreams(&self) -> api::Upstreams {
        api::Upstreams { upstreams: vec![] }
    }

    fn drain(&self, request: &api::DrainRequest) -> Result<api::Drained, Failure> {
        Ok(drained(request, true))
    }

    fn undrain(&self, request: &api::DrainRequest) -> Result<api::Drained, Failure> {
        if request.upstream == "none" {
            return Err(Failure::new(FailureKind::NotFound, "no upstream", "look"));
        }
        Ok(drained(request, false))
    }

    fn block(&self, request: &api::BlockRequest) -> Result<api::Changed, Failure> {
        let mut changes = vec![];
        for network in request.networks.iter().copied() {
            self.blocked.borrow_mut().push(api::Entry {
                list: api::List::Block,
                network,
                expires_in_seconds: None,
                added_seconds_ago: 0.0,
                hits: 0,
                origin: "cli".into(),
                reason: request.reason.clone(),
            });
            changes.push(change(network, api::ChangeKind::Added));
        }
        Ok(api::Changed { changes })
    }

    fn unblock(&self, request: &api::NetworksRequest) -> Result<api::Changed, Failure> {
        let mut blocked = self.blocked.borrow_mut();
        let changes = request.networks.iter().copied().map(|network| {
            let before = blocked.len();
            blocked.retain(|entry| entry.network != network);
            let kind = if blocked.len() < before {
                api::ChangeKind::Removed
            } else {
                api::ChangeKind::Absent
            };
            change(network, kind)
        });
        Ok(api::Changed {
            changes: changes.collect(),
        })
    }

    fn allow(&self, _: &api::NetworksRequest) -> Result<api::Changed, Failure> {
        Err(Failure::new(FailureKind::NotPermitted, "EPERM", "be root"))
    }

    fn disallow(&self, _: &api::NetworksRequest) -> Result<api::Changed, Failure> {
        Err(Failure::new(FailureKind::Failed, "broken", ""))
    }

    fn reload(&self) -> Result<api::Reloaded, api::ReloadFailed> {
        Err(api::ReloadFailed {
            error: "weir.toml has 1 problem(s)".into(),
            hint: "correct it".into(),
            problems: vec![api::Problem {
                line: 3,
                key: "listen[0].address".into(),
                value: "x".into(),
                message: "no address".into(),
                hint: String::new(),
            }],
        })
    }

    fn ready(&self) -> bool {
        false
    }

    fn recent_samples(&self) -> Vec<api::Sample> {
        vec![api::Sample {
            seconds_ago: 0.25,
            interface: "eth0".into(),
            reason: "blocked".into(),
            verdict: api::Verdict::Drop,
            frame_bytes: 60,
            skipped: 0,
            head: "00".into(),
        }]
    }
}

pub(super) fn change(network: ipnet::IpNet, change: api::ChangeKind) -> api::Change {
    api::Change {
        network,
        change,
        expires_in_seconds: None,
        origin: None,
    }
}
