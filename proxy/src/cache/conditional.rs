//! Conditional requests answered from the store (RFC 9111 §4.3.2, RFC 9110 §13): If-None-Match and If-Modified-Since. The
//! others are forwarded.

use http::header::{DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::StoredResponse;
use super::directives::is_whitespace;
use super::freshness::date;

/// What a hit is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// The stored response.
    Serve,
    /// 304 with [`StoredResponse::not_modified_fields`].
    NotModified,
}

impl StoredResponse {
    /// Evaluates a GET's or HEAD's If-None-Match, and only without it If-Modified-Since (RFC 9110 §13.2.2). Neither counts
    /// when what is stored is not a 200.
    pub fn evaluate_conditionals(&self, request: &HeaderMap) -> Precondition {
        let unchanged = self.status == StatusCode::OK
            && if request.contains_key(IF_NONE_MATCH) {
                self.has_any_of(request)
            } else {
                self.is_unmodified_since(request)
            };
        if unchanged {
            Precondition::NotModified
        } else {
            Precondition::Serve
        }
    }

    /// If-None-Match: `*`, or a list with our entity tag by weak comparison (RFC 9110 §8.8.3.2).
    fn has_any_of(&self, request: &HeaderMap) -> bool {
        let lines = request.get_all(IF_NONE_MATCH);
        if lines
            .iter()
            .any(|line| line.as_bytes().trim_ascii() == b"*")
        {
            return true;
        }
        let mut own = self.fields.get_all(ETAG).iter();
        let (Some(own), None) = (own.next().and_then(opaque_tag), own.next()) else {
            return false;
        };
        let mut lines = lines.iter();
        lines.any(|line| EntityTags(line.as_bytes()).any(|tag| tag == own))
    }

    /// If-Modified-Since, compared with Last-Modified or else Date. One that is no date is ignored.
    fn is_unmodified_since(&self, request: &HeaderMap) -> bool {
        let modified = date(&self.fields, &LAST_MODIFIED).or_else(|| date(&self.fields, &DATE));
        match (date(request, &IF_MODIFIED_SINCE), modified) {
            (Some(since), Some(modified)) => modified <= since,
            _ => false,
        }
    }
}

/// The quoted part of a field that is one entity tag.
fn opaque_tag(field: &HeaderValue) -> Option<&[u8]> {
    let mut tags = EntityTags(field.as_bytes());
    tags.next().filter(|_| tags.0.trim_ascii().is_empty())
}

/// The quoted parts of the entity tags in a list; ends at what is none.
struct EntityTags<'a>(&'a [u8]);

impl<'a> Iterator for EntityTags<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let text = self.0;
        let start = text.iter().position(|b| !is_whitespace(*b) && *b != b',')?;
        let text = &text[start..];
        let text = text.strip_prefix(b"W/").unwrap_or(text);
        let inner = text.strip_prefix(b"\"")?;
        // No escapes: an entity tag is not a quoted-string (RFC 9110 §8.8.3).
        let end = inner.iter().position(|b| *b == b'"')?;
        self.0 = &inner[end + 1..];
        Some(&inner[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::super::response::tests::response;
    use super::*;

    const MODIFIED: (&str, &str) = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
    const SAME: (&str, &str) = ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT");
    const BEFORE: (&str, &str) = ("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT");
    const AFTER: (&str, &str) = ("if-modified-since", "Sunday, 06-Nov-94 08:49:38 GMT");

    fn evaluate(
        stored: &[(&'static str, &'static str)],
        request: &[(&'static str, &'static str)],
    ) -> Precondition {
        let mut fields = HeaderMap::new();
        for (name, value) in request {
            fields.append(*name, HeaderValue::from_static(value));
        }
        response(stored).evaluate_conditionals(&fields)
    }

    #[test]
    fn if_none_match_compares_weakly_in_lists() {
        for (etag, if_none_match, expected) in [
            ("\"a\"", "\"a\"", true),
            ("\"a\"", "W/\"a\"", true),
            ("W/\"a\"", "\"a\"", true),
            ("\"a\"", "\"b\" , W/\"c\",,\"a\"", true),
            ("\"a\"", "*", true),
            ("\"a\"", " * ", true),
            ("\"a,b\"", "\"x\", \"a,b\"", true),
            ("\"\"", "\"\"", true),
            ("\"a\"", "\"A\"", false),
            ("\"a\"", "a", false),
            ("a", "a", false),
            ("a", "\"a\"", false),
            ("\"a\"x", "\"a\"", false),
            ("\"a\"", "w/\"a\"", false),
            ("\"a\"", "\"b", false),
            ("\"a\"", "b, \"a\"", false),
            ("\"a\"", "", false),
        ] {
            let precondition = evaluate(&[("etag", etag)], &[("if-none-match", if_none_match)]);
            let not_modified = precondition == Precondition::NotModified;
            assert_eq!(not_modified, expected, "{etag} against {if_none_match}");
        }
    }

    #[test]
    fn if_none_match_reads_every_line_and_needs_one_entity_tag() {
        let lines = [("if-none-match", "\"b\""), ("if-none-match", "\"a\"")];
        assert_eq!(
            evaluate(&[("etag", "\"a\"")], &lines),
            Precondition::NotModified
        );
        assert_eq!(evaluate(&[], &lines), Precondition::Serve);
        let two = [("etag", "\"a\""), ("etag", "\"b\"")];
        assert_eq!(evaluate(&two, &lines), Precondition::Serve);
        assert_eq!(
            evaluate(&[], &[("if-none-match", "*")]),
            Precondition::NotModified
        );
    }

    #[test]
    fn if_modified_since_counts_only_without_if_none_match() {
        for (request, expected) in [
            (&[SAME][..], true),
            (&[AFTER], true),
            (&[BEFORE], false),
            (&[("if-modified-since", "soon")], false),
            (&[SAME, SAME], false),
            (&[], false),
            (&[SAME, ("if-none-match", "\"other\"")], false),
            (&[BEFORE, ("if-none-match", "\"a\"")], true),
        ] {
            let precondition = evaluate(&[("etag", "\"a\""), MODIFIED], request);
            let not_modified = precondition == Precondition::NotModified;
            assert_eq!(not_modified, expected, "{request:?}");
        }
    }

    #[test]
    fn without_last_modified_date_stands_in() {
        let date = [("date", "Sun, 06 Nov 1994 08:49:37 GMT")];
        assert_eq!(evaluate(&date, &[SAME]), Precondition::NotModified);
        assert_eq!(evaluate(&date, &[BEFORE]), Precondition::Serve);
        assert_eq!(evaluate(&[], &[SAME]), Precondition::Serve);
    }

    #[test]
    fn only_a_stored_200_is_conditional() {
        let mut stored = response(&[("etag", "\"a\"")]);
        stored.status = StatusCode::NOT_FOUND;
        let mut request = HeaderMap::new();
        request.insert(IF_NONE_MATCH, HeaderValue::from_static("\"a\""));
        assert_eq!(stored.evaluate_conditionals(&request), Precondition::Serve);
    }
}
