//! Frames, judged by the code that also runs in the kernel.

use std::cell::RefCell;

use weir_common::ShieldSettings;
use weir_common::settings::{Cookies, Policy, Sanity};
use weir_ebpf::host::HostWorld;
use weir_ebpf::verdict::Action;

use crate::input::Numbers;

/// A byte of policy, then a frame. Every frame has a verdict; nothing is dropped that no setting asks to drop, and nothing
/// at all unless drops are carried out.
pub(crate) fn packet(data: &[u8]) {
    thread_local! {
        static WORLD: RefCell<HostWorld> = RefCell::new(world());
    }
    let mut numbers = Numbers(data);
    let [choice] = numbers.bytes();
    let frame = numbers.0;
    WORLD.with_borrow_mut(|world| {
        let mut judge = |settings: &ShieldSettings| {
            world.forget();
            world.judge(frame, settings, 1_000_000_000)
        };
        let mut settings = settings(choice);
        settings.enforce = 1;
        let strict = judge(&settings);
        assert_eq!(judge(&settings), strict, "the same frame, the same verdict");
        settings.enforce = 0;
        let spared = judge(&settings);
        assert!(matches!(spared.action, Action::Pass | Action::Spare));
        match strict.action {
            Action::Drop => assert_eq!(
                (spared.action, spared.outcome),
                (Action::Spare, strict.outcome)
            ),
            Action::Answer => assert_ne!(settings.cookies.mode, Cookies::OFF.mode),
            Action::Pass => assert_eq!(spared, strict),
            Action::Spare => panic!("drops are carried out"),
        }
        let open = ShieldSettings {
            enforce: 1,
            ..ShieldSettings::OPEN
        };
        assert_eq!(judge(&open).action, Action::Pass);
    });
}

fn world() -> HostWorld {
    let mut world = HostWorld::default();
    world.sockets.listeners.insert(443);
    world.sockets.udp.insert(443);
    world.sockets.cookie = Some(7);
    world
}

fn settings(choice: u8) -> ShieldSettings {
    let policy = match choice & 3 {
        0 => Policy::Pass,
        1 => Policy::Count,
        _ => Policy::Drop,
    };
    let mut settings = ShieldSettings {
        sanity: Sanity::all(policy),
        calm: 1,
        prefix_heavy: 1,
        samples_per_epoch: 1,
        ..ShieldSettings::OPEN
    };
    settings.sanity.inner = choice >> 2 & 1;
    if choice & 8 != 0 {
        settings.cookies.mode = weir_common::settings::CookieMode::Always as u8;
        settings.cookies.options = Cookies::TIMESTAMPS | Cookies::ECN;
    }
    for port in [53, 123] {
        settings.amplification_ports.insert(port);
    }
    settings.quic_ports.insert(443);
    settings.failsafe_ports.insert(22);
    settings
}
