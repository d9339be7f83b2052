//! Telling the operator what happens and how long it took. Goes to stderr: stdout belongs to the programs we run.

use std::fmt::Display;
use std::io::Write;
use std::time::{Duration, Instant};

/// Runs `work` and prints `▸ name … done in 1.2 s` on one line. For work that prints nothing itself.
pub(crate) fn quiet<T>(name: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    print(&format!("▸ {name} … "));
    let start = Instant::now();
    let result = work();
    say(&ending(&result, start.elapsed()));
    result
}

/// Runs `work`, whose own output appears between a line that opens the step and one that closes it.
pub(crate) fn loud<T>(name: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    say(&format!("▸ {name} …"));
    let start = Instant::now();
    let result = work();
    say(&format!("▸ {name} … {}", ending(&result, start.elapsed())));
    result
}

/// One line.
pub(crate) fn say(line: &str) {
    print(&format!("{line}\n"));
}

fn print(text: &str) {
    let mut out = std::io::stderr().lock();
    // A closed stderr leaves nobody to tell.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn ending<T>(result: &anyhow::Result<T>, took: Duration) -> String {
    match result {
        Ok(_) => format!("done in {}", Seconds(took)),
        Err(_) => format!("failed after {}", Seconds(took)),
    }
}

/// A duration as people read it: `1.2 s`.
pub(crate) struct Seconds(pub(crate) Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}
