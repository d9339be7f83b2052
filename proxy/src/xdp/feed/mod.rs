//! Feeds: files of networks to block that others make, such as Spamhaus DROP. `parse` is what a text says, `file` when a
//! file has to be read again. Neither writes into a list nor decides when to look.

mod file;
mod parse;

pub use self::file::{FILE_BYTES_MAX, FeedError, Loaded, Stamp, load};
pub use self::parse::{
    Contents, Fault, LINE_BYTES_MAX, NETWORKS_MAX, REMARKS_SHOWN, Remark, Remarks, parse,
};
