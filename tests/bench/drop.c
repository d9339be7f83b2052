/* The floor of every comparison: a program that does nothing, and one that reads the headers and does nothing else. Both
 * drop. */
#include "parse.h"

SEC("xdp.frags") int empty(struct xdp_md *ctx)
{
	return XDP_DROP;
}

SEC("xdp.frags") int parse_drop(struct xdp_md *ctx)
{
	struct facts facts = {};
	enum parsed parsed = parse(DATA(ctx), DATA_END(ctx), &facts);
	use(&facts);
	return parsed == MALFORMED ? XDP_ABORTED : XDP_DROP;
}
