/* SPDX-License-Identifier: MIT */
/* The only way to drop a packet: counted, with a reason, at the endpoint that is to blame, and told to who watches. */
#pragma once
#include "scratch.h"

#define REASON_BITS 63 /* a reason in a word of bits, and in an argument */

/*
 * What the frame looks like now goes into the ring, if that is asked for and not too much was told lately. It is called
 * from the deepest of all calls: 32 bytes of stack are what is left there (5.10 allows 512 for all, rounded up by 32
 * each), so little may be kept for later. `at`: endpoint number << 7 | enum reason << 1 | enum direction.
 */
GLOBAL int tell_drop(struct __sk_buff *skb, __u32 at)
{
    __u32 zero = 0, length, most;
    struct drop_watch *watch;
    struct drop_seen *seen;
    struct drop_event *e;
    __u64 now;

    KEEP(skb);
    if (DRY)
        return 0;
    watch = bpf_map_lookup_elem(&drop_watch, &zero);
    if (!watch)
        return 0;
    now = bpf_ktime_get_ns();
    if (now >= watch->until) {
        watch->until = 0; /* a watcher that still lives writes it again */
        return 0;
    }
    if (!(watch->reasons >> (at >> 1 & REASON_BITS) & 1))
        return 0;
    if (watch->endpoint && watch->endpoint != at >> 7 && watch->ifindex != skb->ifindex)
        return 0;
    most = watch->most;
    seen = bpf_map_lookup_elem(&drop_seen, &zero);
    if (!seen)
        return 0;
    if (now - seen->window >= DROP_WINDOW) {
        seen->window = now;
        seen->told = 0;
    }
    e = seen->told < most ? bpf_ringbuf_reserve(&drop_event, sizeof(*e), 0) : 0;
    if (!e) {
        __sync_fetch_and_add(&seen->missed, 1);
        return 0;
    }
    __sync_fetch_and_add(&seen->told, 1);
    e->endpoint = at >> 7;
    e->reason = at >> 1 & REASON_BITS;
    e->direction = at & 1;
    e->rule = 0;
    if (e->reason == DENIED_EGRESS || e->reason == DENIED_INGRESS) {
        struct scratch *w = work();

        if (w)
            e->rule = w->question.rule;
    }
    e->time = bpf_ktime_get_ns();
    e->ifindex = skb->ifindex;
    e->vlan = skb->vlan_present ? skb->vlan_tci : 0;
    length = skb->len;
    e->length = length;
    /* The verifier is to see the bounds of what is read, whatever the compiler knows. */
    asm volatile("" : "+r"(length));
    if (length > DROP_FRAME)
        length = DROP_FRAME;
    asm volatile("" : "+r"(length));
    e->captured = length;
    if (length < ETH_LENGTH || bpf_skb_load_bytes(skb, 0, e->frame, length))
        e->captured = 0;
    bpf_ringbuf_submit(e, 0);
    return 0;
}

ALWAYS_INLINE int drop_frame(struct __sk_buff *skb, __u32 endpoint_number, __u32 why, __u32 direction)
{
    __u32 key = endpoint_number * MAX_REASONS + (why < MAX_REASONS ? why : REASON_NONE);
    struct drop_watch *watch;
    __u64 *count;

    note(STEP_DROP, endpoint_number, why, 0, 0);
    if (DRY)
        return TC_ACT_SHOT;
    count = bpf_map_lookup_elem(&drop, &key);
    if (count)
        __sync_fetch_and_add(count, 1);
    key = 0; /* the same place on the stack, which is scarce */
    watch = bpf_map_lookup_elem(&drop_watch, &key);
    if (watch && watch->until)
        tell_drop(skb, endpoint_number << 7 | (why & REASON_BITS) << 1 | direction);
    return TC_ACT_SHOT;
}

/* What comes out of the interface that it is met at was sent by the guest: tc knows no other sign at ingress. */
ALWAYS_INLINE int drop_at(struct __sk_buff *skb, __u32 endpoint_number, __u32 why)
{
    return drop_frame(skb, endpoint_number, why, skb->ingress_ifindex == skb->ifindex ? EGRESS : INGRESS);
}

/* At whose side: the receiver's when its rules or its state refused, else the sender's. */
ALWAYS_INLINE int drop_packet(struct __sk_buff *skb, struct packet *p, __u32 why)
{
    int at_receiver = p->blame_receiver || !p->endpoint;

    return drop_frame(skb, at_receiver ? p->receiver : p->endpoint, why, at_receiver ? INGRESS : EGRESS);
}

ALWAYS_INLINE int drop_at_receiver(struct __sk_buff *skb, struct packet *p, __u32 why)
{
    p->blame_receiver = 1;
    return drop_packet(skb, p, why);
}
