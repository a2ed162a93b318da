/* SPDX-License-Identifier: MIT */
/* For a dry run: whether flow_insert() would come to an entry, when it may neither reclaim one nor take one. A part of
 * flow_table.h, which includes it where flow_expired() and flow_room() are known. */
#pragma once

/* Entries of its own that a port that wants one looks at: 2 and 4 in reclaim(). */
#define OWN_STEPS 6
/* Other ports that it looks at, likewise. */
#define OTHER_STEPS 8

/*
 * How many of the next `most` entries under the hand of a port reclaim_one() would take away; in the upper 16 bits how
 * many of them are half open.
 */
DRY_GLOBAL int would_reclaim(struct __sk_buff *skb, __u32 number, __u32 now, __u32 most)
{
    struct account *a = bpf_map_lookup_elem(&account, &number);
    struct endpoint *e = bpf_map_lookup_elem(&endpoint, &number);
    __u32 place, found = 0, zero = 0;
    struct control *c;

    KEEP(skb);
    c = bpf_map_lookup_elem(&control, &zero);
    if (!a || !e || !c)
        return 0;
    place = a->hand ? a->hand : a->head;
    for (__u32 i = 0; i < OWN_STEPS && i < most && place; i++) {
        __u32 index = place - 1;
        struct flow_slot *slot = bpf_map_lookup_elem(&flow_slot, &index);
        struct flow *f;

        if (!slot)
            break;
        f = bpf_map_lookup_elem(&flow, &slot->key);
        if (!f || f->slot != index)
            found += 1 + ((__u32)slot->half_open << 16);
        else if (!(e->flags & ENDPOINT_PRESENT) || flow_expired(f, c, now))
            found += 1 + (f->flags & FLOW_HALF_OPEN ? 1u << 16 : 0);
        place = slot->next;
    }
    return found;
}

/* One entry each of the ports that come next: what the table would get back beside the port's own. */
DRY_GLOBAL int would_reclaim_others(struct __sk_buff *skb, __u32 owner)
{
    __u32 zero = 0, other, looked = 0, found = 0;
    struct scratch *w = work();
    struct control *c;
    struct pool *all;

    KEEP(skb);
    all = bpf_map_lookup_elem(&pool, &zero);
    c = bpf_map_lookup_elem(&control, &zero);
    if (!all || !c || !w)
        return 0;
    other = all->hand;
    for (int i = 0; i < OTHER_STEPS; i++) {
        struct account *theirs;

        other = other + 1 >= c->endpoint_limit ? 1 : other + 1;
        if (other == owner || (i < OTHER_STEPS / 2 && looked))
            continue;
        theirs = bpf_map_lookup_elem(&account, &other);
        if (!theirs || !theirs->count)
            continue;
        looked = 1;
        found += would_reclaim(skb, other, w->packet.now, 1) & 0xffff;
    }
    return found;
}

/* 0 or FLOW_TABLE_FULL. */
DRY_GLOBAL int would_insert(struct __sk_buff *skb, __u32 owner)
{
    struct account *a = bpf_map_lookup_elem(&account, &owner), after = {};
    __u32 zero = 0, own, others, index, room;
    struct scratch *w = work();
    struct pool *all, left = {};
    struct control *c;
    int inbound;

    KEEP(skb);
    all = bpf_map_lookup_elem(&pool, &zero);
    c = bpf_map_lookup_elem(&control, &zero);
    if (!a || !all || !c || !w)
        return FLOW_TABLE_FULL;
    inbound = !w->packet.endpoint;
    own = would_reclaim(skb, owner, w->packet.now, OWN_STEPS);
    others = would_reclaim_others(skb, owner);
    after.count = a->count - (own & 0xffff);
    after.half_open = a->half_open - (own >> 16);
    left.used = all->used - (own & 0xffff) - others;
    room = flow_room(a, all, c, inbound) || flow_room(&after, &left, c, inbound);
    /* A slot must be to be had, now or after that. */
    if (bpf_map_peek_elem(&flow_free, &index) && !(own & 0xffff) && !others)
        room = 0;
    note(STEP_ROOM, owner, room, a->count, own & 0xffff);
    return room ? 0 : FLOW_TABLE_FULL;
}
