/* The SYN cookie responder to compare with: reads the options of a SYN, makes the cookie with the kernel's helper, turns
 * the frame into the SYN-ACK in place and sends it back. `cookie_raw` asks for no socket; `cookie_lookup` looks the
 * listener up, as a responder has to in front of sockets of its own host. Frames with VLAN tags, IP options or extension
 * headers are left to the kernel.
 *
 * The kernel reads what it would have remembered from the cookie (the MSS) and from the lowest six bits of the timestamp
 * that comes back (window scale, SACK, ECN), so `tcp_syncookies` and `tcp_timestamps` have to be 2. */
#include "parse.h"

/* 1: answers to SYNs with timestamps carry all options; 0: the MSS only. */
const volatile u32 FULL_OPTIONS = 0;
/* What the kernel will choose for the listener. */
const volatile u32 WINDOW_SCALE = 7;

struct {
	FIELD(type, MAP_PERCPU_ARRAY);
	FIELD(max_entries, 1);
	TYPE(key, u32);
	TYPE(value, u64);
} ANSWERED SEC(".maps");

enum {
	FIN = 0x01,
	SYN = 0x02,
	RST = 0x04,
	ACK = 0x10,
	ECE = 0x40,
	CWR = 0x80,
	TCP_LISTEN = 10,
	/* Further options of a SYN are not looked at. */
	OPTIONS_MAX = 12,
	NO_SCALE = 15,
};

enum source {
	RAW,
	LISTENER,
};

struct options {
	u16 mss;
	u8 window_scale;
	u8 sack;
	u8 timestamps;
	u32 timestamp;
};

struct walk {
	struct xdp_md *ctx;
	u32 at;
	u32 end;
	struct options found;
};

/* `len` bytes at `at`, or null. The end is computed where the compiler cannot see how: it would turn `p + 1 > end` into
 * `p >= end`, for which the verifier grants no readable range. */
INLINE u8 *bytes(struct xdp_md *ctx, u32 at, u32 len)
{
	u8 *start = DATA(ctx) + (at & 0xff);
	u8 *end = start;
	asm volatile("%0 += %1" : "+r"(end) : "r"((u64)len));
	return (void *)end > DATA_END(ctx) ? 0 : start;
}

/* One option a call: unrolled, twelve of them would be more than the verifier follows. */
static long option(u32 index, struct walk *walk)
{
	u32 at = walk->at;
	if (at >= walk->end)
		return 1;
	u8 *kind = bytes(walk->ctx, at, 1);
	if (!kind || *kind == 0)
		return 1;
	if (*kind == 1) {
		walk->at = at + 1;
		return 0;
	}
	u8 *head = bytes(walk->ctx, at, 2);
	if (!head || head[1] < 2)
		return 1;
	u8 len = head[1];
	if (head[0] == 2 && len == 4) {
		u8 *mss = bytes(walk->ctx, at, 4);
		if (mss)
			walk->found.mss = mss[2] << 8 | mss[3];
	} else if (head[0] == 3 && len == 3) {
		u8 *scale = bytes(walk->ctx, at, 3);
		if (scale)
			walk->found.window_scale = scale[2] > 14 ? 14 : scale[2];
	} else if (head[0] == 4 && len == 2) {
		walk->found.sack = 1;
	} else if (head[0] == 8 && len == 10) {
		u8 *stamp = bytes(walk->ctx, at, 10);
		if (stamp) {
			walk->found.timestamps = 1;
			walk->found.timestamp = *(u32 *)(stamp + 2);
		}
	}
	walk->at = at + len;
	return 0;
}

/* A header of constant length: of a SYN's options only the MSS goes into a cookie. */
struct probe {
	struct tcp tcp;
	u8 mss[4];
};


/* The cookie, or minus the action instead of an answer. */
INLINE s64 cookie_of_listener(struct xdp_md *ctx, void *ip, u32 ip_len, struct tuple *tuple, u32 tuple_len,
			      struct probe *probe)
{
	struct sock_view *socket = skc_lookup_tcp(ctx, tuple, tuple_len, (u64)-1, 0);
	if (!socket)
		return -XDP_DROP;
	/* TIME_WAIT or a live connection: the kernel knows better. */
	if (socket->state != TCP_LISTEN) {
		sk_release(socket);
		return -XDP_PASS;
	}
	s64 cookie = tcp_gen_syncookie(socket, ip, ip_len, probe, sizeof(*probe));
	sk_release(socket);
	return cookie < 0 ? -XDP_DROP : cookie;
}

INLINE s64 make_cookie4(struct xdp_md *ctx, struct ipv4 *ip, struct probe *probe, enum source source)
{
	if (source == RAW) {
		s64 cookie = raw_gen_syncookie4(ip, probe, sizeof(*probe));
		return cookie < 0 ? -XDP_DROP : cookie;
	}
	struct tuple tuple = {.v4 = {ip->source, ip->destination, probe->tcp.source_port,
				     probe->tcp.destination_port}};
	return cookie_of_listener(ctx, ip, sizeof(*ip), &tuple, sizeof(tuple.v4), probe);
}

INLINE s64 make_cookie6(struct xdp_md *ctx, struct ipv6 *ip, struct probe *probe, enum source source)
{
	if (source == RAW) {
		s64 cookie = raw_gen_syncookie6(ip, probe, sizeof(*probe));
		return cookie < 0 ? -XDP_DROP : cookie;
	}
	struct tuple tuple = {};
	__builtin_memcpy(tuple.v6.source, ip->source, 32);
	tuple.v6.source_port = probe->tcp.source_port;
	tuple.v6.destination_port = probe->tcp.destination_port;
	return cookie_of_listener(ctx, ip, sizeof(*ip), &tuple, sizeof(tuple.v6), probe);
}

/* Sum of native 16-bit words (RFC 1071: the byte order of the words does not matter, if that of the result is theirs). */
INLINE u64 sum(const void *of, u32 len)
{
	const u16 *words = of;
	u64 sum = 0;
#pragma unroll
	for (u32 i = 0; i < len / 2; i++)
		sum += words[i];
	return sum;
}

INLINE u16 fold(u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

struct answer_mss {
	struct tcp tcp;
	u8 options[4];
} __attribute__((packed, aligned(2)));

struct answer_full {
	struct tcp tcp;
	u8 options[20];
} __attribute__((packed, aligned(2)));

/* Milliseconds with the options in the lowest six bits, and never in the future: the client would drop our first data as
 * older than this (PAWS). */
INLINE u32 stamp(const struct options *options, u32 ecn)
{
	u32 now = coarse_clock_ns() / 1000000;
	u32 value = (now & ~63u) | options->window_scale | options->sack << 4 | ecn << 5;
	if ((s32)(value - now) > 0)
		value -= 64;
	return be32(value);
}

INLINE void write_options(u8 *to, const struct options *options, u16 mss, u32 stamp)
{
	to[0] = 2;
	to[1] = 4;
	*(u16 *)(to + 2) = be16(mss);
	to[4] = options->sack ? 4 : 1;
	to[5] = options->sack ? 2 : 1;
	to[6] = 8;
	to[7] = 10;
	*(u32 *)(to + 8) = stamp;
	*(u32 *)(to + 12) = options->timestamp;
	u32 scaled = options->window_scale != NO_SCALE;
	to[16] = 1;
	to[17] = scaled ? 3 : 1;
	to[18] = scaled ? 3 : 1;
	to[19] = scaled ? WINDOW_SCALE : 1;
}

INLINE int write_ipv4(struct xdp_md *ctx, u32 tcp_len, u64 *addresses)
{
	struct ipv4 *ip = DATA(ctx) + sizeof(struct ethernet);
	if ((void *)(ip + 1) > DATA_END(ctx))
		return -1;
	u32 source = ip->source;
	ip->source = ip->destination;
	ip->destination = source;
	ip->version_and_len = 0x45;
	ip->tos = 0;
	ip->len = be16(sizeof(*ip) + tcp_len);
	ip->id = 0;
	ip->fragment = be16(0x4000);
	ip->ttl = 64;
	ip->protocol = PROTOCOL_TCP;
	ip->checksum = 0;
	*addresses = sum(&ip->source, 8);
	ip->checksum = fold(sum(ip, sizeof(*ip)));
	return 0;
}

INLINE int write_ipv6(struct xdp_md *ctx, u32 tcp_len, u64 *addresses)
{
	struct ipv6 *ip = DATA(ctx) + sizeof(struct ethernet);
	if ((void *)(ip + 1) > DATA_END(ctx))
		return -1;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		u32 source = ip->source[i];
		ip->source[i] = ip->destination[i];
		ip->destination[i] = source;
	}
	ip->payload_len = be16(tcp_len);
	ip->hops = 64;
	*addresses = sum(ip->source, 32);
	return 0;
}

INLINE int write_ip(struct xdp_md *ctx, enum parsed version, u32 tcp_len, u64 *addresses)
{
	struct ethernet *ethernet = DATA(ctx);
	if ((void *)(ethernet + 1) > DATA_END(ctx))
		return -1;
	u8 client[6];
	__builtin_memcpy(client, ethernet->source, 6);
	__builtin_memcpy(ethernet->source, ethernet->destination, 6);
	__builtin_memcpy(ethernet->destination, client, 6);
	return version == IPV4 ? write_ipv4(ctx, tcp_len, addresses) : write_ipv6(ctx, tcp_len, addresses);
}

INLINE int answer(struct xdp_md *ctx, const struct facts *facts, enum parsed version, enum source from)
{
	u32 ip_len = version == IPV4 ? sizeof(struct ipv4) : sizeof(struct ipv6);
	u32 tcp_at = sizeof(struct ethernet) + ip_len;
	if (facts->ip_at != sizeof(struct ethernet) || facts->upper_at != tcp_at)
		return XDP_PASS;
	struct tcp *syn = DATA(ctx) + tcp_at;
	if ((void *)(syn + 1) > DATA_END(ctx))
		return XDP_ABORTED;
	u32 header_len = (syn->header_len >> 4) * 4;
	if (header_len < sizeof(*syn))
		return XDP_DROP;
	struct probe probe = {.tcp = *syn};
	struct walk walk = {
		.ctx = ctx,
		.at = tcp_at + sizeof(*syn),
		.end = tcp_at + header_len,
		.found = {.window_scale = NO_SCALE},
	};
	if (loop(OPTIONS_MAX, option, &walk, 0) < 0)
		return XDP_ABORTED;
	struct options *options = &walk.found;
	u16 mss = options->mss ? options->mss : version == IPV4 ? 536 : 1220;
	u8 flags = probe.tcp.flags;
	probe.tcp.header_len = sizeof(probe) / 4 << 4;
	probe.tcp.flags = SYN;
	probe.mss[0] = 2;
	probe.mss[1] = 4;
	*(u16 *)&probe.mss[2] = be16(mss);

	void *ip = DATA(ctx) + sizeof(struct ethernet);
	if (ip + ip_len > DATA_END(ctx))
		return XDP_ABORTED;
	s64 cookie = version == IPV4 ? make_cookie4(ctx, ip, &probe, from) : make_cookie6(ctx, ip, &probe, from);
	if (cookie < 0)
		return -cookie;

	u32 full = options->timestamps && FULL_OPTIONS;
	u32 tcp_len = full ? sizeof(struct answer_full) : sizeof(struct answer_mss);
	int delta = tcp_at + tcp_len - (ctx->data_end - ctx->data);
	if (delta && adjust_tail(ctx, delta))
		return XDP_DROP;
	u64 checksum;
	if (write_ip(ctx, version, tcp_len, &checksum))
		return XDP_ABORTED;
	u32 ecn = full && (flags & (ECE | CWR)) == (ECE | CWR);
	struct answer_full reply = {
		.tcp = {
			.source_port = probe.tcp.destination_port,
			.destination_port = probe.tcp.source_port,
			.sequence = be32((u32)cookie),
			.acknowledged = be32(be32(probe.tcp.sequence) + 1),
			.header_len = tcp_len / 4 << 4,
			.flags = SYN | ACK | (ecn ? ECE : 0),
			.window = 0xffff,
		},
	};
	u16 own_mss = version == IPV4 ? 1460 : 1440;
	checksum += be16(PROTOCOL_TCP) + be16(tcp_len);
	void *to = DATA(ctx) + tcp_at;
	if (full) {
		write_options(reply.options, options, own_mss, stamp(options, ecn));
		reply.tcp.checksum = fold(checksum + sum(&reply, sizeof(reply)));
		if (to + sizeof(reply) > DATA_END(ctx))
			return XDP_ABORTED;
		__builtin_memcpy(to, &reply, sizeof(reply));
	} else {
		reply.options[0] = 2;
		reply.options[1] = 4;
		*(u16 *)(reply.options + 2) = be16(own_mss);
		reply.tcp.checksum = fold(checksum + sum(&reply, sizeof(struct answer_mss)));
		if (to + sizeof(struct answer_mss) > DATA_END(ctx))
			return XDP_ABORTED;
		__builtin_memcpy(to, &reply, sizeof(struct answer_mss));
	}
	u32 zero = 0;
	u64 *answered = map_lookup(&ANSWERED, &zero);
	if (answered)
		*answered += 1;
	return XDP_TX;
}

INLINE int respond(struct xdp_md *ctx, enum source from)
{
	struct facts facts = {};
	enum parsed parsed = parse(DATA(ctx), DATA_END(ctx), &facts);
	if (parsed == MALFORMED)
		return XDP_DROP;
	if (parsed == NOT_IP || facts.protocol != PROTOCOL_TCP)
		return XDP_PASS;
	if ((facts.tcp_flags & (FIN | SYN | RST | ACK)) != SYN)
		return XDP_PASS;
	return parsed == IPV4 ? answer(ctx, &facts, IPV4, from) : answer(ctx, &facts, IPV6, from);
}

SEC("xdp.frags") int cookie_raw(struct xdp_md *ctx)
{
	return respond(ctx, RAW);
}

SEC("xdp.frags") int cookie_lookup(struct xdp_md *ctx)
{
	return respond(ctx, LISTENER);
}
