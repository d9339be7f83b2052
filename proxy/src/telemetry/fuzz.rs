//! What holds of logs, whatever a client sends, for the fuzz targets.

pub use super::access_log::fuzz::line;
