//! States by key, as an LRU map holds them; but nobody is evicted.

use core::cell::{Cell, RefCell};
use std::collections::HashMap;

use crate::shared::Shared;

/// Up to a fixed number of states, so that their places never move.
pub struct Table<T> {
    cells: Vec<Cell<T>>,
    places: RefCell<HashMap<u64, usize>>,
}

impl<T: Copy + Default> Table<T> {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            cells: vec![Cell::new(T::default()); capacity],
            places: RefCell::default(),
        }
    }

    /// The state of `key`.
    pub fn get(&self, key: u64) -> Option<T> {
        Some(self.find(key)?.read())
    }

    /// All states by key, in its order.
    pub fn all(&self) -> Vec<(u64, T)> {
        let places = self.places.borrow();
        let mut all: Vec<_> = places
            .iter()
            .map(|(&key, &place)| (key, self.cells[place].get()))
            .collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all
    }

    /// Puts a state there.
    pub fn put(&self, key: u64, value: T) {
        if let Some(place) = self.add(key, value) {
            place.write(value);
        }
    }

    pub(super) fn find(&self, key: u64) -> Option<Shared<'_, T>> {
        let place = *self.places.borrow().get(&key)?;
        self.cells.get(place).map(Shared::of)
    }

    /// A new state, or the one that is there; `None` if there is no room.
    pub(super) fn add(&self, key: u64, value: T) -> Option<Shared<'_, T>> {
        if let Some(there) = self.find(key) {
            return Some(there);
        }
        let mut places = self.places.borrow_mut();
        let place = places.len();
        let cell = self.cells.get(place)?;
        cell.set(value);
        places.insert(key, place);
        Some(Shared::of(cell))
    }

    pub(super) fn clear(&mut self) {
        self.places.get_mut().clear();
    }
}
