//! Nominated fields (RFC 9111 §4.1): which request fields a response depends on, and whether two requests agree in them.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue, VARY};

use super::directives::is_whitespace;

/// Most fields that Vary may nominate; responses that vary by more are not stored.
pub(super) const NOMINATED_MAX: usize = 8;

/// Nominated request fields, sorted by name, and the lines they had; none = the field was absent.
pub(super) type Nominated = Vec<(HeaderName, Vec<HeaderValue>)>;

/// What `response` nominates and `request` said. `None` if the response cannot be reused: `*`, not a field name, or too many.
pub(super) fn nominated_fields(request: &HeaderMap, response: &HeaderMap) -> Option<Nominated> {
    let mut names: Vec<HeaderName> = Vec::new();
    for line in response.get_all(VARY) {
        for member in line.as_bytes().split(|byte| *byte == b',') {
            let member = member.trim_ascii();
            if member.is_empty() {
                continue;
            }
            // `*` would be a valid field name.
            let name = HeaderName::from_bytes(member)
                .ok()
                .filter(|name| name.as_str() != "*")?;
            if !names.contains(&name) {
                names.push(name);
            }
            if names.len() > NOMINATED_MAX {
                return None;
            }
        }
    }
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    let with_lines = names.into_iter().map(|name| {
        let lines = request.get_all(&name).iter().map(copied).collect();
        (name, lines)
    });
    Some(with_lines.collect())
}

/// Whether `request` says in the nominated fields what the stored response's request said. Does not allocate.
pub(super) fn matches(nominated: &Nominated, request: &HeaderMap) -> bool {
    nominated.iter().all(|(name, stored)| {
        let presented = request.get_all(name);
        // An absent field matches only an absent one (RFC 9111 §4.1).
        presented.iter().next().is_none() == stored.is_empty()
            && members(presented.iter()).eq(members(stored.iter()))
    })
}

/// Whether two responses were nominated the same fields with the same lines.
pub(super) fn same(a: &Nominated, b: &Nominated) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|((a_name, a_lines), (b_name, b_lines))| {
                a_name == b_name
                    && a_lines.is_empty() == b_lines.is_empty()
                    && members(a_lines.iter()).eq(members(b_lines.iter()))
            })
}

/// `value` in memory of its own: as received it is a slice of the buffer its whole head was read into.
pub(super) fn copied(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).expect("invariant: it was a field value before")
}

/// A field's value over all its lines with what whitespace and line breaks do not change taken away: the parts between
/// commas, trimmed, empty ones left out. Commas in quotes or comments separate nothing.
fn members<'a>(lines: impl Iterator<Item = &'a HeaderValue>) -> impl Iterator<Item = &'a [u8]> {
    lines.flat_map(|line| {
        let (mut quoted, mut escaped, mut comments) = (false, false, 0_u32);
        line.as_bytes()
            .split(move |byte| {
                let literal = std::mem::replace(&mut escaped, false);
                match byte {
                    _ if literal => {}
                    b'\\' if quoted || comments > 0 => escaped = true,
                    b'"' => quoted = !quoted,
                    b'(' if !quoted => comments = comments.saturating_add(1),
                    b')' if !quoted => comments = comments.saturating_sub(1),
                    b',' => return !quoted && comments == 0,
                    _ => {}
                }
                false
            })
            .map(trimmed)
            .filter(|member| !member.is_empty())
    })
}

fn trimmed(mut member: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = member
        && is_whitespace(*first)
    {
        member = rest;
    }
    while let [rest @ .., last] = member
        && is_whitespace(*last)
    {
        member = rest;
    }
    member
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, HeaderValue::from_static(value));
        }
        fields
    }

    #[test]
    fn requests_match_if_they_say_the_same_in_every_nominated_field() {
        for (vary, stored, presented, expected) in [
            (
                "accept",
                &[("accept", "a, b")][..],
                &[("accept", "a, b")][..],
                true,
            ),
            ("Accept", &[("accept", "a, b")], &[("accept", "a,b")], true),
            (
                "accept",
                &[("accept", "a, b")],
                &[("accept", " a ,\t,b,")],
                true,
            ),
            (
                "accept",
                &[("accept", "a, b")],
                &[("accept", "a"), ("accept", "b")],
                true,
            ),
            (
                "accept",
                &[("accept", "a, b")],
                &[("accept", "b, a")],
                false,
            ),
            (
                "accept",
                &[("accept", "a, b")],
                &[("accept", "A, b")],
                false,
            ),
            ("accept", &[("accept", "a, b")], &[("accept", "ab")], false),
            ("accept", &[("accept", "a")], &[], false),
            ("accept", &[], &[("accept", "a")], false),
            ("accept", &[], &[], true),
            ("accept", &[], &[("accept", "")], false),
            (
                "accept",
                &[("accept", "a")],
                &[("accept", "a"), ("cookie", "x")],
                true,
            ),
            (
                "accept, cookie",
                &[("accept", "a")],
                &[("accept", "a"), ("cookie", "x")],
                false,
            ),
            ("", &[("accept", "a")], &[], true),
            // Whitespace that may mean something stays.
            ("x", &[("x", "\"a, b\"")], &[("x", "\"a,b\"")], false),
            ("x", &[("x", "\"\\\", b\"")], &[("x", "\"\\\",b\"")], false),
            (
                "x",
                &[("x", "f (KHTML, like)")],
                &[("x", "f (KHTML,like)")],
                false,
            ),
            ("x", &[("x", "a b")], &[("x", "a  b")], false),
        ] {
            let nominated = nominated_fields(&fields(stored), &fields(&[("vary", vary)]));
            let nominated = nominated.expect("can be reused");
            let presented = fields(presented);
            assert_eq!(
                matches(&nominated, &presented),
                expected,
                "{vary}: {stored:?}, {presented:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_reused_nominates_nothing() {
        for vary in [
            &["*"][..],
            &["accept, *"],
            &["accept", " * "],
            &["accept encoding"],
            &["a,b,c,d,e,f,g,h,i"],
        ] {
            let mut response = HeaderMap::new();
            for line in vary {
                response.append(VARY, HeaderValue::from_static(line));
            }
            assert_eq!(
                nominated_fields(&HeaderMap::new(), &response),
                None,
                "{vary:?}"
            );
        }
    }

    #[test]
    fn a_field_nominated_twice_counts_once_and_order_does_not_matter() {
        let request = fields(&[("b", "1")]);
        let one = nominated_fields(
            &request,
            &fields(&[("vary", "a, B"), ("vary", "A,b,a,b,a,b,a,b,a,b")]),
        );
        let other = nominated_fields(&request, &fields(&[("vary", "b, a")]));
        let (one, other) = (one.expect("can be reused"), other.expect("can be reused"));
        assert_eq!(one.len(), 2);
        assert!(same(&one, &other));
        let different = nominated_fields(&fields(&[("b", "2")]), &fields(&[("vary", "b, a")]));
        assert!(!same(&one, &different.expect("can be reused")));
    }

    #[test]
    fn a_copied_value_lets_go_of_the_buffer_it_came_in() {
        let head = bytes::Bytes::from(vec![b'a'; 8192]);
        let value = HeaderValue::from_maybe_shared(head.slice(..3)).expect("a field value");
        let copy = copied(&value);
        drop(value);
        assert_eq!(copy, "aaa");
        assert!(head.is_unique());
    }
}
