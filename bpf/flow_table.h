/* SPDX-License-Identifier: MIT */
/*
 * The flow table and its accounts (D7). Every entry of `flow` stands on the list of exactly one port (its owner), so
 * account.count is the number of entries that a port owns, whatever expired, was flushed or restarted. Entries leave
 * the table only here, by the reclaiming hand that every insertion moves a bounded number of steps.
 *
 * A spin lock may be held over loads and stores only, no helper: what is needed under it is looked up before and
 * checked again inside.
 */
#pragma once
#include "drop.h"

#define NO_SLOT 0xffffffffu

ALWAYS_INLINE int flow_expired(const struct flow *f, const struct control *c, __u32 now)
{
    __u8 state = f->state & (FLOW_STATES - 1);

    return state == FLOW_DEAD || (__s32)(now - f->last_seen) >= (__s32)c->timeout[state];
}

ALWAYS_INLINE __u16 flow_tag(const struct flow_key *key)
{
    __u32 mix = key->address[0].word[3] ^ (key->address[1].word[3] * 31) ^ key->address[0].word[1] ^
                ((__u32)key->port[0] << 16 | key->port[1]) ^ key->protocol;

    return (mix >> 16 ^ mix) | 1;
}

/*
 * An inbound flow was confirmed, or is gone: it no longer counts as half open. Exactly once, under the flow's lock.
 * Only one end of such a flow is local, and that one owns it.
 */
NOINLINE int flow_not_half_open(struct flow *f)
{
    struct flow_slot *slot;
    struct account *owner;
    __u32 number, index;
    int was;

    if (DRY)
        return 0;
    bpf_spin_lock(&f->lock);
    was = f->flags & FLOW_HALF_OPEN;
    f->flags &= ~FLOW_HALF_OPEN;
    number = f->endpoint[0] | f->endpoint[1];
    index = f->slot;
    bpf_spin_unlock(&f->lock);
    if (!was)
        return 0;
    slot = bpf_map_lookup_elem(&flow_slot, &index);
    if (slot)
        slot->half_open = 0;
    owner = bpf_map_lookup_elem(&account, &number);
    if (owner)
        __sync_fetch_and_add(&owner->half_open, -1);
    return 0;
}

/*
 * Looks at the entry under the hand of one port, removes it when it has expired, and moves the hand on. Nothing lives
 * of a port that is gone.
 *
 * Another CPU may do the same: whoever finds the list changed leaves it as it is. Who has put NO_SLOT into the flow,
 * and nobody else, takes its slot off the list. A slot whose flow is not there (someone deleted it from the map) has no
 * lock to decide that by: then nothing may have been put on the list since we looked, or the slot might be another
 * flow's by now.
 */
GLOBAL int reclaim_one(struct __sk_buff *skb, __u32 number, __u32 now)
{
    struct control *c;
    struct account *a = bpf_map_lookup_elem(&account, &number);
    struct endpoint *e = bpf_map_lookup_elem(&endpoint, &number);
    struct flow_slot *slot, *before = 0;
    struct flow *f;
    __u32 hand, previous, opened, zero = 0, index, removed = 0, half_open = 0, mine = 0, stray = 0;
    struct pool *all;
    int gone;

    KEEP(skb);
    c = bpf_map_lookup_elem(&control, &zero);
    if (!a || !c || !e || DRY)
        return 0;
    gone = !(e->flags & ENDPOINT_PRESENT);
    bpf_spin_lock(&a->lock);
    opened = a->opened;
    hand = a->hand;
    previous = a->hand_previous;
    if (!hand) {
        hand = a->head;
        previous = 0;
    }
    bpf_spin_unlock(&a->lock);
    if (!hand)
        return 0;
    index = hand - 1;
    slot = bpf_map_lookup_elem(&flow_slot, &index);
    if (!slot)
        return 0;
    if (previous) {
        index = previous - 1;
        before = bpf_map_lookup_elem(&flow_slot, &index);
        if (!before)
            return 0;
    }
    f = bpf_map_lookup_elem(&flow, &slot->key);
    if (!f || (f->slot != hand - 1 && f->slot != NO_SLOT)) {
        stray = 1;
    } else if (gone || flow_expired(f, c, now)) {
        bpf_spin_lock(&f->lock);
        if (f->slot == hand - 1 && (gone || flow_expired(f, c, now))) {
            f->state = FLOW_DEAD;
            f->slot = NO_SLOT; /* nobody takes it over any more */
            half_open = f->flags & FLOW_HALF_OPEN;
            f->flags &= ~FLOW_HALF_OPEN;
            mine = 1;
        }
        bpf_spin_unlock(&f->lock);
    }
    bpf_spin_lock(&a->lock);
    if (before ? (a->hand == hand && a->hand_previous == previous && before->next == hand)
               : (a->head == hand && (!a->hand || a->hand == hand))) {
        __u32 next = slot->next;

        if (mine || (stray && a->opened == opened)) {
            if (before)
                before->next = next;
            else
                a->head = next;
            a->hand = next;
            a->hand_previous = next ? previous : 0;
            a->count--;
            removed = 1;
        } else {
            a->hand = next;
            a->hand_previous = next ? hand : 0;
        }
    } else if (!before) {
        a->hand = 0;
        a->hand_previous = 0;
    }
    bpf_spin_unlock(&a->lock);
    if (mine && half_open)
        slot->half_open = 0;
    else if (removed && !mine)
        half_open = slot->half_open;
    if (half_open)
        __sync_fetch_and_add(&a->half_open, -1);
    if (!removed) {
        if (mine && f)
            f->slot = hand - 1; /* dead, but still on the list: its turn comes again */
        return 0;
    }
    if (mine)
        bpf_map_delete_elem(&flow, &slot->key);
    slot->half_open = 0;
    slot->owner = 0;
    index = hand - 1;
    bpf_map_push_elem(&flow_free, &index, 0);
    all = bpf_map_lookup_elem(&pool, &zero);
    if (all)
        __sync_fetch_and_add(&all->used, -1);
    return 1;
}

/* A bounded number of steps: the port's own entries first, then another port's. */
ALWAYS_INLINE int reclaim(struct __sk_buff *skb, __u32 number, struct control *c, __u32 now, int hard)
{
    struct pool *all;
    __u32 zero = 0, other, limit = c->endpoint_limit;

    for (int i = 0; i < 4; i++) {
        if (i >= 2 && !hard)
            break;
        reclaim_one(skb, number, now);
    }
    all = bpf_map_lookup_elem(&pool, &zero);
    if (!all || DRY)
        return 0;
    for (int i = 0; i < 4; i++) {
        struct account *a;

        other = all->hand + 1;
        if (other >= limit)
            other = 1;
        all->hand = other;
        a = bpf_map_lookup_elem(&account, &other);
        if (!a || !a->count)
            continue;
        reclaim_one(skb, other, now);
        if (!hard)
            break;
    }
    return 0;
}

/*
 * Whether the owner may have one more entry (D7). What comes in unconfirmed has a share of its own, and whatever comes
 * in leaves room for what goes out. When the rest of the table is for guarantees only, nobody has more than his, in
 * either direction. Signed: a counter may be one behind for a moment.
 */
ALWAYS_INLINE int flow_room(const struct account *a, const struct pool *all, const struct control *c, int inbound)
{
    __s32 half_open = a->half_open, count = a->count, limit = c->port_limit, guaranteed = c->guaranteed;
    __s32 outbound = guaranteed < limit >> 2 ? guaranteed : limit >> 2;
    int scarce = (__s64)all->used + c->reserve >= c->flow_limit;

    if (count >= limit || (scarce && count - half_open >= guaranteed))
        return 0;
    if (!inbound)
        return 1;
    return count < limit - outbound && half_open < (scarce ? guaranteed : limit) >> 1;
}

#include "would_insert.h"

/* A new entry for the packet's key, as `fresh` says (slot is filled in here). 0, FLOW_TABLE_FULL or FLOW_RACE. */
ALWAYS_INLINE int flow_insert(struct __sk_buff *skb)
{
    struct scratch *w = work();
    struct account *a;
    struct pool *all;
    struct flow_slot *slot;
    struct control *c;
    struct flow *fresh;
    struct packet *p;
    __u32 zero = 0, index, owner;
    long error;

    KEEP(skb);
    if (!w)
        return FLOW_TABLE_FULL;
    p = &w->packet;
    fresh = (struct flow *)w->fresh;
    owner = p->endpoint ? p->endpoint : p->receiver;
    a = bpf_map_lookup_elem(&account, &owner);
    all = bpf_map_lookup_elem(&pool, &zero);
    c = bpf_map_lookup_elem(&control, &zero);
    if (!a || !all || !c)
        return FLOW_TABLE_FULL;
    if (DRY)
        return would_insert(skb, owner);
    /* While the table is mostly empty, what expired is in nobody's way: looking for it costs cache misses. */
    if (all->used >= c->flow_limit / 2 || a->count >= c->port_limit / 2)
        reclaim(skb, owner, c, p->now, 0);
    if (!flow_room(a, all, c, !p->endpoint)) {
        reclaim(skb, owner, c, p->now, 1);
        if (!flow_room(a, all, c, !p->endpoint)) {
            __sync_fetch_and_add(&a->refused, 1);
            return FLOW_TABLE_FULL;
        }
    }
    if (bpf_map_pop_elem(&flow_free, &index)) {
        __sync_fetch_and_add(&a->refused, 1);
        return FLOW_TABLE_FULL;
    }
    slot = bpf_map_lookup_elem(&flow_slot, &index);
    if (!slot)
        return FLOW_TABLE_FULL;
    slot->key = p->key;
    slot->owner = owner;
    slot->half_open = !!(fresh->flags & FLOW_HALF_OPEN);
    fresh->slot = index;
    if (fresh->flags & FLOW_HALF_OPEN)
        __sync_fetch_and_add(&a->half_open, 1);
    error = bpf_map_update_elem(&flow, &p->key, fresh, BPF_NOEXIST);
    if (error) {
        if (fresh->flags & FLOW_HALF_OPEN)
            __sync_fetch_and_add(&a->half_open, -1);
        slot->half_open = 0;
        slot->owner = 0;
        bpf_map_push_elem(&flow_free, &index, 0);
        return error == -17 ? FLOW_RACE : FLOW_TABLE_FULL;
    }
    bpf_spin_lock(&a->lock);
    slot->next = a->head;
    if (a->hand && !a->hand_previous) {
        a->hand_previous = a->hand == a->head ? index + 1 : 0;
    }
    a->head = index + 1;
    a->count++;
    a->opened++;
    bpf_spin_unlock(&a->lock);
    __sync_fetch_and_add(&all->used, 1);
    return 0;
}
