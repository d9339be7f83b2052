//! `[cache]`

use super::reader::Table;
use super::value::{Refusal, size_text};
use crate::cache::Settings;

/// Most memory that can be given to the cache, in bytes: 1 TiB.
const MEMORY_MAX: u64 = 1 << 40;
const DEFAULT_MEMORY: u64 = 256 << 20;
const DEFAULT_OBJECT: u64 = 64 << 20;

/// `[cache]`
pub(super) fn cache(root: &mut Table<'_>) -> Settings {
    let mut table = root.section("cache");
    let memory = table.size("memory", DEFAULT_MEMORY, 0..=MEMORY_MAX);
    let max_object = table.take("max_object").and_then(|node| {
        let bytes = node.size(1..=MEMORY_MAX)?;
        if bytes > memory {
            node.refuse(Refusal::conflict(
                format!("larger than cache.memory, which is {}", size_text(memory)),
                "lower it, or raise cache.memory",
            ));
        }
        Some(bytes)
    });
    table.finish(&["disk", "stale_while_revalidate", "stale_if_error"]);
    Settings {
        memory,
        max_object: max_object.unwrap_or(DEFAULT_OBJECT.min(memory)),
    }
}
