//! Ctrl-C, SIGTERM and a closed terminal: clean up, then exit as the shell expects.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

/// From now on these signals release everything that the lab holds and end the process.
pub fn clean_up_on_signals() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut interrupt, mut terminate, mut hang_up) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        )
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let number = runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => SignalKind::interrupt(),
                    _ = terminate.recv() => SignalKind::terminate(),
                    _ = hang_up.recv() => SignalKind::hangup(),
                }
            });
            INTERRUPTED.store(true, Ordering::SeqCst);
            crate::cleanup::release_all();
            std::process::exit(128 + number.as_raw_value());
        })?;
    Ok(())
}

/// After a signal everything fails, because everything is being taken away: that is not worth an error message.
pub fn wait_if_interrupted() {
    while INTERRUPTED.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_secs(1));
    }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
