/* A blocklist as one would write it by hand: parse, one lookup by source address in a hash map of the shape that weir's
 * blocklist has, count the hit in the entry and the packet on this CPU, drop. The bench gives the shape:
 * ENTRIES, VALUE_BYTES (at least 16, a multiple of 8), MAP_FLAGS. */
#include "parse.h"

struct entry {
	u64 before_hits;
	u64 hits;
	u8 rest[VALUE_BYTES - 16];
};

struct {
	FIELD(type, MAP_HASH);
	FIELD(max_entries, ENTRIES);
	FIELD(map_flags, MAP_FLAGS);
	TYPE(key, u32);
	TYPE(value, struct entry);
} BLOCKED SEC(".maps");

struct {
	FIELD(type, MAP_PERCPU_ARRAY);
	FIELD(max_entries, 1);
	TYPE(key, u32);
	TYPE(value, u64);
} PACKETS SEC(".maps");

SEC("xdp.frags") int hash_drop(struct xdp_md *ctx)
{
	struct facts facts = {};
	enum parsed parsed = parse(DATA(ctx), DATA_END(ctx), &facts);
	use(&facts);
	if (parsed != IPV4)
		return XDP_PASS;
	struct entry *entry = map_lookup(&BLOCKED, &facts.source4);
	if (!entry)
		return XDP_PASS;
	__sync_fetch_and_add(&entry->hits, 1);
	u32 zero = 0;
	u64 *packets = map_lookup(&PACKETS, &zero);
	if (packets)
		*packets += 1;
	return XDP_DROP;
}
