//! SYN cookies: the SYN-ACK that a SYN becomes, and the ACK that completes it.

use weir_common::ShieldSettings;
use weir_common::settings::{CookieMode, Cookies, OWN_WORDS};
use weir_common::time::epoch;
use weir_ebpf::verdict::cookies::FORGED_PASSED;

use crate::frames::{
    ACK, DOT1AD, DOT1Q, ETHERNET_LEN, IPV4, IPV6, OWN4, OWN6, SYN, TAG_LEN, TCP, ethernet, ipv4,
    ipv6, padded, tagged, tcp_with,
};
use crate::pair::{Pair, Plan};
use crate::shield::{Action, coarse_clock_ns};
use crate::sockets::Sockets;
use crate::table::enforcing;
use crate::verdicts::pair;

const CLIENT4: [u8; 4] = [198, 18, 3, 3];
const CLIENT6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 3, 0, 3, 0, 0, 0, 0, 0, 0, 0, 3];

#[test]
fn a_syn_becomes_its_syn_ack() {
    let (pair, _sockets) = answering();
    for tags in 0..=2 {
        for options in [&[][..], &MSS, &LINUX, &NO_SACK, &ODD] {
            for version in [4, 6] {
                let syn = syn(version, options, tags, SYN);
                let (action, answer) = pair.shield.run_through(&syn);
                assert_eq!(action, Action::Tx);
                check(&syn, &answer, tags, version, options);
            }
        }
    }
}

#[test]
fn an_answer_has_its_own_length_whatever_the_syns_was() {
    let (pair, _sockets) = answering();
    let plain = syn(4, &LINUX, 0, SYN);
    let (_, expected) = pair.shield.run_through(&plain);
    for len in [100, 1514, 3000] {
        let (action, answer) = pair.shield.run_through(&padded(plain.clone(), len));
        assert_eq!((action, answer.len()), (Action::Tx, expected.len()));
    }
}

/// The filter in the settings has no clear bit for it: what says so is the map, of which the program remembers the last answer.
#[test]
fn an_address_that_left_the_host_is_not_answered_for_in_the_next_generation() {
    let (mut pair, _sockets) = answering();
    for version in [4, 6] {
        let mut settings = answering_with(Cookies::TIMESTAMPS);
        pair.configure(&plan(settings.clone()));
        let action = |pair: &Pair| pair.shield.run_through(&syn(version, &LINUX, 0, SYN)).0;
        assert_eq!(action(&pair), Action::Tx);
        settings.generation = u64::MAX >> 1;
        settings.own = [u64::MAX; OWN_WORDS];
        pair.shield.write_own(&[]);
        pair.shield.exchange_settings(&settings);
        assert_eq!(action(&pair), Action::Pass, "IPv{version}");
    }
}

#[test]
fn ecn_is_accepted_if_it_is_asked_for_and_the_kernel_has_it_and_it_can_be_remembered() {
    let (mut pair, _sockets) = answering();
    // The control bits of the answer, and what its timestamp remembers of ECN.
    let ecn = |pair: &Pair, options: &[u8], flags| {
        let (_, answer) = pair.shield.run_through(&syn(4, options, 0, flags));
        let segment = &answer[ETHERNET_LEN + 20..];
        let remembered = segment.len() > 24 && u32_at(segment, 28) & 1 << 5 != 0;
        (segment[13], remembered)
    };
    assert_eq!(ecn(&pair, &LINUX, SYN | 0xc0), (SYN | ACK | ECE, true));
    assert_eq!(ecn(&pair, &LINUX, SYN | ECE), (SYN | ACK, false));
    assert_eq!(ecn(&pair, &MSS, SYN | 0xc0), (SYN | ACK, false));
    // As with `net.ipv4.tcp_ecn=0`.
    pair.configure(&plan(answering_with(Cookies::TIMESTAMPS)));
    assert_eq!(ecn(&pair, &LINUX, SYN | 0xc0), (SYN | ACK, false));
}

/// What the listener's own check says of it; a stranger's, because nobody else is asked.
#[test]
fn the_ack_of_an_answer_is_not_forged() {
    let (mut pair, _sockets) = answering();
    let mut settings = enforcing();
    settings.cookies.mode = CookieMode::Always as u8;
    settings.calm = 0;
    pair.configure(&plan(settings));
    for version in [4, 6] {
        for options in [&MSS[..], &LINUX] {
            let run = |pair: &mut Pair| {
                use_up_resets(pair);
                let (_, answer) = pair.shield.run_through(&syn(version, options, 0, SYN));
                let cookie = u32_at(&answer, tcp_at(version) + 4);
                // The lowest bits of a cookie are one of four sizes. The last is data behind the ACK, of a source that is
                // no stranger any more.
                let acks = [100, 0x8000_0000, 1, 100]
                    .map(|n| pair.run(&ack(version, cookie.wrapping_add(n))));
                (acks, pair.shield.sources().len())
            };
            let (acks, states) = within_one_epoch(&mut pair, run);
            assert_eq!(
                acks,
                [Action::Drop, Action::Drop, Action::Pass, Action::Pass]
            );
            assert_eq!(states, 1, "only who completes a connection has a state");
        }
    }
}

/// Runs packets until they all fall into one epoch.
fn within_one_epoch<T>(pair: &mut Pair, run: impl Fn(&mut Pair) -> T) -> T {
    loop {
        pair.forget();
        let began = epoch(coarse_clock_ns());
        let result = run(pair);
        if epoch(coarse_clock_ns()) == began {
            return result;
        }
    }
}

/// Forged ACKs of strangers, until no more of them pass.
fn use_up_resets(pair: &mut Pair) {
    for stranger in 0..FORGED_PASSED {
        let [.., high, low] = stranger.to_be_bytes();
        let segment = tcp_with(ACK, &[], &[]);
        pair.run(&ethernet(
            IPV4,
            &ipv4([198, 18, 4 + high, low], TCP, &segment),
        ));
    }
}

fn ack(version: u8, acknowledged: u32) -> Vec<u8> {
    let mut ack = syn(version, &[], 0, ACK);
    let at = tcp_at(version);
    ack[at + 4..at + 8].copy_from_slice(&2_u32.to_be_bytes());
    ack[at + 8..at + 12].copy_from_slice(&acknowledged.to_be_bytes());
    ack
}

fn tcp_at(version: u8) -> usize {
    ETHERNET_LEN + if version == 4 { 20 } else { 40 }
}

fn check(syn: &[u8], answer: &[u8], tags: usize, version: u8, options: &[u8]) {
    let ip_at = ETHERNET_LEN + TAG_LEN * tags;
    assert_eq!(answer[..6], syn[6..12], "link-layer addresses");
    assert_eq!(answer[6..12], syn[..6], "link-layer addresses");
    assert_eq!(answer[12..ip_at], syn[12..ip_at], "tags");
    let (header_len, addresses_at, len) = if version == 4 {
        (20, ip_at + 12, 4)
    } else {
        (40, ip_at + 8, 16)
    };
    let (source, destination) = (
        addresses_at..addresses_at + len,
        addresses_at + len..addresses_at + 2 * len,
    );
    assert_eq!(answer[source.clone()], syn[destination.clone()]);
    assert_eq!(answer[destination], syn[source]);
    let tcp_at = ip_at + header_len;
    let segment = &answer[tcp_at..];
    if version == 4 {
        assert_eq!(answer[ip_at], 0x45);
        assert_eq!(usize::from(u16_at(answer, ip_at + 2)), 20 + segment.len());
        assert_eq!(answer[ip_at + 6..ip_at + 10], [0x40, 0, 64, 6]);
        assert_eq!(sum(&[&answer[ip_at..tcp_at]]), 0xffff, "IPv4 checksum");
    } else {
        assert_eq!(answer[ip_at], 0x60);
        assert_eq!(usize::from(u16_at(answer, ip_at + 4)), segment.len());
        assert_eq!(answer[ip_at + 6..ip_at + 8], [6, 64]);
    }
    let tcp_len = u16::try_from(segment.len()).expect("a short segment");
    let pseudo = [&[0, 6], tcp_len.to_be_bytes().as_slice()].concat();
    let addresses = &answer[addresses_at..addresses_at + 2 * len];
    assert_eq!(sum(&[addresses, &pseudo, segment]), 0xffff, "TCP checksum");

    assert_eq!(segment[..2], syn[tcp_at + 2..tcp_at + 4], "ports");
    assert_eq!(segment[2..4], syn[tcp_at..tcp_at + 2], "ports");
    assert_eq!(u32_at(segment, 8), u32_at(syn, tcp_at + 4) + 1);
    assert_eq!(segment[13], SYN | ACK);
    assert_eq!(usize::from(segment[12] >> 4) * 4, segment.len());
    let least_mss: u16 = if version == 4 { 536 } else { 1220 };
    assert_eq!(segment[20..22], [2, 4]);
    assert_eq!(u16_at(segment, 22), least_mss, "of an unknown MTU");
    match options {
        options if options == LINUX => {
            assert_eq!(segment[24..28], [4, 2, 8, 10]);
            assert_eq!(u32_at(segment, 28) & 0x3f, 7 | 1 << 4, "scale and SACK");
            assert_eq!(u32_at(segment, 32), 9, "the SYN's timestamp");
            assert_eq!(segment[36..], [1, 3, 3, 10], "our window scale");
        }
        options if options == NO_SACK => {
            assert_eq!(segment[24..28], [1, 1, 8, 10]);
            assert_eq!(u32_at(segment, 28) & 0x3f, 15, "no scale");
            assert_eq!(segment[36..], [1, 1, 1, 1]);
        }
        _ => assert_eq!(segment.len(), 24, "nothing that could not be remembered"),
    }
}

fn answering() -> (Pair, Sockets) {
    let (mut pair, sockets) = pair();
    pair.configure(&plan(answering_with(Cookies::TIMESTAMPS | Cookies::ECN)));
    (pair, sockets)
}

fn answering_with(options: u8) -> Box<ShieldSettings> {
    let mut settings = enforcing();
    settings.cookies.mode = CookieMode::Always as u8;
    settings.cookies.options = options;
    settings.cookies.window_scale = 10;
    settings
}

fn plan(settings: Box<ShieldSettings>) -> Plan {
    Plan {
        settings,
        rules: Vec::new(),
        own: vec![OWN4.into(), OWN6.into()],
    }
}

fn syn(version: u8, options: &[u8], tags: usize, flags: u8) -> Vec<u8> {
    let segment = tcp_with(flags, options, &[]);
    let frame = if version == 4 {
        ethernet(IPV4, &ipv4(CLIENT4, TCP, &segment))
    } else {
        ethernet(IPV6, &ipv6(CLIENT6, TCP, &segment))
    };
    match tags {
        0 => frame,
        1 => tagged(DOT1Q, &frame),
        _ => tagged(DOT1AD, &tagged(DOT1Q, &frame)),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// RFC 1071; of parts of even length.
fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for part in parts {
        assert_eq!(part.len() % 2, 0);
        sum += part
            .chunks(2)
            .map(|pair| u32::from(u16_at(pair, 0)))
            .sum::<u32>();
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded to 16 bits")
}

/// Control bit of ECN.
const ECE: u8 = 0x40;
const MSS: [u8; 4] = [2, 4, 5, 0xb4];
/// MSS, SACK permitted, timestamps, no operation, window scale.
const LINUX: [u8; 20] = [
    2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7,
];
const NO_SACK: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0];
/// Window scale and SACK without timestamps, which alone could remember them.
const ODD: [u8; 8] = [3, 3, 7, 4, 2, 1, 1, 0];
