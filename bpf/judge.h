/* SPDX-License-Identifier: MIT */
/* Who is asked about a packet, and in which direction: the rules of both ends. */
#pragma once
#include "policy.h"
#include "receiver.h"

/* Judges p at the sides named, by the rules. 0 or a reason; fills in p->rule, p->stateless and the generations. */
GLOBAL int judge_sides(struct __sk_buff *skb, __u32 sides)
{
    struct scratch *w = work();
    struct control *c;
    struct packet *p;
    __u32 zero = 0;

    KEEP(skb);
    c = bpf_map_lookup_elem(&control, &zero);
    if (!c || !w)
        return POLICY_MISSING;
    p = &w->packet;
    if (!p->own_known)
        p->host_generation = *(volatile __u32 *)&c->generation;
    p->stateless = 0;
    p->blame_receiver = 0;
    for (__u32 side = 0; side < 2; side++) {
        __u32 number = side ? p->receiver : p->endpoint;
        struct source own = {};
        int action;
        struct endpoint *e;

        if (!number)
            continue;
        e = bpf_map_lookup_elem(&endpoint, &number);
        if (!e)
            return side ? RECEIVER_GONE : NO_ENDPOINT;
        if (side && !(p->own_known & RECEIVER))
            p->generation[1] = *(volatile __u32 *)&e->generation;
        if (!side && !(p->own_known & SENDER))
            p->generation[0] = *(volatile __u32 *)&e->generation;
        if (!(sides & (1 << side)))
            continue;
        p->blame_receiver = side;
        if (!(e->flags & ENDPOINT_PRESENT) || e->flags & (ENDPOINT_ADMIN_DOWN | ENDPOINT_BLOCKED))
            return side ? RECEIVER_DOWN : e->flags & ENDPOINT_ADMIN_DOWN ? ADMIN_DOWN : ENDPOINT_IS_BLOCKED;
        if (side && !e->ifindex)
            return RECEIVER_GONE;
        if (p->own_known & (1 << side)) {
            own.policy_set = side ? p->own_set[1] : p->own_set[0];
        } else {
            if (!find_owner(number, side ? &p->destination : &p->source, &own) &&
                !(e->flags & ENDPOINT_NO_PORT_SECURITY))
                return side ? RECEIVER_GONE : SPOOFED_ADDRESS;
            if (!mac_is_zero(own.mac))
                p->pair_mac = 1;
        }
        if (e->flags & ENDPOINT_NO_PORT_SECURITY) {
            note(STEP_FREE, number, side ? INGRESS : EGRESS, 0, 0);
            continue;
        }
        note(STEP_JUDGE, number, side ? INGRESS : EGRESS, own.policy_set ? own.policy_set : e->policy_set, 0);
        action = judge(skb, number, own.policy_set ? own.policy_set : *(volatile __u32 *)&e->policy_set,
                       side ? INGRESS : EGRESS, c->flags);
        if (action == ACTION_NONE)
            return POLICY_MISSING;
        if (action != ACTION_ALLOW) {
            if (w->question.rule)
                return side ? DENIED_INGRESS : DENIED_EGRESS;
            return side ? POLICY_INGRESS : POLICY_EGRESS;
        }
        p->rule = w->question.rule;
        if (w->question.entry_flags & ENTRY_STATELESS)
            p->stateless |= 1 << side;
    }
    p->blame_receiver = 0;
    return 0;
}
