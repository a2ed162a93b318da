/* SPDX-License-Identifier: MIT */
/* Who owns an address, and who of this host gets what is sent to one: by `local`, or where the kernel's routes lead. */
#pragma once
#include "drop.h"

#define FAMILY_INET 2
#define FAMILY_INET6 10

enum { SENDER = 1, RECEIVER = 2 };

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
