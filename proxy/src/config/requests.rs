//! `[requests]`

use super::reader::Table;
use crate::route::{EncodedSlashes, RequestSettings, Underscores};

/// `[requests]`
pub(super) fn requests(root: &mut Table<'_>) -> RequestSettings {
    let mut table = root.section("requests");
    let settings = RequestSettings {
        encoded_slashes: table.choice(
            "encoded_slashes",
            EncodedSlashes::Refuse,
            &[
                ("refuse", EncodedSlashes::Refuse),
                ("keep", EncodedSlashes::Keep),
            ],
            &[],
        ),
        underscores: table.choice(
            "underscores",
            Underscores::Drop,
            &[("drop", Underscores::Drop), ("refuse", Underscores::Refuse)],
            &[],
        ),
    };
    table.finish(&[]);
    settings
}
