//! Files of networks to block.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use weir_lab::topology::client_v4;
use weir_lab::{Config, Lab, Weir, until};

use crate::lists::{is_served, serves};
use crate::{SOON, Test};

fn config(feeds: &[(&str, &Path)]) -> Config {
    let feeds: Vec<String> = feeds
        .iter()
        .map(|(name, file)| {
            format!(
                "{{ name = {name:?}, file = \"{}\", refresh = \"1s\" }}",
                file.display()
            )
        })
        .collect();
    Config {
        shield: format!("feeds = [{}]\n", feeds.join(", ")),
        ..Config::default()
    }
}

/// Replaces the file as a careful writer does.
fn write(file: &Path, text: &str) -> Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, text)?;
    Ok(std::fs::rename(&new, file)?)
}

fn file(lab: &Lab, name: &str) -> PathBuf {
    lab.directory().join(name)
}

/// What `weir status` says of the feed at `index`.
fn feed(weir: &Weir<'_>, index: usize) -> Result<Value> {
    Ok(weir.json(&["status"])?["shield"]["feeds"][index].clone())
}

fn has_entries(weir: &Weir<'_>, index: usize, entries: u64) -> Result<bool> {
    Ok(feed(weir, index)?["entries"] == entries)
}

#[test]
fn a_feed_is_taken_at_the_start_and_again_when_it_changes_and_goes_with_its_configuration() -> Test
{
    let lab = Lab::new()?;
    let drop = file(&lab, "drop.txt");
    let client = client_v4(1);
    write(&drop, &format!("# today\n{client} ; SBL1\n198.18.0.0/24\n"))?;
    let weir = Weir::start(&lab, &config(&[("drop", &drop)]))?;
    until(SOON, "the feed's entries", || has_entries(&weir, 0, 2))?;
    ensure!(!is_served(&lab, client)?);
    let entry = weir.block_of("198.18.0.0/24")?.context("listed")?;
    ensure!(entry["origin"] == "feed:drop", "{entry}");
    ensure!(entry["reason"] == "drop.txt", "{entry}");
    ensure!(entry["expires_in_seconds"].is_null(), "{entry}");

    // More than are edited one by one.
    let mut many = String::new();
    for n in 0..5000 {
        writeln!(many, "198.19.{}.{}", n / 256, n % 256)?;
    }
    write(&drop, &many)?;
    until(SOON, "the new entries", || has_entries(&weir, 0, 5000))?;
    serves(&lab, client).context("no longer named")?;
    ensure!(weir.block_of("198.18.0.0/24")?.is_none());
    ensure!(weir.block_of("198.19.0.7")?.is_some());

    weir.rewrite(&Config::default().text(&lab))?;
    weir.ok(&["reload"])?;
    until(SOON, "the entries to go", || {
        Ok(weir.block_of("198.19.0.7")?.is_none())
    })
}

#[test]
fn a_feed_that_is_missing_or_suddenly_empty_keeps_its_entries_and_says_why() -> Test {
    let lab = Lab::new()?;
    let drop = file(&lab, "drop.txt");
    write(&drop, "198.18.0.0/24\nnonsense\n")?;
    let weir = Weir::start(&lab, &config(&[("drop", &drop)]))?;
    until(SOON, "the feed's entries", || has_entries(&weir, 0, 1))?;
    ensure!(feed(&weir, 0)?["refused_lines"] == 1);
    let told = |part: &str| {
        Ok(feed(&weir, 0)?["problem"]
            .as_str()
            .is_some_and(|problem| problem.contains(part)))
    };

    std::fs::remove_file(&drop)?;
    until(SOON, "the missing file to be told", || told("cannot read"))?;
    ensure!(weir.block_of("198.18.0.0/24")?.is_some());

    write(&drop, "<html>503</html>\n")?;
    until(SOON, "the lost networks to be told", || {
        told("names no network")
    })?;
    std::thread::sleep(Duration::from_millis(2500));
    ensure!(
        weir.block_of("198.18.0.0/24")?.is_some(),
        "nonsense never empties a list"
    );

    // Empty twice in a row is meant.
    write(&drop, "# nothing today\n")?;
    until(SOON, "the entries to go", || {
        Ok(weir.block_of("198.18.0.0/24")?.is_none())
    })?;
    until(SOON, "all to be well", || {
        Ok(feed(&weir, 0)?["problem"].is_null())
    })
}

#[test]
fn a_network_in_two_feeds_stays_blocked_when_one_of_them_lets_it_go() -> Test {
    let lab = Lab::new()?;
    let (one, two) = (file(&lab, "one.txt"), file(&lab, "two.txt"));
    write(&one, "198.18.0.0/24\n198.18.1.0/24\n")?;
    write(&two, "198.18.1.0/24\n198.18.2.0/24\n")?;
    let weir = Weir::start(&lab, &config(&[("one", &one), ("two", &two)]))?;
    until(SOON, "both feeds", || {
        Ok(weir.block_of("198.18.2.0/24")?.is_some() && weir.block_of("198.18.0.0/24")?.is_some())
    })?;
    let origin = |network: &str| -> Result<Value> {
        Ok(weir.block_of(network)?.context("listed")?["origin"].clone())
    };
    ensure!(origin("198.18.1.0/24")? == "feed:one");
    write(&one, "198.18.0.0/24\n")?;
    until(SOON, "the other feed to take over", || {
        Ok(weir
            .block_of("198.18.1.0/24")?
            .is_some_and(|entry| entry["origin"] == "feed:two"))
    })
}
