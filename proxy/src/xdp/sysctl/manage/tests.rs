//! On a directory that looks like `/proc/sys`, and once on the kernel's own.

use std::fs;
use std::path::PathBuf;

use nix::sched::{CloneFlags, unshare};

use super::super::host::Place;
use super::*;

/// A `/proc/sys` and a state directory in files.
struct Lab {
    root: PathBuf,
    host: Host,
}

impl Lab {
    /// With the kernel's defaults.
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("weir-sysctl-{}-{name}", std::process::id()));
        fs::create_dir_all(root.join("net/ipv4")).expect("a directory");
        fs::create_dir_all(root.join("state")).expect("a directory");
        let lab = Self {
            host: Host {
                sys: root.clone(),
                place: Place {
                    boot: "first".to_owned(),
                    namespace: "net:[1]".to_owned(),
                },
            },
            root,
        };
        for (key, value) in [
            ("tcp_syncookies", "1"),
            ("tcp_timestamps", "1"),
            ("tcp_window_scaling", "1"),
            ("tcp_sack", "1"),
            ("tcp_rmem", "4096\t131072\t6291456"),
        ] {
            lab.write(key, value);
        }
        lab
    }

    fn write(&self, key: &str, value: &str) {
        fs::write(self.root.join("net/ipv4").join(key), format!("{value}\n")).expect("written");
    }

    /// `tcp_syncookies` and `tcp_timestamps`.
    fn values(&self) -> (u32, u32) {
        let get = |sysctl| self.host.get(sysctl).expect("a number");
        (get(Sysctl::Syncookies), get(Sysctl::Timestamps))
    }

    fn state_dir(&self) -> PathBuf {
        self.root.join("state")
    }

    fn file(&self) -> Option<String> {
        fs::read_to_string(self.state_dir().join("sysctls.json")).ok()
    }

    fn settle(&self, manage: bool) -> Settled {
        settle_at(&self.host, CookieMode::Auto, manage, &self.state_dir())
    }

    fn restore(&self) -> Restored {
        restore_at(&self.host, &self.state_dir())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

#[test]
fn without_consent_nothing_is_touched() {
    let lab = Lab::new("no-consent");
    let settled = lab.settle(false);
    assert!(!settled.assessment.cookies_work);
    assert_eq!(settled.news, [""; 0]);
    assert_eq!(lab.values(), (1, 1));
    assert_eq!(lab.file(), None);
    assert_eq!(lab.restore(), Restored::default());
}

#[test]
fn with_consent_switches_are_set_and_detach_puts_them_back() {
    let lab = Lab::new("consent");
    lab.write("tcp_timestamps", "0");
    let settled = lab.settle(true);
    assert!(settled.assessment.cookies_work && settled.assessment.options);
    assert_eq!(settled.assessment.findings, []);
    assert_eq!(
        settled.news,
        [
            "set net.ipv4.tcp_syncookies to 2, it was 1",
            "set net.ipv4.tcp_timestamps to 2, it was 0"
        ]
    );
    assert_eq!(lab.values(), (2, 2));
    assert_eq!(
        lab.file().expect("recorded"),
        "{\"boot\":\"first\",\"namespace\":\"net:[1]\",\"values\":{\
         \"net.ipv4.tcp_syncookies\":{\"previous\":1,\"set\":2},\
         \"net.ipv4.tcp_timestamps\":{\"previous\":0,\"set\":2}}}\n"
    );

    let restored = lab.restore();
    assert_eq!(
        restored.news,
        [
            "set net.ipv4.tcp_syncookies back to 1",
            "set net.ipv4.tcp_timestamps back to 0"
        ]
    );
    assert_eq!(restored.findings, []);
    assert_eq!(lab.values(), (1, 0));
    assert_eq!(lab.file(), None);
}

#[test]
fn a_restart_keeps_what_was_remembered() {
    let lab = Lab::new("restart");
    lab.settle(true);
    let remembered = lab.file();
    let again = lab.settle(true);
    assert_eq!(again.news, [""; 0]);
    assert_eq!(lab.file(), remembered);
    lab.restore();
    assert_eq!(lab.values(), (1, 1));
}

#[test]
fn what_was_right_already_is_not_weirs_to_put_back() {
    let lab = Lab::new("right-already");
    lab.write("tcp_syncookies", "2");
    lab.write("tcp_timestamps", "2");
    lab.settle(true);
    assert_eq!(lab.file(), None);
    lab.restore();
    assert_eq!(lab.values(), (2, 2));
}

#[test]
fn consent_withdrawn_on_reload_puts_everything_back() {
    let lab = Lab::new("withdrawn");
    lab.settle(true);
    let settled = lab.settle(false);
    assert_eq!(settled.news.len(), 2);
    assert_eq!(lab.values(), (1, 1));
    assert_eq!(lab.file(), None);
    // What is told is how things are now.
    assert!(!settled.assessment.cookies_work);
    assert!(
        settled.assessment.findings[0]
            .fix
            .contains("manage_sysctls")
    );
}

#[test]
fn a_switch_that_is_no_longer_needed_is_put_back_alone() {
    let lab = Lab::new("sack-off");
    lab.settle(true);
    lab.write("tcp_sack", "0");
    let settled = lab.settle(true);
    assert_eq!(settled.news, ["set net.ipv4.tcp_timestamps back to 1"]);
    assert!(settled.assessment.cookies_work && !settled.assessment.options);
    assert_eq!(lab.values(), (2, 1));
    assert!(!lab.file().expect("recorded").contains("tcp_timestamps"));
}

#[test]
fn what_an_operator_changed_since_is_left_alone_and_reported() {
    let lab = Lab::new("operator");
    lab.settle(true);
    lab.write("tcp_syncookies", "0");
    let restored = lab.restore();
    assert_eq!(
        restored.news,
        [
            "left net.ipv4.tcp_syncookies at 0: somebody changed it after weir had set it to 2",
            "set net.ipv4.tcp_timestamps back to 1"
        ]
    );
    assert_eq!(lab.values(), (0, 1));
    assert_eq!(lab.file(), None);
}

#[test]
fn an_operators_newer_value_is_what_comes_back() {
    let lab = Lab::new("newer");
    lab.settle(true);
    lab.write("tcp_syncookies", "0");
    assert_eq!(
        lab.settle(true).news,
        ["set net.ipv4.tcp_syncookies to 2, it was 0"]
    );
    lab.restore();
    assert_eq!(lab.values(), (0, 1));
}

#[test]
fn a_crash_between_the_note_and_the_write_is_no_change_by_somebody() {
    let lab = Lab::new("crash");
    lab.settle(true);
    lab.write("tcp_syncookies", "1");
    let restored = lab.restore();
    assert_eq!(restored.news, ["set net.ipv4.tcp_timestamps back to 1"]);
    assert_eq!(lab.values(), (1, 1));
}

#[test]
fn a_new_boot_makes_the_note_void() {
    let mut lab = Lab::new("boot");
    lab.settle(true);
    lab.host.place.boot = "second".to_owned();
    // By /etc/sysctl.d, this time.
    lab.write("tcp_timestamps", "0");
    lab.settle(true);
    lab.restore();
    // 2 was found, so 2 stays; 0 was found, so 0 comes back.
    assert_eq!(lab.values(), (2, 0));

    lab.settle(true);
    lab.host.place.boot = "third".to_owned();
    assert_eq!(lab.restore(), Restored::default());
    assert_eq!(lab.values(), (2, 2));
    assert_eq!(lab.file(), None);
}

#[test]
fn detach_leaves_another_namespaces_switches_alone_and_says_so() {
    let mut lab = Lab::new("namespace");
    lab.settle(true);
    lab.host.place.namespace = "net:[2]".to_owned();
    let restored = lab.restore();
    assert!(restored.news[0].contains("another network namespace (net:[1])"));
    assert_eq!(lab.values(), (2, 2));
    assert!(lab.file().is_some());
}

#[test]
fn without_a_place_to_note_it_nothing_is_written() {
    let lab = Lab::new("no-state");
    fs::remove_dir(lab.state_dir()).expect("removed");
    let settled = lab.settle(true);
    let findings = &settled.assessment.findings;
    assert!(
        findings[0].sentence.starts_with("cannot write"),
        "{findings:?}"
    );
    assert!(findings[0].fix.contains("state_dir"), "{findings:?}");
    // Consent was there: it is not what is missing.
    assert!(!findings[1].fix.contains("manage_sysctls"), "{findings:?}");
    assert_eq!(lab.values(), (1, 1));
    assert!(!settled.assessment.cookies_work);
}

#[test]
fn a_note_that_cannot_be_read_is_kept_and_nothing_is_written() {
    let lab = Lab::new("corrupt");
    for text in [
        "",
        "{\"boot\":\"first\"",
        "{\"boot\":\"first\",\"namespace\":\"net:[1]\",\"values\":{\"kernel.panic\":{\"previous\":1,\"set\":2}}}",
    ] {
        fs::write(lab.state_dir().join("sysctls.json"), text).expect("written");
        let settled = lab.settle(true);
        let findings = settled.assessment.findings;
        assert!(
            findings[0].sentence.starts_with("cannot read"),
            "{findings:?}"
        );
        assert!(
            lab.restore().findings[0]
                .sentence
                .starts_with("cannot read")
        );
        assert_eq!(lab.values(), (1, 1));
        assert_eq!(lab.file().as_deref(), Some(text));
    }
}

#[test]
fn a_switch_that_refuses_is_told_and_not_remembered() {
    let lab = Lab::new("refused");
    // A directory is unreadable and unwritable for everyone, root too.
    let path = lab.root.join("net/ipv4/tcp_timestamps");
    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("made");
    let settled = lab.settle(true);
    assert!(settled.assessment.cookies_work && !settled.assessment.options);
    assert_eq!(settled.news.len(), 1);
    let findings = settled.assessment.findings;
    assert!(
        findings[0]
            .sentence
            .starts_with("net.ipv4.tcp_timestamps cannot be read"),
        "{findings:?}"
    );
    assert!(!lab.file().expect("recorded").contains("tcp_timestamps"));
}

/// On the switches of a network namespace of its own.
#[test]
#[ignore = "needs root: the net ring runs it"]
fn the_kernel_takes_the_values_and_gets_its_own_back() {
    let lab = Lab::new("kernel");
    let state_dir = lab.state_dir();
    std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("root may");
        let before = host::found();
        assert!(
            before.tcp_syncookies.is_some_and(|value| value < 2),
            "{before:?}"
        );

        let settled = settle(CookieMode::Auto, true, &state_dir);
        assert!(settled.assessment.cookies_work, "{settled:?}");
        assert_eq!(host::found().tcp_syncookies, Some(2));
        assert_eq!(host::found().tcp_timestamps, Some(2));

        let restored = restore(&state_dir);
        assert_eq!(restored.findings, []);
        assert_eq!(host::found(), before);
    })
    .join()
    .expect("the thread's own asserts");
}
