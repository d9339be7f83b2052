//! What a feed's text says: one network a line, as plain text or as JSON. Whoever made it is not trusted: a line that
//! names no network is left out and remarked on, and nothing in it is shown unescaped.
//!
//! | line | means |
//! |---|---|
//! | `192.0.2.0/24`, `2001:db8::1` | a prefix, an address |
//! | `192.0.2.0/24 ; SBL123`, `# …` | comments, after `;` or `#` |
//! | `{"cidr":"192.0.2.0/24","rir":"…"}`, `{"ip":"192.0.2.7"}` | JSON lines, other members are ignored |
//! | `{"type":"metadata"}` | nothing: an object without `cidr` and `ip` |

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

/// Longest line, in bytes without its end. Comments may be longer.
pub const LINE_BYTES_MAX: usize = 1024;
/// Networks read of one feed at most, repetitions included.
pub const NETWORKS_MAX: usize = 1_000_000;
/// Lines of each kind of remark that are kept; all are counted.
pub const REMARKS_SHOWN: usize = 10;

/// What a feed says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Networks without bits after their prefix, sorted, each once.
    pub networks: Vec<IpNet>,
    /// Lines that name no network that can be blocked. They are left out.
    pub refused: Remarks,
    /// Lines with bits set after the prefix. The prefix was taken.
    pub masked: Remarks,
    /// Networks left out because the feed has more than [`NETWORKS_MAX`].
    pub beyond: usize,
}

/// Lines that something is to be said of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remarks {
    /// The first [`REMARKS_SHOWN`].
    pub shown: Vec<Remark>,
    /// All.
    pub count: usize,
}

/// A line and what is to be said of it. Displays as `line 7: "1.2.3.4.5": not an address or prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// From 1.
    pub line: usize,
    /// The line, shortened, control characters escaped.
    pub text: String,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Neither an address nor a prefix.
    NotANetwork,
    /// Begins like a JSON object and is none, or has a `cidr` or `ip` that is no string.
    NotJson,
    /// A prefix of length 0: it would block everyone.
    Everyone,
    /// An IPv4-mapped IPv6 address, which no packet carries.
    Ipv4Mapped,
    /// More than [`LINE_BYTES_MAX`].
    TooLong,
    /// Bits are set after the prefix; the network is what was taken.
    HostBits(IpNet),
}

/// Reads all of `text`; whoever opened it bounds its size. Memory is that of the networks, 18 bytes each.
pub fn parse(text: impl BufRead) -> io::Result<Contents> {
    parse_at_most(NETWORKS_MAX, text)
}

fn parse_at_most(networks_max: usize, mut text: impl BufRead) -> io::Result<Contents> {
    let mut contents = Contents::default();
    let mut bytes = Vec::new();
    let mut number = 0;
    while let Some(length) = next_line(&mut text, &mut bytes)? {
        number += 1;
        contents.add(number, &bytes, length, networks_max);
    }
    contents.networks.sort_unstable();
    contents.networks.dedup();
    Ok(contents)
}

impl Contents {
    fn add(&mut self, number: usize, bytes: &[u8], length: Length, networks_max: usize) {
        // What is not UTF-8 may well be a comment.
        let line = String::from_utf8_lossy(bytes);
        let network = match network(&line, length) {
            Ok(Some(network)) => network,
            Ok(None) => return,
            Err(fault) => return self.refused.add(number, &line, fault),
        };
        if self.networks.len() == networks_max {
            self.beyond += 1;
            return;
        }
        let prefix = network.trunc();
        if prefix != network {
            self.masked.add(number, &line, Fault::HostBits(prefix));
        }
        self.networks.push(prefix);
    }
}

impl Remarks {
    fn add(&mut self, line: usize, text: &str, fault: Fault) {
        self.count += 1;
        if self.shown.len() < REMARKS_SHOWN {
            let text = shortened(text);
            self.shown.push(Remark { line, text, fault });
        }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, text, fault } = self;
        write!(f, "line {line}: \"{text}\": {fault}")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotANetwork => f.write_str("not an address or prefix"),
            Self::NotJson => f.write_str("not a JSON object with \"cidr\" or \"ip\""),
            Self::Everyone => f.write_str("would block everyone"),
            Self::Ipv4Mapped => {
                f.write_str("an IPv4-mapped address, which no packet carries as its source")
            }
            Self::TooLong => write!(f, "longer than {LINE_BYTES_MAX} bytes"),
            Self::HostBits(network) => {
                write!(f, "has bits set after the prefix, taken as {network}")
            }
        }
    }
}

/// A line of JSON.
#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    cidr: Option<Cow<'a, str>>,
    #[serde(borrow)]
    ip: Option<Cow<'a, str>>,
}

/// Whether a line was read to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    Whole,
    Cut,
}

/// Reads the next line into `line`, without its end and at most [`LINE_BYTES_MAX`] of it. `None` = there is none.
fn next_line(text: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<Length>> {
    const END: &[u8] = b"\r\n";
    line.clear();
    let most = (LINE_BYTES_MAX + END.len()) as u64;
    if io::Read::take(&mut *text, most).read_until(b'\n', line)? == 0 {
        return Ok(None);
    }
    if line.ends_with(b"\n") {
        line.pop();
    } else {
        text.skip_until(b'\n')?;
    }
    if line.ends_with(b"\r") {
        line.pop();
    }
    if line.len() > LINE_BYTES_MAX {
        line.truncate(LINE_BYTES_MAX);
        return Ok(Some(Length::Cut));
    }
    Ok(Some(Length::Whole))
}

/// The network that a line names, bits after its prefix included; `None` = it names none and need not.
fn network(line: &str, length: Length) -> Result<Option<IpNet>, Fault> {
    // The mark that some editors put in front of a text.
    let line = line.trim_start_matches('\u{feff}').trim();
    let (text, comment) = match line.find(['#', ';']) {
        Some(at) if !line.starts_with('{') => (line[..at].trim_end(), true),
        _ => (line, false),
    };
    if length == Length::Cut && !comment {
        return Err(Fault::TooLong);
    }
    if text.is_empty() {
        return Ok(None);
    }
    if !text.starts_with('{') {
        return named(text).map(Some);
    }
    let object: Object<'_> = serde_json::from_str(text).map_err(|_not_json| Fault::NotJson)?;
    object
        .cidr
        .or(object.ip)
        .map(|text| named(&text))
        .transpose()
}

fn named(text: &str) -> Result<IpNet, Fault> {
    let network = text
        .parse::<IpNet>()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
        .ok_or(Fault::NotANetwork)?;
    if network.prefix_len() == 0 {
        return Err(Fault::Everyone);
    }
    match network {
        IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() => Err(Fault::Ipv4Mapped),
        IpNet::V4(_) | IpNet::V6(_) => Ok(network),
    }
}

/// The first [`TEXT_CHARS`] characters, fit for a terminal.
fn shortened(text: &str) -> String {
    let text = text.trim();
    let mut shown: String = text
        .chars()
        .take(TEXT_CHARS)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(TEXT_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

const TEXT_CHARS: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(text: impl AsRef<[u8]>) -> Contents {
        parse(text.as_ref()).expect("memory can be read")
    }

    fn networks(text: impl AsRef<[u8]>) -> Vec<String> {
        contents(text)
            .networks
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// What is said of the lines of `text`, none of which may be taken.
    fn refused(text: impl AsRef<[u8]>) -> Vec<String> {
        let contents = contents(text);
        assert_eq!(contents.networks, []);
        contents
            .refused
            .shown
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_line_is_an_address_or_a_prefix() {
        for (line, network) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("  192.0.2.0/24\t", "192.0.2.0/24"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("128.0.0.0/1", "128.0.0.0/1"),
            ("\u{feff}192.0.2.7", "192.0.2.7/32"),
            ("192.0.2.7 # scanner", "192.0.2.7/32"),
            ("192.0.2.7#scanner; again", "192.0.2.7/32"),
        ] {
            assert_eq!(networks(line), [network], "{line}");
        }
    }

    #[test]
    fn the_text_form_of_spamhaus_drop_is_read() {
        let text = "; Spamhaus DROP List 2026/11/25 - (c) 2026 The Spamhaus Project SLI\n\
                    ; Last-Modified: Wed, 25 Nov 2026 05:07:04 GMT\n\
                    1.10.16.0/20 ; SBL256894\n\
                    1.19.0.0/16 ; SBL434604\n\
                    2a06:e480::/29 ; SBL301771\n";
        assert_eq!(
            networks(text),
            ["1.10.16.0/20", "1.19.0.0/16", "2a06:e480::/29"]
        );
        assert_eq!(contents(text).refused.count, 0);
    }

    #[test]
    fn the_json_lines_of_spamhaus_drop_are_read_and_their_last_line_is_none() {
        let text = r#"{"cidr":"1.10.16.0/20","sblid":"SBL256894","rir":"apnic"}
{ "ip" : "192.0.2.7", "cidr" : null }
{"ip":"192.0.2.8","cidr":"192.0.2.0\/24"}
{"type":"metadata","timestamp":1764047224,"size":62,"records":2,"copyright":"(c) 2026 # ; The Spamhaus Project SLI"}
"#;
        assert_eq!(
            networks(text),
            ["1.10.16.0/20", "192.0.2.0/24", "192.0.2.7/32"]
        );
        assert_eq!(contents(text).refused, Remarks::default());
    }

    #[test]
    fn empty_lines_and_comments_are_no_networks_whatever_the_line_ends() {
        let text = "\r\n# a\r\n;\r\n   \r\n192.0.2.7\r\n\r\n198.51.100.0/24 ; b\r\n192.0.2.9";
        assert_eq!(
            networks(text),
            ["192.0.2.7/32", "192.0.2.9/32", "198.51.100.0/24"]
        );
        assert_eq!(contents(text).refused.count, 0);
        assert_eq!(contents(""), Contents::default());
    }

    #[test]
    fn a_comment_need_not_be_utf_8() {
        assert_eq!(networks(b"192.0.2.7 ; Telef\xf3nica\n"), ["192.0.2.7/32"]);
    }

    #[test]
    fn repeated_networks_are_one_and_all_are_sorted() {
        assert_eq!(
            networks("2001:db8::/32\n192.0.2.0/24\n10.0.0.0/8\n192.0.2.7/24\n10.0.0.0/9\n"),
            ["10.0.0.0/8", "10.0.0.0/9", "192.0.2.0/24", "2001:db8::/32"]
        );
    }

    #[test]
    fn lines_that_name_no_network_are_told_with_number_and_text() {
        for (line, told) in [
            (
                "example.com",
                "line 1: \"example.com\": not an address or prefix",
            ),
            (
                "192.0.2.0/33",
                "line 1: \"192.0.2.0/33\": not an address or prefix",
            ),
            (
                "192.0.2.0-192.0.2.9 # range",
                "line 1: \"192.0.2.0-192.0.2.9 # range\": not an address or prefix",
            ),
            (
                "192.0.2.7 443",
                "line 1: \"192.0.2.7 443\": not an address or prefix",
            ),
            (
                "010.0.0.1",
                "line 1: \"010.0.0.1\": not an address or prefix",
            ),
            ("<html>", "line 1: \"<html>\": not an address or prefix"),
            (
                "::ffff:192.0.2.7",
                "line 1: \"::ffff:192.0.2.7\": an IPv4-mapped address, which no packet carries as its source",
            ),
            (
                "{\"cidr\":\"x\"}",
                "line 1: \"{\\\"cidr\\\":\\\"x\\\"}\": not an address or prefix",
            ),
            (
                "{cidr: 1}",
                "line 1: \"{cidr: 1}\": not a JSON object with \"cidr\" or \"ip\"",
            ),
            (
                "{\"ip\":16909060}",
                "line 1: \"{\\\"ip\\\":16909060}\": not a JSON object with \"cidr\" or \"ip\"",
            ),
        ] {
            assert_eq!(refused(line), [told], "{line}");
        }
    }

    #[test]
    fn no_feed_blocks_everyone() {
        for line in ["0.0.0.0/0", "::/0", "192.0.2.7/0", "{\"cidr\":\"::/0\"}"] {
            let told = refused(line);
            assert!(told[0].ends_with("would block everyone"), "{line}");
        }
    }

    #[test]
    fn bits_after_the_prefix_are_taken_off_with_a_remark() {
        let contents = contents("192.0.2.7/24\n192.0.2.0/24\n2001:db8::1/64\n");
        assert_eq!(contents.networks.len(), 2);
        assert_eq!(contents.refused.count, 0);
        let told: Vec<String> = contents
            .masked
            .shown
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            told,
            [
                "line 1: \"192.0.2.7/24\": has bits set after the prefix, taken as 192.0.2.0/24",
                "line 3: \"2001:db8::1/64\": has bits set after the prefix, taken as 2001:db8::/64",
            ]
        );
    }

    #[test]
    fn the_first_remarks_are_shown_and_all_are_counted() {
        let contents = contents("x\n".repeat(1000) + "192.0.2.7\n");
        assert_eq!(contents.networks.len(), 1);
        assert_eq!(contents.refused.count, 1000);
        let lines: Vec<usize> = contents
            .refused
            .shown
            .iter()
            .map(|remark| remark.line)
            .collect();
        assert_eq!(lines, (1..=REMARKS_SHOWN).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_shown_is_short_and_harmless_in_a_terminal() {
        let contents = contents(format!("\u{1b}[2J\u{7}{}\n", "ä".repeat(200)));
        let text = &contents.refused.shown[0].text;
        assert!(text.starts_with("\\u{1b}[2J\\u{7}ä"), "{text}");
        assert!(text.ends_with("ä…"));
        assert!(!text.chars().any(char::is_control));
    }

    #[test]
    fn a_line_longer_than_the_bound_is_one_refused_line() {
        let padded = |length: usize| format!("192.0.2.7{}", " ".repeat(length - 9));
        for end in ["\n", "\r\n", ""] {
            let text = format!("{}{end}", padded(LINE_BYTES_MAX));
            assert_eq!(networks(text), ["192.0.2.7/32"]);
            for over in [1, 2, 3, 100_000] {
                let text = format!(
                    "198.51.100.1\n{}{end}\n198.51.100.2\n",
                    padded(LINE_BYTES_MAX + over)
                );
                let contents = contents(&text);
                assert_eq!(contents.networks.len(), 2, "{over}");
                assert_eq!(contents.refused.count, 1);
                let remark = &contents.refused.shown[0];
                assert_eq!((remark.line, remark.fault), (2, Fault::TooLong));
            }
        }
        let long = "x".repeat(LINE_BYTES_MAX * 2);
        assert_eq!(
            networks(format!("# {long}\n192.0.2.7 ; {long}")),
            ["192.0.2.7/32"]
        );
        let json = format!("{{\"ip\":\"192.0.2.7\",\"#\":\"{long}\"}}");
        assert_eq!(contents(json).refused.count, 1);
    }

    #[test]
    fn more_networks_than_the_bound_are_left_out_and_counted() {
        let text = "192.0.2.1\n192.0.2.2\nnonsense\n192.0.2.2\n192.0.2.3\n192.0.2.4\n";
        let contents = parse_at_most(3, text.as_bytes()).expect("memory can be read");
        assert_eq!(
            contents.networks.len(),
            2,
            "a repetition takes a place while it is read"
        );
        assert_eq!(contents.beyond, 2);
        assert_eq!(contents.refused.count, 1);
    }

    #[test]
    fn noise_is_refused_without_harm() {
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .take(1 << 20)
        .collect();
        let contents = contents(&noise);
        assert!(contents.refused.count > 100);
        assert_eq!(refused("{".repeat(1000)).len(), 1);
    }
}
