//! `weir drops --follow`: reads the counters every second and shows the difference.

use std::time::Duration;

use super::super::args::{DropsArgs, Format};
use super::super::exit::CliError;
use super::super::output::Out;
use super::Reading;
use crate::clock;
use crate::xdp::Maps;

/// Goes on until Ctrl-C ends the process or nobody reads the output any more.
pub(super) fn follow(
    maps: &Maps,
    args: &DropsArgs,
    first: Reading,
    out: &mut Out,
) -> Result<(), CliError> {
    let start = clock::now();
    let mut before = first;
    loop {
        // Whole seconds from the start, so that reading and writing do not add up to a drift; a late one is skipped.
        let due = clock::now().duration_since(start).as_secs() + 1;
        let wait = (start + Duration::from_secs(due)).saturating_duration_since(clock::now());
        std::thread::sleep(wait);
        let after = Reading::take(maps, args.by)?;
        after.since(&before).write(args, Some(due), out)?;
        if args.format.format() == Format::Text {
            out.line("")?;
        }
        out.flush()?;
        before = after;
    }
}
