//! "Did you mean": the nearest known word, by edit distance.

/// The candidate nearest to `word`, if one is near enough to be a slip of the keyboard: at most a third of its
/// letters changed, inserted, left out or swapped with the next. Case and `-` for `_` do not count.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = folded(word);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &folded(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(word.len()).max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn folded(word: &str) -> Vec<char> {
    // Longer words are no key of ours; cutting them bounds the work, which is quadratic.
    word.chars()
        .take(64)
        .map(|c| {
            if c == '-' {
                '_'
            } else {
                c.to_ascii_lowercase()
            }
        })
        .collect()
}

/// Optimal string alignment distance: Levenshtein's, and a swap of neighbours counts as one.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &to) in b.iter().enumerate() {
            let changed = last[j] + usize::from(from != to);
            let mut best = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from == b[j - 1] && a[i - 1] == to {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 5] = ["address", "tls", "http", "limits", "block_for"];

    #[test]
    fn slips_of_the_keyboard_find_the_key_that_was_meant() {
        for (typed, meant) in [
            ("adress", "address"),
            ("addres", "address"),
            ("addrses", "address"),
            ("tsl", "tls"),
            ("limit", "limits"),
            ("Limits", "limits"),
            ("block-for", "block_for"),
            ("blockfor", "block_for"),
        ] {
            assert_eq!(nearest(typed, KEYS), Some(meant), "{typed}");
        }
    }

    #[test]
    fn words_that_share_little_suggest_nothing() {
        for typed in ["port", "certificate", "x", ""] {
            assert_eq!(nearest(typed, KEYS), None, "{typed}");
        }
    }

    #[test]
    fn the_nearest_of_several_wins() {
        assert_eq!(
            nearest("block", ["blocks", "block_for", "lock"]),
            Some("blocks")
        );
        assert_eq!(nearest("x", []), None);
    }
}
