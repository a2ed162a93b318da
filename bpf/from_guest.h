/* SPDX-License-Identifier: MIT */
/* The long way of what a guest sends: may it send this, and where does it go. */
#pragma once
#include "neighbour.h"

/* Everything that is not an established packet, once its sender may have sent it. 0 or a reason. */
ALWAYS_INLINE int decide(struct __sk_buff *skb, struct packet *p)
{
    int reason;

    p->host = 0;
    if (p->kind == KIND_LATER)
        return fragment_follow(skb);
    if (p->kind == KIND_ERROR)
        return error_decide(skb);
    if (p->kind == KIND_SINGLE) {
        find_receiver(skb, p);
        return judge_sides(skb, SENDER | RECEIVER);
    }
    reason = flow_decide(skb);
    if (!reason && p->flags & PACKET_FIRST_FRAGMENT)
        fragment_remember(skb);
    return reason;
}

/* Whether the host has a conversation of its own with the guest that p belongs to: link-local too (S9). */
ALWAYS_INLINE int is_answer_to_host(const struct packet *p)
{
    struct flow *f;

    if (p->kind != KIND_FLOW)
        return 0;
    f = bpf_map_lookup_elem(&flow, &p->key);
    return f && f->flags & FLOW_HOST;
}

GLOBAL int tap_ingress_slow(struct __sk_buff *skb)
{
    struct scratch *w = work();
    struct endpoint *e;
    struct packet *p;
    __u32 number;
    int reason, may_be_host;

    KEEP(skb);
    if (!w)
        return TC_ACT_SHOT;
    p = &w->packet;
    number = p->endpoint;
    e = bpf_map_lookup_elem(&endpoint, &number);
    if (!e)
        return drop_packet(skb, p, NO_ENDPOINT);
    if (e->flags & ENDPOINT_NO_PORT_SECURITY) {
        __u8 single = icmpv6_single(p);
        __u8 mac[6] __attribute__((aligned(2)));

        if (bpf_skb_load_bytes(skb, 0, mac, 6))
            return drop_packet(skb, p, MALFORMED);
        if (single == ND_SOLICITATION || single == ND_ADVERTISEMENT || single == ND_ROUTER_SOLICITATION)
            return neighbour_discovery(skb, number);
        if (is_listener_report(p, single) || (is_dhcp_client(p) && mac[0] & 1))
            return to_host(skb);
        if (mac_equal(mac, e->host_mac))
            reason = check_destination(p);
        else if (is_broadcast_mac(mac) || (p->family == 6 && is_ipv6_multicast_mac(mac)))
            reason = is_multicast(&p->destination, p->family) ? MULTICAST : WRONG_DESTINATION_MAC;
        else
            reason = mac[0] & 1 ? MULTICAST : WRONG_DESTINATION_MAC;
        if (address_is_zero(&p->source) || (p->family == 4 && p->source.word[3] == 0))
            reason = UNSPECIFIED_SOURCE;
        else if (!reason && p->family == 6 && address_is_link_local(&p->source))
            reason = LINK_LOCAL;
        else if (!reason && is_impossible_source(p))
            reason = MARTIAN;
    } else {
        reason = check_source(skb);
        if (reason == TO_NEIGHBOUR)
            return neighbour_discovery(skb, number);
        if (reason == TO_HOST)
            return to_host(skb);
    }
    if (reason == LINK_LOCAL && asks_on_link(p, e))
        return to_host(skb);
    if (reason && !(reason == LINK_LOCAL && is_answer_to_host(p)))
        return drop_packet(skb, p, reason);
    if (!reason && asks_host(skb, p))
        return to_host(skb);
    may_be_host = is_dhcp_client(p);
    if (!reason && control_flags() & CONTROL_FLOATING)
        find_floating(skb, p);
    reason = decide(skb, p);
    if (reason)
        return drop_packet(skb, p, reason);
    if (p->host)
        return to_host(skb);
    if (p->receiver)
        return to_receiver(skb);
    return to_uplink(skb, p, may_be_host);
}
