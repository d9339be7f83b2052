//! Frames that are cut, padded, or claim another length than they have.

use super::*;

#[test]
fn whole_frames_of_every_shape_are_ip() {
    for (what, frame, _, source) in shapes() {
        assert_eq!(Some(facts(&frame).0.source()), source, "{what}");
    }
}

#[test]
fn every_truncation_is_malformed_and_knows_its_source_once_the_ip_header_is_whole() {
    for (what, frame, header_end, source) in shapes() {
        for len in 0..frame.len() {
            let known = if len < header_end { None } else { source };
            assert_eq!(
                parse_slice(&frame[..len]),
                Parsed::Malformed(known),
                "{what} cut to {len} bytes"
            );
        }
    }
}

#[test]
fn a_packet_that_claims_to_end_early_is_malformed_wherever_its_headers_need_more() {
    // A part that others follow has to be a multiple of 8 bytes long besides: see `fragments`.
    let more_follow = |what: &str| what == "fragment, IPv6";
    for (what, frame, header_end, source) in shapes() {
        if more_follow(what) {
            continue;
        }
        // Bytes of the payload that headers take up, per shape; what follows is data.
        let payload_min = match what {
            "udp" | "udp, IPv6" => 12,
            "icmp" => 8,
            "icmp, IPv6" => 4,
            "gre" | "later fragment" | "esp" => 0,
            _ => frame.len() - header_end,
        };
        for payload_len in 0..frame.len() - header_end {
            let mut frame = frame.clone();
            let claim = |len: usize| u16::try_from(len).unwrap().to_be_bytes();
            if source == V4 {
                frame[header_end - 18..header_end - 16].copy_from_slice(&claim(20 + payload_len));
            } else {
                frame[header_end - 36..header_end - 34].copy_from_slice(&claim(payload_len));
            }
            let malformed = parse_slice(&frame) == Parsed::Malformed(source);
            assert_eq!(
                malformed,
                payload_len < payload_min,
                "{what} claims {payload_len}"
            );
        }
    }
}

#[test]
fn padding_behind_the_packet_is_ignored() {
    for (what, mut frame, _, _) in shapes() {
        let unpadded = parse_slice(&frame);
        frame.extend([0xff; 40]);
        assert_eq!(parse_slice(&frame), unpadded, "{what}");
    }
}

/// A frame of several buffers, of which the first is there.
struct Buffers<'a> {
    first: &'a [u8],
    frame_len: usize,
}

impl Packet for Buffers<'_> {
    type Bytes<'p, const N: usize>
        = &'p [u8; N]
    where
        Self: 'p;

    fn frame_len(&self) -> usize {
        self.frame_len
    }
    fn load<const N: usize>(&self, at: usize) -> Option<&[u8; N]> {
        let first = self.first.get(at..)?;
        first.first_chunk()
    }
}

/// Linux 6.18 with `gro_max_size` above 65,536: IPv6 with a jumbo option or without, IPv4 with a total length of 0.
#[test]
fn what_receive_offload_made_longer_than_the_length_field_is_whole() {
    let mut v4 = ethernet(ETHERTYPE_IPV4, &ipv4(TCP, 0, &[], &tcp(TCP_ACK)));
    v4[16..18].fill(0);
    let jumbo = extension(TCP, 0, &tcp(TCP_ACK));
    let mut v6 = ethernet(ETHERTYPE_IPV6, &ipv6(HOP_BY_HOP, &jumbo));
    v6[18..20].fill(0);
    let mut bare6 = ethernet(ETHERTYPE_IPV6, &ipv6(TCP, &tcp(TCP_ACK)));
    bare6[18..20].fill(0);
    for (frame, source, start) in [(&v4, V4, 14), (&v6, V6, 54), (&bare6, V6, 54)] {
        for (frame_len, whole) in [
            (frame.len(), false),
            (start + 0xffff, false),
            (start + 0x1_0000, true),
            (185_000, true),
        ] {
            let parsed = parse(&Buffers {
                first: frame,
                frame_len,
            });
            match parsed {
                Parsed::Ip(ip, _) => assert!(whole && Some(ip.source()) == source, "{frame_len}"),
                other => assert!(!whole && other == Parsed::Malformed(source), "{frame_len}"),
            }
        }
    }
}

#[test]
fn lengths_are_held_against_all_buffers_and_headers_read_from_the_first() {
    let frame = ethernet(ETHERTYPE_IPV4, &ipv4(UDP, 0, &[], &udp(&[0; 8000])));
    let in_two = |first_len: usize| Buffers {
        first: &frame[..first_len],
        frame_len: frame.len(),
    };
    assert_eq!(parse(&in_two(3000)), parse_slice(&frame));
    assert_eq!(parse(&in_two(41)), Parsed::Malformed(V4), "header split");
    assert_eq!(parse_slice(&frame[..3000]), Parsed::Malformed(V4));
}

#[test]
fn no_bytes_make_the_parser_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for (_, frame, _, _) in shapes() {
        for _ in 0..5_000 {
            let mut frame = frame.clone();
            for _ in 0..=random() % 4 {
                let at = usize::try_from(random()).unwrap() % frame.len();
                frame[at] = random().to_be_bytes()[0];
            }
            let _ = parse_slice(&frame);
        }
    }
}
