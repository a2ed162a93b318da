/* SPDX-License-Identifier: MIT */
/* The only way to drop a packet: counted, with a reason, at the endpoint that is to blame. */
#pragma once
#include "scratch.h"

ALWAYS_INLINE int drop_at(__u32 endpoint_number, __u32 why)
{
    __u32 index = endpoint_number * MAX_REASONS + (why & (MAX_REASONS - 1));
    __u64 *count = bpf_map_lookup_elem(&drop, &index);

    note(STEP_DROP, endpoint_number, why, 0, 0);
    if (count && !DRY)
        __sync_fetch_and_add(count, 1);
    return TC_ACT_SHOT;
}

/* At whose side: the receiver's when its rules or its state refused, else the sender's. */
ALWAYS_INLINE int drop_packet(struct packet *p, __u32 why)
{
    return drop_at(p->blame_receiver || !p->endpoint ? p->receiver : p->endpoint, why);
}

ALWAYS_INLINE int drop_at_receiver(struct packet *p, __u32 why)
{
    p->blame_receiver = 1;
    return drop_packet(p, why);
}
