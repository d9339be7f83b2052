//! Which rules count a request.

use super::{Count, Filter, RuleSettings};

/// What a worker tells detection of one finished request.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Request path, without query.
    pub path: &'a str,
    /// Status sent to the client.
    pub status: u16,
}

/// All rules, compiled. Immutable; part of the snapshot that workers read.
#[derive(Debug, Default)]
pub struct Rules {
    settings: Vec<RuleSettings>,
}

impl Rules {
    /// Compiles `rules`.
    pub fn new(rules: Vec<RuleSettings>) -> Self {
        Self { settings: rules }
    }

    /// The settings, in file order: a rule's index is its place here.
    pub fn settings(&self) -> &[RuleSettings] {
        &self.settings
    }

    /// Indices of the rules that count `event`. Does not allocate.
    pub fn matching<'a>(&'a self, event: &'a Event<'a>) -> impl Iterator<Item = usize> + 'a {
        let rules = self.settings.iter().enumerate();
        rules.filter_map(|(index, rule)| rule.counts(event).then_some(index))
    }
}

impl RuleSettings {
    fn counts(&self, event: &Event<'_>) -> bool {
        let Filter { path, status } = &self.filter;
        let path_matches = path
            .as_deref()
            .is_none_or(|prefix| event.path.starts_with(prefix));
        path_matches
            && match self.count {
                Count::Requests => true,
                Count::Responses => status.is_empty() || status.contains(&event.status),
            }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rule(count: Count, path: Option<&str>, status: &[u16]) -> RuleSettings {
        RuleSettings {
            name: "rule".to_owned(),
            count,
            filter: Filter {
                path: path.map(str::to_owned),
                status: status.to_vec(),
            },
            limit: 1,
            window: Duration::from_secs(1),
            block_for: Duration::from_secs(1),
            block_max: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_request_counts_for_every_rule_whose_filter_it_passes() {
        let rules = Rules::new(vec![
            rule(Count::Requests, None, &[]),
            rule(Count::Requests, Some("/login"), &[]),
            rule(Count::Responses, Some("/login"), &[401, 403]),
            rule(Count::Responses, None, &[404]),
            rule(Count::Responses, None, &[]),
        ]);
        for (path, status, expected) in [
            ("/", 200, vec![0, 4]),
            ("/login", 200, vec![0, 1, 4]),
            ("/login/x", 403, vec![0, 1, 2, 4]),
            ("/logi", 401, vec![0, 4]),
            ("/x", 404, vec![0, 3, 4]),
        ] {
            let event = Event { path, status };
            assert_eq!(
                rules.matching(&event).collect::<Vec<_>>(),
                expected,
                "{event:?}"
            );
        }
    }
}
