/* SPDX-License-Identifier: MIT */
/* Stale flows (D3): judged once more, and renewed or ended. */
#pragma once
#include "flow_open.h"

/* No reason for a drop: what rejudge() says of a flow that only stateless rules allow. */
enum { NOT_REMEMBERED = -1 };

ALWAYS_INLINE void swap_sides(struct packet *p)
{
    struct address address = p->source;
    __u32 number = p->endpoint;
    __u16 port = p->source_port;

    p->source = p->destination;
    p->destination = address;
    p->endpoint = p->receiver;
    p->receiver = number;
    p->source_port = p->destination_port;
    p->destination_port = port;
    p->source_hi ^= 1;
}

/* What a flow that was judged again may rely on from now on. 0, or FLOW_RACE: the element holds another, which nobody
 * has judged. */
NOINLINE int flow_renew(struct packet *p, struct flow *f)
{
    __u8 hi = p->source_hi & 1, flags = 0;
    __u16 tag = flow_tag(&p->key);
    int reason = 0;

    if (p->stateless & SENDER)
        flags |= hi ? FLOW_STATELESS_HI : FLOW_STATELESS_LO;
    if (p->stateless & RECEIVER)
        flags |= hi ? FLOW_STATELESS_LO : FLOW_STATELESS_HI;
    renew((f->flags & ~(FLOW_STATELESS_LO | FLOW_STATELESS_HI)) | flags);
    if (DRY)
        return f->slot == p->slot && f->tag == tag ? 0 : FLOW_RACE;
    bpf_spin_lock(&f->lock);
    if (f->slot == p->slot && f->tag == tag) {
        f->flags = (f->flags & ~(FLOW_STATELESS_LO | FLOW_STATELESS_HI)) | flags;
        f->rule = p->rule;
        f->generation[hi] = p->generation[0];
        f->generation[hi ^ 1] = p->generation[1];
        f->host_generation = p->host_generation;
    } else {
        reason = FLOW_RACE;
    }
    bpf_spin_unlock(&f->lock);
    return reason;
}

/*
 * A live flow whose generations moved: judged again in the direction of its opener (D3). p is any packet of it, with
 * endpoint and receiver as in the entry. 0: still allowed, and the entry says so. Left to stateless rules alone it ends
 * as well: its next packet begins what it may.
 */
ALWAYS_INLINE int rejudge(struct __sk_buff *skb, struct packet *p, struct flow *f)
{
    __u8 turned = p->source_hi != (f->flags & FLOW_OPENER_HI);
    __u16 port = p->destination_port, source_port = p->source_port;
    __u8 kind = p->kind;
    struct control *c;
    __u32 zero = 0;
    int reason;

    c = bpf_map_lookup_elem(&control, &zero);
    if (!c)
        return POLICY_MISSING;
    if (turned)
        swap_sides(p);
    p->kind = KIND_FLOW;
    p->own_known = 0;
    p->slot = f->slot;
    if (p->key.asker)
        p->destination_port = p->key.port[1];
    if (f->flags & FLOW_HOST) {
        reason = c->flags & CONTROL_HOST_TO_GUEST ? 0 : HOST_TO_GUEST_OFF;
        judge_sides(skb, 0); /* reads the generations */
    } else {
        reason = judge_sides(skb, SENDER | RECEIVER);
        if (!reason && is_stateless(p))
            reason = NOT_REMEMBERED;
    }
    note(STEP_FLOW, 0, reason ? FINDING_REVOKED : FINDING_RENEWED, f->state | (__u32)f->flags << 8, f->rule);
    if (!reason) {
        reason = flow_renew(p, f);
    } else if (DRY) {
        condemn();
    } else {
        f->state = FLOW_DEAD;
        flow_not_half_open(f);
    }
    if (turned)
        swap_sides(p);
    p->destination_port = port;
    p->source_port = source_port;
    p->kind = kind;
    p->own_known = 0;
    return reason;
}
