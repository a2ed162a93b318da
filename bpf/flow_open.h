/* SPDX-License-Identifier: MIT */
/* What is remembered of a first packet: a new entry, or one that is taken over. */
#pragma once
#include "flow_table.h"
#include "judge.h"

ALWAYS_INLINE __u8 state_of_first(const struct packet *p)
{
    if (p->protocol == PROTOCOL_TCP)
        return FLOW_SYN_SENT;
    if (p->protocol == PROTOCOL_UDP || p->protocol == PROTOCOL_UDPLITE)
        return FLOW_NEW;
    return p->key.asker ? FLOW_ICMP : FLOW_OTHER;
}

/* Takes over an entry that is dead, expired, or was judged anew. */
NOINLINE int flow_take_over(struct flow *f, struct flow *fresh)
{
    __u32 number = f->slot, owner = 0, was = 0;
    struct flow_slot *slot = bpf_map_lookup_elem(&flow_slot, &number);
    struct account *a;
    int race = 0;

    if (!slot)
        return FLOW_RACE;
    owner = slot->owner;
    a = bpf_map_lookup_elem(&account, &owner);
    if (!a)
        return FLOW_RACE;
    /* Half open counts at the account that the entry stands on, which may be the former opener's. */
    if (owner != fresh->endpoint[0] && owner != fresh->endpoint[1])
        fresh->flags &= ~FLOW_HALF_OPEN;
    if (DRY)
        return f->slot == number && f->tag == fresh->tag ? 0 : FLOW_RACE;
    bpf_spin_lock(&f->lock);
    if (f->slot == number && f->tag == fresh->tag) {
        was = f->flags & FLOW_HALF_OPEN;
        f->state = FLOW_DEAD;
        f->generation[0] = fresh->generation[0];
        f->generation[1] = fresh->generation[1];
        f->host_generation = fresh->host_generation;
        f->rule = fresh->rule;
        f->last_seen = fresh->last_seen;
        f->packets[0] = fresh->packets[0];
        f->packets[1] = fresh->packets[1];
        f->bytes[0] = fresh->bytes[0];
        f->bytes[1] = fresh->bytes[1];
        f->endpoint[0] = fresh->endpoint[0];
        f->endpoint[1] = fresh->endpoint[1];
        f->flags = fresh->flags;
        f->translated = fresh->translated;
        f->state = fresh->state;
    } else {
        race = 1;
    }
    bpf_spin_unlock(&f->lock);
    if (race)
        return FLOW_RACE;
    slot->half_open = !!(fresh->flags & FLOW_HALF_OPEN);
    if (was && !(fresh->flags & FLOW_HALF_OPEN))
        __sync_fetch_and_add(&a->half_open, -1);
    if (!was && fresh->flags & FLOW_HALF_OPEN)
        __sync_fetch_and_add(&a->half_open, 1);
    return 0;
}

/* Whether no end on this host may rely on a flow: nothing is remembered then. After judge_sides(). */
ALWAYS_INLINE int is_stateless(const struct packet *p)
{
    return (!p->endpoint || p->stateless & SENDER) && (!p->receiver || p->stateless & RECEIVER);
}

/* Remembers the flow that p opens, after judge_sides allowed it. `more` are flags to add. 0 or a reason. */
GLOBAL int flow_open(struct __sk_buff *skb, __u32 more)
{
    struct scratch *w = work();
    struct flow *f, *fresh;
    struct packet *p;
    __u8 flags = more;
    int reason;

    KEEP(skb);
    if (!w)
        return FLOW_TABLE_FULL;
    p = &w->packet;
    fresh = (struct flow *)w->fresh;
    if (is_stateless(p)) {
        note(STEP_STATELESS, 0, 0, 0, 0);
        return 0;
    }
    __builtin_memset(fresh, 0, sizeof(*fresh));
    if (p->source_hi) {
        flags |= FLOW_OPENER_HI;
        if (p->stateless & SENDER)
            flags |= FLOW_STATELESS_HI;
        if (p->stateless & RECEIVER)
            flags |= FLOW_STATELESS_LO;
        fresh->endpoint[1] = p->endpoint;
        fresh->endpoint[0] = p->receiver;
        fresh->generation[1] = p->generation[0];
        fresh->generation[0] = p->generation[1];
        fresh->packets[1] = 1;
        fresh->bytes[1] = p->length;
    } else {
        if (p->stateless & SENDER)
            flags |= FLOW_STATELESS_LO;
        if (p->stateless & RECEIVER)
            flags |= FLOW_STATELESS_HI;
        fresh->endpoint[0] = p->endpoint;
        fresh->endpoint[1] = p->receiver;
        fresh->generation[0] = p->generation[0];
        fresh->generation[1] = p->generation[1];
        fresh->packets[0] = 1;
        fresh->bytes[0] = p->length;
    }
    if (!p->endpoint)
        flags |= FLOW_HALF_OPEN;
    if (p->pair_mac || p->translated)
        flags |= FLOW_PAIR_MAC;
    fresh->translated = !!p->translated;
    fresh->state = state_of_first(p);
    fresh->flags = flags;
    fresh->tag = flow_tag(&p->key);
    fresh->host_generation = p->host_generation;
    fresh->rule = p->rule;
    fresh->last_seen = p->now;
    if (!p->no_flow) {
        f = bpf_map_lookup_elem(&flow, &p->key);
        if (f)
            return flow_take_over(f, fresh);
    }
    reason = flow_insert(skb);
    if (reason != FLOW_RACE)
        return reason;
    f = bpf_map_lookup_elem(&flow, &p->key);
    return f ? flow_take_over(f, fresh) : FLOW_RACE;
}
