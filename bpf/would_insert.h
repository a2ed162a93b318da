/* SPDX-License-Identifier: MIT */
/*
 * For a dry run: whether flow_insert() would come to an entry, when it may neither reclaim one nor take one. Follows
 * reclaim() step by step, as a port alone would meet it. A part of flow_table.h, which includes it where what it asks
 * is known.
 */
#pragma once

/* Steps that reclaim() makes on one port's list for one insertion, at most. */
#define MOST_RECLAIMED 12
/* Ports that it looks at, in a soft and in a hard round. */
#define ROUND 4

/*
 * How many entries that many calls of reclaim_one() would take away from a port; in the upper 16 bits how many of them
 * are half open.
 */
DRY_GLOBAL int would_reclaim(struct __sk_buff *skb, __u32 number, __u32 now, __u32 calls)
{
    struct account *a = bpf_map_lookup_elem(&account, &number);
    struct endpoint *e = bpf_map_lookup_elem(&endpoint, &number);
    __u32 first, place, found = 0, zero = 0;
    struct control *c;

    KEEP(skb);
    c = bpf_map_lookup_elem(&control, &zero);
    if (!a || !e || !c)
        return 0;
    first = a->hand ? a->hand : a->head;
    place = first;
    for (__u32 i = 0; i < MOST_RECLAIMED && i < calls && place; i++) {
        __u32 index = place - 1;
        struct flow_slot *slot = bpf_map_lookup_elem(&flow_slot, &index);
        struct flow *f;

        if (!slot)
            break;
        f = bpf_map_lookup_elem(&flow, &slot->key);
        if (!f || (f->slot != index && f->slot != NO_SLOT))
            found += 1 + ((__u32)slot->half_open << 16);
        else if (f->slot == index && (!(e->flags & ENDPOINT_PRESENT) || flow_expired(f, c, now)))
            found += 1 + (f->flags & FLOW_HALF_OPEN ? 1u << 16 : 0);
        place = slot->next ? slot->next : a->head;
        if (place == first)
            break;
    }
    return found;
}

struct would {
    __u32 own;    /* calls of reclaim_one() for the port itself */
    __u32 others; /* entries that others would lose */
    __u32 hand;   /* pool.hand */
    __u32 moved;  /* how often it has moved on */
};

/* One move of pool.hand. 1: there was something to look at. */
ALWAYS_INLINE int would_look(struct __sk_buff *skb, struct would *w, __u32 owner, const struct control *c, __u32 now)
{
    __u32 ports = c->endpoint_limit > 1 ? c->endpoint_limit - 1 : 1, visits = w->moved++ / ports;
    struct account *a;
    __u32 other;

    w->hand = w->hand + 1 >= c->endpoint_limit ? 1 : w->hand + 1;
    other = w->hand;
    a = bpf_map_lookup_elem(&account, &other);
    if (!a || !a->count)
        return 0;
    if (other == owner)
        w->own++;
    else
        w->others +=
            (would_reclaim(skb, other, now, visits + 1) & 0xffff) - (would_reclaim(skb, other, now, visits) & 0xffff);
    return 1;
}

/* 0 or FLOW_TABLE_FULL. */
DRY_GLOBAL int would_insert(struct __sk_buff *skb, __u32 owner)
{
    struct account *a = bpf_map_lookup_elem(&account, &owner), after = {};
    __u32 zero = 0, own = 0, index, room = 0;
    struct scratch *scratch = work();
    struct pool *all, left = {};
    struct would w = {};
    struct control *c;
    int inbound;

    KEEP(skb);
    all = bpf_map_lookup_elem(&pool, &zero);
    c = bpf_map_lookup_elem(&control, &zero);
    if (!a || !all || !c || !scratch)
        return FLOW_TABLE_FULL;
    inbound = !scratch->packet.endpoint;
    w.hand = all->hand;
    for (int hard = 0; hard < 2 && !room; hard++) {
        if (hard || all->used >= c->flow_limit / 2 || a->count >= c->port_limit / 2) {
            w.own += hard ? ROUND : ROUND / 2;
            for (int i = 0; i < ROUND; i++)
                if (would_look(skb, &w, owner, c, scratch->packet.now) && !hard)
                    break;
        }
        own = would_reclaim(skb, owner, scratch->packet.now, w.own);
        after.count = a->count - (own & 0xffff);
        after.half_open = a->half_open - (own >> 16);
        left.used = all->used - (own & 0xffff) - w.others;
        room = flow_room(&after, &left, c, inbound);
    }
    /* A slot must be to be had, now or after that. */
    if (bpf_map_peek_elem(&flow_free, &index) && !(own & 0xffff) && !w.others)
        room = 0;
    note(STEP_ROOM, owner, room, a->count, own & 0xffff);
    return room ? 0 : FLOW_TABLE_FULL;
}
