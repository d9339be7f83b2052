//! The feeds thread: reads the files of networks to block, and makes the kernel's entries those that the files name.
//!
//! A file that cannot be read, or that is empty all of a sudden, leaves the entries as they are: whoever writes feeds has
//! bad days, and an empty blocklist is one more of them.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use parking_lot::{Condvar, Mutex};

use crate::admin::{api, view};
use crate::clock;
use crate::xdp::feed::{Contents, FeedError, Loaded, Stamp, load};
use crate::xdp::{Feed, Maps, ShieldError};

/// The feeds and what is known of them.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    shared: Mutex<Shared>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Shared {
    /// As configured.
    wanted: Vec<Feed>,
    /// Counts the changes of `wanted`.
    generation: u64,
    /// As of the thread's last round.
    known: Vec<Known>,
}

/// What is known of a feed.
#[derive(Debug, Clone)]
struct Known {
    feed: Feed,
    /// Of the file whose networks are in the kernel.
    stamp: Option<Stamp>,
    /// When to look again.
    due: Instant,
    entries: Option<usize>,
    read: Option<Instant>,
    refused: usize,
    problem: Option<String>,
    /// The file was empty the last time, and entries were kept.
    was_empty: bool,
}

impl Feeds {
    /// Starts the thread, which ends with the process.
    pub(super) fn start(pin_dir: &Path, feeds: &[Feed]) -> anyhow::Result<Arc<Self>> {
        let maps = Maps::open(pin_dir)?;
        let this = Arc::new(Self::default());
        this.set(feeds);
        let kept = Arc::clone(&this);
        std::thread::Builder::new()
            .name("feeds".to_owned())
            .spawn(move || this.run(&maps))
            .context("cannot start the feeds thread")?;
        Ok(kept)
    }

    /// Takes `feeds` in place of those before; every file is read again.
    pub(super) fn set(&self, feeds: &[Feed]) {
        let mut shared = self.shared.lock();
        shared.wanted = feeds.to_vec();
        shared.generation += 1;
        self.changed.notify_one();
    }

    /// As the admin API tells it.
    pub(super) fn to_api(&self, now: Instant) -> Vec<api::Feed> {
        let shared = self.shared.lock();
        let feeds = shared.wanted.iter();
        feeds
            .map(|feed| {
                let known = shared.known.iter().find(|known| known.feed == *feed);
                told(feed, known, now)
            })
            .collect()
    }

    fn run(&self, maps: &Maps) {
        let mut known: Vec<Known> = Vec::new();
        let mut generation = 0;
        loop {
            let (wanted, newest) = {
                let shared = self.shared.lock();
                (shared.wanted.clone(), shared.generation)
            };
            if newest != generation {
                generation = newest;
                known = renewed(&known, wanted, clock::now());
                forget_others(maps, &known);
            }
            round(maps, &mut known);
            let next = known.iter().map(|known| known.due).min();
            let mut shared = self.shared.lock();
            shared.known.clone_from(&known);
            if shared.generation == generation {
                let now = clock::now();
                let pause = next.map_or(IDLE, |due| due.saturating_duration_since(now));
                self.changed.wait_for(&mut shared, pause.min(IDLE));
            }
        }
    }
}

/// What is known of `wanted`, all of them to be read at once.
fn renewed(before: &[Known], wanted: Vec<Feed>, now: Instant) -> Vec<Known> {
    let fresh = |feed: Feed| {
        let same = before.iter().find(|known| known.feed == feed);
        match same {
            Some(known) => Known {
                stamp: None,
                due: now,
                ..known.clone()
            },
            None => Known {
                feed,
                stamp: None,
                due: now,
                entries: None,
                read: None,
                refused: 0,
                problem: None,
                was_empty: false,
            },
        }
    };
    wanted.into_iter().map(fresh).collect()
}

/// Removes the entries of feeds that are no longer configured.
fn forget_others(maps: &Maps, known: &[Known]) {
    let wanted: HashSet<String> = known.iter().map(|known| origin(&known.feed)).collect();
    let forgotten = maps.origins().and_then(|origins| {
        for origin in origins {
            if !origin.starts_with(ORIGIN) || wanted.contains(&origin) {
                continue;
            }
            let replaced = maps.replace_set(&origin, [], "", clock::kernel_now_ns())?;
            if replaced.removed > 0 {
                tracing::info!(%origin, entries = replaced.removed, "feed no longer configured: entries removed");
            }
        }
        Ok(())
    });
    if let Err(error) = forgotten {
        tracing::warn!(%error, hint = %error.hint, "cannot remove the entries of feeds that are gone");
    }
}

/// Looks at every feed that is due.
fn round(maps: &Maps, known: &mut [Known]) {
    for index in 0..known.len() {
        if known[index].due > clock::now() {
            continue;
        }
        if known[index].refresh(maps) == Change::Removed {
            // What this feed no longer names another one may: a network has one entry, of whoever was first.
            let now = clock::now();
            for (_, other) in known.iter_mut().enumerate().filter(|(at, _)| *at != index) {
                (other.stamp, other.due) = (None, now);
            }
        }
    }
}

/// What became of the kernel's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// None was removed.
    None,
    Removed,
}

impl Known {
    /// Reads the file, if it is another than before, and takes what it says.
    fn refresh(&mut self, maps: &Maps) -> Change {
        let loaded = load(&self.feed.file, self.stamp.as_ref());
        let now = clock::now();
        self.due = now + self.feed.refresh;
        match loaded {
            Ok(None) => {
                self.read = Some(now);
                self.solved();
                Change::None
            }
            Ok(Some(loaded)) => {
                self.read = Some(now);
                self.refused = loaded.contents.refused.count;
                self.take(maps, &loaded).unwrap_or_else(|error| {
                    self.due = now + RETRY.min(self.feed.refresh);
                    self.trouble(error.message, &error.hint);
                    Change::None
                })
            }
            Err(error) => {
                if matches!(error, FeedError::Changing { .. }) {
                    self.due = now + RETRY.min(self.feed.refresh);
                }
                let hint = error.hint();
                self.trouble(error.to_string(), hint);
                Change::None
            }
        }
    }

    fn take(&mut self, maps: &Maps, loaded: &Loaded) -> Result<Change, ShieldError> {
        let Loaded { contents, stamp } = loaded;
        let origin = origin(&self.feed);
        if contents.networks.is_empty() {
            let kept = maps.count_of(&origin)?;
            if kept > 0 && !(is_empty(contents) && self.was_empty) {
                self.was_empty = is_empty(contents);
                self.stamp = None;
                self.entries = Some(kept);
                let file = self.feed.file.display();
                self.trouble(
                    format!("{file} names no network any more; its {kept} entries stay"),
                    "if it is to be empty, leave it empty until it is read again; else write it anew",
                );
                return Ok(Change::None);
            }
        }
        self.remark(contents);
        let reason = self.feed.file.file_name().unwrap_or_default();
        let replaced = maps.replace_set(
            &origin,
            contents.networks.iter().copied(),
            &reason.to_string_lossy(),
            clock::kernel_now_ns(),
        )?;
        if replaced.added + replaced.removed > 0 {
            tracing::info!(
                feed = %self.feed.name,
                added = replaced.added,
                removed = replaced.removed,
                entries = replaced.entries,
                "feed taken"
            );
        }
        self.stamp = Some(*stamp);
        self.entries = Some(replaced.entries);
        self.was_empty = false;
        self.solved();
        Ok(if replaced.removed > 0 {
            Change::Removed
        } else {
            Change::None
        })
    }

    /// Says what was left out.
    fn remark(&self, contents: &Contents) {
        let feed = &self.feed.name;
        for (remarks, what) in [
            (
                &contents.refused,
                "lines name no network that can be blocked, and were left out",
            ),
            (&contents.masked, "lines have bits set after the prefix"),
        ] {
            if let Some(first) = remarks.shown.first() {
                tracing::warn!(%feed, lines = remarks.count, first = %first, "{what}");
            }
        }
        if contents.beyond > 0 {
            tracing::warn!(%feed, networks = contents.beyond, "the feed is too long; these were left out");
        }
    }

    /// Says what is wrong, once.
    fn trouble(&mut self, problem: String, hint: &str) {
        if self.problem.as_ref() != Some(&problem) {
            tracing::warn!(feed = %self.feed.name, %hint, "feed not taken, its entries stay: {problem}");
        }
        self.problem = Some(problem);
    }

    fn solved(&mut self) {
        if self.problem.take().is_some() {
            tracing::info!(feed = %self.feed.name, "feed is readable again");
        }
    }
}

/// Whether there is nothing in the file but comments.
fn is_empty(contents: &Contents) -> bool {
    contents.networks.is_empty() && contents.refused.count == 0 && contents.beyond == 0
}

fn origin(feed: &Feed) -> String {
    format!("{ORIGIN}{}", feed.name)
}

fn told(feed: &Feed, known: Option<&Known>, now: Instant) -> api::Feed {
    let ago = |then: Instant| {
        let elapsed = now.saturating_duration_since(then).as_nanos();
        view::seconds(u64::try_from(elapsed).unwrap_or(u64::MAX))
    };
    api::Feed {
        name: feed.name.clone(),
        file: feed.file.display().to_string(),
        entries: known.and_then(|known| known.entries),
        read_seconds_ago: known.and_then(|known| known.read).map(ago),
        refused_lines: known.map_or(0, |known| known.refused),
        problem: known.and_then(|known| known.problem.clone()),
    }
}

/// Beginning of the origin of a feed's entries.
const ORIGIN: &str = "feed:";
/// Wait before a file that somebody is writing, or a kernel that refuses, is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Longest sleep.
const IDLE: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(name: &str) -> Feed {
        Feed {
            name: name.to_owned(),
            file: format!("/nonexistent/{name}").into(),
            refresh: Duration::from_mins(1),
        }
    }

    #[test]
    fn a_reload_keeps_what_is_known_of_a_feed_but_reads_it_again() {
        let now = clock::now();
        let mut known = renewed(&[], vec![feed("a"), feed("b")], now);
        known[0].entries = Some(7);
        known[0].due = now + Duration::from_mins(1);
        let known = renewed(&known, vec![feed("c"), feed("a")], now);
        let told: Vec<_> = known
            .iter()
            .map(|k| (k.feed.name.as_str(), k.entries))
            .collect();
        assert_eq!(told, [("c", None), ("a", Some(7))]);
        assert!(
            known
                .iter()
                .all(|known| known.due == now && known.stamp.is_none())
        );
    }

    #[test]
    fn a_feed_nobody_has_read_yet_says_so() {
        let feed = feed("drop");
        let told = told(&feed, None, clock::now());
        assert_eq!((told.entries, told.read_seconds_ago), (None, None));
        assert_eq!(told.name, "drop");
    }

    #[test]
    fn a_file_of_nothing_but_refused_lines_is_not_empty() {
        let parse = |text: &str| crate::xdp::feed::parse(text.as_bytes()).expect("in memory");
        assert!(is_empty(&parse("# nothing today\n")));
        assert!(!is_empty(&parse("<html>404</html>\n")));
        assert!(!is_empty(&parse("192.0.2.1\n")));
    }
}
