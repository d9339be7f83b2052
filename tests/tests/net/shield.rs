//! Attaching and detaching.

use anyhow::{Context as _, Result, ensure};
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use weir_lab::topology::{ATTACKER_SIDE, BOTNET_V4, CLIENT_SIDE, client_v4};
use weir_lab::{Config, Flood, Lab, Protocol, Sources, Weir};

use crate::Test;
use crate::lists::is_served;
use crate::swap::pinned;

#[test]
fn detach_takes_the_program_off_and_removes_the_pins() -> Test {
    let lab = Lab::new()?;
    let mut weir = Weir::start(&lab, &Config::default())?;
    weir.ok(&["block", BOTNET_V4])?;
    ensure!(programs(&lab)?.len() == 2);
    weir.terminate()?;
    ensure!(
        programs(&lab)?.len() == 2,
        "a stop leaves the shield in place"
    );
    weir.ok(&["detach"])?;
    ensure!(programs(&lab)?.is_empty(), "{:?}", programs(&lab)?);
    let pins = lab.directory().join("bpf/weir");
    let left: Vec<_> = std::fs::read_dir(&pins)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    ensure!(left.is_empty(), "{left:?}");
    let drops = weir.run(&["drops"])?;
    ensure!(drops.code != 0 && !drops.stderr.is_empty(), "{drops:?}");
    // And it can be put up again.
    weir.resume()?;
    ensure!(lab.get(client_v4(0), Protocol::Http1, "/")?.status == 200);
    Ok(())
}

fn unguarded() -> Config {
    Config {
        interfaces: Vec::new(),
        ..Config::default()
    }
}

#[test]
fn a_start_without_interfaces_takes_off_what_an_earlier_run_attached() -> Test {
    let lab = Lab::new()?;
    let mut weir = Weir::start(&lab, &Config::default())?;
    weir.kill()?;
    weir.rewrite(&unguarded().text(&lab))?;
    weir.resume()?;
    ensure!(!pinned(&lab).exists(), "the pins are gone");
    for interface in Config::default().interfaces {
        let told = weir
            .log()
            .lines()
            .any(|line| line.contains(&interface) && line.contains("packet filter detached"));
        ensure!(told, "{interface}: {}", weir.log());
    }
    lab.get(client_v4(0), Protocol::Http1, "/")?;
    Ok(())
}

#[test]
fn a_start_without_interfaces_leaves_alone_what_another_weir_guards_with() -> Test {
    let lab = Lab::new()?;
    let mut weir = Weir::start(&lab, &Config::default())?;
    weir.kill()?;
    // As long as it runs a weir holds this lock.
    let another = std::fs::File::open(pinned(&lab))?;
    another.lock()?;
    weir.rewrite(&unguarded().text(&lab))?;
    weir.resume()?;
    for interface in Config::default().interfaces {
        let link = pinned(&lab).join("v2").join(format!("link-{interface}"));
        ensure!(link.exists(), "{}", link.display());
    }
    ensure!(
        weir.log().contains("another running weir"),
        "{}",
        weir.log()
    );
    Ok(())
}

#[test]
fn a_reload_without_interfaces_takes_the_packet_filter_off_and_weir_serves_on() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &Config::default())?;
    let source = client_v4(1);
    weir.ok(&["block", &source.to_string()])?;
    ensure!(!is_served(&lab, source)?, "blocked");
    weir.rewrite(&unguarded().text(&lab))?;
    for _ in 0..2 {
        weir.ok(&["reload"])?;
        ensure!(!pinned(&lab).exists(), "the pins are gone");
        ensure!(is_served(&lab, source)?, "nothing filters");
    }
    ensure!(
        weir.log().contains("packet filter detached"),
        "{}",
        weir.log()
    );
    let status = weir.json(&["status"])?;
    ensure!(
        status["shield"]["interfaces"]
            .as_array()
            .is_none_or(Vec::is_empty),
        "{status}"
    );
    ensure!(weir.is_ready());
    Ok(())
}

#[test]
fn a_running_weir_whose_shield_was_detached_says_so_and_still_reloads() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &Config::default())?;
    weir.ok(&["detach"])?;
    let block = weir.run(&["block", BOTNET_V4])?;
    ensure!(block.code == 1, "{block:?}");
    ensure!(
        block.stderr.contains("the shield was detached") && block.stderr.contains("restart weir"),
        "{block:?}"
    );
    let reload = weir.run(&["reload"])?;
    ensure!(reload.code == 0, "{reload:?}");
    ensure!(reload.stderr.contains("the change of shield"), "{reload:?}");
    ensure!(lab.get(client_v4(0), Protocol::Http1, "/")?.status == 200);
    Ok(())
}

/// `ip link` lines of the gateway's interfaces that have an XDP program.
pub(crate) fn programs(lab: &Lab) -> Result<Vec<String>> {
    let output = lab.gateway.run(|| {
        std::process::Command::new("ip")
            .args(["-details", "-oneline", "link", "show"])
            .output()
    })??;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.contains("prog/xdp"))
        .map(str::to_owned)
        .collect())
}

#[test]
fn another_xdp_program_on_the_interface_is_named_and_left_alone() -> Test {
    let lab = Lab::new()?;
    let (foreign, id) = lab.gateway.run(|| attach_foreign(ATTACKER_SIDE))??;
    let mut weir = Weir::prepare(&lab, &Config::default().text(&lab))?;
    let refused = weir.resume().err().context("weir started")?;
    let message = format!("{refused:#}");
    ensure!(message.contains(ATTACKER_SIDE), "{message}");
    ensure!(message.contains(&id.to_string()), "{message}");
    let attached = programs(&lab)?;
    ensure!(
        attached.len() == 1,
        "only the other's is left: {attached:?}"
    );
    ensure!(attached[0].contains(ATTACKER_SIDE), "{attached:?}");
    drop(foreign);
    weir.resume()
}

#[test]
fn another_xdp_program_is_taken_off_when_that_is_asked_for() -> Test {
    let lab = Lab::new()?;
    let (foreign, id) = lab.gateway.run(|| attach_foreign(ATTACKER_SIDE))??;
    let weir = Weir::prepare(&lab, &Config::default().text(&lab))?;
    // One that hangs on a bpf link is its owner's to take off.
    let refused = weir.run(&["run", "--replace"])?;
    ensure!(refused.code == 1, "{refused:?}");
    ensure!(refused.stderr.contains(&id.to_string()), "{refused:?}");
    ensure!(refused.stderr.contains("bpf link"), "{refused:?}");
    drop(foreign);

    let pin = lab.directory().join("bpf/foreign");
    lab.gateway
        .run(|| attach_foreign_by_netlink(ATTACKER_SIDE, &pin))??;
    ensure!(programs(&lab)?.len() == 1);
    let refused = weir.run(&["run"])?;
    ensure!(refused.stderr.contains("--replace"), "{refused:?}");
    let mut weir = weir.with_arguments(&["--replace"]);
    weir.resume()?;
    ensure!(programs(&lab)?.len() == 2, "{:?}", programs(&lab)?);
    ensure!(lab.get(client_v4(0), Protocol::Http1, "/")?.status == 200);
    std::fs::remove_file(&pin)?;
    Ok(())
}

/// As old tools do it: without a bpf link, so that it stays when its maker ends.
fn attach_foreign_by_netlink(interface: &str, pin: &std::path::Path) -> Result<()> {
    let mut ebpf = load_foreign()?;
    let program: &mut Xdp = ebpf.program_mut("weir").context("no program")?.try_into()?;
    program.load()?;
    program.pin(pin)?;
    let status = std::process::Command::new("ip")
        .args(["link", "set", "dev", interface, "xdpgeneric", "pinned"])
        .arg(pin)
        .status()?;
    ensure!(status.success(), "ip link set: {status}");
    Ok(())
}

/// weir's own object does for a foreign program: nothing pinned it, so no weir knows it.
fn attach_foreign(interface: &str) -> Result<(Ebpf, u32)> {
    let mut ebpf = load_foreign()?;
    let program: &mut Xdp = ebpf.program_mut("weir").context("no program")?.try_into()?;
    program.load()?;
    program.attach(interface, XdpMode::default())?;
    let id = program.info()?.id();
    Ok((ebpf, id))
}

pub(crate) fn load_foreign() -> Result<Ebpf> {
    let object = weir_lab::weir::workspace().join("target/ebpf/weir.bpf.o");
    EbpfLoader::new()
        .map_max_entries(weir_common::maps::SOURCES, 1024)
        .map_max_entries(weir_common::maps::PREFIXES, 1024)
        .load_file(&object)
        .with_context(|| format!("loading {}: run `cargo xtask build-ebpf`", object.display()))
}

#[test]
fn an_interface_that_does_not_exist_is_one_clear_sentence() -> Test {
    let lab = Lab::new()?;
    let config = Config {
        interfaces: vec![CLIENT_SIDE.into(), "nope0".into()],
        ..Config::default()
    };
    let weir = Weir::prepare(&lab, &config.text(&lab))?;
    let output = weir.run(&["run"])?;
    ensure!(output.code == 1, "{output:?}");
    let sentences = output.stderr.lines().filter(|line| line.contains("nope0"));
    ensure!(sentences.count() == 1, "{output:?}");
    ensure!(!output.stderr.contains("panicked"), "{output:?}");
    ensure!(programs(&lab)?.is_empty(), "nothing stays attached");
    Ok(())
}

#[test]
fn generic_mode_drops_as_native_does() -> Test {
    let lab = Lab::new()?;
    let config = Config {
        shield: "mode = \"generic\"\n".into(),
        ..Config::default()
    };
    let weir = Weir::start(&lab, &config)?;
    let status = weir.json(&["status"])?;
    let modes = status["shield"]["interfaces"].as_array().context("none")?;
    ensure!(modes.iter().all(|i| i["mode"] == "generic"), "{status}");
    weir.ok(&["block", BOTNET_V4])?;
    Flood::syns(Sources::Within(BOTNET_V4.parse()?), 1_000)
        .send_counted(&lab.attackers, || weir.counted("blocked"))?;
    ensure!(weir.counted("blocked")? == 1_000);
    ensure!(lab.get(client_v4(0), Protocol::Http2, "/")?.status == 200);
    Ok(())
}

#[test]
fn without_interfaces_weir_is_a_proxy_alone() -> Test {
    let lab = Lab::new()?;
    let config = Config {
        interfaces: Vec::new(),
        ..Config::default()
    };
    let weir = Weir::start(&lab, &config)?;
    ensure!(lab.get(client_v4(0), Protocol::Http2, "/")?.status == 200);
    ensure!(programs(&lab)?.is_empty());
    let status = weir.json(&["status"])?;
    ensure!(status["shield"].is_null(), "{status}");
    Ok(())
}
