//! Switches of the network stack: what SYN cookies from XDP need, and what a flood meets behind the shield.
//!
//! Whether cookies are wanted is not asked: the switches are the host's, and the answer is the same for both.

use super::super::facts::{Facts, Link, Sysctls};
use super::super::{Finding, Severity};
use crate::xdp::sysctl::window_scale as kernels_window_scale;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let sysctls = &facts.sysctls;
    let mut findings = vec![
        syncookies(sysctls),
        timestamps(sysctls),
        window_scale(sysctls),
    ];
    findings.extend(conntrack(sysctls));
    findings.push(backlog(sysctls));
    findings.extend(rp_filter(facts));
    findings
}

/// What weir does by itself, if it may.
const MANAGE: &str =
    "; or set `[shield] manage_sysctls = true`, and weir sets it and restores it on detach";

fn syncookies(sysctls: &Sysctls) -> Finding {
    let why = "the kernel takes the answer to a SYN cookie that XDP sent only from 2 on; with 1 it makes cookies of its \
               own when a queue is full, which costs several times as much, with 0 none at all";
    match &sysctls.tcp_syncookies {
        Ok(2) => Finding::new(
            "syn-cookies",
            Severity::Ok,
            "net.ipv4.tcp_syncookies is 2",
            why,
        ),
        Ok(value) => Finding::new(
            "syn-cookies",
            Severity::Warning,
            format!("net.ipv4.tcp_syncookies is {value}: no SYN cookies from XDP"),
            why,
        )
        .fix(format!("sysctl -w net.ipv4.tcp_syncookies=2{MANAGE}")),
        Err(unseen) => Finding::unseen("syn-cookies", "net.ipv4.tcp_syncookies", unseen, why),
    }
}

fn timestamps(sysctls: &Sysctls) -> Finding {
    let why = "a SYN cookie carries window scale, SACK and ECN in the timestamp, which XDP can only write while the \
               kernel adds no secret offset to it; otherwise connections that began with a cookie have the MSS alone and \
               are slower on long paths";
    match &sysctls.tcp_timestamps {
        Ok(2) => Finding::new(
            "timestamps",
            Severity::Ok,
            "net.ipv4.tcp_timestamps is 2",
            why,
        ),
        Ok(value) => Finding::new(
            "timestamps",
            Severity::Note,
            format!("net.ipv4.tcp_timestamps is {value}: SYN cookies from XDP carry the MSS only"),
            why,
        )
        .fix(format!("sysctl -w net.ipv4.tcp_timestamps=2{MANAGE}")),
        Err(unseen) => Finding::unseen("timestamps", "net.ipv4.tcp_timestamps", unseen, why),
    }
}

fn window_scale(sysctls: &Sysctls) -> Finding {
    let why = "a SYN cookie from XDP has to offer the window scale that the kernel works out for the listener from \
               tcp_rmem and rmem_max, or both ends count windows differently";
    let rmem_max = sysctls.rmem_max.as_ref().copied().unwrap_or(0);
    match &sysctls.tcp_rmem_max {
        Ok(tcp_rmem_max) => Finding::new(
            "window-scale",
            Severity::Ok,
            format!(
                "the window scale will be {}: net.ipv4.tcp_rmem ends in {tcp_rmem_max}, net.core.rmem_max is {rmem_max}",
                kernels_window_scale((*tcp_rmem_max).max(rmem_max))
            ),
            why,
        ),
        Err(unseen) => Finding::unseen("window-scale", "net.ipv4.tcp_rmem", unseen, why),
    }
}

fn conntrack(sysctls: &Sysctls) -> Option<Finding> {
    let why = "connection tracking never saw the SYN that XDP answered, so with 0 it calls the client's first ACK \
               invalid, and rules that drop invalid packets end every connection that began with a cookie";
    let loose = match &sysctls.conntrack_tcp_loose {
        Ok(loose) => *loose,
        // No connection tracking, no trouble.
        Err(super::super::Unseen::Absent) => return None,
        Err(unseen) => {
            return Some(Finding::unseen(
                "conntrack",
                "net.netfilter.nf_conntrack_tcp_loose",
                unseen,
                why,
            ));
        }
    };
    let finding = |severity, found: &str| Finding::new("conntrack", severity, found, why);
    Some(if loose != 0 {
        finding(Severity::Ok, "net.netfilter.nf_conntrack_tcp_loose is 1")
    } else {
        let severity = if sysctls.tcp_syncookies == Ok(2) {
            Severity::Problem
        } else {
            Severity::Warning
        };
        finding(
            severity,
            "net.netfilter.nf_conntrack_tcp_loose is 0: it does not go with SYN cookies from XDP",
        )
        .fix("sysctl -w net.netfilter.nf_conntrack_tcp_loose=1; or set `[shield.syn_cookies] mode = \"off\"`")
    })
}

/// What weir asks of listen(2); the kernel cuts it to `somaxconn`.
const BACKLOG: u64 = 4096;

fn backlog(sysctls: &Sysctls) -> Finding {
    let why = "it is the longest queue of connections that weir has not accepted yet; one that is full under a flood \
               turns honest clients away";
    match &sysctls.somaxconn {
        Ok(value) if *value < BACKLOG => Finding::new(
            "backlog",
            Severity::Warning,
            format!("net.core.somaxconn is {value}, weir asks for {BACKLOG}"),
            why,
        )
        .fix(format!(
            "sysctl -w net.core.somaxconn={BACKLOG}, and start weir anew"
        )),
        Ok(value) => Finding::new(
            "backlog",
            Severity::Ok,
            format!("net.core.somaxconn is {value}"),
            why,
        ),
        Err(unseen) => Finding::unseen("backlog", "net.core.somaxconn", unseen, why),
    }
}

/// Reverse path filtering of the interfaces that are looked at.
fn rp_filter(facts: &Facts) -> Option<Finding> {
    let examined: Vec<&Link> = facts.examined().into_iter().flatten().collect();
    let set_to = |wanted: u64| -> Vec<&str> {
        let device = |link: &Link| facts.devices.get(&link.index);
        let value = |link| device(link).and_then(|device| device.rp_filter.as_ref().ok());
        let links = examined.iter().filter(|link| value(link) == Some(&wanted));
        links.map(|link| link.name.as_str()).collect()
    };
    let finding = |severity, found: String, why| Finding::new("rp-filter", severity, found, why);
    let (none, strict, loose) = (set_to(0), set_to(1), set_to(2));
    if !none.is_empty() {
        return Some(
            finding(
                Severity::Note,
                format!("reverse path filtering (rp_filter) is 0 on {}", none.join(", ")),
                "with 2 the stack, behind the shield, drops IPv4 packets from sources that no route leads back to",
            )
            .fix(LOOSE),
        );
    }
    if !strict.is_empty() && examined.len() > 1 {
        return Some(
            finding(
                Severity::Note,
                format!("reverse path filtering (rp_filter) is 1 on {}", strict.join(", ")),
                "1 drops packets that come in by another interface than the answer would go out by, honest ones too; 2 \
                 drops only those that no route leads back to",
            )
            .fix(LOOSE),
        );
    }
    let on = [strict, loose].concat();
    (!on.is_empty()).then(|| {
        finding(
            Severity::Ok,
            format!(
                "reverse path filtering (rp_filter) is on for {}",
                on.join(", ")
            ),
            "the stack drops IPv4 packets from sources that no route leads back to",
        )
    })
}

/// The larger of `all` and the interface's own counts.
const LOOSE: &str = "sysctl -w net.ipv4.conf.all.rp_filter=2";

#[cfg(test)]
mod tests {
    use super::super::super::Unseen;
    use super::super::tests::{all, card, facts, facts_with, link, the};
    use super::*;

    #[test]
    fn syn_cookies_from_xdp_take_2() {
        for (value, severity) in [
            (0, Severity::Warning),
            (1, Severity::Warning),
            (2, Severity::Ok),
        ] {
            let mut facts = facts();
            facts.sysctls.tcp_syncookies = Ok(value);
            let finding = the(&facts, "syn-cookies");
            assert_eq!(finding.severity, severity, "{value}");
            let fix = finding.fix.unwrap_or_default();
            assert_eq!(fix.contains("manage_sysctls = true"), value != 2, "{fix}");
        }
    }

    #[test]
    fn timestamps_other_than_2_leave_the_mss_only_and_are_noted() {
        for (value, severity) in [(0, Severity::Note), (1, Severity::Note), (2, Severity::Ok)] {
            let mut facts = facts();
            facts.sysctls.tcp_timestamps = Ok(value);
            assert_eq!(the(&facts, "timestamps").severity, severity, "{value}");
        }
    }

    #[test]
    fn the_window_scale_comes_from_the_larger_buffer() {
        let mut facts = facts();
        facts.sysctls.tcp_rmem_max = Ok(6_291_456);
        facts.sysctls.rmem_max = Ok(33_554_432);
        let found = the(&facts, "window-scale").found;
        assert!(found.starts_with("the window scale will be 10:"), "{found}");
    }

    #[test]
    fn strict_connection_tracking_together_with_cookies_is_a_problem() {
        for (loose, cookies, severity) in [
            (1, 2, Severity::Ok),
            (0, 2, Severity::Problem),
            (0, 1, Severity::Warning),
        ] {
            let mut facts = facts();
            facts.sysctls.conntrack_tcp_loose = Ok(loose);
            facts.sysctls.tcp_syncookies = Ok(cookies);
            assert_eq!(the(&facts, "conntrack").severity, severity);
        }
        let mut facts = facts();
        facts.sysctls.conntrack_tcp_loose = Err(Unseen::Absent);
        assert!(all(&facts, "conntrack").is_empty());
    }

    #[test]
    fn a_short_queue_of_connections_is_worth_a_warning() {
        for (value, severity) in [(128, Severity::Warning), (4096, Severity::Ok)] {
            let mut facts = facts();
            facts.sysctls.somaxconn = Ok(value);
            assert_eq!(the(&facts, "backlog").severity, severity, "{value}");
        }
    }

    #[test]
    fn strict_reverse_path_filtering_is_noted_where_there_are_several_ways_in() {
        let device = |rp_filter| {
            let mut device = card("ixgbe");
            device.rp_filter = Ok(rp_filter);
            device
        };
        for (value, alone, among_two) in [
            (0, Severity::Note, Severity::Note),
            (1, Severity::Ok, Severity::Note),
            (2, Severity::Ok, Severity::Ok),
        ] {
            let mut interfaces = vec![(link("eth0", 2), device(value))];
            let facts = facts_with(interfaces.clone());
            assert_eq!(the(&facts, "rp-filter").severity, alone, "{value}");
            interfaces.push((link("eth1", 3), device(value)));
            let finding = the(&facts_with(interfaces), "rp-filter");
            assert_eq!(finding.severity, among_two, "{value}");
            assert!(finding.found.ends_with("eth0, eth1"), "{}", finding.found);
        }
        assert!(all(&facts(), "rp-filter").is_empty());
    }
}
