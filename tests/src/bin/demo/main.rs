//! The demo: what weir does for its clients while somebody floods it, shown live, then the same flood without the
//! shield. Makes its own lab of network namespaces and takes everything with it, also on Ctrl-C.

#![allow(
    clippy::disallowed_methods,
    reason = "the demo measures real time, and after a signal it exits once everything is cleaned up"
)]

mod phase;
mod screen;
mod stage;
mod summary;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use weir_lab::interrupt;

use phase::{Phase, Shield};
use screen::Screen;
use stage::Stage;
use summary::Summary;

fn main() -> ExitCode {
    let screen = Screen::new();
    let outcome = interrupt::clean_up_on_signals().and_then(|()| demo(&screen));
    interrupt::wait_if_interrupted();
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            screen::complain(&format!("the demo failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether the clients were served as they should with the shield on.
fn demo(screen: &Screen) -> Result<bool> {
    let lab = weir_lab::Lab::new().context("building the lab")?;
    lab.share_receive_queue()?;
    screen.introduce(&lab)?;
    let mut stage = Stage::open(&lab, screen)?;

    let calm = stage.play(&Phase::calm())?;
    let shielded = stage.play(&Phase::flood(Shield::On))?;
    let evidence = stage.evidence()?;
    stage.lower_shield()?;
    let bare = stage.play(&Phase::flood(Shield::Off))?;
    drop(stage);

    let summary = Summary {
        calm,
        shielded,
        bare,
        evidence,
    };
    screen.summarise(&summary)?;
    Ok(summary.is_success())
}
