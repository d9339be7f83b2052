//! Slow clients that others wrote: slowhttptest, over TLS, while honest clients go on.

use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use weir_lab::topology::{attacker_v4, client_v4, gateway_address};
use weir_lab::{Config, Lab, Protocol, Weir, until, within};

use crate::{SOON, Test};

/// Slow connections of one attack, all at once.
const CONNECTIONS: u32 = 20;
/// In whole seconds, as slowhttptest counts: far more than weir's limits.
const LONGEST: u32 = 90;

/// Short limits; whoever runs into them with every connection of an attack is listed at the last. Listed only: what is left of
/// dropped packets' connections in the kernel would say nothing of weir.
fn config() -> Config {
    let limit = CONNECTIONS - 1;
    Config {
        shield: "enforce = false\n".into(),
        limits: "header_timeout = \"2s\"\nbody_timeout = \"2s\"\nwrite_timeout = \"2s\"\nidle_timeout = \"2s\"\n".into(),
        detect: format!(
            "[[detect]]\nname = \"slow\"\ncount = \"slow-requests\"\nlimit = {limit}\nwindow = \"5m\"\nblock_for = \"10m\"\n"
        ),
        ..Config::default()
    }
}

/// A running slowhttptest. Ended when dropped.
struct Attack(Child);

impl Attack {
    fn start(lab: &Lab, arguments: &[&str]) -> Result<Self> {
        let (connections, longest) = (CONNECTIONS.to_string(), LONGEST.to_string());
        let child = lab.attackers.run(|| {
            Command::new("slowhttptest")
                .args(["-c", &connections, "-r", &connections, "-l", &longest])
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
        })?;
        Ok(Self(child.context(
            "slowhttptest is missing: `cargo xtask setup` installs it",
        )?))
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sockets of the gateway whose other end is an attacker, in the kernel's view: also those that nobody holds any more but that
/// have something to send.
fn sockets(lab: &Lab) -> Result<usize> {
    // The table of this thread's namespace. 10.77.2.x, mapped into IPv6, in words of the host's order.
    let table = lab
        .gateway
        .run(|| std::fs::read_to_string("/proc/thread-self/net/tcp6"))??;
    let theirs = table.lines().filter(|line| {
        let mut columns = line.split_whitespace().skip(2);
        let (remote, state) = (columns.next(), columns.next());
        remote.is_some_and(|remote| remote.contains("024D0A:")) && state != Some(TIME_WAIT)
    });
    Ok(theirs.count())
}

fn serves_an_honest_client(lab: &Lab) -> Test {
    let answer = lab.get(client_v4(0), Protocol::Http2, "/")?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

/// While the attack goes on, an honest client is served, every slow connection is ended and counted, and nothing is left of
/// them.
fn ends_and_reports(arguments: &[&str], path: &str) -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &config())?;
    let target = format!("https://{}{path}", gateway_address(attacker_v4(0)));
    let _attack = Attack::start(&lab, &[arguments, &["-u", &target]].concat())?;
    let entry = within(SOON, "the entry", || {
        serves_an_honest_client(&lab)?;
        let list = weir.json(&["list", "block"])?;
        let entries = list["entries"].as_array().context("no entries")?;
        Ok(entries.first().cloned())
    })
    .with_context(|| weir.log())?;
    ensure!(entry["origin"] == "detect:slow", "{entry}");
    let reason = entry["reason"].as_str().unwrap_or_default();
    ensure!(reason.starts_with("20 timeouts in"), "{entry}");
    let network = entry["network"].as_str().unwrap_or_default();
    ensure!(network.starts_with("10.77.2."), "{entry}");
    until(SOON, "their sockets to go", || Ok(sockets(&lab)? == 0))?;
    serves_an_honest_client(&lab)
}

#[test]
fn slow_heads_are_ended_and_reported_while_others_are_served() -> Test {
    ends_and_reports(&["-H", "-i", "1"], "/")
}

#[test]
fn slow_contents_are_ended_and_reported_while_others_are_served() -> Test {
    // A few bytes each time, but none for longer than the limit.
    ends_and_reports(&["-B", "-i", "5", "-s", "8192", "-x", "10"], "/echo")
}

#[test]
fn slow_readers_are_ended_and_reported_while_others_are_served() -> Test {
    let read = ["-X", "-w", "1", "-y", "64", "-n", "1", "-z", "5"];
    ends_and_reports(&read, "/big?bytes=50000000")
}

/// As `/proc/net/tcp6` has it.
const TIME_WAIT: &str = "06";
