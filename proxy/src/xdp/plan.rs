//! What an attach is going to do, worked out from the settings and from what is there, before anything is changed.

use super::interface::{self, Link};
use super::links::{self, Pinned, State, Step};
use super::pins::PinDir;
use super::{Replace, Settings, ShieldError, attach};

/// The steps of an attach.
pub(super) struct Plan {
    /// In the order of `[shield] interfaces`.
    pub(super) guard: Vec<(Link, Step)>,
    /// Links of interfaces that are no longer configured, with the index of the interface if it still exists.
    pub(super) leave: Vec<(Pinned, Option<u32>)>,
}

pub(super) fn make(
    settings: &Settings,
    pins: &PinDir,
    replace: Replace,
) -> Result<Plan, ShieldError> {
    let pinned = links::pinned(pins)?;
    if let Some(pinned) = pinned.iter().find(|p| p.state == State::Elsewhere) {
        return Err(ShieldError::failed(
            format!(
                "{} is the link of a weir in another network namespace",
                pinned.pin.path.display()
            ),
            "give each weir a `[shield] pin_dir` of its own",
        ));
    }

    let mut guard: Vec<(Link, Step)> = Vec::new();
    for name in &settings.interfaces {
        if guard.iter().any(|(link, _)| link.name == *name) {
            continue;
        }
        let link = find(name)?;
        let mut step = links::decide(&link, &pinned, settings.mode);
        if let Step::Foreign(program_id) = step {
            let foreign = link.programs.iter().find(|p| p.program_id == program_id);
            step = match (replace, foreign) {
                (Replace::Foreign, Some(foreign)) => Step::Replace(*foreign),
                _ => return Err(attach::foreign(&link, program_id)),
            };
        }
        guard.push((link, step));
    }

    let guarded = |index: u32| guard.iter().any(|(link, _)| link.index == index);
    let leave = pinned
        .into_iter()
        .filter_map(|pinned| match pinned.state {
            State::Here(index) => (!guarded(index)).then_some((pinned, Some(index))),
            State::Gone | State::Elsewhere => {
                let wanted = settings.interfaces.contains(&pinned.pin.interface);
                (!wanted).then_some((pinned, None))
            }
        })
        .collect();
    Ok(Plan { guard, leave })
}

/// The interface `name`, or an error that says which there are.
pub(super) fn find(name: &str) -> Result<Link, ShieldError> {
    let found = interface::by_name(name)
        .map_err(|error| ShieldError::kernel("ask rtnetlink for a link", &error))?;
    found.ok_or_else(|| unknown(name, &interface::names()))
}

fn unknown(name: &str, names: &[String]) -> ShieldError {
    let mut shown: Vec<&str> = names.iter().map(String::as_str).take(NAMES_SHOWN).collect();
    shown.sort_unstable();
    let more = match names.len().saturating_sub(NAMES_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    ShieldError::failed(
        format!("there is no interface `{name}`"),
        if shown.is_empty() {
            "see `ip link` for the names there are".to_owned()
        } else {
            format!("there are: {}{more}", shown.join(", "))
        },
    )
}

/// A host with containers has hundreds.
const NAMES_SHOWN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_is_answered_with_the_right_ones() {
        let error = unknown("eth9", &["lo".to_owned(), "eth0".to_owned()]);
        assert_eq!(error.message, "there is no interface `eth9`");
        assert_eq!(error.hint, "there are: eth0, lo");
    }

    #[test]
    fn of_many_names_some_are_shown_and_the_rest_counted() {
        let names: Vec<String> = (0..100).map(|n| format!("veth{n:03}")).collect();
        let hint = unknown("eth9", &names).hint;
        assert!(
            hint.contains("veth000") && hint.ends_with("and 84 more"),
            "{hint}"
        );
    }
}
