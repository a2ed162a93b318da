/* SPDX-License-Identifier: MIT */
/* First packets, stale flows and stateless halves: who is asked, in which direction, and what is remembered. */
#pragma once
#include "flow_table.h"
#include "policy.h"

#define FAMILY_INET 2
#define FAMILY_INET6 10

enum { SENDER = 1, RECEIVER = 2 };
/* No reason for a drop: what rejudge() says of a flow that only stateless rules allow. */
enum { NOT_REMEMBERED = -1 };

/* Whether the endpoint owns the address (S6), and what differs for it: policy set and MAC, 0 if they are the
 * endpoint's. */
ALWAYS_INLINE int find_owner(__u32 number, const struct address *address, struct source *own)
{
    struct local *l = bpf_map_lookup_elem(&local, address);
    struct source_key key;
    struct source *s;

    if (l && l->endpoint == number && !(l->flags & LOCAL_SHARED)) {
        own->policy_set = l->policy_set;
        __builtin_memcpy(own->mac, l->mac, 6);
        return 1;
    }
    key.prefixlen = 160;
    key.endpoint = bpf_htonl(number);
    key.address = *address;
    s = bpf_map_lookup_elem(&source, &key);
    if (!s)
        return 0;
    *own = *s;
    return 1;
}

/*
 * The interface by which the kernel's routes lead to the packet's destination; 0: none, or it is the host's own. A pair
 * of a whole prefix draws only what the routes say: a longer route (another guest's address, the host's subnet) goes
 * before it.
 */
NOINLINE __u32 route_of(struct __sk_buff *skb, const struct packet *p)
{
    struct bpf_fib_lookup fib = {};
    long result;

    fib.ifindex = skb->ifindex;
    if (p->family == 4) {
        fib.family = FAMILY_INET;
        fib.ipv4_src = p->source.word[3];
        fib.ipv4_dst = p->destination.word[3];
    } else {
        fib.family = FAMILY_INET6;
        __builtin_memcpy(fib.ipv6_src, &p->source, 16);
        __builtin_memcpy(fib.ipv6_dst, &p->destination, 16);
    }
    result = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
    return result == BPF_FIB_LKUP_RET_SUCCESS || result == BPF_FIB_LKUP_RET_NO_NEIGH ||
                   result == BPF_FIB_LKUP_RET_FRAG_NEEDED
               ? fib.ifindex
               : 0;
}

/*
 * Finds who of this host gets what is sent to the packet's destination: packet.receiver, 0 when it is nobody.
 * Generations are read before what they stand for: a change in between is then seen by the next packet.
 */
NOINLINE __u32 find_receiver(struct __sk_buff *skb, struct packet *p)
{
    struct local *l = bpf_map_lookup_elem(&local, &p->destination);
    struct prefix_key key = {.prefixlen = 128};
    __u32 zero = 0, out, number;
    struct endpoint *e;
    struct control *c;

    p->receiver = 0;
    p->own_known &= SENDER;
    c = bpf_map_lookup_elem(&control, &zero);
    if (!c)
        return 0;
    if (l) {
        number = l->endpoint;
        p->receiver = number;
        note(STEP_RECEIVER, number, 0, 0, 0);
        e = bpf_map_lookup_elem(&endpoint, &number);
        if (e && !(l->flags & LOCAL_SHARED)) {
            if (!(p->own_known & SENDER))
                p->host_generation = *(volatile __u32 *)&c->generation;
            p->generation[1] = *(volatile __u32 *)&e->generation;
            p->own_set[1] = *(volatile __u32 *)&l->policy_set;
            p->own_known |= RECEIVER;
            if (!mac_is_zero(l->mac))
                p->pair_mac = 1;
        }
        return number;
    }
    if (!(c->flags & CONTROL_LOCAL_PREFIXES)) {
        note(STEP_RECEIVER, 0, 0, 0, 0);
        return 0;
    }
    key.address = p->destination;
    l = bpf_map_lookup_elem(&local_prefix, &key);
    if (!l) {
        note(STEP_RECEIVER, 0, 0, 0, 0);
        return 0;
    }
    number = l->endpoint;
    e = bpf_map_lookup_elem(&endpoint, &number);
    out = route_of(skb, p);
    /* Before 5.11 a route without a neighbour does not say where it leads: the entry is taken at its word. */
    if (e && out && (out == e->ifindex || (out == skb->ifindex && p->endpoint != number)))
        p->receiver = number;
    note(STEP_RECEIVER, p->receiver, 0, 0, 0);
    return p->receiver;
}

/* Both ends of a flow are one address: who has the higher port is hi, and of a ping who answers. */
ALWAYS_INLINE void key_of_own(struct packet *p)
{
    int hi = p->key.asker ? !!(p->flags & PACKET_REPLY) : p->source_port > p->destination_port;

    if (!address_equal(&p->source, &p->destination))
        return;
    p->source_hi = hi;
    if (p->key.asker) {
        p->key.asker = 1;
    } else if (hi) {
        p->key.port[0] = p->destination_port;
        p->key.port[1] = p->source_port;
    }
}

/*
 * A packet to a floating IP (S8) becomes one to the address that it stands for, for all that is decided; on the wire
 * the kernel's NAT does it. Only where the kernel's routes lead to its guest: then it is neither the host's own address
 * nor anything that another has.
 */
NOINLINE int find_floating(struct __sk_buff *skb, struct packet *p)
{
    struct address *internal = bpf_map_lookup_elem(&floating, &p->destination);
    __u16 first, second;
    __u32 out, number;
    struct endpoint *e;
    struct local *l;
    __u8 asker;

    if (!internal)
        return 0;
    l = bpf_map_lookup_elem(&local, internal);
    if (!l)
        return 0;
    number = l->endpoint;
    e = bpf_map_lookup_elem(&endpoint, &number);
    out = route_of(skb, p);
    if (!e || !out || out != e->ifindex)
        return 0;
    note(STEP_FLOATING, number, 0, 0, 0);
    p->floating = p->destination;
    p->destination = *internal;
    /* What a guest sends to itself has another source behind NAT, and is followed here. */
    p->translated = address_equal(&p->source, internal) ? TRANSLATED : BEFORE_NAT;
    p->no_flow = 0;
    if (p->kind != KIND_FLOW)
        return 1;
    asker = p->key.asker;
    first = p->key.port[0];
    second = p->key.port[1];
    packet_key(p);
    if (asker) {
        p->key.port[0] = first;
        p->key.port[1] = second;
        p->key.asker = 1 + (p->source_hi ^ !!(p->flags & PACKET_REPLY));
    }
    key_of_own(p);
    return 1;
}

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
