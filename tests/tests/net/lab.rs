//! The lab itself: what the other tests stand on.

use std::path::Path;

use weir_lab::topology::{ATTACKER_SIDE, client_v4};
use weir_lab::{Config, Flood, Lab, Protocol, Sources, Weir};

use crate::Test;

#[test]
fn a_lab_takes_everything_with_it_when_it_goes() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &Config::default())?;
    lab.get(client_v4(0), Protocol::Http1, "/")?;
    let (directory, namespace) = (lab.directory().to_owned(), lab.gateway.name().to_owned());
    drop(weir);
    drop(lab);
    anyhow::ensure!(!directory.exists(), "{} is left", directory.display());
    anyhow::ensure!(!Path::new("/run/netns").join(namespace).exists());
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    anyhow::ensure!(!mounts.contains(directory.to_str().unwrap_or_default()));
    Ok(())
}

#[test]
fn a_flood_sends_as_many_packets_as_it_says() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &Config::default())?;
    let sources = Sources::Within("198.18.0.0/15".parse()?);
    let before = weir.arrived(ATTACKER_SIDE)?;
    let report =
        Flood::syns(sources, 1_000).send_counted(&lab.attackers, || weir.arrived(ATTACKER_SIDE))?;
    anyhow::ensure!(report.sent == 1_000);
    anyhow::ensure!(weir.arrived(ATTACKER_SIDE)? >= before + 1_000);
    Ok(())
}
