//! SYN cookies: when SYNs are answered, which ACKs are stopped, and what is read of a SYN's options.

use weir_common::settings::{CookieMode, Cookies};
use weir_common::time::EPOCH_SHIFT;

use weir_common::CpuState;

use super::*;
use crate::verdict::cookies::{FORGED_PASSED, Options, UNANSWERABLE_PASSED, options};

const EPOCH_NS: u64 = 1 << EPOCH_SHIFT;
/// The beginning of an epoch.
const BEGIN_NS: u64 = NOW_NS / EPOCH_NS * EPOCH_NS;
const START: u32 = 100;

fn listening(mode: CookieMode) -> (HostWorld, Box<ShieldSettings>) {
    let (mut world, mut settings) = listing(&[]);
    world.sockets.listeners.insert(443);
    world.sockets.cookie = Some(9);
    let own = Source::V4(u32::from_be_bytes([198, 18, 255, 1]));
    world.own.insert(own.mapped());
    let probe = weir_common::bits::own(own, settings.seed);
    settings.own[probe.word as usize] |= probe.mask;
    settings.calm = 0;
    settings.cookies.mode = mode as u8;
    settings.cookies.start = START;
    (world, settings)
}

#[test]
fn what_this_host_forwards_is_not_answered_whoever_listens_here() {
    let (mut world, settings) = listening(CookieMode::Always);
    let frame = frame4([192, 0, 2, 1], TCP, &tcp(SYN));
    let judged = world.judge(&frame, &settings, BEGIN_NS);
    assert_eq!(judged.action, Action::Answer);
    world.own.clear();
    let judged = world.judge(&frame, &settings, BEGIN_NS);
    assert_eq!(judged.action, Action::Pass);
}

/// SYNs of that many strangers; how many were answered.
fn syns(world: &HostWorld, settings: &ShieldSettings, count: u32, now_ns: u64) -> u32 {
    (0..count)
        .map(|n| {
            let [a, b, c, d] = (0x0a00_0000 | n).to_be_bytes();
            let frame = frame4([a, b, c, d], TCP, &tcp(SYN));
            u32::from(world.judge(&frame, settings, now_ns).action == Action::Answer)
        })
        .sum()
}

#[test]
fn cookies_begin_with_an_epoch_full_of_syns_and_end_a_while_after_the_last() {
    let (world, settings) = listening(CookieMode::Auto);
    let at = |epoch: u64| BEGIN_NS + epoch * EPOCH_NS;
    // SYNs come to the common count in batches of 4, so the hundredth is the first that is answered.
    assert_eq!(syns(&world, &settings, 3 * START, at(0)), 2 * START + 1);
    for epoch in 1..20 {
        // Half as many, and a batch, keep it up.
        let some = START / 2 + 4;
        assert_eq!(syns(&world, &settings, some, at(epoch)), some);
    }
    let hold = u64::from(Cookies::HOLD_EPOCHS);
    for epoch in 20..=19 + hold {
        assert_eq!(syns(&world, &settings, 9, at(epoch)), 9, "{epoch}");
    }
    for epoch in 20 + hold..40 + hold {
        assert_eq!(syns(&world, &settings, START - 4, at(epoch)), 0, "{epoch}");
    }
}

#[test]
fn syns_that_come_slowly_are_not_answered() {
    let (world, settings) = listening(CookieMode::Auto);
    for epoch in 0..100 {
        let now_ns = BEGIN_NS + epoch * EPOCH_NS;
        assert_eq!(syns(&world, &settings, START - 4, now_ns), 0);
    }
}

#[test]
fn a_strangers_syn_leaves_nothing_behind_but_one_in_sixteen() {
    let (world, settings) = listening(CookieMode::Always);
    assert_eq!(syns(&world, &settings, 1600, NOW_NS), 1600);
    assert_eq!(world.sources.all(), []);
    assert_eq!(world.cpu.get().strangers, 100);
    assert_eq!(world.answers.borrow().len(), 1600);
}

#[test]
fn one_source_that_sends_many_syns_gets_a_state_and_is_limited() {
    let (world, mut settings) = listening(CookieMode::Always);
    settings.limits.syn = weir_common::settings::Limit::per_second(1, 5);
    let outcomes: Vec<Outcome> = (0..400)
        .map(|_| world.judge(&syn4(), &settings, NOW_NS).outcome)
        .collect();
    let refused = outcomes
        .iter()
        .filter(|&&outcome| outcome == Outcome::RateSyn);
    assert!(refused.count() > 200, "{outcomes:?}");
    assert_eq!(outcomes[..100], [Outcome::SynCookie; 100]);
}

#[test]
fn forged_acks_are_answered_with_a_reset_until_there_are_too_many() {
    let (world, settings) = listening(CookieMode::Always);
    let ack = |n: u32, now_ns| {
        let [a, b, c, d] = (0x0a00_0000 | n).to_be_bytes();
        let frame = frame4([a, b, c, d], TCP, &tcp(ACK));
        world.judge(&frame, &settings, now_ns).outcome
    };
    for n in 0..2 * FORGED_PASSED {
        let expected = if n < FORGED_PASSED {
            Outcome::Passed
        } else {
            Outcome::BadCookie
        };
        assert_eq!(ack(n, BEGIN_NS), expected, "{n}");
    }
    assert_eq!(ack(0, BEGIN_NS + EPOCH_NS), Outcome::Passed);
}

/// Of SYNs without room for an answer, and of those with extension headers, in one budget.
#[test]
fn syns_that_cannot_be_answered_are_left_to_the_kernel_until_there_are_too_many() {
    let (world, settings) = listening(CookieMode::Always);
    let syn = |options: &[u8], n: u32, now_ns| {
        let [a, b, c, d] = (0x0a00_0000 | n).to_be_bytes();
        let mut frame = frame4([a, b, c, d], TCP, &[options, &tcp(SYN)].concat());
        frame[14] += u8::try_from(options.len() / 4).unwrap();
        world.judge(&frame, &settings, now_ns).outcome
    };
    world.is_cramped.set(true);
    for n in 0..2 * UNANSWERABLE_PASSED {
        let options = if n % 2 == 0 { &[][..] } else { &[1; 4] };
        let expected = if n < UNANSWERABLE_PASSED {
            Outcome::Passed
        } else {
            Outcome::SynCookie
        };
        assert_eq!(syn(options, n, BEGIN_NS), expected, "{n}");
    }
    assert_eq!(world.answers.borrow().len(), 0);
    world.is_cramped.set(false);
    assert_eq!(syn(&[], 0, BEGIN_NS), Outcome::SynCookie);
    assert_eq!(world.answers.borrow().len(), 1, "others are answered still");
    assert_eq!(syn(&[1; 4], 0, BEGIN_NS + EPOCH_NS), Outcome::Passed);
}

#[test]
fn an_ack_that_completes_a_connection_passes() {
    let (mut world, settings) = listening(CookieMode::Always);
    world.sockets.completed.insert(1);
    for n in 0..2 * FORGED_PASSED {
        let [a, b, c, d] = (0x0a00_0000 | n).to_be_bytes();
        let frame = frame4([a, b, c, d], TCP, &tcp(ACK));
        assert_eq!(outcome_of(&world, &settings, &frame), PASSED);
    }
}

#[test]
fn data_behind_a_cookies_ack_is_not_taken_for_forged() {
    let (mut world, settings) = listening(CookieMode::Always);
    world.sockets.completed.insert(1);
    let ack = |source: u8, sequence: u8| {
        let mut segment = tcp(ACK);
        segment[7] = sequence;
        frame4([10, 0, 0, source], TCP, &segment)
    };
    for _ in 0..FORGED_PASSED {
        assert_eq!(outcome_of(&world, &settings, &ack(1, 9)).1, Outcome::Passed);
        // Nobody gets heavy here.
        world.cpu.set(CpuState {
            forged: world.cpu.get().forged,
            epoch: world.cpu.get().epoch,
            strangers_before: u32::MAX,
            ..CpuState::default()
        });
    }
    let forged = (Action::Drop, Outcome::BadCookie);
    assert_eq!(outcome_of(&world, &settings, &ack(2, 9)), forged);
    assert_eq!(outcome_of(&world, &settings, &ack(2, 1)), PASSED);
    assert_eq!(outcome_of(&world, &settings, &ack(2, 9)), PASSED);
    assert_eq!(outcome_of(&world, &settings, &ack(3, 9)), forged);
    let states = world.sources.all();
    let [(_, state)] = states.as_slice() else {
        panic!("{states:?}");
    };
    assert_eq!((state.packets, state.drops), (1, [0; 4]));
}

#[test]
fn without_enforcement_nothing_is_answered_and_what_would_be_is_spared() {
    let (world, mut settings) = listening(CookieMode::Always);
    settings.enforce = 0;
    let spared = (Action::Spare, Outcome::SynCookie);
    assert_eq!(outcome_of(&world, &settings, &syn4()), spared);
    assert_eq!(world.answers.borrow().len(), 0);
}

#[test]
fn ecn_is_for_whoever_asks_for_it_if_the_kernel_has_it() {
    for (allowed, flags, expected) in [
        (Cookies::ECN, SYN | 0xc0, Options::ECN),
        (Cookies::ECN, SYN | 0x40, 0),
        (Cookies::ECN, SYN | 0x80, 0),
        (Cookies::ECN, SYN, 0),
        (Cookies::TIMESTAMPS, SYN | 0xc0, 0),
    ] {
        let (world, mut settings) = listening(CookieMode::Always);
        settings.cookies.options = allowed;
        let frame = frame4([192, 0, 2, 1], TCP, &tcp(flags));
        let judged = world.judge(&frame, &settings, BEGIN_NS);
        assert_eq!(judged.action, Action::Answer);
        assert_eq!(world.answers.borrow()[0].options.flags, expected);
    }
}

#[test]
fn options_are_read_as_linux_reads_them() {
    let read = |bytes: &[u8]| options(&bytes, 0, bytes.len());
    let linux = [
        2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7,
    ];
    let all = Options {
        timestamp: 9,
        mss: 1460,
        window_scale: 7,
        flags: Options::SACK | Options::TIMESTAMPS,
    };
    assert_eq!(read(&linux), all);
    assert_eq!(read(&[]), Options::NONE);
    // Unknown ones are skipped, a scale is at most 14, of one that comes twice the last counts.
    let odd = read(&[254, 4, 0, 0, 3, 3, 200, 2, 4, 1, 0, 2, 4, 2, 0, 0]);
    assert_eq!((odd.window_scale, odd.mss, odd.flags), (14, 512, 0));
    // A broken one ends the walk; so does the end.
    for broken in [
        &[3, 3, 5, 2, 0, 2, 4][..],
        &[3, 3, 5, 2, 1, 5, 5],
        &[3, 3, 5, 2, 9, 5, 5],
        &[3, 3, 5, 0, 2, 4, 5, 5],
        &[3, 3, 5, 2],
    ] {
        let read = read(broken);
        assert_eq!((read.window_scale, read.mss), (5, 0), "{broken:?}");
    }
    // A known option of another length is none.
    let wrong = read(&[2, 3, 9, 8, 4, 9, 9, 4, 3, 0, 19, 4, 0, 0, 29, 2]);
    assert_eq!(wrong, Options::NONE);
    for signature in [[&[19, 18][..], &[0; 16]].concat(), vec![29, 4, 1, 1]] {
        let signed = read(&[&[4, 2], signature.as_slice()].concat());
        assert_eq!(signed.flags, Options::SACK | Options::SIGNED);
    }
}
