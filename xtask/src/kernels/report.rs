//! What a guest's console says about its run of the kernel ring.

/// One run, as far as the console told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// `uname -r`.
    pub(super) release: Option<String>,
    /// What the ring said about the load: "145068 instructions, …". `None`: nothing was loaded, or that test was not
    /// among those that ran.
    pub(super) verifier: Option<String>,
    /// Why the first test that failed did, in a line.
    pub(super) complaint: Option<String>,
    pub(super) passed: u32,
    pub(super) failed: u32,
    /// Names of the tests that failed.
    pub(super) failures: Vec<String>,
    /// The test binary's exit code. `None`: the guest ended, or was ended, before it could tell.
    pub(super) exit: Option<i32>,
}

impl Report {
    /// Reads the console's text.
    pub(super) fn read(console: &str) -> Self {
        let lines: Vec<&str> = console.lines().map(str::trim_end).collect();
        let line = |start: &str| lines.iter().find_map(|line| line.strip_prefix(start));
        let (passed, failed) = line("test result: ").map_or((0, 0), counts);
        Self {
            release: line("weir-guest: kernel ").map(str::to_owned),
            verifier: line("verifier: ").map(str::to_owned),
            complaint: complaint(&lines),
            passed,
            failed,
            failures: failures(&lines),
            exit: line("weir-guest: exit ").and_then(leading_number),
        }
    }
}

/// `FAILED. 1 passed; 10 failed; …`
fn counts(result: &str) -> (u32, u32) {
    let count = |word: &str| {
        let before = result.split(word).next()?;
        before.split_whitespace().next_back()?.parse().ok()
    };
    (
        count(" passed").unwrap_or_default(),
        count(" failed").unwrap_or_default(),
    )
}

/// The names under libtest's last "failures:".
fn failures(lines: &[&str]) -> Vec<String> {
    let Some(heading) = lines.iter().rposition(|line| *line == "failures:") else {
        return Vec::new();
    };
    lines[heading + 1..]
        .iter()
        .map_while(|line| line.strip_prefix("    "))
        .map(str::to_owned)
        .collect()
}

/// Why the first test that panicked did. If a system call failed, its error; if that was the load, also what the verifier
/// complained about, which is the line of its log before the statistics.
fn complaint(lines: &[&str]) -> Option<String> {
    let at = lines
        .iter()
        .position(|line| line.contains("' panicked at ") || line.contains(") panicked at "))?;
    let rest = &lines[at + 1..];
    let message = rest.first()?;
    let error = shortened(os_error(message).unwrap_or(message));
    if !message.contains("verifier_log:") {
        return Some(error);
    }
    let log = rest
        .iter()
        .take_while(|line| !line.contains(" panicked at "))
        .position(|line| line.starts_with("verification time ") || line.starts_with("processed "))
        .and_then(|statistics| rest[..statistics].last());
    Some(match log {
        Some(reason) => format!("{error}: {}", shortened(reason)),
        None => error,
    })
}

/// The kernel's own words in the debug form of an `io::Error`.
fn os_error(message: &str) -> Option<&str> {
    let (_, words) = message.split_once("message: \"")?;
    Some(words.split_once('"')?.0)
}

fn shortened(text: &str) -> String {
    text.chars().take(LINE_MAX).collect()
}

/// The number at the beginning of `text`: the kernel may write its own messages right behind.
fn leading_number(text: &str) -> Option<i32> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text[..end].parse().ok()
}

/// Characters of a message that fit a summary.
const LINE_MAX: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_in_which_all_tests_pass_is_read() {
        let report = Report::read(
            "weir-guest: kernel 6.12.1\r\n\
             test verifier::it ... ok\r\n\
             verifier: 1000 instructions, maps and program loaded in 3 ms\r\n\
             test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\r\n\
             weir-guest: exit 0\r\n\
             [    9.678229] reboot: Power down",
        );
        assert_eq!(
            report,
            Report {
                release: Some("6.12.1".to_owned()),
                verifier: Some("1000 instructions, maps and program loaded in 3 ms".to_owned()),
                complaint: None,
                passed: 12,
                failed: 0,
                failures: Vec::new(),
                exit: Some(0),
            }
        );
    }

    #[test]
    fn a_refusal_is_told_by_the_end_of_the_verifiers_log() {
        let report = Report::read(
            "weir-guest: kernel 6.1.0\n\
             test verdicts::it ... FAILED\n\
             failures:\n\
             \n\
             ---- verdicts::it stdout ----\n\
             thread 'verdicts::it' (85) panicked at tests/tests/kernel/shield.rs:67:24:\n\
             the verifier accepts the program: LoadError { io_error: Os { code: 13, message: \"Permission denied\" }, verifier_log: 0: R1=ctx\n\
             0: (bf) r6 = r1\n\
             invalid read from stack R10 off=-296 size=8\n\
             verification time 3781 usec\n\
             processed 148 insns\n\
             failures:\n    verdicts::it\n    verifier::it\n\
             \n\
             test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n\
             weir-guest: exit 101",
        );
        assert_eq!(
            report.complaint.as_deref(),
            Some("Permission denied: invalid read from stack R10 off=-296 size=8")
        );
        assert_eq!(report.failures, ["verdicts::it", "verifier::it"]);
        assert_eq!((report.passed, report.failed), (1, 2));
        assert_eq!(report.exit, Some(101));
        assert_eq!(report.verifier, None);
    }

    #[test]
    fn a_refusal_without_a_log_is_told_by_the_system_calls_error() {
        let report = Report::read(
            "thread 'verifier::it' (85) panicked at tests/tests/kernel/shield.rs:67:24:\n\
             the verifier accepts the program: LoadError { io_error: Os { code: 22, message: \"Invalid argument\" }, verifier_log:  }\n\
             test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 11 filtered out",
        );
        assert_eq!(report.complaint.as_deref(), Some("Invalid argument"));
    }

    #[test]
    fn any_other_failure_is_told_in_its_own_words() {
        let report = Report::read(
            "thread 'samples::it' panicked at tests/tests/kernel/samples.rs:9:1:\nno third window",
        );
        assert_eq!(report.complaint.as_deref(), Some("no third window"));
    }

    #[test]
    fn a_guest_that_dies_has_no_exit_code() {
        let report = Report::read("weir-guest: kernel 7.3.4\nKernel panic - not syncing");
        assert_eq!(report.exit, None);
        assert_eq!(report.passed, 0);
    }
}
