/* SPDX-License-Identifier: MIT */
/*
 * Where the programs keep the packet that they work on. The functions of the long way are global: the verifier checks
 * each of them once and on its own, instead of along every path that leads there; but up to kernel 5.11 such a function
 * takes only the context and numbers, so the packet lies in a per-CPU map. tc programs run with softirqs off: nobody
 * else of this CPU writes it.
 */
#pragma once
#include "effect.h"

#define GLOBAL __attribute__((noinline))
/* The verifier wants the context at every call, clang leaves out what the function does not use. */
#define KEEP(skb) asm volatile("" ::"r"(skb))

struct question {
    struct policy_key key;
    __u32 order; /* best so far; ~0: nothing matched */
    __u32 rule;
    __u32 lengths;      /* of the packet's protocol */
    __u32 source_class; /* 0: none */
    __u16 port;
    __u8 protocol;
    __u8 plane_flags;
    __u8 action;
    __u8 entry_flags;
    __u16 pad;
};

struct scratch {
    struct packet packet;
    struct question question;
    struct classes exact;                 /* of the remote address that is asked about */
    __u64 fresh[sizeof(struct flow) / 8]; /* a struct flow: a spin lock may not lie in a per-CPU map */
};

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct scratch);
} scratch SEC(".maps");

ALWAYS_INLINE struct scratch *work(void)
{
    __u32 zero = 0;

    return bpf_map_lookup_elem(&scratch, &zero);
}
