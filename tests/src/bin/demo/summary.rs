//! The end: what the phases brought, side by side, and the verdict.

use std::time::Duration;

use crate::phase::Tally;

/// Everything that is shown at the end.
pub(crate) struct Summary {
    pub(crate) calm: Tally,
    pub(crate) shielded: Tally,
    pub(crate) bare: Tally,
    pub(crate) evidence: Evidence,
}

/// What weir's own commands printed when the shielded flood was over.
pub(crate) struct Evidence {
    pub(crate) drops: String,
    pub(crate) blocks: String,
    pub(crate) sources: String,
}

impl Summary {
    /// Whether the clients were served, in calm and under the flood, and there was a flood to speak of.
    pub(crate) fn is_success(&self) -> bool {
        let served = [&self.calm, &self.shielded]
            .iter()
            .all(|tally| tally.clients.total() > 0 && tally.clients.success_percent() >= REQUIRED);
        served && self.shielded.dropped_total() > 0
    }

    /// A line for each measure: its name, then its value in each phase.
    pub(crate) fn lines(&self) -> Vec<[String; 4]> {
        let line = |name: &str, value: fn(&Tally) -> String| {
            [
                name.to_owned(),
                value(&self.calm),
                value(&self.shielded),
                value(&self.bare),
            ]
        };
        vec![
            line("client success", |t| {
                format!("{:.2} %", t.clients.success_percent())
            }),
            line("client requests failed", |t| grouped(t.clients.failed)),
            line("latency p50", |t| latency(t.clients.percentile(50))),
            line("latency p99", |t| latency(t.clients.percentile(99))),
            line("client requests/s", |t| {
                grouped(t.per_second(t.clients.succeeded))
            }),
            line("answered from the cache", |t| grouped(t.clients.hits)),
            line("raw packets offered/s", |t| {
                grouped(t.per_second(t.offered))
            }),
            line("packets dropped", |t| grouped(t.dropped_total())),
            line("abusers' requests answered", |t| grouped(t.abuse)),
        ]
    }
}

/// `12.3 ms`, or a dash.
pub(crate) fn latency(value: Option<Duration>) -> String {
    value.map_or_else(
        || "–".into(),
        |value| format!("{:.1} ms", value.as_secs_f64() * 1000.0),
    )
}

/// `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Percent of the clients' requests that must succeed with the shield on (issue 2).
pub(crate) const REQUIRED: f64 = 99.0;
