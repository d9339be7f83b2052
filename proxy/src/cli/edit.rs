//! `weir block`, `unblock`, `allow`, `disallow`: through the running weir, or on the pinned maps when none runs.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::args::{BlockArgs, NetworksArgs};
use super::exit::{CliError, Exit};
use super::list;
use super::output::{Out, note};
use super::place::Place;
use super::ssh::{self, Guard};
use super::units;
use crate::admin::client::{Client, ClientError};
use crate::admin::{api, check, network, view};
use crate::clock;
use crate::xdp::{Inserted, List, Maps};

/// Origin of the entries made here.
const ORIGIN: &str = "cli";

/// One command's edit, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    list: api::List,
    action: Action,
    networks: Vec<IpNet>,
    /// The caller's own address, if this is about to block it, and what to do then.
    own: Option<(IpAddr, Guard)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    /// `duration` `None`: `[shield] block_for` for blocks, for ever for allows.
    Add {
        duration: Option<Duration>,
        reason: String,
    },
    Remove,
}

impl Edit {
    /// `caller`: where the ssh session comes from in which this is asked for.
    pub(super) fn block(args: &BlockArgs, caller: Option<IpAddr>) -> Result<Self, CliError> {
        let duration = args.duration.as_deref().map(duration).transpose()?;
        check::reason(&args.reason)?;
        let reason = args.reason.clone();
        let mut edit = Self::new(
            api::List::Block,
            Action::Add { duration, reason },
            &args.networks,
        )?;
        let guard = if args.force {
            Guard::Warn
        } else {
            Guard::Refuse
        };
        edit.own = ssh::hit(&edit.networks, caller).map(|caller| (caller, guard));
        Ok(edit)
    }

    pub(super) fn unblock(args: &NetworksArgs) -> Result<Self, CliError> {
        Self::new(api::List::Block, Action::Remove, &args.networks)
    }

    pub(super) fn allow(args: &NetworksArgs) -> Result<Self, CliError> {
        let action = Action::Add {
            duration: None,
            reason: String::new(),
        };
        Self::new(api::List::Allow, action, &args.networks)
    }

    pub(super) fn disallow(args: &NetworksArgs) -> Result<Self, CliError> {
        Self::new(api::List::Allow, Action::Remove, &args.networks)
    }

    fn new(list: api::List, action: Action, networks: &[String]) -> Result<Self, CliError> {
        let networks = networks
            .iter()
            .map(|text| parse(text))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            list,
            action,
            networks,
            own: None,
        })
    }

    /// Does it and says what became of each network.
    pub(super) fn carry_out(&self, place: &Place, out: &mut Out) -> Result<(), CliError> {
        let target = Target::find(place)?;
        if let Some((caller, guard)) = self.own {
            let allows = target.entries(api::List::Allow)?.into_iter();
            let warning = guard.judge(caller, allows.map(|allow| allow.network))?;
            warning.into_iter().for_each(note);
        }
        let changed = match &target {
            Target::Running(client) => self.ask(client)?,
            Target::Pinned(maps) => self.write(maps, place.block_for)?,
        };
        for change in &changed.changes {
            out.line(self.describe(change))?;
        }
        out.flush()?;
        for text in self.remarks(&changed, &target)? {
            note(text);
        }
        Ok(())
    }

    fn ask(&self, client: &Client) -> Result<api::Changed, ClientError> {
        match (self.list, &self.action) {
            (api::List::Block, Action::Add { duration, reason }) => {
                client.block(&api::BlockRequest {
                    networks: self.networks.clone(),
                    seconds: duration.map(|duration| duration.as_secs()),
                    reason: reason.clone(),
                })
            }
            (api::List::Block, Action::Remove) => client.unblock(&self.networks),
            (api::List::Allow, Action::Add { .. }) => client.allow(&self.networks),
            (api::List::Allow, Action::Remove) => client.disallow(&self.networks),
        }
    }

    fn write(&self, maps: &Maps, block_for: Duration) -> Result<api::Changed, CliError> {
        let list = match self.list {
            api::List::Allow => List::Allow,
            api::List::Block => List::Block,
        };
        let mut changes = Vec::with_capacity(self.networks.len());
        for network in self.networks.iter().copied() {
            let change = match &self.action {
                Action::Add { duration, reason } => {
                    let duration = match self.list {
                        api::List::Block => Some(duration.unwrap_or(block_for)),
                        api::List::Allow => None,
                    };
                    let now_ns = clock::kernel_now_ns();
                    match maps.insert(list, network, duration, ORIGIN, reason, now_ns)? {
                        Inserted::Added => view::added(network, duration),
                        Inserted::Kept { expires_ns, origin } => {
                            view::kept(network, expires_ns, &origin, now_ns)
                        }
                    }
                }
                Action::Remove => view::removed(network, maps.remove(list, network)?),
            };
            changes.push(change);
        }
        Ok(api::Changed { changes })
    }

    fn describe(&self, change: &api::Change) -> String {
        let network = network::display(change.network);
        let done = match (self.list, change.change) {
            (api::List::Block, api::ChangeKind::Added) => "blocked",
            (api::List::Block, api::ChangeKind::Kept) => "already blocked",
            (api::List::Block, api::ChangeKind::Removed) => "unblocked",
            (api::List::Block, api::ChangeKind::Absent) => "was not on the blocklist",
            (api::List::Allow, api::ChangeKind::Added) => "allowed",
            (api::List::Allow, api::ChangeKind::Kept) => "already allowed",
            (api::List::Allow, api::ChangeKind::Removed) => "no longer allowed",
            (api::List::Allow, api::ChangeKind::Absent) => "was not on the allowlist",
        };
        let how_long = change.expires_in_seconds.map(units::duration);
        match (&change.origin, how_long) {
            (Some(origin), Some(left)) => format!("{network}: {done} by {origin} for {left} more"),
            (Some(origin), None) => format!("{network}: {done} by {origin} without end"),
            (None, Some(duration)) => format!("{network}: {done} for {duration}"),
            (None, None) => format!("{network}: {done}"),
        }
    }

    /// What else the operator should know: lists are only read when it can matter.
    fn remarks(&self, changed: &api::Changed, target: &Target) -> Result<Vec<String>, CliError> {
        let changes = changed.changes.iter();
        Ok(match (self.list, &self.action) {
            (api::List::Block, Action::Add { .. }) => {
                let allows = target.entries(api::List::Allow)?;
                changes
                    .filter_map(|c| beaten_by(c.network, &allows))
                    .collect()
            }
            (list, Action::Remove) => {
                let absent: Vec<_> = changes
                    .filter(|change| change.change == api::ChangeKind::Absent)
                    .collect();
                if absent.is_empty() {
                    return Ok(Vec::new());
                }
                let entries = target.entries(list)?;
                absent
                    .into_iter()
                    .filter_map(|change| still_covered_by(change.network, &entries))
                    .collect()
            }
            (api::List::Allow, Action::Add { .. }) => Vec::new(),
        })
    }
}

/// Who carries an edit out.
enum Target {
    Running(Client),
    Pinned(Box<Maps>),
}

impl Target {
    fn find(place: &Place) -> Result<Self, CliError> {
        let client = place.client();
        match client.probe() {
            Ok(()) => Ok(Self::Running(client)),
            Err(ClientError::NotRunning { .. }) => {
                let maps = place.maps()?;
                note(format!(
                    "no weir is running; editing the pinned maps in {} directly",
                    place.pin_dir.display()
                ));
                Ok(Self::Pinned(Box::new(maps)))
            }
            Err(other) => Err(other.into()),
        }
    }

    fn entries(&self, list: api::List) -> Result<Vec<api::Entry>, CliError> {
        Ok(match self {
            Self::Running(client) => client.entries(list)?.entries,
            Self::Pinned(maps) => list::entries(maps, list, clock::kernel_now_ns())?,
        })
    }
}

/// Blocking what is allowed has no effect there.
fn beaten_by(network: IpNet, allows: &[api::Entry]) -> Option<String> {
    let name = network::display(network);
    let allow = allows
        .iter()
        .find(|allow| network::overlap(allow.network, network))?;
    let allowed = network::display(allow.network);
    Some(if allow.network.contains(&network) {
        format!("{allowed} is on the allowlist and allow beats block: {name} still passes")
    } else {
        format!(
            "{allowed} is on the allowlist and allow beats block: that part of {name} still passes"
        )
    })
}

/// Removing an entry that is not there leaves a wider one in force.
fn still_covered_by(network: IpNet, entries: &[api::Entry]) -> Option<String> {
    let wider = entries
        .iter()
        .find(|entry| entry.network.contains(&network))?;
    Some(format!(
        "{} is on that list and still covers {}",
        network::display(wider.network),
        network::display(network)
    ))
}

fn parse(text: &str) -> Result<IpNet, CliError> {
    let refused =
        |refused: network::Refused| CliError::new(Exit::Usage, refused.message, refused.hint);
    let parsed = network::parse(text).map_err(refused)?;
    network::not_everything(parsed.network).map_err(refused)?;
    if parsed.adjusted {
        note(format!(
            "{text} is taken as {}",
            network::display(parsed.network)
        ));
    }
    Ok(parsed.network)
}

fn duration(text: &str) -> Result<Duration, CliError> {
    let parsed = humantime::parse_duration(text).map_err(|error| {
        CliError::new(
            Exit::Usage,
            format!("`{text}` is no duration: {error}"),
            "write 30s, 10m, 2h or 7d",
        )
    })?;
    check::duration(parsed)?;
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(networks: &[&str], duration: Option<&str>, reason: &str) -> Result<Edit, CliError> {
        Edit::block(&args(networks, duration, reason), None)
    }

    fn args(networks: &[&str], duration: Option<&str>, reason: &str) -> BlockArgs {
        BlockArgs {
            networks: networks.iter().map(|&text| text.to_owned()).collect(),
            duration: duration.map(str::to_owned),
            reason: reason.to_owned(),
            force: false,
        }
    }

    fn entry(network: &str) -> api::Entry {
        api::Entry {
            list: api::List::Allow,
            network: net(network),
            expires_in_seconds: None,
            added_seconds_ago: 0.0,
            hits: 0,
            origin: "config".into(),
            reason: String::new(),
        }
    }

    fn net(text: &str) -> IpNet {
        network::parse(text).expect(text).network
    }

    #[test]
    fn a_block_takes_addresses_and_prefixes_and_a_duration() {
        let edit = block(&["192.0.2.7/24", "2001:db8::7"], Some("10m"), "scan").expect("valid");
        assert_eq!(edit.networks, [net("192.0.2.0/24"), net("2001:db8::7")]);
        let Action::Add { duration, .. } = edit.action else {
            panic!("adds");
        };
        assert_eq!(duration, Some(Duration::from_mins(10)));
    }

    #[test]
    fn a_block_of_the_callers_own_address_is_guarded_and_force_only_warns() {
        let caller: IpAddr = "192.0.2.7".parse().expect("an address");
        for (network, force, own) in [
            ("192.0.2.0/24", false, Some((caller, Guard::Refuse))),
            ("192.0.2.7", true, Some((caller, Guard::Warn))),
            ("192.0.2.8", false, None),
        ] {
            let args = BlockArgs {
                force,
                ..args(&[network], None, "")
            };
            let edit = Edit::block(&args, Some(caller)).expect("valid");
            assert_eq!(edit.own, own, "{network}");
        }
    }

    #[test]
    fn what_cannot_be_blocked_is_a_usage_error_that_names_it() {
        let long = "x".repeat(100);
        for (networks, duration, reason, part) in [
            (&["example.com"][..], None, "", "`example.com`"),
            (&["192.0.2.7", "0.0.0.0/0"], None, "", "every address"),
            (&["::/0"], None, "", "every address"),
            (&["192.0.2.7"], Some("soon"), "", "`soon`"),
            (&["192.0.2.7"], Some("0s"), "", "0s"),
            (&["192.0.2.7"], Some("500ms"), "", "500ms"),
            (&["192.0.2.7"], Some("366d"), "", "no duration"),
            (&["192.0.2.7"], None, &long, "100 bytes"),
        ] {
            match block(networks, duration, reason) {
                Err(CliError::Said {
                    message,
                    hint,
                    exit,
                }) => {
                    assert_eq!(exit, Exit::Usage, "{message}");
                    assert!(message.contains(part), "{message}");
                    assert!(!hint.is_empty(), "{message}");
                }
                other => panic!("{networks:?} {duration:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn each_change_is_told_in_the_words_of_its_command() {
        let edit = block(&["192.0.2.7"], None, "").expect("valid");
        let change = |change, expires_in_seconds| api::Change {
            network: net("192.0.2.7"),
            change,
            expires_in_seconds,
            origin: None,
        };
        let kept = |expires_in_seconds| api::Change {
            origin: Some("config".to_owned()),
            ..change(api::ChangeKind::Kept, expires_in_seconds)
        };
        assert_eq!(
            edit.describe(&kept(None)),
            "192.0.2.7: already blocked by config without end"
        );
        assert_eq!(
            edit.describe(&kept(Some(7_200.0))),
            "192.0.2.7: already blocked by config for 2h more"
        );
        assert_eq!(
            edit.describe(&change(api::ChangeKind::Added, Some(3_600.0))),
            "192.0.2.7: blocked for 1h"
        );
        assert_eq!(
            edit.describe(&change(api::ChangeKind::Absent, None)),
            "192.0.2.7: was not on the blocklist"
        );
    }

    #[test]
    fn blocking_what_is_allowed_is_remarked_on() {
        let allows = [entry("10.0.0.0/8"), entry("192.0.2.7")];
        let whole = beaten_by(net("10.1.2.3"), &allows).expect("inside");
        assert!(whole.contains("10.1.2.3 still passes"), "{whole}");
        let part = beaten_by(net("192.0.2.0/24"), &allows).expect("around");
        assert!(part.contains("part of 192.0.2.0/24"), "{part}");
        assert_eq!(beaten_by(net("198.18.0.1"), &allows), None);
    }

    #[test]
    fn removing_a_part_of_an_entry_names_the_entry() {
        let entries = [entry("192.0.2.0/24")];
        let text = still_covered_by(net("192.0.2.7"), &entries).expect("covered");
        assert!(text.starts_with("192.0.2.0/24 is on that list"), "{text}");
        assert_eq!(still_covered_by(net("192.0.0.0/16"), &entries), None);
    }
}
