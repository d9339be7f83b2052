//! Whole lists at once: what packets, other processes and the kernel's memory see of it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, Map, MapData};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader, TestRun as _, TestRunOptions};
use ipnet::IpNet;
use weir::xdp::{List, Maps};
use weir_common::settings::CookieMode;
use weir_common::{Outcome, ShieldSettings, Totals, maps};
use weir_lab::frame::{Kind, frame};
use weir_lab::{Config, Lab, Weir};

use crate::Test;

/// The maps of the weir in `lab`.
pub(crate) fn pinned(lab: &Lab) -> PathBuf {
    lab.directory().join("bpf/weir")
}

/// A second instance of the program over the same maps, which counts in a slot of its own.
fn program_over(pins: &Path) -> Result<Ebpf> {
    let object = weir_lab::weir::workspace().join("target/ebpf/weir.bpf.o");
    let mut loader = EbpfLoader::new();
    loader.override_global("SLOT", &SLOT, true);
    for name in maps::ALL {
        loader.map_pin_path(name, pins.join("v2").join(name));
    }
    let mut ebpf = loader
        .load_file(&object)
        .with_context(|| format!("loading {}: run `cargo xtask build-ebpf`", object.display()))?;
    let program: &mut Xdp = ebpf.program_mut("weir").context("no program")?.try_into()?;
    program.load()?;
    Ok(ebpf)
}

fn judge(ebpf: &Ebpf, packet: &[u8], times: u32) -> Result<()> {
    let program: &Xdp = ebpf.program("weir").context("no program")?.try_into()?;
    program.test_run(TestRunOptions {
        data_in: Some(packet),
        repeat: times,
        ..Default::default()
    })?;
    Ok(())
}

fn totals(ebpf: &Ebpf) -> Result<Totals> {
    let map = ebpf.map(maps::TOTALS).context("no TOTALS")?;
    let map = aya::maps::PerCpuArray::<_, Totals>::try_from(map)?;
    let mut sum = Totals::ZERO;
    for totals in map.get(&SLOT, 0)?.iter() {
        sum.add(totals);
    }
    Ok(sum)
}

/// `count` addresses from `first` on.
fn addresses(first: Ipv4Addr, count: u32) -> impl Iterator<Item = IpNet> {
    let first = first.to_bits();
    (0..count).map(move |n| IpNet::from(IpAddr::V4(Ipv4Addr::from_bits(first + n))))
}

#[test]
fn a_packet_that_both_lists_block_never_slips_through_while_one_takes_the_others_place() -> Test {
    let lab = Lab::new()?;
    let mut weir = Weir::start(&lab, &Config::default())?;
    weir.kill()?;
    let pins = pinned(&lab);
    let ebpf = program_over(&pins)?;
    // The first list has the source as an address, the second one as part of a prefix: whoever sees a half of one and a
    // half of the other finds neither.
    let source = Ipv4Addr::new(198, 18, 0, 7);
    let victim = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let packet = frame(Kind::Syn { port: 80 }, [2; 6], source.into(), victim, 1);
    let first: Vec<IpNet> = addresses(Ipv4Addr::new(198, 18, 0, 0), 2000).collect();
    let mut second: Vec<IpNet> = addresses(Ipv4Addr::new(198, 19, 0, 0), 2000).collect();
    second.push("198.18.0.0/24".parse()?);
    let swaps = Maps::open(&pins)?;
    let mut now_ns = 1;
    swaps.replace_set("feed:test", first.iter().copied(), "", now_ns)?;
    let before = totals(&ebpf)?;

    let done = AtomicBool::new(false);
    let judged = std::thread::scope(|scope| {
        let judging = scope.spawn(|| -> Result<u64> {
            let mut judged = 0;
            while !done.load(Relaxed) {
                judge(&ebpf, &packet, 500)?;
                judged += 500;
            }
            Ok(judged)
        });
        let swapped = (0..10).try_for_each(|round| -> Result<()> {
            let list = if round % 2 == 0 { &second } else { &first };
            now_ns += 1;
            let replaced = swaps.replace_set("feed:test", list.iter().copied(), "", now_ns)?;
            ensure!(replaced.entries == list.len(), "{replaced:?}");
            Ok(())
        });
        done.store(true, Relaxed);
        swapped?;
        judging.join().expect("the judge does not panic")
    })?;
    let after = totals(&ebpf)?;
    let counted = |outcome| after.of(outcome).packets - before.of(outcome).packets;
    let others: Vec<_> = Outcome::ALL
        .into_iter()
        .filter(|outcome| *outcome != Outcome::Blocked && counted(*outcome) > 0)
        .collect();
    ensure!(others.is_empty(), "{others:?} among {judged} packets");
    ensure!(counted(Outcome::Blocked) == judged && judged > 1000);
    ensure!(
        !pins.join("v2/BLOCK4-1").exists() || !pins.join("v2/BLOCK4-0").exists(),
        "the set that is not in force takes no memory"
    );
    Ok(())
}

/// What is listed, what is dropped and whether cookies are sent, all of it other than in [`after_reload`].
fn before_reload() -> Config {
    Config {
        shield: format!(
            "block = [\"198.18.0.1\"]\n{SWITCHES}syn_cookies = {{ mode = \"off\" }}\n\
             sanity = {{ amplification = \"pass\", bad_flags = \"drop\" }}\n"
        ),
        ..Config::default()
    }
}

/// See [`before_reload`].
fn after_reload() -> Config {
    Config {
        shield: format!(
            "block = [\"198.18.0.2\"]\n{SWITCHES}syn_cookies = {{ mode = \"always\" }}\n\
             sanity = {{ amplification = \"drop\", bad_flags = \"pass\" }}\n"
        ),
        ..Config::default()
    }
}

/// The settings in force.
fn settings(pins: &Path) -> Result<ShieldSettings> {
    let data = MapData::from_pin(pins.join("v2/SETTINGS-0"))?;
    let map = Array::<_, ShieldSettings>::try_from(Map::from_map_data(data)?)?;
    Ok(map.get(&0, 0)?)
}

#[test]
fn a_reload_is_one_generation_of_lists_settings_and_cookies() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &before_reload())?;
    let pins = pinned(&lab);
    for (config, mode) in [
        (after_reload(), CookieMode::Always),
        (before_reload(), CookieMode::Off),
    ] {
        let before = settings(&pins)?;
        weir.rewrite(&config.text(&lab))?;
        weir.ok(&["reload"])?;
        let after = settings(&pins)?;
        ensure!(after.generation == before.generation + 1, "{mode:?}");
        ensure!(after.cookies.mode == mode as u8, "{:?}", after.cookies);
        ensure!(after.set != before.set && after.sanity != before.sanity);
        weir.ok(&["reload"])?;
        ensure!(settings(&pins)? == after, "nothing changed");
    }
    Ok(())
}

/// One packet only the lists before stop and the settings after, another one the lists after and the settings before: a
/// packet that meets the lists of one configuration and the settings of the other passes, whichever comes first.
#[test]
fn no_packet_is_judged_by_the_lists_of_one_configuration_and_the_settings_of_another() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &before_reload())?;
    let pins = pinned(&lab);
    let ebpf = program_over(&pins)?;
    let victim = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let from = |last, kind| {
        let source = IpAddr::V4(Ipv4Addr::new(198, 18, 0, last));
        frame(kind, [2; 6], source, victim, 1)
    };
    let reflected = from(1, Kind::UdpFrom { ports: (53, 9) });
    let (ports, flags) = ((9, 9), SYN_FIN);
    let scan = from(2, Kind::Tcp { ports, flags });
    let before = totals(&ebpf)?;

    let done = AtomicBool::new(false);
    let judged = std::thread::scope(|scope| {
        let judging = scope.spawn(|| -> Result<u64> {
            let mut judged = 0;
            while !done.load(Relaxed) {
                judge(&ebpf, &reflected, 100)?;
                judge(&ebpf, &scan, 100)?;
                judged += 200;
            }
            Ok(judged)
        });
        let reloaded = (0..10).try_for_each(|round| -> Result<()> {
            let config = if round % 2 == 0 {
                after_reload()
            } else {
                before_reload()
            };
            weir.rewrite(&config.text(&lab))?;
            weir.ok(&["reload"]).map(drop)
        });
        done.store(true, Relaxed);
        reloaded?;
        judging.join().expect("the judge does not panic")
    })?;
    let after = totals(&ebpf)?;
    let counted = |outcome| after.of(outcome).packets - before.of(outcome).packets;
    for outcome in Outcome::ALL {
        let (expected, count) = match outcome {
            Outcome::Blocked | Outcome::Amplification | Outcome::BadFlags => {
                (true, counted(outcome))
            }
            other => (false, counted(other)),
        };
        let what = outcome.as_str();
        ensure!((count > 0) == expected, "{what}: {count} of {judged}");
    }
    Ok(())
}

#[test]
fn an_exchange_keeps_others_entries_and_the_hits_of_those_that_stay() -> Test {
    let lab = Lab::new()?;
    let mut weir = Weir::start(&lab, &Config::default())?;
    weir.ok(&["block", "198.18.99.9", "--for", "1h", "--reason", "kept"])?;
    weir.ok(&["allow", "198.18.200.0/24"])?;
    weir.kill()?;
    let pins = pinned(&lab);
    let ebpf = program_over(&pins)?;
    let maps = Maps::open(&pins)?;
    let list: Vec<IpNet> = addresses(Ipv4Addr::new(198, 18, 0, 0), 3000).collect();
    maps.replace_set("feed:test", list.iter().copied(), "drop.txt", 1)?;
    let victim = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    for source in [[198, 18, 99, 9], [198, 18, 0, 7]] {
        let source = IpAddr::from(source);
        judge(&ebpf, &frame(Kind::Echo, [2; 6], source, victim, 1), 10)?;
    }
    // Other sizes, too: 5,000 blocked addresses of which the first 3,000 were there.
    let list: Vec<IpNet> = addresses(Ipv4Addr::new(198, 18, 0, 0), 5000).collect();
    let other = Maps::open(&pins)?;
    let replaced = maps.replace_set("feed:test", list.iter().copied(), "drop.txt", 2)?;
    ensure!(
        (replaced.added, replaced.removed) == (2000, 0),
        "{replaced:?}"
    );
    for network in ["198.18.99.9", "198.18.0.7"] {
        let entry = weir.block_of(network)?.context("listed")?;
        ensure!(entry["hits"] == 10, "{entry}");
    }
    let entry = weir.block_of("198.18.0.7")?.context("listed")?;
    ensure!(
        entry["origin"] == "feed:test" && entry["reason"] == "drop.txt",
        "{entry}"
    );
    // Who had the old set open finds the new one.
    ensure!(other.is_allowed("198.18.200.7/32".parse()?, 3)?);
    ensure!(other.count_of("feed:test")? == 5000);
    ensure!(other.entries(List::Block, 3)?.len() == 5001);
    let sources = weir.json(&["sources", "198.18.0.7"])?;
    ensure!(sources["sources"][0]["drops"]["blocked"] == 10, "{sources}");

    maps.replace_set("feed:test", [], "", 4)?;
    ensure!(other.entries(List::Block, 5)?.len() == 1);
    ensure!(weir.block_of("198.18.99.9")?.context("listed")?["hits"] == 10);
    Ok(())
}

#[test]
fn other_capacities_move_the_entries_while_weir_runs() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &Config::default())?;
    weir.ok(&["block", "198.18.99.9", "2001:db8:7::/64", "198.18.0.0/20"])?;
    let text = Config::default().text(&lab);
    weir.rewrite(&text.replace("blocks = 65536", "blocks = 2048"))?;
    weir.ok(&["reload"])?;
    let map = MapData::from_pin(pinned(&lab).join("v2/BLOCK4-1"))?;
    ensure!(map.info()?.max_entries() == 2048);
    for network in ["198.18.99.9", "2001:db8:7::/64", "198.18.0.0/20"] {
        ensure!(weir.block_of(network)?.is_some(), "{network}");
    }
    weir.ok(&["unblock", "198.18.99.9"])?;
    ensure!(weir.block_of("198.18.99.9")?.is_none());
    Ok(())
}

#[test]
fn the_memory_that_check_foretells_is_what_the_kernel_takes() -> Test {
    let lab = Lab::new()?;
    let weir = Weir::start(&lab, &Config::default())?;
    let foretold = weir.json(&["check"])?;
    let tables = foretold["tables"]["maps"].as_array().context("no tables")?;
    let pins = pinned(&lab).join("v2");
    for table in tables {
        let (name, bytes) = (table["name"].as_str(), table["bytes"].as_u64());
        let (name, bytes) = (name.context("a name")?, bytes.context("bytes")?);
        let inner = pins.join(format!("{name}-0"));
        let path = if inner.exists() {
            inner
        } else {
            pins.join(name)
        };
        let taken = memlock(&path)?;
        if bytes > 64 << 10 {
            ensure!(
                taken.abs_diff(bytes) <= taken / 10,
                "{name}: {taken} taken, {bytes} foretold"
            );
        }
    }
    Ok(())
}

/// What the kernel says a pinned map takes, bytes.
fn memlock(path: &Path) -> Result<u64> {
    use std::os::fd::{AsFd as _, AsRawFd as _};
    let map = MapData::from_pin(path)?;
    let number = map.fd().as_fd().as_raw_fd();
    let fdinfo = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
    let line = fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("memlock:"));
    Ok(line.context("no memlock")?.trim().parse()?)
}

/// Lines of `[shield]` without which cookies would not work in the lab.
const SWITCHES: &str = "manage_sysctls = true\n";
/// Control bits that no stack sends together.
const SYN_FIN: u8 = 3;
/// Slot of the second instance: no interface of the lab has it.
const SLOT: u32 = 63;
