//! What each header says, and headers that contradict themselves.

use super::*;

#[test]
fn other_ethertypes_are_no_ip_with_and_without_a_tag() {
    // ARP, PPPoE, LLDP, the pre-standard tag, MPLS, an 802.3 length.
    for (ethertype, kind) in [
        (0x0806, Ethertype::Arp),
        (0x8863, Ethertype::Pppoe),
        (0x8864, Ethertype::Pppoe),
        (0x88cc, Ethertype::Other),
        (0x9100, Ethertype::Other),
        (0x8847, Ethertype::Other),
        (0x0026, Ethertype::Other),
    ] {
        assert_eq!(parse_slice(&ethernet(ethertype, &[])), Parsed::Other(kind));
        let tagged = ethernet(0x8100, &tag(ethertype, &[]));
        assert_eq!(parse_slice(&tagged), Parsed::Other(kind));
    }
}

#[test]
fn tags_are_counted_and_a_third_is_malformed() {
    let packet = ipv4(TCP, 0, &[], &tcp(TCP_SYN));
    for outer in [0x8100, 0x88a8] {
        let one = ethernet(outer, &tag(ETHERTYPE_IPV4, &packet));
        assert_eq!(facts(&one).0.tags(), 1);
        let two = tag(0x8100, &tag(ETHERTYPE_IPV4, &packet));
        assert_eq!(facts(&ethernet(outer, &two)).0.tags(), 2);
        assert_eq!(
            parse_slice(&ethernet(outer, &tag(0x8100, &two))),
            Parsed::Malformed(None)
        );
    }
}

#[test]
fn ip_headers_that_contradict_themselves_are_malformed() {
    let v4 = ethernet(ETHERTYPE_IPV4, &ipv4(TCP, 0, &[], &tcp(TCP_SYN)));
    let v6 = ethernet(ETHERTYPE_IPV6, &ipv6(TCP, &tcp(TCP_SYN)));
    let cases = [
        (
            "version 6 in an IPv4 frame",
            &v4,
            14,
            [0x65].as_slice(),
            None,
        ),
        ("header of 16 bytes", &v4, 14, [0x44].as_slice(), V4),
        (
            "header longer than the packet",
            &v4,
            14,
            [0x4f].as_slice(),
            V4,
        ),
        ("total length 0", &v4, 16, [0, 0].as_slice(), V4),
        (
            "total length below the header",
            &v4,
            16,
            [0, 19].as_slice(),
            V4,
        ),
        (
            "total length beyond the frame",
            &v4,
            16,
            [0, 41].as_slice(),
            V4,
        ),
        (
            "version 4 in an IPv6 frame",
            &v6,
            14,
            [0x40].as_slice(),
            None,
        ),
        ("payload beyond the frame", &v6, 18, [0, 21].as_slice(), V6),
    ];
    for (what, frame, at, bytes, source) in cases {
        let mut frame = frame.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        assert_eq!(parse_slice(&frame), Parsed::Malformed(source), "{what}");
    }
}

#[test]
fn transport_headers_that_contradict_the_packet_are_malformed() {
    let patched = |mut header: Vec<u8>, at: usize, byte: u8| {
        header[at] = byte;
        header
    };
    let cases = [
        (
            "TCP header of 16 bytes",
            TCP,
            patched(tcp(TCP_SYN), 12, 0x40),
        ),
        (
            "TCP header longer than the packet",
            TCP,
            patched(tcp(TCP_SYN), 12, 0x60),
        ),
        ("UDP length 7", UDP, patched(udp(b""), 5, 7)),
        ("UDP length 0", UDP, patched(udp(b""), 5, 0)),
        ("UDP length beyond the packet", UDP, patched(udp(b""), 5, 9)),
    ];
    for (what, protocol, header) in cases {
        let v4 = ethernet(ETHERTYPE_IPV4, &ipv4(protocol, 0, &[], &header));
        assert_eq!(parse_slice(&v4), Parsed::Malformed(V4), "{what}");
        let v6 = ethernet(ETHERTYPE_IPV6, &ipv6(protocol, &header));
        assert_eq!(parse_slice(&v6), Parsed::Malformed(V6), "{what}, IPv6");
    }
}

#[test]
fn transport_headers_are_read() {
    let frames = |protocol: u8, header: &[u8]| {
        [
            ethernet(ETHERTYPE_IPV4, &ipv4(protocol, 0, &[1; 4], header)),
            ethernet(
                ETHERTYPE_IPV6,
                &ipv6(DESTINATION, &extension(protocol, 3, header)),
            ),
        ]
    };
    for frame in frames(TCP, &tcp(TCP_SYN | TCP_ACK)) {
        let Transport::Tcp(segment) = transport_of(&frame) else {
            panic!("no TCP");
        };
        assert_eq!(
            (segment.source_port, segment.destination_port),
            (40_000, 443)
        );
        assert_eq!((segment.sequence, segment.flags), (1, TCP_SYN | TCP_ACK));
        assert_eq!((segment.at, segment.header_len), (frame.len() - 20, 20));
        assert!(!opens(&frame));
    }
    for frame in frames(TCP, &tcp(TCP_SYN)) {
        assert!(opens(&frame));
    }
    for frame in frames(UDP, &udp(b"data")) {
        let Transport::Udp(datagram) = transport_of(&frame) else {
            panic!("no UDP");
        };
        assert_eq!(
            (datagram.source_port, datagram.destination_port),
            (40_000, 443)
        );
        assert_eq!((datagram.data_at, datagram.data_len), (frame.len() - 4, 4));
    }
}

#[test]
fn a_header_without_options_or_extensions_is_plain() {
    let plain = |frame: &[u8]| {
        let (ip, upper) = facts(frame);
        ip.is_plain(&upper)
    };
    assert!(plain(&ethernet(
        ETHERTYPE_IPV4,
        &ipv4(TCP, 0, &[], &tcp(TCP_SYN))
    )));
    assert!(plain(&ethernet(ETHERTYPE_IPV6, &ipv6(TCP, &tcp(TCP_SYN)))));
    assert!(!plain(&ethernet(
        ETHERTYPE_IPV4,
        &ipv4(TCP, 0, &[1; 4], &tcp(TCP_SYN))
    )));
    assert!(!plain(&chain(1)));
}

#[test]
fn each_ip_version_has_its_own_icmp() {
    let short = [8, 1, 0, 0];
    let v4 = |protocol| ethernet(ETHERTYPE_IPV4, &ipv4(protocol, 0, &[], &short));
    let v6 = |protocol| ethernet(ETHERTYPE_IPV6, &ipv6(protocol, &short));
    let message = Transport::Icmp(Message { kind: 8, code: 1 });
    assert_eq!(parse_slice(&v4(1)), Parsed::Malformed(V4));
    assert_eq!(transport_of(&v4(58)), Transport::Opaque);
    assert_eq!(transport_of(&v6(58)), message);
    assert_eq!(transport_of(&v6(1)), Transport::Opaque);
    let whole = ethernet(ETHERTYPE_IPV4, &ipv4(1, 0, &[], &[8, 1, 0, 0, 0, 0, 0, 0]));
    assert_eq!(transport_of(&whole), message);
}
