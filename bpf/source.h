/* SPDX-License-Identifier: MIT */
/* What a guest may send at all (S6): MACs, addresses, link-local, DHCP; and where unicast must go (S2). */
#pragma once
#include "forward.h"
#include "parse.h"

enum { TO_HOST = 1000, TO_NEIGHBOUR = 1001 }; /* beside 0 (judge it) and reasons */

ALWAYS_INLINE int is_broadcast_mac(const __u8 *mac)
{
    return (mac[0] & mac[1] & mac[2] & mac[3] & mac[4] & mac[5]) == 0xff;
}

/* 33:33:…: multicast of IPv6 (RFC 2464 §7) */
ALWAYS_INLINE int is_ipv6_multicast_mac(const __u8 *mac)
{
    return mac[0] == 0x33 && mac[1] == 0x33;
}

/* The host's link-local address on a tap: modified EUI-64 of the tap's MAC (RFC 4291 appendix A). */
ALWAYS_INLINE void link_local_of(const __u8 *mac, struct address *address)
{
    address->word[0] = bpf_htonl(0xfe800000);
    address->word[1] = 0;
    address->word[2] = bpf_htonl((__u32)(mac[0] ^ 2) << 24 | (__u32)mac[1] << 16 | (__u32)mac[2] << 8 | 0xff);
    address->word[3] = bpf_htonl(0xfe000000 | (__u32)mac[3] << 16 | (__u32)mac[4] << 8 | mac[5]);
}

/* Never a destination or source of something routed (RFC 1122 §3.2.1.3, RFC 4291). */
ALWAYS_INLINE int is_martian(const struct address *a, __u8 family)
{
    __u32 top;

    if (family == 6)
        return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == 0 && bpf_ntohl(a->word[3]) <= 1;
    top = bpf_ntohl(a->word[3]) >> 24;
    return top == 0 || top == 127 || top >= 240;
}

ALWAYS_INLINE int is_multicast(const struct address *a, __u8 family)
{
    if (family == 6)
        return (a->word[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
    return (bpf_ntohl(a->word[3]) >> 28) == 14 || a->word[3] == 0xffffffff;
}

/* 169.254.0.0/16 or fe80::/10 */
ALWAYS_INLINE int is_link_scope(const struct address *a, __u8 family)
{
    if (family == 6)
        return address_is_link_local(a);
    return (bpf_ntohl(a->word[3]) >> 16) == 0xa9fe;
}

/* A source that no packet on a wire may have. */
ALWAYS_INLINE int is_impossible_source(const struct packet *p)
{
    return is_multicast(&p->source, p->family) || is_martian(&p->source, p->family);
}

/* From any guest, however trusted, only unicast is routed. 0 or a reason. */
ALWAYS_INLINE int check_destination(const struct packet *p)
{
    if (is_multicast(&p->destination, p->family))
        return MULTICAST;
    if (is_martian(&p->destination, p->family))
        return MARTIAN;
    if (is_link_scope(&p->destination, p->family))
        return LINK_LOCAL;
    if (address_equal(&p->source, &p->destination))
        return SELF;
    return 0;
}

ALWAYS_INLINE int is_dhcp_client(const struct packet *p)
{
    if (p->kind != KIND_FLOW || p->protocol != PROTOCOL_UDP)
        return 0;
    return p->family == 4 ? p->source_port == 68 && p->destination_port == 67
                          : p->source_port == 546 && p->destination_port == 547;
}

ALWAYS_INLINE int is_dhcp_server(const struct packet *p)
{
    if (p->kind != KIND_FLOW || p->protocol != PROTOCOL_UDP)
        return 0;
    return p->family == 4 ? p->source_port == 67 && p->destination_port == 68
                          : p->source_port == 547 && p->destination_port == 546;
}

/* ff02::1:2 (RFC 8415 §7.1) */
ALWAYS_INLINE int is_all_dhcp_servers(const struct address *a)
{
    return a->word[0] == bpf_htonl(0xff020000) && a->word[1] == 0 && a->word[2] == 0 &&
           a->word[3] == bpf_htonl(0x00010002);
}

/* Type of an ICMPv6 message that is judged by itself, 0 for anything else. */
ALWAYS_INLINE __u8 icmpv6_single(const struct packet *p)
{
    if (p->family != 6 || p->protocol != PROTOCOL_ICMPV6 || p->kind != KIND_SINGLE)
        return 0;
    return p->destination_port >> 8;
}

ALWAYS_INLINE int is_neighbour_discovery(__u8 type)
{
    return type >= 133 && type <= 137;
}

/* MLD (RFC 2710, 3810), as it is sent on a link: to a multicast address. */
ALWAYS_INLINE int is_listener_report(const struct packet *p, __u8 type)
{
    return ((type >= 130 && type <= 132) || type == 143) && is_multicast(&p->destination, 6);
}

/*
 * The source MAC for the source address: the endpoint's, or that of an allowed pair for that address. 0 or a reason.
 * `owned` tells whether the address is the endpoint's at all.
 */
ALWAYS_INLINE int check_owner(struct packet *p, const struct endpoint *e, const __u8 *mac)
{
    struct source own = {};
    struct control *c;
    __u32 zero = 0;

    c = bpf_map_lookup_elem(&control, &zero);
    if (!c)
        return SPOOFED_ADDRESS;
    /* First: whatever changes after this makes the flow one to be judged again (D3). */
    p->host_generation = *(volatile __u32 *)&c->generation;
    p->generation[0] = *(volatile __u32 *)&e->generation;
    if (!find_owner(p->endpoint, &p->source, &own))
        return SPOOFED_ADDRESS;
    p->own_set[0] = own.policy_set;
    p->own_known = SENDER;
    note(STEP_SENDER, p->endpoint, own.policy_set, 0, 0);
    if (!mac_is_zero(own.mac))
        p->pair_mac = 1;
    return mac_equal(mac, mac_is_zero(own.mac) ? e->mac : own.mac) ? 0 : SPOOFED_MAC;
}

/* S6 for IP from a guest whose port security is on: 0 (judge it), TO_HOST, TO_NEIGHBOUR, or a reason. */
GLOBAL int check_source(struct __sk_buff *skb)
{
    struct scratch *w = work();
    struct ethernet eth;
    struct address host;
    struct endpoint *e;
    struct packet *p;
    int broadcast, known;
    __u32 number;
    __u8 single;

    if (!w)
        return NO_ENDPOINT;
    p = &w->packet;
    number = p->endpoint;
    e = bpf_map_lookup_elem(&endpoint, &number);
    if (!e)
        return NO_ENDPOINT;
    single = icmpv6_single(p);
    if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)))
        return MALFORMED;
    known = mac_equal(eth.source, e->mac);
    broadcast = is_broadcast_mac(eth.destination) || (p->family == 6 && is_ipv6_multicast_mac(eth.destination));
    if (!mac_equal(eth.destination, e->host_mac)) {
        if (!broadcast)
            return eth.destination[0] & 1 ? MULTICAST : WRONG_DESTINATION_MAC;
        if (!is_dhcp_client(p) && !is_neighbour_discovery(single) && !is_listener_report(p, single))
            return known && is_multicast(&p->destination, p->family) ? MULTICAST : WRONG_DESTINATION_MAC;
    }
    if (is_neighbour_discovery(single))
        return TO_NEIGHBOUR;
    if (address_is_zero(&p->source) || (p->family == 4 && p->source.word[3] == 0)) {
        if (!known)
            return SPOOFED_MAC;
        if (p->family == 4 && is_dhcp_client(p) && p->destination.word[3] == 0xffffffff)
            return TO_HOST;
        /* RFC 3810 §5.2.13: a listener report may come before the address is settled */
        return is_listener_report(p, single) ? TO_HOST : UNSPECIFIED_SOURCE;
    }
    if (p->family == 6 && address_is_link_local(&p->source)) {
        if (!known)
            return SPOOFED_MAC;
        link_local_of(e->host_mac, &host);
        if (address_equal(&p->source, &host))
            return SPOOFED_ADDRESS;
        if (is_listener_report(p, single))
            return TO_HOST;
        if (is_dhcp_client(p) && (is_all_dhcp_servers(&p->destination) || address_equal(&p->destination, &host)))
            return TO_HOST;
        return LINK_LOCAL;
    }
    known = check_owner(p, e, eth.source);
    if (known)
        return known;
    /* A pair such as 0.0.0.0/0 owns them, but they are never forwarded. */
    if (is_impossible_source(p))
        return MARTIAN;
    if (is_dhcp_server(p))
        return DHCP_SERVER;
    if (is_listener_report(p, single))
        return TO_HOST;
    if (is_dhcp_client(p) && p->family == 4 && p->destination.word[3] == 0xffffffff)
        return TO_HOST;
    return check_destination(p);
}
