//! From facts to a decision: pure, so that the kernel and a test on the host judge a packet with the same code.
//!
//! Order: malformed → allowlist → blocklist → fragments → pass. A policy of `count` never shields a packet from the
//! checks after it: a later drop wins, and otherwise the packet passes and is counted under the first class that
//! wanted it counted. A frame whose source cannot be read is malformed, and dropped whatever the policy while anything is
//! blocked.

mod lists;

#[cfg(test)]
mod tests;

use weir_common::{Outcome, Policy, ShieldSettings};

pub use lists::{Hit, Lists};

use crate::parse::{Fragment, Parsed};

/// What becomes of a packet, and what it is counted under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It goes on to the network stack.
    Pass(Outcome),
    /// It would be dropped, but the shield does not enforce: it is counted as dropped and goes on.
    Spare(Outcome),
    /// It ends here.
    Drop(Outcome),
}

impl Decision {
    /// What the packet is counted under.
    #[inline(always)]
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Pass(outcome) | Self::Spare(outcome) | Self::Drop(outcome) => outcome,
        }
    }

    /// Whether the packet counts as dropped: it was, or would have been.
    #[inline(always)]
    pub fn counts_as_dropped(self) -> bool {
        match self {
            Self::Pass(_) => false,
            Self::Spare(_) | Self::Drop(_) => true,
        }
    }
}

/// Judges a parsed frame at `now_ns` (`CLOCK_MONOTONIC`; not read for [`Parsed::NonIp`]).
#[inline(always)]
pub fn decide<L: Lists>(
    parsed: &Parsed,
    lists: &L,
    settings: &ShieldSettings,
    now_ns: u64,
) -> Decision {
    match judge(parsed, lists, settings, now_ns) {
        Ok(outcome) => Decision::Pass(outcome),
        Err(outcome) if settings.enforce == 0 => Decision::Spare(outcome),
        Err(outcome) => Decision::Drop(outcome),
    }
}

/// `Err`: drop, and why.
#[inline(always)]
fn judge<L: Lists>(
    parsed: &Parsed,
    lists: &L,
    settings: &ShieldSettings,
    now_ns: u64,
) -> Result<Outcome, Outcome> {
    let (source, fragment, malformed) = match *parsed {
        Parsed::NonIp => return Ok(Outcome::NonIp),
        // Linux strips any number of priority tags and delivers what is under them: a frame tagged deeper than the parser
        // reads has a source that nobody knows, and must not be a way past the blocklist.
        Parsed::Malformed(None) if lists::blocks_anybody(settings.lists) => {
            return Err(Outcome::Malformed);
        }
        Parsed::Malformed(source) => {
            let counted = apply(settings.malformed, Outcome::Malformed)?;
            (source, Fragment::Whole, counted)
        }
        Parsed::Ip(facts) => (Some(facts.source), facts.fragment, None),
    };
    if let Some(source) = source {
        if lists::allowed(lists, settings.lists, source, now_ns) {
            return Ok(malformed.unwrap_or(Outcome::Allowed));
        }
        if lists::blocked(lists, settings.lists, source, now_ns) {
            return Err(Outcome::Blocked);
        }
    }
    let fragment = match fragment {
        Fragment::Whole => None,
        Fragment::First | Fragment::Later => apply(settings.fragments, Outcome::Fragment)?,
    };
    Ok(malformed.or(fragment).unwrap_or(Outcome::Passed))
}

/// What a policy makes of a packet of its class: `Err` = drop, `Some` = count it under the class. A value that is no
/// policy drops, because it can only come from a user space that knows more policies than this program.
#[inline(always)]
fn apply(policy: u8, class: Outcome) -> Result<Option<Outcome>, Outcome> {
    if policy == Policy::Pass as u8 {
        Ok(None)
    } else if policy == Policy::Count as u8 {
        Ok(Some(class))
    } else {
        Err(class)
    }
}
