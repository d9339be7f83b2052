//! The longest of many prefixes that a path begins with, by binary search over their lengths (Waldvogel et al., "Scalable
//! High Speed IP Routing Lookups", SIGCOMM 1997, §4). What a look-up costs depends on how many different lengths there
//! are, and on that by its logarithm, but not on how many prefixes.

use foldhash::{HashMap, HashMapExt};

/// Prefixes, each with a value. Immutable.
#[derive(Debug)]
pub(super) struct Prefixes<T> {
    /// Lengths that prefixes have, ascending, each once.
    lengths: Vec<usize>,
    /// By text: prefixes, and the beginnings of prefixes at which the search has to be told to go on to longer ones. The
    /// value is the longest prefix of the text.
    marks: HashMap<Box<[u8]>, Option<usize>>,
    all: Vec<Prefix<T>>,
}

#[derive(Debug)]
struct Prefix<T> {
    text: Box<[u8]>,
    value: T,
    /// The longest other prefix that this one begins with.
    shorter: Option<usize>,
}

impl<T> Default for Prefixes<T> {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl<T> Prefixes<T> {
    /// `values` by their prefix, each text once.
    pub(super) fn new(mut values: Vec<(String, T)>) -> Self {
        // Each comes after all that it begins with.
        values.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut lengths: Vec<usize> = values.iter().map(|(text, _)| text.len()).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let mut prefixes: Vec<Prefix<T>> = Vec::with_capacity(values.len());
        for (text, value) in values {
            let text = text.into_bytes().into_boxed_slice();
            let mut shorter = prefixes.len().checked_sub(1);
            while let Some(index) = shorter
                && !text.starts_with(&prefixes[index].text)
            {
                shorter = prefixes[index].shorter;
            }
            prefixes.push(Prefix {
                text,
                value,
                shorter,
            });
        }
        let mut search = Self {
            lengths,
            marks: HashMap::new(),
            all: prefixes,
        };
        if search.all.len() > FEW {
            for index in 0..search.all.len() {
                search.mark(index);
            }
        }
        search
    }

    /// Leaves a mark wherever the search for prefix number `index` comes by.
    fn mark(&mut self, index: usize) {
        let text = &self.all[index].text;
        let (mut low, mut high) = (0, self.lengths.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            let length = self.lengths[middle];
            if length > text.len() {
                high = middle;
                continue;
            }
            let beginning = &text[..length];
            if !self.marks.contains_key(beginning) {
                let longest = self
                    .chain(Some(index))
                    .find(|&index| self.all[index].text.len() <= length);
                self.marks.insert(beginning.into(), longest);
            }
            if length == text.len() {
                return;
            }
            low = middle + 1;
        }
    }

    /// The values of all prefixes of `path`, the longest first.
    pub(super) fn of(&self, path: &str) -> impl Iterator<Item = &T> {
        let path = path.as_bytes();
        let longest = if self.all.len() > FEW {
            self.search(path)
        } else {
            // Sorted: the last one is the longest.
            let mut all = self.all.iter();
            all.rposition(|prefix| path.starts_with(&prefix.text))
        };
        self.chain(longest).map(|index| &self.all[index].value)
    }

    fn search(&self, path: &[u8]) -> Option<usize> {
        let mut longest = None;
        let (mut low, mut high) = (0, self.lengths.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            let beginning = path.get(..self.lengths[middle]);
            match beginning.and_then(|beginning| self.marks.get(beginning)) {
                Some(mark) => {
                    longest = *mark;
                    low = middle + 1;
                }
                None => high = middle,
            }
        }
        longest
    }

    /// Prefix number `from` and those it begins with.
    fn chain(&self, from: Option<usize>) -> impl Iterator<Item = usize> {
        std::iter::successors(from, |&index| self.all[index].shorter)
    }
}

/// Prefixes that are compared one by one: most hosts have one, and that costs fewer cache misses than a search.
const FEW: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(texts: &[String]) -> Prefixes<String> {
        Prefixes::new(
            texts
                .iter()
                .map(|text| (text.clone(), text.clone()))
                .collect(),
        )
    }

    /// What they are by definition.
    fn expected<'a>(texts: &'a [String], path: &str) -> Vec<&'a String> {
        let mut found: Vec<_> = texts
            .iter()
            .filter(|text| path.starts_with(text.as_str()))
            .collect();
        found.sort_by_key(|text| std::cmp::Reverse(text.len()));
        found
    }

    #[test]
    fn all_prefixes_are_found_the_longest_first() {
        let texts = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/b/", "/a/b/cd/e"].map(String::from);
        let prefixes = prefixes(&texts);
        for path in [
            "/",
            "/a",
            "/a/b/c/d",
            "/ab/c",
            "/b",
            "/b/",
            "/a/b/cd/e",
            "*",
            "",
        ] {
            let found: Vec<_> = prefixes.of(path).collect();
            assert_eq!(found, expected(&texts, path), "{path}");
        }
    }

    /// Sets of texts over two letters, so that many are prefixes of others: a generator with a fixed seed.
    #[test]
    fn the_search_agrees_with_looking_at_each_prefix() {
        let mut state = 1_u64;
        let mut random = move |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        let mut text = move |longest: u64| -> String {
            let length = random(longest + 1);
            (0..length)
                .map(|_| if random(3) == 0 { 'b' } else { 'a' })
                .collect()
        };
        for round in 0..300 {
            let mut texts: Vec<String> = (0..round % 40).map(|_| text(24)).collect();
            texts.sort();
            texts.dedup();
            let prefixes = prefixes(&texts);
            for _ in 0..50 {
                let path = text(32);
                let found: Vec<_> = prefixes.of(&path).collect();
                assert_eq!(found, expected(&texts, &path), "{texts:?} {path}");
            }
        }
    }
}
