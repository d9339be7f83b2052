//! What an earlier weir, or one that died half-way, left pinned.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap};
use weir::xdp::Maps;
use weir_common::{ShieldSettings, Text};
use weir_lab::{Config, Lab, Weir};

use crate::Test;
use crate::swap::pinned;

/// An entry as maps of version 1 have it, without end.
fn entry_v1(origin: &str, reason: &str, prefix_len: u8) -> [u8; 96] {
    let mut entry = [0; 96];
    entry[8..16].copy_from_slice(&5_u64.to_ne_bytes());
    entry[16..16 + origin.len()].copy_from_slice(origin.as_bytes());
    entry[48..48 + reason.len()].copy_from_slice(reason.as_bytes());
    entry[95] = prefix_len;
    entry
}

fn pin_v1(directory: &Path) -> Result<()> {
    let mut exact = HashMap::<_, [u8; 4], [u8; 96]>::create(64, 0)?;
    exact.insert([198, 18, 0, 7], entry_v1("cli", "scan", 32), 0)?;
    let mut expired = entry_v1("cli", "old", 32);
    expired[0] = 1;
    exact.insert([198, 18, 0, 8], expired, 0)?;
    exact.pin(directory.join("BLOCK4"))?;
    let mut prefixes64 = HashMap::<_, [u8; 8], [u8; 96]>::create(64, 0)?;
    let key = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 7];
    prefixes64.insert(key, entry_v1("detect:login", "20 in 1m", 64), 0)?;
    prefixes64.pin(directory.join("BLOCK6_64"))?;
    let mut trie = LpmTrie::<_, [u8; 4], [u8; 96]>::create(64, 1)?;
    trie.insert(&Key::new(24, [198, 18, 9, 0]), entry_v1("cli", "", 24), 0)?;
    trie.pin(directory.join("BLOCK_LPM4"))?;
    let mut allowed = LpmTrie::<_, [u8; 16], [u8; 96]>::create(64, 1)?;
    let mut address = [0; 16];
    address[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
    allowed.insert(&Key::new(32, address), entry_v1("cli", "us", 32), 0)?;
    allowed.pin(directory.join("ALLOW_LPM6"))?;
    Ok(())
}

#[test]
fn entries_of_maps_version_1_are_taken_over_and_its_pins_removed() -> Test {
    let lab = Lab::new()?;
    let directory = pinned(&lab).join("v1");
    std::fs::create_dir_all(&directory)?;
    pin_v1(&directory)?;
    let weir = Weir::start(&lab, &Config::default())?;
    for (network, origin, reason) in [
        ("198.18.0.7", "cli", "scan"),
        ("2001:db8:0:7::/64", "detect:login", "20 in 1m"),
        ("198.18.9.0/24", "cli", ""),
    ] {
        let entry = weir
            .block_of(network)?
            .with_context(|| network.to_owned())?;
        ensure!(
            entry["origin"] == origin && entry["reason"] == reason,
            "{entry}"
        );
        ensure!(entry["expires_in_seconds"].is_null(), "{entry}");
    }
    ensure!(weir.block_of("198.18.0.8")?.is_none(), "it had expired");
    let allowed = weir.json(&["list", "allow"])?;
    ensure!(
        allowed["entries"][0]["network"] == "2001:db8::/32",
        "{allowed}"
    );
    ensure!(!directory.exists());
    Ok(())
}

#[test]
fn maps_of_an_unknown_version_are_left_alone_and_named() -> Test {
    let lab = Lab::new()?;
    let directory = pinned(&lab).join("v9");
    std::fs::create_dir_all(&directory)?;
    let weir = Weir::prepare(&lab, &Config::default().text(&lab))?;
    let output = weir.run(&["run"])?;
    ensure!(output.code == 1, "{output:?}");
    ensure!(
        output.stderr.contains("version 9") && output.stderr.contains("weir detach"),
        "{output:?}"
    );
    ensure!(directory.exists());
    ensure!(!pinned(&lab).join("v2").exists(), "nothing was made");
    Ok(())
}

#[test]
fn settings_that_a_weir_was_about_to_put_into_force_when_it_died_are_put_into_force() -> Test {
    let lab = Lab::new()?;
    let mut weir = Weir::start(&lab, &Config::default())?;
    weir.ok(&["block", "198.18.0.7"])?;
    weir.kill()?;
    let pins = pinned(&lab);
    let maps = Maps::open(&pins)?;
    let before = maps.generation()?;
    let mut settings =
        aya::maps::Map::from_map_data(aya::maps::MapData::from_pin(pins.join("v2/SETTINGS-0"))?)?;
    let in_force = Array::<_, ShieldSettings>::try_from(&mut settings)?.get(&0, 0)?;
    let mut about_to = Array::<_, ShieldSettings>::create(1, 0)?;
    let next = ShieldSettings {
        generation: before + 100,
        ..in_force
    };
    about_to.set(0, next, 0)?;
    about_to.pin(pins.join("v2/SETTINGS-0-incoming"))?;
    ensure!(maps.generation()? == before, "nobody has looked");
    weir.ok(&["unblock", "198.18.0.7"])?;
    ensure!(maps.generation()? >= before + 100, "{}", maps.generation()?);
    ensure!(!pins.join("v2/SETTINGS-0-incoming").exists());
    Ok(())
}

#[test]
fn what_a_crashed_exchange_of_lists_left_is_cleared_away_at_the_start() -> Test {
    let lab = Lab::new()?;
    let mut weir = Weir::start(&lab, &Config::default())?;
    weir.ok(&["block", "198.18.0.7"])?;
    weir.kill()?;
    let pins = pinned(&lab).join("v2");
    for name in ["BLOCK4-1", "BITS-next", "SOURCES-next"] {
        let junk = HashMap::<_, [u8; 4], [u8; 24]>::create(64, 0)?;
        junk.pin(pins.join(name))?;
    }
    weir.resume()?;
    for name in ["BLOCK4-1", "BITS-next", "SOURCES-next"] {
        ensure!(!pins.join(name).exists(), "{name}");
    }
    ensure!(weir.block_of("198.18.0.7")?.is_some());

    // Pins of the set in force that somebody removed: the lists start anew.
    weir.kill()?;
    std::fs::remove_file(pins.join("BLOCK6-0"))?;
    let listed = weir.run(&["list"])?;
    ensure!(
        listed.code == 1 && listed.stderr.contains("missing"),
        "{listed:?}"
    );
    weir.resume()?;
    weir.ok(&["block", "198.18.0.9"])?;
    ensure!(weir.block_of("198.18.0.9")?.is_some());
    Ok(())
}

#[test]
fn many_reasons_share_the_notes_and_unused_ones_are_removed() -> Test {
    let lab = Lab::new()?;
    let mut weir = Weir::start(&lab, &Config::default())?;
    weir.kill()?;
    let maps = Maps::open(&pinned(&lab))?;
    let list = weir::xdp::List::Block;
    for n in 0..100_u8 {
        let network = format!("198.18.0.{n}/32").parse()?;
        let reason = format!("reason {}", n % 10);
        maps.insert(list, network, None, "cli", &reason, 1_000_000_000)?;
    }
    let notes = || -> Result<usize> {
        let map = aya::maps::MapData::from_pin(pinned(&lab).join("v2/NOTES"))?;
        let map = aya::maps::Map::from_map_data(map)?;
        let map = HashMap::<_, u32, weir_common::Note>::try_from(&map)?;
        Ok(map.keys().count())
    };
    ensure!(notes()? == 10, "{}", notes()?);
    for n in 0..100_u8 {
        if n % 10 != 3 {
            maps.remove(list, format!("198.18.0.{n}/32").parse()?)?;
        }
    }
    maps.sweep(2_000_000_000)?;
    ensure!(notes()? == 1, "{}", notes()?);
    let left = maps.entries(list, 2_000_000_000)?;
    ensure!(left.len() == 10, "{left:?}");
    ensure!(left[0].reason == Text::truncated("reason 3"), "{left:?}");
    Ok(())
}

#[test]
fn pre_tests_of_entries_that_are_gone_are_cleared_by_a_sweep() -> Test {
    let lab = Lab::new()?;
    let mut weir = Weir::start(&lab, &Config::default())?;
    weir.kill()?;
    let maps = Maps::open(&pinned(&lab))?;
    let list = weir::xdp::List::Block;
    let brief = Some(std::time::Duration::from_secs(1));
    for n in 0..5000_u32 {
        let address = std::net::Ipv4Addr::from_bits((198 << 24) + (18 << 16) + n);
        let network = ipnet::IpNet::from(std::net::IpAddr::V4(address));
        maps.insert(list, network, brief, "cli", "", 1)?;
    }
    maps.insert(list, "192.0.2.1/32".parse()?, None, "cli", "", 1)?;
    let set = || -> Result<u32> {
        let map = aya::maps::MapData::from_pin(pinned(&lab).join("v2/BITS-0"))?;
        let map = aya::maps::Map::from_map_data(map)?;
        let map = Array::<_, u64>::try_from(&map)?;
        map.iter()
            .try_fold(0, |sum, word| Ok(sum + word?.count_ones()))
    };
    ensure!(set()? > 9000, "{}", set()?);
    let later_ns = 60_000_000_000;
    maps.sweep(later_ns)?;
    ensure!(set()? == 2, "{}", set()?);
    ensure!(maps.census(later_ns)?.blocks == 1);
    // The maps that others have open are the new ones.
    let other = Maps::open(&pinned(&lab))?;
    other.insert(list, "192.0.2.2/32".parse()?, None, "cli", "", 1)?;
    maps.insert(list, "192.0.2.3/32".parse()?, None, "cli", "", 1)?;
    ensure!(set()? == 6, "{}", set()?);
    Ok(())
}
