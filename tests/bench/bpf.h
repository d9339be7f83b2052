/* What a BPF program in C needs of the kernel, and no more: types, helpers, map definitions. Written out here so that the
 * references compile without kernel or libbpf headers. Numbers are the kernel's ABI (include/uapi/linux/bpf.h). */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;
typedef long long s64;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define PACKED __attribute__((packed))

/* BTF map definitions: a pointer's type carries the value. */
#define FIELD(name, value) int (*name)[value]
#define TYPE(name, type) typeof(type) *name

enum map_type {
	MAP_HASH = 1,
	MAP_PROG_ARRAY = 3,
	MAP_PERCPU_ARRAY = 6,
};

enum xdp_action {
	XDP_ABORTED = 0,
	XDP_DROP = 1,
	XDP_PASS = 2,
	XDP_TX = 3,
};

struct xdp_md {
	u32 data;
	u32 data_end;
	u32 data_meta;
	u32 ingress_ifindex;
	u32 rx_queue_index;
	u32 egress_ifindex;
};

#define DATA(ctx) ((void *)(u64)(ctx)->data)
#define DATA_END(ctx) ((void *)(u64)(ctx)->data_end)

/* struct bpf_sock, as far as `state`. */
struct sock_view {
	u32 unused[18];
	u32 state;
};

struct tuple {
	union {
		struct {
			u32 source, destination;
			u16 source_port, destination_port;
		} v4;
		struct {
			u32 source[4], destination[4];
			u16 source_port, destination_port;
		} v6;
	};
};

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static u32 (*const random_u32)(void) = (void *)7;
static long (*const tail_call)(void *ctx, void *map, u32 index) = (void *)12;
static long (*const redirect)(u32 ifindex, u64 flags) = (void *)23;
static long (*const adjust_tail)(struct xdp_md *ctx, int delta) = (void *)65;
static long (*const sk_release)(void *sk) = (void *)86;
static struct sock_view *(*const skc_lookup_tcp)(void *ctx, struct tuple *tuple, u32 size, u64 netns,
						 u64 flags) = (void *)99;
static s64 (*const tcp_gen_syncookie)(void *sk, void *ip, u32 ip_len, void *tcp, u32 tcp_len) = (void *)110;
static u64 (*const coarse_clock_ns)(void) = (void *)160;
static long (*const loop)(u32 count, void *callback, void *state, u64 flags) = (void *)181;
static s64 (*const raw_gen_syncookie4)(void *ip, void *tcp, u32 tcp_len) = (void *)204;
static s64 (*const raw_gen_syncookie6)(void *ip, void *tcp, u32 tcp_len) = (void *)205;

#define be16(x) __builtin_bswap16(x)
#define be32(x) __builtin_bswap32(x)

/* Several helpers are for GPL programs only. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";
