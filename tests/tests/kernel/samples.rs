//! Samples of dropped frames: what they hold, and how many there are.

use weir_common::sample::HEAD_BYTES;
use weir_common::{Outcome, Sample};
use weir_ebpf::host::Lists;

use crate::frames::{IPV4, SOURCE4, SYN, TCP, UDP, cut, ethernet, ipv4, tcp, udp};
use crate::rules::block;
use crate::shield::{Action, SLOT, Shield, now_ns};
use crate::table::enforcing;
use crate::verdicts::say;

#[test]
fn a_sample_holds_the_frame_and_why_it_was_dropped() {
    let mut shield = shield(200);
    let long = ethernet(IPV4, &ipv4(SOURCE4, UDP, &udp(&[0x5a; 300])));
    let short = ethernet(IPV4, &ipv4(SOURCE4, TCP, &tcp(SYN)));
    let cases = [
        (long, Outcome::Blocked),
        (short.clone(), Outcome::Blocked),
        (cut(short.clone(), 37), Outcome::Malformed),
    ];
    for (frame, outcome) in cases {
        assert_eq!(shield.run(&frame), Action::Drop);
        let samples = shield.samples();
        let [sample] = samples.as_slice() else {
            panic!("{} samples of one drop", samples.len());
        };
        let head_len = frame.len().min(HEAD_BYTES);
        let mut head = [0; HEAD_BYTES];
        head[..head_len].copy_from_slice(&frame[..head_len]);
        assert_eq!(sample.head, head);
        assert_eq!(usize::from(sample.head_len), head_len);
        assert_eq!(usize::try_from(sample.frame_len), Ok(frame.len()));
        assert_eq!(sample.outcome, outcome as u8);
        assert_eq!(sample.slot, SLOT);
        assert_eq!(sample.skipped, 0);
        assert_eq!(sample.spared, 0);
        assert_eq!(sample.reserved, [0; 4]);
        assert_ne!(sample.when_ns, 0);
    }
}

#[test]
fn what_passes_is_not_sampled_and_what_is_spared_is() {
    let mut shield = shield(200);
    let blocked = ethernet(IPV4, &ipv4(SOURCE4, TCP, &tcp(SYN)));
    let other = ethernet(IPV4, &ipv4([198, 18, 0, 8], TCP, &tcp(SYN)));
    assert_eq!(shield.run(&other), Action::Pass);
    assert_eq!(shield.samples().len(), 0);
    configure(&mut shield, 200, 0);
    assert_eq!(shield.run(&blocked), Action::Pass);
    let samples = shield.samples();
    assert_eq!(samples.len(), 1);
    assert_eq!(samples[0].spared, 1);
    assert_eq!(samples[0].outcome, Outcome::Blocked as u8);
}

#[test]
fn a_budget_of_zero_samples_nothing() {
    let mut shield = shield(0);
    let frame = ethernet(IPV4, &ipv4(SOURCE4, TCP, &tcp(SYN)));
    for _ in 0..100 {
        assert_eq!(shield.run(&frame), Action::Drop);
    }
    assert_eq!(shield.samples().len(), 0);
    assert_eq!(shield.samples_lost(), 0);
}

#[test]
fn samples_of_a_flood_stay_within_the_budget_and_account_for_every_drop() {
    const BUDGET: u8 = 4;
    const FLOOD: u32 = 10_000;
    let mut shield = shield(BUDGET);
    let frame = ethernet(IPV4, &ipv4(SOURCE4, TCP, &tcp(SYN)));
    let began = shield.totals().of(Outcome::Blocked).packets;
    shield.run_times(&frame, FLOOD);
    let dropped = shield.totals().of(Outcome::Blocked).packets - began;
    assert_eq!(dropped, u64::from(FLOOD));

    let samples = shield.samples();
    let epochs: std::collections::BTreeSet<u64> =
        samples.iter().map(|sample| sample.when_ns >> 28).collect();
    assert!(samples.len() >= usize::from(BUDGET), "{}", samples.len());
    assert!(samples.len() <= epochs.len() * usize::from(BUDGET));
    assert_eq!(shield.samples_lost(), 0);
}

#[test]
fn drops_that_were_not_sampled_are_reported_by_the_next_sample() {
    let mut shield = shield(1);
    let frame = ethernet(IPV4, &ipv4(SOURCE4, TCP, &tcp(SYN)));
    let mut sampled: Vec<Sample> = Vec::new();
    let mut dropped = 0;
    while sampled.len() < 3 {
        assert!(dropped < 100_000_000, "no third epoch in {dropped} drops");
        shield.run(&frame);
        dropped += 1;
        sampled.extend(shield.samples());
    }
    let skipped: u64 = sampled.iter().map(|sample| sample.skipped).sum();
    let accounted = skipped + sampled.len() as u64;
    assert_eq!(accounted, dropped);
}

#[test]
fn samples_that_find_the_ring_full_are_counted_as_lost() {
    let mut shield = shield(255);
    let frame = ethernet(IPV4, &ipv4(SOURCE4, TCP, &tcp(SYN)));
    // 256 KiB hold 1,927 records of 128 + 8 bytes. At 255 an epoch that is a few seconds of drops.
    let mut runs = 0_u64;
    while shield.samples_lost() == 0 {
        assert!(runs < 1_000_000_000, "the ring never filled");
        shield.run(&frame);
        runs += 1;
    }
    let samples = shield.samples();
    assert!(samples.len() > 1_800, "{}", samples.len());
    assert!(
        samples
            .iter()
            .all(|sample| usize::try_from(sample.frame_len) == Ok(frame.len()))
    );
}

#[test]
fn a_sample_of_a_frame_in_several_buffers_holds_its_head_wherever_it_lies() {
    let mut shield = shield(200);
    if !shield.can_split() {
        say("notice: samples of frames in several buffers NOT tested: see the table");
        return;
    }
    let frame = ethernet(IPV4, &ipv4(SOURCE4, UDP, &udp(&[0x5a; 300])));
    assert_eq!(shield.run_split(&frame, 40), Action::Drop);
    let samples = shield.samples();
    assert_eq!(samples.len(), 1);
    assert_eq!(usize::from(samples[0].head_len), HEAD_BYTES);
    assert_eq!(samples[0].head, frame[..HEAD_BYTES]);
    assert_eq!(usize::try_from(samples[0].frame_len), Ok(frame.len()));
}

fn shield(samples_per_epoch: u8) -> Shield {
    let mut shield = Shield::load();
    configure(&mut shield, samples_per_epoch, 1);
    shield
}

fn configure(shield: &mut Shield, samples_per_epoch: u8, enforce: u8) {
    let mut settings = enforcing();
    settings.samples_per_epoch = samples_per_epoch;
    settings.enforce = enforce;
    let rules = [block("198.18.0.7/32").at(now_ns())];
    let lists = Lists::of(&rules, &settings);
    settings.lists = lists.populated();
    shield.bits(settings.bits).fill(&lists);
    shield.set(settings.set).fill(&rules);
    shield.exchange_settings(&settings);
}
