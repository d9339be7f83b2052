//! `weir detach`

use super::exit::CliError;
use super::output::{Out, note};
use super::place::Place;
use crate::xdp::{self, ErrorKind};

/// Takes the shield off. Nothing to take off is as good as done.
pub(super) fn detach(place: &Place, out: &mut Out) -> Result<(), CliError> {
    let interfaces = match xdp::detach(&place.pin_dir) {
        Err(error) if error.kind == ErrorKind::NotAttached => Vec::new(),
        other => other?,
    };
    if interfaces.is_empty() {
        out.line(format!(
            "no shield is pinned in {}",
            place.pin_dir.display()
        ))?;
    }
    for interface in &interfaces {
        out.line(format!("{interface}: shield detached"))?;
    }
    if !interfaces.is_empty() && place.client().probe().is_ok() {
        out.flush()?;
        note("a weir is running, without a shield until it is restarted");
    }
    Ok(())
}
