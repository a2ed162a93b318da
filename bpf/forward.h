/* SPDX-License-Identifier: MIT */
/* Where a judged packet goes: to a tap, to an uplink, or up the stack with a mark that says so (D4). */
#pragma once
#include "flow.h"

/* Where our 16 bits of skb->mark begin. Felix uses the upper half. */
const volatile __u32 mark_shift = 0;

/* What a redirect to the interface, or the reply to it, carries: its egress program knows itself by it. */
ALWAYS_INLINE __u32 tap_number(__u32 ifindex)
{
    return ifindex % MARK_NUMBER + 1;
}

ALWAYS_INLINE void set_mark(struct __sk_buff *skb, __u32 bits)
{
    skb->mark = (skb->mark & ~((__u32)MARK_ALL << mark_shift)) | bits << mark_shift;
}

/* The largest L3 packet that leaves when this one does: a GSO packet leaves in segments. */
ALWAYS_INLINE __u32 segment_length(struct __sk_buff *skb, const struct packet *p)
{
    return skb->gso_size ? skb->gso_size + p->l4 - ETH_LENGTH + p->l4_length : skb->len - ETH_LENGTH;
}

/* New MACs and one hop less. 0, or -1 when the frame can't be written. */
ALWAYS_INLINE int rewrite(struct __sk_buff *skb, const struct packet *p, const __u8 *destination, const __u8 *from)
{
    void *data = (void *)(long)skb->data;
    void *end = (void *)(long)skb->data_end;
    struct ethernet *eth = data;

    if (data + ETH_LENGTH + sizeof(struct ipv4) > end)
        return -1;
    mac_copy(eth->destination, destination);
    mac_copy(eth->source, from);
    if (p->family == 4) {
        struct ipv4 *ip = data + ETH_LENGTH;
        /* RFC 1624: TTL is the high byte of its 16-bit word. */
        __u32 sum = ip->checksum + bpf_htons(0x0100);

        ip->checksum = sum + (sum >= 0xffff);
        ip->ttl--;
    } else {
        struct ipv6 *ip = data + ETH_LENGTH;

        if ((void *)(ip + 1) > end)
            return -1;
        ip->hop_limit--;
    }
    return 0;
}

/* A judged packet that needs the kernel: TTL expiry, too big, options, an unresolved neighbour, NAT. */
ALWAYS_INLINE int to_stack(struct __sk_buff *skb, const struct packet *p, __u32 number)
{
    set_mark(skb, MARK_JUDGED | (p->translated ? MARK_HOST : 0) | number);
    return TC_ACT_UNSPEC;
}

ALWAYS_INLINE int to_host(struct __sk_buff *skb)
{
    note(STEP_TO_HOST, 0, 0, 0, 0);
    set_mark(skb, MARK_HOST);
    return TC_ACT_UNSPEC;
}

/* To the tap of a local endpoint. */
GLOBAL int to_receiver(struct __sk_buff *skb)
{
    struct scratch *w = work();
    struct endpoint *e;
    struct packet *p;
    __u32 number;
    __u8 mac[6] __attribute__((aligned(2)));

    if (!w)
        return TC_ACT_SHOT;
    p = &w->packet;
    number = p->receiver;
    e = bpf_map_lookup_elem(&endpoint, &number);
    if (!e || !(e->flags & ENDPOINT_PRESENT) || e->flags & (ENDPOINT_ADMIN_DOWN | ENDPOINT_BLOCKED))
        return drop_at_receiver(skb, p, RECEIVER_DOWN);
    if (!e->ifindex)
        return drop_at_receiver(skb, p, RECEIVER_GONE);
    if (p->ttl <= 1 || p->flags & PACKET_OPTIONS || (e->mtu && segment_length(skb, p) > e->mtu) || p->translated) {
        note(STEP_TO_STACK, number, !!p->translated, 0, 0);
        return to_stack(skb, p, e->mark);
    }
    __builtin_memcpy(mac, e->mac, 6);
    if (p->pair_mac) {
        struct source own = {};

        if (find_owner(number, &p->destination, &own) && !mac_is_zero(own.mac))
            __builtin_memcpy(mac, own.mac, 6);
    }
    if (rewrite(skb, p, mac, e->host_mac))
        return drop_packet(skb, p, MALFORMED);
    set_mark(skb, MARK_JUDGED | tap_number(e->ifindex));
    note(STEP_TO_TAP, number, e->ifindex, 0, 0);
    return bpf_redirect(e->ifindex, 0);
}

/* Off this host, as the kernel's FIB says. `dhcp`: to the host itself is fine. */
NOINLINE int to_uplink(struct __sk_buff *skb, struct packet *p, int may_be_host)
{
    struct bpf_fib_lookup fib = {};
    __u32 out;
    long result;

    fib.ifindex = skb->ifindex;
    fib.l4_protocol = p->protocol;
    fib.sport = bpf_htons(p->source_port);
    fib.dport = bpf_htons(p->destination_port);
    fib.tot_len = segment_length(skb, p);
    if (p->family == 4) {
        fib.family = FAMILY_INET;
        fib.tos = p->tos & 0x1c;
        fib.ipv4_src = p->source.word[3];
        fib.ipv4_dst = p->destination.word[3];
    } else {
        fib.family = FAMILY_INET6;
        __builtin_memcpy(fib.ipv6_src, &p->source, 16);
        __builtin_memcpy(fib.ipv6_dst, &p->destination, 16);
    }
    result = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
    note(STEP_ROUTE, 0, result, fib.ifindex, 0);
    if (result == BPF_FIB_LKUP_RET_NO_NEIGH || result == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
        note(STEP_TO_STACK, 0, !!p->translated, 0, 0);
        return to_stack(skb, p, 0);
    }
    if (result != BPF_FIB_LKUP_RET_SUCCESS) {
        if (may_be_host && result == BPF_FIB_LKUP_RET_NOT_FWDED)
            return to_host(skb);
        return drop_packet(skb, p, NO_ROUTE);
    }
    out = fib.ifindex;
    if (p->ttl <= 1 || p->flags & PACKET_OPTIONS || p->translated || !bpf_map_lookup_elem(&uplink, &out)) {
        note(STEP_TO_STACK, 0, !!p->translated, 0, 0);
        return to_stack(skb, p, 0);
    }
    if (rewrite(skb, p, fib.dmac, fib.smac))
        return drop_packet(skb, p, MALFORMED);
    note(STEP_TO_UPLINK, 0, out, 0, 0);
    return bpf_redirect(out, 0);
}

ALWAYS_INLINE void fragment_key_of(const struct packet *p, struct fragment_key *key)
{
    key->source = p->source;
    key->destination = p->destination;
    key->id = p->fragment_id;
    key->protocol = p->fragment_protocol;
    key->family = p->family;
    key->endpoint = p->endpoint;
}

/* What the first fragment was allowed, for those that follow. */
GLOBAL int fragment_remember(struct __sk_buff *skb)
{
    struct scratch *w = work();
    struct fragment_key key;
    struct fragment value = {};
    struct control *c;
    struct endpoint *e;
    struct packet *p;
    __u32 zero = 0, number;

    KEEP(skb);
    if (!w || DRY)
        return 0;
    p = &w->packet;
    fragment_key_of(p, &key);
    c = bpf_map_lookup_elem(&control, &zero);
    if (!c)
        return 0;
    value.endpoint = p->receiver;
    value.host_generation = c->generation;
    value.seen = p->now;
    value.flags = p->host | (p->translated ? 2 : 0);
    value.least = p->fragment_at;
    number = p->endpoint;
    e = bpf_map_lookup_elem(&endpoint, &number);
    if (e)
        value.generation = e->generation;
    number = p->receiver;
    e = bpf_map_lookup_elem(&endpoint, &number);
    if (e)
        value.peer_generation = e->generation;
    bpf_map_update_elem(&fragment, &key, &value, BPF_ANY);
    return 0;
}

/* A later fragment goes where its first went, unless something changed since. 0 or a reason. */
GLOBAL int fragment_follow(struct __sk_buff *skb)
{
    struct scratch *w = work();
    struct fragment_key key;
    struct fragment *first;
    struct control *c;
    struct endpoint *e;
    struct packet *p;
    __u32 zero = 0, number;

    KEEP(skb);
    if (!w)
        return FRAGMENT_WITHOUT_FIRST;
    p = &w->packet;
    fragment_key_of(p, &key);
    first = bpf_map_lookup_elem(&fragment, &key);
    c = bpf_map_lookup_elem(&control, &zero);
    if (!first || !c || first->host_generation != c->generation ||
        (__s32)(p->now - first->seen) > (__s32)c->timeout[FLOW_FRAGMENT])
        return FRAGMENT_WITHOUT_FIRST;
    number = p->endpoint;
    e = bpf_map_lookup_elem(&endpoint, &number);
    if (!e || (number && e->generation != first->generation))
        return FRAGMENT_WITHOUT_FIRST;
    number = first->endpoint;
    e = bpf_map_lookup_elem(&endpoint, &number);
    if (!e || (number && e->generation != first->peer_generation))
        return FRAGMENT_WITHOUT_FIRST;
    p->receiver = number;
    /* It would lie over the header by which the first was judged. */
    if (p->fragment_at < first->least)
        return FRAGMENT_TINY;
    p->pair_mac = 1;
    p->host = first->flags & 1;
    if (first->flags & 2)
        p->translated = TRANSLATED;
    return 0;
}
