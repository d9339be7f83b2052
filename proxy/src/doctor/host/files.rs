//! Numbers out of `/proc`, and the parsing of its files.

use std::path::Path;

use super::super::Unseen;

/// A switch below `/proc/sys`, such as `net/core/somaxconn`. It is the one of the thread's network namespace.
pub(super) fn sysctl(key: &str) -> Result<u64, Unseen> {
    number(&text(Path::new("/proc/sys").join(key))?)
}

/// A whole file.
pub(super) fn text(path: impl AsRef<Path>) -> Result<String, Unseen> {
    Ok(std::fs::read_to_string(path)?)
}

/// A number alone on its line.
pub(super) fn number(text: &str) -> Result<u64, Unseen> {
    let text = text.trim();
    text.parse()
        .map_err(|_not_a_number| Unseen::Failed(format!("`{text}` is not a number")))
}

/// The set `name` (`CapEff`, `CapBnd`) of `/proc/<pid>/status`.
pub(super) fn capability_set(status: &str, name: &str) -> Option<u64> {
    let value = field(status, name)?;
    u64::from_str_radix(value, 16).ok()
}

/// The value of the line `name:`.
pub(super) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let value = line.strip_prefix(name)?.strip_prefix(':')?;
        Some(value.trim())
    })
}

/// Whether `/proc/<pid>/uid_map` is that of the host: every user under his own number.
pub(super) fn maps_everyone(uid_map: &str) -> bool {
    let fields: Vec<&str> = uid_map.split_whitespace().collect();
    fields == ["0", "0", "4294967295"]
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tweir\nCapInh:\t0000000000000000\nCapEff:\t000001ffffffffff\n\
                          CapBnd:\t000000c000001400\n";

    #[test]
    fn capability_sets_are_read_by_name() {
        assert_eq!(capability_set(STATUS, "CapEff"), Some(0x1ff_ffff_ffff));
        assert_eq!(capability_set(STATUS, "CapBnd"), Some(0xc0_0000_1400));
        assert_eq!(capability_set(STATUS, "CapAmb"), None);
    }

    #[test]
    fn only_the_hosts_own_map_of_users_maps_everyone() {
        assert!(maps_everyone("         0          0 4294967295\n"));
        assert!(!maps_everyone("         0       1000          1\n"));
        assert!(!maps_everyone("0 100000 65536\n"));
    }

    #[test]
    fn a_file_that_is_not_there_is_absent_and_one_without_a_number_says_so() {
        assert_eq!(sysctl("net/ipv4/no_such_switch"), Err(Unseen::Absent));
        assert_eq!(
            number("on\n"),
            Err(Unseen::Failed("`on` is not a number".to_owned()))
        );
        assert_eq!(number("4096\n"), Ok(4096));
    }
}
