//! `weir detach`

use super::exit::{CliError, Exit};
use super::output::{Out, note};
use super::place::Place;
use crate::xdp::{self, ErrorKind, sysctl};

/// Takes the shield off, and puts back the sysctls that weir set for it. Nothing to take off is as good as done.
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
    // Last: until here SYN cookies may have been sent that need them.
    let restored = sysctl::restore(&place.state_dir);
    for news in &restored.news {
        out.line(news)?;
    }
    out.flush()?;
    if !interfaces.is_empty() && place.client().probe().is_ok() {
        note("a weir is running, without a shield until it is restarted");
    }
    let mut findings = restored.findings.into_iter();
    let Some(first) = findings.next() else {
        return Ok(());
    };
    for more in findings {
        note(format!("{}; {}", more.sentence, more.fix));
    }
    Err(CliError::new(Exit::Failed, first.sentence, first.fix))
}
