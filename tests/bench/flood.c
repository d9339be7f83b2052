/* The generator, for live frames of BPF_PROG_TEST_RUN: each call of `send` or `spend` makes one SYN from a random source and
 * sends it, or for comparison does not. And what the far ends of links need: a program that passes, so that what an XDP
 * program there sends back is delivered, and one that counts and drops.
 *
 * The bench gives the addresses; the sources it gives are of 198.18.0.0/15. */
#include "parse.h"

const volatile u32 OUT_INTERFACE = 0;
/* Link-layer addresses: destination, source. */
const volatile u8 LINK[16] __attribute__((aligned(8))) = {0};
/* Network order. */
const volatile u32 SOURCE_BASE = 0;
/* Source bits that vary, as a number. */
const volatile u32 SOURCE_MASK = 0;
/* Network order. */
const volatile u32 DESTINATION = 0;
const volatile u32 PORT = 0;

struct {
	FIELD(type, MAP_PERCPU_ARRAY);
	FIELD(max_entries, 1);
	TYPE(key, u32);
	TYPE(value, u64);
} SEEN SEC(".maps");

struct frame {
	struct ethernet ethernet;
	struct ipv4 ip;
	struct tcp tcp;
	u16 mss[2];
	/* Up to the shortest Ethernet frame. */
	u8 padding[2];
} __attribute__((packed, aligned(2)));

INLINE u32 halves(u32 word)
{
	return (word >> 16) + (word & 0xffff);
}

INLINE u16 fold(u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* All of it each time: a page comes back with what the receiver wrote into it. */
INLINE int make(struct xdp_md *ctx)
{
	struct frame *frame = DATA(ctx);
	if ((void *)(frame + 1) > DATA_END(ctx))
		return -1;
	u32 random = random_u32();
	u32 mixed = (random * 0x9e3779b1) ^ (random >> 7);
	u32 source = SOURCE_BASE | be32(random & SOURCE_MASK);
	u16 source_port = be16(1024 + ((mixed >> 8) & 0x7fff));
	u16 id = mixed;
	u32 addresses = halves(source) + halves(DESTINATION);

	u64 link0 = *(const volatile u64 *)LINK;
	u32 link8 = *(const volatile u32 *)(LINK + 8);
	*(u64 *)frame = link0;
	*(u32 *)((void *)frame + 8) = link8;
	frame->ethernet.type = be16(ETHERTYPE_IPV4);

	u16 len = be16(sizeof(struct ipv4) + sizeof(struct tcp) + 4);
	frame->ip.version_and_len = 0x45;
	frame->ip.tos = 0;
	frame->ip.len = len;
	frame->ip.id = id;
	frame->ip.fragment = 0;
	frame->ip.ttl = 64;
	frame->ip.protocol = PROTOCOL_TCP;
	frame->ip.checksum = fold(be16(0x4500) + (u32)len + id + be16(0x4006) + addresses);
	frame->ip.source = source;
	frame->ip.destination = DESTINATION;

	frame->tcp.source_port = source_port;
	frame->tcp.destination_port = be16(PORT);
	frame->tcp.sequence = mixed;
	frame->tcp.acknowledged = 0;
	frame->tcp.header_len = 0x60;
	frame->tcp.flags = 2;
	frame->tcp.window = be16(0xfaf0);
	frame->tcp.urgent = 0;
	frame->mss[0] = be16(0x0204);
	frame->mss[1] = be16(1460);
	*(u16 *)frame->padding = 0;
	frame->tcp.checksum = fold(addresses + be16(PROTOCOL_TCP) + be16(24) + source_port + be16(PORT) +
				   halves(mixed) + be16(0x6002) + be16(0xfaf0) + be16(0x0204) + be16(1460));
	return 0;
}

SEC("xdp.frags") int send(struct xdp_md *ctx)
{
	return make(ctx) ? XDP_ABORTED : redirect(OUT_INTERFACE, 0);
}

/* What generating alone costs. */
SEC("xdp.frags") int spend(struct xdp_md *ctx)
{
	return make(ctx) ? XDP_ABORTED : XDP_DROP;
}

SEC("xdp.frags") int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp.frags") int sink(struct xdp_md *ctx)
{
	u32 zero = 0;
	u64 *seen = map_lookup(&SEEN, &zero);
	if (seen)
		*seen += 1;
	return XDP_DROP;
}
