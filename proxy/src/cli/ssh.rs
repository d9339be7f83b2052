//! Keeps an operator from locking himself out: is the address that this command came from over ssh among what it blocks?
//!
//! It is a help, no protection: a session through another host, or over something else than ssh, is not seen. The packet
//! filter itself lets established connections to `[shield] failsafe_ports` go on; a new one would not be let in.

use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;

use ipnet::IpNet;

use super::exit::{CliError, Exit};

/// What to do about a block of the own address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// Refuse it.
    Refuse,
    /// Carry it out and say so: `--force`.
    Warn,
}

impl Guard {
    /// Judges a block of the address `caller`, whose session this is, while `allows` are on the allowlist: allow beats block.
    /// Returns what to warn of.
    pub(super) fn judge(
        self,
        caller: IpAddr,
        mut allows: impl Iterator<Item = IpNet>,
    ) -> Result<Option<String>, CliError> {
        if allows.any(|allowed| allowed.contains(&caller)) {
            return Ok(None);
        }
        match self {
            Self::Refuse => Err(CliError::new(
                Exit::Failed,
                format!("would block the address you are connected from ({caller})"),
                format!("keep it out with `weir allow {caller}` first, or add --force"),
            )),
            Self::Warn => Ok(Some(format!(
                "this blocks the address you are connected from ({caller}): a session to a port of `failsafe_ports` goes on, \
                 and cannot be opened again"
            ))),
        }
    }
}

/// `caller`, if it is in one of `networks`.
pub(super) fn hit(networks: &[IpNet], caller: Option<IpAddr>) -> Option<IpAddr> {
    caller.filter(|caller| networks.iter().any(|network| network.contains(caller)))
}

/// Where the ssh session comes from in which this process runs, if it does.
///
/// sshd says so in `SSH_CONNECTION` (and `SSH_CLIENT`), which sudo takes away: then the nearest process above that has it,
/// and lets it be read, counts.
pub(super) fn caller() -> Option<IpAddr> {
    nearest(std::process::id(), &|pid, file| {
        let mut bytes = Vec::new();
        let file = File::open(format!("/proc/{pid}/{file}")).ok()?;
        file.take(FILE_MAX).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    })
}

/// Looks at `pid` and the processes above it; `read` gets a file out of a process's directory below `/proc`.
fn nearest(pid: u32, read: &dyn Fn(u32, &str) -> Option<Vec<u8>>) -> Option<IpAddr> {
    let mut pid = pid;
    for _ in 0..ANCESTORS_MAX {
        if pid == 0 {
            return None;
        }
        let environ = read(pid, "environ").unwrap_or_default();
        if let Some(address) = address_in(&environ) {
            return Some(address);
        }
        pid = parent_in(&read(pid, "stat")?)?;
    }
    None
}

/// Out of `environ` (proc(5)): `NAME=value`, each with a NUL at its end.
fn address_in(environ: &[u8]) -> Option<IpAddr> {
    let value = |name: &str| {
        environ.split(|byte| *byte == 0).find_map(|variable| {
            let value = variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            std::str::from_utf8(value).ok()
        })
    };
    // ssh(1): "client-ip client-port server-ip server-port"; the other lacks the third.
    let value = value("SSH_CONNECTION").or_else(|| value("SSH_CLIENT"))?;
    let address = value.split_whitespace().next()?;
    // A link-local one has its zone behind a '%'.
    let address: IpAddr = address.split('%').next()?.parse().ok()?;
    Some(address.to_canonical())
}

/// Out of `stat` (proc(5)): "pid (name) state ppid ...", and the name may have anything in it.
fn parent_in(stat: &[u8]) -> Option<u32> {
    let end_of_name = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end_of_name + 1..)?).ok()?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Most processes looked at: far more than lie between a shell and sshd.
const ANCESTORS_MAX: u32 = 64;
/// Most bytes read of one file: 2 MiB, what the kernel lets arguments and environment of a process have by default.
const FILE_MAX: u64 = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::network;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        let parsed = texts.iter().map(|text| network::parse(text).expect(text));
        parsed.map(|parsed| parsed.network).collect()
    }

    #[test]
    fn a_block_of_the_own_address_is_refused_with_a_way_out() {
        let refused = Guard::Refuse
            .judge(ip("198.51.100.7"), nets(&["10.0.0.0/8"]).into_iter())
            .expect_err("refused");
        let CliError::Said {
            message,
            hint,
            exit,
        } = refused
        else {
            panic!("nothing said");
        };
        assert_eq!(exit, Exit::Failed);
        assert_eq!(
            message,
            "would block the address you are connected from (198.51.100.7)"
        );
        assert!(hint.contains("weir allow 198.51.100.7"), "{hint}");
        assert!(hint.contains("--force"), "{hint}");
    }

    #[test]
    fn with_force_it_is_a_warning() {
        let warning = Guard::Warn.judge(ip("198.51.100.7"), nets(&[]).into_iter());
        let warning = warning.expect("carried out").expect("and warned of");
        assert!(warning.contains("198.51.100.7"), "{warning}");
    }

    #[test]
    fn an_address_on_the_allowlist_cannot_be_locked_out() {
        for guard in [Guard::Refuse, Guard::Warn] {
            let allows = nets(&["10.0.0.0/8", "198.51.100.0/24"]).into_iter();
            let judged = guard.judge(ip("198.51.100.7"), allows);
            assert!(matches!(judged, Ok(None)), "{judged:?}");
        }
    }

    #[test]
    fn only_networks_with_the_callers_address_are_of_concern() {
        let networks = nets(&["192.0.2.7", "198.51.100.0/24", "2001:db8::/32"]);
        for (caller, is_hit) in [
            ("198.51.100.7", true),
            ("2001:db8::7", true),
            ("198.51.101.7", false),
            ("192.0.2.8", false),
        ] {
            let hit = hit(&networks, Some(ip(caller)));
            assert_eq!(hit, is_hit.then(|| ip(caller)), "{caller}");
        }
        assert_eq!(hit(&networks, None), None);
    }

    #[test]
    fn the_client_is_the_first_word_that_sshd_says() {
        for (environ, address) in [
            (
                &b"PATH=/bin\0SSH_CONNECTION=198.51.100.7 50022 192.0.2.1 22\0"[..],
                Some("198.51.100.7"),
            ),
            (b"SSH_CLIENT=2001:db8::7 50022 22\0", Some("2001:db8::7")),
            (
                b"SSH_CONNECTION=fe80::1%eth0 50022 fe80::2%eth0 22",
                Some("fe80::1"),
            ),
            (
                b"SSH_CONNECTION=::ffff:198.51.100.7 50022 ::ffff:192.0.2.1 22\0",
                Some("198.51.100.7"),
            ),
            (b"SSH_CONNECTION=\0", None),
            (b"SSH_CONNECTION=UNKNOWN 65535 UNKNOWN 65535\0", None),
            (b"MY_SSH_CLIENT=198.51.100.7 1 2\0SSH_CLIENTS=a\0", None),
            (b"SSH_CONNECTION=\xff\xfe\0", None),
            (b"", None),
        ] {
            assert_eq!(address_in(environ), address.map(ip), "{environ:?}");
        }
    }

    #[test]
    fn a_process_name_with_parentheses_hides_no_parent() {
        for (stat, parent) in [
            (&b"1234 (weir) R 1200 1234 1200 34816"[..], Some(1200)),
            (b"1234 (a) S 9 (b c)) S 1199 1 1", Some(1199)),
            (b"1 (systemd) S 0 1 1", Some(0)),
            (b"1234 (weir", None),
            (b"", None),
        ] {
            assert_eq!(parent_in(stat), parent, "{stat:?}");
        }
    }

    /// 40 weir, 30 sudo (whose own environment is still the shell's), 20 shell, 10 sshd, 1 init.
    fn under_sudo(pid: u32, file: &str) -> Option<Vec<u8>> {
        let text = match (pid, file) {
            (40, "environ") => "SUDO_USER=me\0",
            (40, "stat") => "40 (weir) R 30 ",
            (30, "environ") => "SSH_CONNECTION=198.51.100.7 50022 192.0.2.1 22\0",
            (30, "stat") => "30 (sudo) S 20 ",
            (1, "environ") => "SSH_CONNECTION=203.0.113.1 1 192.0.2.1 22\0",
            _ => return None,
        };
        Some(text.as_bytes().to_vec())
    }

    #[test]
    fn the_session_is_found_above_sudo() {
        assert_eq!(nearest(40, &under_sudo), Some(ip("198.51.100.7")));
    }

    #[test]
    fn the_walk_ends_where_nothing_can_be_read_and_at_the_top_and_in_a_circle() {
        let unreadable =
            |pid, file: &str| under_sudo(pid, file).filter(|_| (pid, file) != (30, "environ"));
        assert_eq!(nearest(40, &unreadable), None);
        let top = |_, file: &str| (file == "stat").then(|| b"1 (init) S 0 ".to_vec());
        assert_eq!(nearest(1, &top), None);
        let circle = |_, file: &str| (file == "stat").then(|| b"7 (x) S 7 ".to_vec());
        assert_eq!(nearest(7, &circle), None);
    }
}
