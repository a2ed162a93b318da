/* SPDX-License-Identifier: MIT */
/* The short way: a packet of a flow that is as it was when it was judged. */
#pragma once
#include "neighbour.h"

/* The entry of a flow that p may use as it is, else NULL: then decide() finds out. `peer` is the other local end. */
ALWAYS_INLINE struct flow *flow_ready(struct packet *p, const struct control *c, const struct endpoint *own,
                                      struct endpoint **peer)
{
    struct flow *f = bpf_map_lookup_elem(&flow, &p->key);
    __u32 side = p->source_hi & 1, number;
    __u8 flags;

    if (!f) {
        p->no_flow = 1;
        return 0;
    }
    if (flow_expired(f, c, p->now) || f->tag != flow_tag(&p->key))
        return 0;
    flags = f->flags;
    if (f->endpoint[side] != p->endpoint ||
        flags & (FLOW_STATELESS_LO | FLOW_STATELESS_HI | FLOW_HOST | FLOW_PAIR_MAC) ||
        is_new_connection(p, f->state, flags))
        return 0;
    number = f->endpoint[side ^ 1];
    *peer = 0;
    if (number) {
        *peer = bpf_map_lookup_elem(&endpoint, &number);
        if (!*peer)
            return 0;
    }
    if (!generations_hold(f, c, side, own, *peer))
        return 0;
    p->receiver = number;
    note(STEP_FLOW, 0, FINDING_CURRENT, f->state | (__u32)flags << 8, f->rule);
    return f;
}

/* Straight to a tap, when nothing needs a second look. -1: the long way. */
ALWAYS_INLINE int to_peer(struct __sk_buff *skb, struct packet *p, struct endpoint *peer)
{
    if (p->ttl <= 1 || !peer->ifindex || peer->flags != ENDPOINT_PRESENT ||
        (peer->mtu && segment_length(skb, p) > peer->mtu))
        return -1;
    if (rewrite(skb, p, peer->mac, peer->host_mac))
        return -1;
    set_mark(skb, MARK_JUDGED | tap_number(peer->ifindex));
    note(STEP_TO_TAP, p->receiver, peer->ifindex, 0, 0);
    return bpf_redirect(peer->ifindex, 0);
}
