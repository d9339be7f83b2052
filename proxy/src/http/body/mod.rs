//! Content on its way through: streamed both ways, bounded in size and in time, never cut short silently.

mod encode;
mod pace;
mod request;
mod response;

pub(super) use encode::Encoding;
pub(super) use request::{RequestBody, Upload};
pub(super) use response::{FromOrigin, ResponseBody};

use http::Version;
use http_body::Body as _;
use hyper::body::Incoming;

/// Whether content that is over for hyper came to no end. HTTP/2's end is a flag, and a reset with `NO_ERROR`, which hyper takes
/// for an end, may stand in the middle (RFC 9113 §8.1 has it only after the end). In HTTP/1 hyper says so itself.
fn is_cut(incoming: &Incoming, version: Version) -> bool {
    version == Version::HTTP_2 && !incoming.is_end_stream()
}

/// What hyper takes as a body's error; its text goes to the debug log only.
type BoxError = Box<dyn std::error::Error + Send + Sync>;
