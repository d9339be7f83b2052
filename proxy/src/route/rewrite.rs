//! Another path for the origin than the one that was matched.

use regex::bytes::Regex;

use super::{EncodedSlashes, Expression, InvalidPath, PathPattern, RouteSettings, normalise};

/// `rewrite = { from, to }`: what `from` matches first becomes `to`.
#[derive(Debug, Clone)]
pub struct Rewrite {
    from: Expression,
    to: Box<str>,
    compiled: Regex,
}

/// A `$` in `to` that names no group of `from`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("${0} is no group of `from`")]
pub struct UnknownGroup(pub String);

impl Rewrite {
    /// `to` may hold `$1`, `${1}` and `${name}` for what groups of `from` matched, and `$$` for a dollar sign.
    pub fn new(from: Expression, to: &str) -> Result<Self, UnknownGroup> {
        let compiled = from.compile();
        let mut rest = to;
        while let Some((_, after)) = rest.split_once('$') {
            if let Some(after) = after.strip_prefix('$') {
                rest = after;
                continue;
            }
            let (name, after) = group(after);
            let number = name.parse::<usize>();
            let known = match number {
                Ok(number) => number < compiled.captures_len(),
                Err(_) => compiled
                    .capture_names()
                    .flatten()
                    .any(|known| known == name),
            };
            if !known {
                return Err(UnknownGroup(name.to_owned()));
            }
            rest = after;
        }
        Ok(Self {
            compiled,
            from,
            to: to.into(),
        })
    }

    /// The other path; `None` when `from` does not match.
    fn apply(&self, path: &str) -> Option<String> {
        let captures = self.compiled.captures(path.as_bytes())?;
        let matched = captures.get(0)?;
        let mut other = path.as_bytes()[..matched.start()].to_vec();
        captures.expand(self.to.as_bytes(), &mut other);
        other.extend_from_slice(&path.as_bytes()[matched.end()..]);
        // Of ASCII parts.
        String::from_utf8(other).ok()
    }
}

impl PartialEq for Rewrite {
    fn eq(&self, other: &Self) -> bool {
        self.from == other.from && self.to == other.to
    }
}

impl Eq for Rewrite {}

impl RouteSettings {
    /// The path for the origin, if it is another one than `path`: without the route's prefix, then rewritten, then in its
    /// normal form again, so that nothing can be put together from parts that each looked harmless.
    pub fn rewritten(
        &self,
        path: &str,
        slashes: EncodedSlashes,
    ) -> Result<Option<String>, InvalidPath> {
        let mut other = None;
        if self.strip_prefix
            && let PathPattern::Prefix(prefix) = &self.pattern.path
            && let Some(rest) = path.strip_prefix(prefix.as_str())
        {
            let slash = if rest.starts_with('/') { "" } else { "/" };
            other = Some(format!("{slash}{rest}"));
        }
        if let Some(rewrite) = &self.rewrite {
            let before = other.as_deref().unwrap_or(path);
            other = rewrite.apply(before).or(other);
        }
        other
            .map(|other| normalise(&other, slashes).map(std::borrow::Cow::into_owned))
            .transpose()
    }
}

/// As the regex crate reads it: as long as it can be.
fn group(text: &str) -> (&str, &str) {
    if let Some((name, after)) = text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        return (name, after);
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    text.split_at(end.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{HostPattern, Pattern};

    fn rewrite(from: &str, to: &str) -> Result<Rewrite, UnknownGroup> {
        Rewrite::new(Expression::new(from).expect("valid"), to)
    }

    fn route(prefix: &str) -> RouteSettings {
        let path = PathPattern::Prefix(prefix.to_owned());
        RouteSettings::new(Pattern::new(HostPattern::Any, path), 0)
    }

    #[test]
    fn groups_of_the_expression_stand_in_the_other_path() {
        for (from, to, path, expected) in [
            ("^/old/(.*)$", "/new/$1", "/old/a/b", Ok(Some("/new/a/b"))),
            ("^/old/(.*)$", "/new/$1", "/older", Ok(None)),
            (
                "/(?P<id>[0-9]+)",
                "/items/${id}x",
                "/a/17/b",
                Ok(Some("/a/items/17x/b")),
            ),
            ("^/a$", "/$$1", "/a", Ok(Some("/$1"))),
            // Normal form again.
            ("^/x(.*)$", "/$1", "/x/a", Ok(Some("/a"))),
            ("^/(.*)x(.*)$", "/$1$2", "/a/.x./b", Ok(Some("/b"))),
            (
                "^/(.*)x(.*)$",
                "/$1$2",
                "/.x./b",
                Err(InvalidPath::AboveRoot),
            ),
            ("^/", "", "/a", Err(InvalidPath::Relative)),
        ] {
            let mut route = route("/");
            route.rewrite = Some(rewrite(from, to).expect(from));
            let found = route.rewritten(path, EncodedSlashes::Refuse);
            assert_eq!(
                found.as_ref().map(Option::as_deref),
                expected.as_ref().copied(),
                "{from} {path}"
            );
        }
    }

    #[test]
    fn groups_that_are_not_there_are_refused() {
        for (to, name) in [("/$2", "2"), ("/$1a", "1a"), ("/$name", "name"), ("/$", "")] {
            let expected = Some(UnknownGroup(name.to_owned()));
            assert_eq!(rewrite("^/(.*)$", to).err(), expected, "{to}");
        }
        assert!(rewrite("^/(.*)$", "/${1}a").is_ok());
    }

    #[test]
    fn the_prefix_of_the_route_is_taken_off_before_anything_is_rewritten() {
        let mut route = route("/app/");
        route.strip_prefix = true;
        for (path, expected) in [("/app/", "/"), ("/app/x", "/x"), ("/app/app/x", "/app/x")] {
            let found = route.rewritten(path, EncodedSlashes::Refuse);
            assert_eq!(found, Ok(Some(expected.to_owned())), "{path}");
        }
        route.rewrite = Some(rewrite("^/x", "/y").expect("valid"));
        let found = route.rewritten("/app/x", EncodedSlashes::Refuse);
        assert_eq!(found, Ok(Some("/y".to_owned())));
    }
}
