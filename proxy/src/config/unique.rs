//! Names, addresses and patterns that may stand only once.

use std::collections::HashMap;
use std::hash::Hash;

use super::value::Refusal;

/// Where each value stood first.
pub(super) struct Unique<T> {
    first: HashMap<T, (String, usize)>,
}

impl<T: Eq + Hash> Unique<T> {
    pub(super) fn new() -> Self {
        Self {
            first: HashMap::new(),
        }
    }

    /// Notes that `value` stands at `key` on `line`; refuses it when it stood somewhere before.
    pub(super) fn insert(&mut self, value: T, key: &str, line: usize) -> Result<(), Refusal> {
        if let Some((earlier, line)) = self.first.get(&value) {
            return Err(Refusal::conflict(
                format!("the same as {earlier} on line {line}"),
                "remove or change one of them",
            ));
        }
        self.first.insert(value, (key.to_owned(), line));
        Ok(())
    }

    /// Where `value` stands: key path and line.
    pub(super) fn place(&self, value: &T) -> Option<&(String, usize)> {
        self.first.get(value)
    }
}
