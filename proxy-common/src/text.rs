//! Short texts inside map values: why an entry exists and who made it.

/// UTF-8 text of at most `N` bytes, padded with NUL.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Text<const N: usize>([u8; N]);

/// The text does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLong {
    /// Length of the refused text in bytes.
    pub len: usize,
    /// Longest text that fits, in bytes.
    pub max: usize,
}

impl core::fmt::Display for TooLong {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} bytes long, at most {} fit", self.len, self.max)
    }
}

impl core::error::Error for TooLong {}

impl<const N: usize> Text<N> {
    /// No text.
    pub const EMPTY: Self = Self([0; N]);

    /// Copies `text`; an error if it is longer than `N` bytes.
    pub fn new(text: &str) -> Result<Self, TooLong> {
        let mut bytes = [0; N];
        bytes
            .get_mut(..text.len())
            .ok_or(TooLong {
                len: text.len(),
                max: N,
            })?
            .copy_from_slice(text.as_bytes());
        Ok(Self(bytes))
    }

    /// Copies as much of `text` as fits, cut at a character boundary.
    pub fn truncated(text: &str) -> Self {
        let mut end = text.len().min(N);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let mut bytes = [0; N];
        bytes[..end].copy_from_slice(&text.as_bytes()[..end]);
        Self(bytes)
    }

    /// The text without its padding. Bytes that are no UTF-8 (a map that something else wrote) read as `?`.
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|&b| b == 0).unwrap_or(N);
        core::str::from_utf8(&self.0[..len]).unwrap_or("?")
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_fits_comes_back_whole() {
        assert_eq!(Text::<5>::new("abcde").map(|t| t.as_str().len()), Ok(5));
    }

    #[test]
    fn text_that_is_too_long_is_refused_and_says_by_how_much() {
        assert_eq!(Text::<4>::new("abcde"), Err(TooLong { len: 5, max: 4 }));
    }

    #[test]
    fn truncation_never_splits_a_character() {
        assert_eq!(Text::<4>::truncated("abcé").as_str(), "abc");
    }
}
