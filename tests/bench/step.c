/* Prepares a frame and tail-calls the program under test, whichever that is: `BPF_PROG_TEST_RUN` gives all repeats of a
 * run one buffer, so somebody has to give each packet its own source, and to undo an answer. The same object stands in
 * front of the references and of weir, and in front of `empty` it is what has to be subtracted from both.
 *
 * The four bytes stepped lie at offset 26: the IPv4 source, or of an IPv6 source the 32 bits behind 2001:db8. What is there
 * already is where the sequence goes on, so stepping needs no memory. */
#include "bpf.h"

enum mode {
	KEEP = 0,
	/* source += STEP within MASK: with an odd STEP every value in turn. */
	TURN = 1,
	RANDOM = 2,
};

const volatile u32 MODE = KEEP;
/* Bits that change, as a number. */
const volatile u32 MASK = 0;
/* The other bits, in network order. */
const volatile u32 BASE = 0;
const volatile u32 STEP = 1;
/* The frame to write back first, and its length in bytes, 48 to 96; 0 = nothing is written back. */
const volatile u32 FRAME_LEN = 0;
const volatile u8 FRAME[96] __attribute__((aligned(8))) = {0};

struct {
	FIELD(type, MAP_PROG_ARRAY);
	FIELD(max_entries, 1);
	/* Sizes, not types: the kernel takes none for this kind of map. */
	FIELD(key_size, sizeof(u32));
	FIELD(value_size, sizeof(u32));
} NEXT SEC(".maps");

#define SOURCE_AT 26

INLINE int restore(struct xdp_md *ctx, u32 len)
{
	int missing = len - (ctx->data_end - ctx->data);
	if (missing && adjust_tail(ctx, missing))
		return -1;
	void *data = DATA(ctx), *end = DATA_END(ctx);
	/* Longer than the template, or shorter than its last word: the verifier knows `len`, and leaves all this out. */
	if (len < 8 || len > sizeof(FRAME) || data + len > end)
		return -1;
#pragma unroll
	for (u32 word = 0; word < sizeof(FRAME) / 8; word++) {
		if (len < word * 8 + 8)
			break;
		*(u64 *)(data + word * 8) = *(const volatile u64 *)(FRAME + word * 8);
	}
	/* The last eight bytes once more: a length need not be a multiple of eight. */
	*(u64 *)(data + len - 8) = *(const volatile u64 *)(FRAME + len - 8);
	return 0;
}

SEC("xdp.frags") int step(struct xdp_md *ctx)
{
	u32 len = FRAME_LEN;
	if (len && restore(ctx, len))
		return XDP_ABORTED;
	if (MODE != KEEP) {
		void *data = DATA(ctx), *end = DATA_END(ctx);
		u32 *source = data + SOURCE_AT;
		if ((void *)(source + 1) > end)
			return XDP_ABORTED;
		u32 next = MODE == TURN ? be32(*source) + STEP : random_u32();
		*source = BASE | be32(next & MASK);
	}
	tail_call(ctx, &NEXT, 0);
	return XDP_ABORTED;
}
