/* A frame's headers as every filter has to read them: Ethernet, up to two VLAN tags, IPv4 or IPv6 without extensions, the
 * TCP, UDP or ICMP header. Every access is checked against the end of the frame. */
#pragma once
#include "bpf.h"

struct ethernet {
	u8 destination[6];
	u8 source[6];
	u16 type;
} PACKED;

struct tag {
	u16 control;
	u16 type;
} PACKED;

struct ipv4 {
	u8 version_and_len;
	u8 tos;
	u16 len;
	u16 id;
	u16 fragment;
	u8 ttl;
	u8 protocol;
	u16 checksum;
	u32 source;
	u32 destination;
} __attribute__((packed, aligned(2)));

struct ipv6 {
	u32 version_and_flow;
	u16 payload_len;
	u8 next;
	u8 hops;
	u32 source[4];
	u32 destination[4];
} __attribute__((packed, aligned(2)));

struct tcp {
	u16 source_port;
	u16 destination_port;
	u32 sequence;
	u32 acknowledged;
	u8 header_len;
	u8 flags;
	u16 window;
	u16 checksum;
	u16 urgent;
} __attribute__((packed, aligned(2)));

struct udp {
	u16 source_port;
	u16 destination_port;
	u16 len;
	u16 checksum;
} __attribute__((packed, aligned(2)));

struct icmp {
	u8 kind;
	u8 code;
	u16 checksum;
} __attribute__((packed, aligned(2)));

enum {
	ETHERTYPE_IPV4 = 0x0800,
	ETHERTYPE_IPV6 = 0x86dd,
	ETHERTYPE_8021Q = 0x8100,
	ETHERTYPE_8021AD = 0x88a8,
	PROTOCOL_ICMP = 1,
	PROTOCOL_TCP = 6,
	PROTOCOL_UDP = 17,
	PROTOCOL_ICMPV6 = 58,
};

enum parsed {
	/* Cut short, or with a header length that contradicts itself. */
	MALFORMED,
	/* Neither IPv4 nor IPv6. */
	NOT_IP,
	IPV4,
	IPV6,
};

/* Ports and addresses in network order. */
struct facts {
	u32 source4;
	u64 source6[2];
	u32 ip_at;
	u32 upper_at;
	u8 protocol;
	u8 tcp_flags;
	u8 icmp_kind;
	u16 source_port;
	u16 destination_port;
};

INLINE enum parsed parse_upper(void *at, void *end, struct facts *facts, enum parsed ip)
{
	if (facts->protocol == PROTOCOL_TCP) {
		struct tcp *tcp = at;
		if ((void *)(tcp + 1) > end)
			return MALFORMED;
		facts->source_port = tcp->source_port;
		facts->destination_port = tcp->destination_port;
		facts->tcp_flags = tcp->flags;
	} else if (facts->protocol == PROTOCOL_UDP) {
		struct udp *udp = at;
		if ((void *)(udp + 1) > end)
			return MALFORMED;
		facts->source_port = udp->source_port;
		facts->destination_port = udp->destination_port;
	} else if (facts->protocol == PROTOCOL_ICMP || facts->protocol == PROTOCOL_ICMPV6) {
		struct icmp *icmp = at;
		if ((void *)(icmp + 1) > end)
			return MALFORMED;
		facts->icmp_kind = icmp->kind;
	}
	return ip;
}

INLINE enum parsed parse(void *data, void *end, struct facts *facts)
{
	struct ethernet *ethernet = data;
	if ((void *)(ethernet + 1) > end)
		return MALFORMED;
	u16 type = ethernet->type;
	void *at = ethernet + 1;
#pragma unroll
	for (int tags = 0; tags < 2; tags++) {
		if (type != be16(ETHERTYPE_8021Q) && type != be16(ETHERTYPE_8021AD))
			break;
		struct tag *tag = at;
		if ((void *)(tag + 1) > end)
			return MALFORMED;
		type = tag->type;
		at = tag + 1;
	}
	facts->ip_at = at - data;
	if (type == be16(ETHERTYPE_IPV4)) {
		struct ipv4 *ip = at;
		if ((void *)(ip + 1) > end)
			return MALFORMED;
		u32 len = (ip->version_and_len & 0xf) * 4;
		if (ip->version_and_len >> 4 != 4 || len < sizeof(*ip))
			return MALFORMED;
		facts->source4 = ip->source;
		facts->protocol = ip->protocol;
		facts->upper_at = facts->ip_at + len;
		/* A later fragment has no such header. */
		if (ip->fragment & be16(0x1fff))
			return IPV4;
		return parse_upper(at + len, end, facts, IPV4);
	}
	if (type == be16(ETHERTYPE_IPV6)) {
		struct ipv6 *ip = at;
		if ((void *)(ip + 1) > end)
			return MALFORMED;
		facts->source6[0] = *(u64 *)&ip->source[0];
		facts->source6[1] = *(u64 *)&ip->source[2];
		facts->protocol = ip->next;
		facts->upper_at = facts->ip_at + sizeof(*ip);
		return parse_upper(ip + 1, end, facts, IPV6);
	}
	return NOT_IP;
}

/* Keeps the compiler from leaving out reads whose values a bare drop does not need. */
INLINE void use(const struct facts *facts)
{
	asm volatile("" ::"r"((u64)facts->source4), "r"(facts->source6[0] ^ facts->source6[1]),
		     "r"((u64)facts->source_port << 16 | facts->destination_port),
		     "r"((u64)facts->tcp_flags << 8 | facts->icmp_kind));
}
