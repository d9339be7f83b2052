//! What the access log says of one request.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// One request. Its texts are as the client sent them, in one buffer: a worker makes a line for each request and another
/// thread drops it, so each allocation costs both.
#[derive(Debug, Clone)]
pub struct Line {
    /// When the request head had arrived.
    pub time: SystemTime,
    /// Who asked.
    pub client: IpAddr,
    /// `1.1`, `2`.
    pub version: &'static str,
    /// Status sent; `None` when the client went before there was one.
    pub status: Option<u16>,
    /// Content bytes sent.
    pub bytes: u64,
    /// Whether the response was sent to its end.
    pub complete: bool,
    /// Origin servers asked for it, the same one perhaps more than once; more than one = it was retried.
    pub attempts: u32,
    /// As in `Proxy-Status`, without the proxy's name.
    pub error: Option<&'static str>,
    /// Request head to the end of the response.
    pub duration: Duration,
    texts: String,
    /// Where in `texts` each of [`Text`] begins and ends.
    places: [Option<(usize, usize)>; TEXTS],
}

/// What a line quotes; the writer escapes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// Method.
    Method,
    /// Host asked for.
    Host,
    /// Path and query.
    Target,
    /// `Referer`.
    Referer,
    /// `User-Agent`.
    UserAgent,
    /// `upstream/host:port` that answered last.
    Origin,
    /// As in `Cache-Status`, without the cache's name.
    Cache,
    /// As in `X-Request-Id`.
    RequestId,
}

impl Line {
    /// A line about a request that arrived at `time`, of which nothing else is known yet.
    pub fn new(time: SystemTime, client: IpAddr, version: &'static str) -> Self {
        Self {
            time,
            client,
            version,
            status: None,
            bytes: 0,
            complete: false,
            attempts: 0,
            error: None,
            duration: Duration::ZERO,
            texts: String::with_capacity(TEXTS_BYTES_USUAL),
            places: [None; TEXTS],
        }
    }

    /// Sets `text` to `parts` in one; the last time counts. Over 2 KiB it is cut.
    pub fn set(&mut self, text: Text, parts: &[&str]) {
        let begin = self.texts.len();
        for part in parts {
            let room = TEXT_BYTES_MAX - (self.texts.len() - begin);
            self.texts.push_str(&part[..part.floor_char_boundary(room)]);
        }
        self.places[text as usize] = Some((begin, self.texts.len()));
    }

    /// What `text` was set to.
    pub fn text(&self, text: Text) -> Option<&str> {
        self.places[text as usize].map(|(begin, end)| &self.texts[begin..end])
    }
}

const TEXTS: usize = Text::RequestId as usize + 1;
/// Longest text of a line.
const TEXT_BYTES_MAX: usize = 2048;
/// Texts of most requests, origin included, take less.
const TEXTS_BYTES_USUAL: usize = 320;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
pub(super) mod tests {
    use super::*;

    pub(in crate::telemetry::access_log) fn line() -> Line {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let mut line = Line::new(time, "198.18.0.1".parse().unwrap(), "1.1");
        line.status = Some(200);
        line.bytes = 5;
        line.complete = true;
        line.attempts = 1;
        line.duration = Duration::from_micros(1500);
        line.set(Text::Method, &["GET"]);
        line.set(Text::Host, &["a.test"]);
        line.set(Text::Target, &["/x?y=1"]);
        line.set(Text::UserAgent, &["curl/8"]);
        line.set(Text::Origin, &["app", "/", "10.0.0.1:80"]);
        line.set(Text::RequestId, &["1f"]);
        line
    }

    #[test]
    fn the_last_text_of_a_kind_counts_and_others_stay() {
        let mut line = line();
        line.set(Text::Origin, &["app/", "10.0.0.2:80"]);
        assert_eq!(line.text(Text::Origin), Some("app/10.0.0.2:80"));
        assert_eq!(line.text(Text::Host), Some("a.test"));
        assert_eq!(line.text(Text::Referer), None);
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let mut line = line();
        let long = "é".repeat(TEXT_BYTES_MAX);
        line.set(Text::Target, &["/", &long, &long]);
        let cut = line.text(Text::Target).unwrap();
        assert_eq!(cut.len(), TEXT_BYTES_MAX - 1);
        assert!(cut.starts_with("/é") && cut.ends_with('é'));
    }
}
