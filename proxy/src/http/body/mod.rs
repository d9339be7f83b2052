//! Content on its way through: streamed both ways, bounded in size and in time, never cut short silently.

mod encode;
mod pace;
mod request;
mod response;

pub(super) use encode::Encoding;
pub(super) use request::{RequestBody, Upload};
pub(super) use response::{FromOrigin, ResponseBody};

/// What hyper takes as a body's error; its text goes to the debug log only.
type BoxError = Box<dyn std::error::Error + Send + Sync>;
