//! Waiting for something to become true, with a deadline instead of a fixed sleep.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Polls `condition` until it returns a value, at most for `limit`. `what` completes "waited …s for".
pub fn within<T>(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {limit:?} for {what}");
        }
        std::thread::sleep(STEP);
    }
}

/// [`within`] for a plain yes or no.
pub fn until(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<bool>,
) -> Result<()> {
    within(limit, what, || Ok(condition()?.then_some(())))
}

/// Time between two looks.
const STEP: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_never_holds_ends_with_an_error_that_names_it() {
        let error = until(Duration::ZERO, "the impossible", || Ok(false)).expect_err("never true");
        assert!(error.to_string().contains("the impossible"));
    }

    #[test]
    fn a_condition_that_holds_is_looked_at_even_when_the_deadline_is_over() {
        assert!(matches!(
            within(Duration::ZERO, "a value", || Ok(Some(7))),
            Ok(7)
        ));
    }
}
