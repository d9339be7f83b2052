//! Which rules count a request.

use super::{Count, Filter, RuleSettings};

/// What a worker tells detection.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A request was answered.
    Response {
        /// Request path, without query.
        path: &'a str,
        /// Status sent to the client.
        status: u16,
    },
    /// A client did what it should not.
    Offence(Offence),
    /// A connection was let in.
    Connection,
}

/// What clients do that is not a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offence {
    /// A TLS handshake failed or took too long.
    TlsFailure,
    /// What came is not HTTP, or is HTTP in more than one way, or a flood of frames.
    ProtocolError,
    /// It was slower than allowed, sending or reading.
    SlowRequest,
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
        match (self.count, event) {
            (Count::Requests, Event::Response { path, .. }) => self.filter.is_for(path),
            (Count::Responses, Event::Response { path, status }) => {
                let wanted = &self.filter.status;
                self.filter.is_for(path) && (wanted.is_empty() || wanted.contains(status))
            }
            (Count::TlsFailures, Event::Offence(Offence::TlsFailure))
            | (Count::ProtocolErrors, Event::Offence(Offence::ProtocolError))
            | (Count::SlowRequests, Event::Offence(Offence::SlowRequest))
            | (Count::Connections, Event::Connection) => true,
            _ => false,
        }
    }
}

impl Filter {
    fn is_for(&self, path: &str) -> bool {
        let prefix = self.path.as_deref();
        prefix.is_none_or(|prefix| path.starts_with(prefix))
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
    fn what_is_no_request_counts_for_rules_of_its_kind_only() {
        let counts = [
            Count::Requests,
            Count::Responses,
            Count::TlsFailures,
            Count::ProtocolErrors,
            Count::SlowRequests,
            Count::Connections,
        ];
        let rules = Rules::new(counts.map(|count| rule(count, None, &[])).to_vec());
        for (event, expected) in [
            (Event::Offence(Offence::TlsFailure), 2),
            (Event::Offence(Offence::ProtocolError), 3),
            (Event::Offence(Offence::SlowRequest), 4),
            (Event::Connection, 5),
        ] {
            let matching: Vec<_> = rules.matching(&event).collect();
            assert_eq!(matching, [expected], "{event:?}");
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
            let event = Event::Response { path, status };
            assert_eq!(
                rules.matching(&event).collect::<Vec<_>>(),
                expected,
                "{event:?}"
            );
        }
    }
}
