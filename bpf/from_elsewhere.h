/* SPDX-License-Identifier: MIT */
/* The long way of what comes for a guest of this host, and not from one. */
#pragma once
#include "from_guest.h"

/* What `local` and `local_prefix` say of an address; 0: nothing. */
ALWAYS_INLINE struct local *local_of(const struct address *address, const struct control *c)
{
    struct local *l = bpf_map_lookup_elem(&local, address);
    struct prefix_key key = {.prefixlen = 128};

    if (l || !(c->flags & CONTROL_LOCAL_PREFIXES))
        return l;
    key.address = *address;
    return bpf_map_lookup_elem(&local_prefix, &key);
}

/* Whether an address that came from elsewhere is one of a guest of this host, and of no other's. */
ALWAYS_INLINE __u32 is_local_only(const struct address *address, const struct control *c)
{
    struct local *l = local_of(address, c);

    return l && !(l->flags & LOCAL_REMOTE_TOO) ? l->endpoint : 0;
}

/*
 * For a guest of this host, from elsewhere, not judged yet; packet.endpoint is 0. `forwarded`: the kernel has routed it
 * to the tap of endpoint `number` already. A verdict, or TC_ACT_UNSPEC when it is not for a guest.
 */
GLOBAL int from_elsewhere(struct __sk_buff *skb, __u32 forwarded)
{
    struct scratch *w = work();
    struct control *c;
    struct packet *p;
    __u32 zero = 0;
    int reason;

    KEEP(skb);
    c = bpf_map_lookup_elem(&control, &zero);
    if (!w || !c)
        return TC_ACT_SHOT;
    p = &w->packet;
    p->receiver = is_local_only(&p->source, c);
    if (p->receiver)
        return drop_packet(skb, p, UPLINK_SPOOFED); /* counted where the address belongs */
    /* What the kernel has routed already it may have translated: the answers are to pass there too. */
    if (forwarded)
        p->translated = TRANSLATED;
    else if (c->flags & CONTROL_FLOATING)
        find_floating(skb, p);
    find_receiver(skb, p);
    if (!p->receiver && forwarded)
        return drop_at(skb, forwarded, is_multicast(&p->destination, p->family) ? MULTICAST : RECEIVER_GONE);
    if (!p->receiver)
        return TC_ACT_UNSPEC;
    if (is_impossible_source(p))
        return drop_packet(skb, p, MARTIAN);
    /* RFC 3927 §2.6.2, RFC 4291 §2.5.6: no router forwards them, and the metadata address is the host's. */
    if (is_link_scope(&p->source, p->family))
        return drop_packet(skb, p, LINK_LOCAL);
    if (address_equal(&p->source, &p->destination))
        return drop_packet(skb, p, SELF);
    reason = decide(skb, p);
    if (reason)
        return drop_packet(skb, p, reason);
    if (!forwarded)
        return to_receiver(skb);
    /* Judged for another port than the one whose tap this is: a route that is not ours. */
    return p->receiver == forwarded ? TC_ACT_UNSPEC : drop_at(skb, forwarded, RECEIVER_GONE);
}

/* What the host itself sends passes, and so do the answers (S9): a flow remembers it. */
GLOBAL int from_host(struct __sk_buff *skb, __u32 number)
{
    struct scratch *w = work();
    struct control *c;
    struct packet *p;
    __u32 zero = 0;

    KEEP(skb);
    c = bpf_map_lookup_elem(&control, &zero);
    if (!c || !w)
        return drop_at(skb, number, POLICY_MISSING);
    p = &w->packet;
    p->receiver = number;
    note(STEP_FROM_HOST, number, c->flags & CONTROL_HOST_TO_GUEST, 0, 0);
    if (p->kind == KIND_ERROR)
        return TC_ACT_UNSPEC;
    if (!(c->flags & CONTROL_HOST_TO_GUEST))
        return drop_at(skb, number, HOST_TO_GUEST_OFF);
    if (is_service_answer(p, c->flags))
        return TC_ACT_UNSPEC;
    if (p->kind == KIND_FLOW && !is_multicast(&p->destination, p->family) && !(p->flags & PACKET_REPLY)) {
        struct flow *f = bpf_map_lookup_elem(&flow, &p->key);

        if (f && !flow_expired(f, c, p->now) && f->flags & FLOW_HOST && f->slot != NO_SLOT) {
            flow_seen(p, f, f->state, f->flags);
            return TC_ACT_UNSPEC;
        }
        judge_sides(skb, 0);       /* reads the generations */
        flow_open(skb, FLOW_HOST); /* without room for it the packet still passes */
    }
    return TC_ACT_UNSPEC;
}

/*
 * For the tap of endpoint `number`, judged by a program and then given its address by the kernel's NAT. It may have
 * another source port by now, where one client asks two floating IPs of a guest from the same port: its flow is known
 * by what the guest sees, and answers to.
 */
GLOBAL int from_nat(struct __sk_buff *skb, __u32 number)
{
    struct scratch *w = work();
    struct control *c;
    struct packet *p;
    struct local *l;
    __u32 zero = 0;
    int reason;

    KEEP(skb);
    c = bpf_map_lookup_elem(&control, &zero);
    if (!w || !c)
        return TC_ACT_SHOT;
    p = &w->packet;
    /* From a floating IP: an answer, or what a guest sends to itself. */
    if (p->kind != KIND_FLOW || bpf_map_lookup_elem(&floating, &p->source))
        return TC_ACT_UNSPEC;
    l = local_of(&p->source, c);
    if (l)
        p->endpoint = l->endpoint;
    p->translated = TRANSLATED;
    reason = flow_decide(skb);
    if (reason)
        return drop_packet(skb, p, reason);
    return p->receiver == number ? TC_ACT_UNSPEC : drop_at(skb, number, RECEIVER_GONE);
}
