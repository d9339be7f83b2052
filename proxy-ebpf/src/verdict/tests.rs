//! Host tests of the verdicts.
