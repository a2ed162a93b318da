/* SPDX-License-Identifier: MIT */
/* ARP and neighbour discovery on a tap, answered here (S4) and checked (S6); the kernel hears only what is true. */
#pragma once
#include "service.h"

struct arp {
    __be16 hardware, protocol;
    __u8 hardware_length, protocol_length;
    __be16 operation;
    __u8 sender_mac[6];
    __u8 sender[4];
    __u8 target_mac[6];
    __u8 target[4];
} __attribute__((packed, aligned(2)));

struct neighbour_message { /* NS and NA, RFC 4861 §4.3, §4.4 */
    __u8 type, code;
    __u16 checksum;
    __u32 flags;
    struct address target;
    __u8 option, option_length;
    __u8 mac[6];
};

enum { ND_SOLICITATION = 135, ND_ADVERTISEMENT = 136, ND_ROUTER_SOLICITATION = 133 };
enum { OPTION_SOURCE_MAC = 1, OPTION_TARGET_MAC = 2 };

/* A reply out of the tap that it came from. */
ALWAYS_INLINE int reply(struct __sk_buff *skb)
{
    set_mark(skb, MARK_JUDGED | tap_number(skb->ifindex));
    return bpf_redirect(skb->ifindex, 0);
}

/* Whoever announces an address that several local endpoints own gets what is sent there from now on. */
NOINLINE void announce(__u32 number, const struct address *address)
{
    struct local *l = bpf_map_lookup_elem(&local, address);
    struct source own;

    if (l && l->flags & LOCAL_SHARED && find_owner(number, address, &own) && !DRY)
        l->endpoint = number;
}

/* Whether the address is one that the host must not answer for: the guest's own. A pair that others have too is asked
 * for. */
NOINLINE int is_own(__u32 number, const struct address *address, int probe)
{
    struct local *l = bpf_map_lookup_elem(&local, address);
    struct source own;

    if (!find_owner(number, address, &own))
        return 0;
    return probe || !(l && l->flags & (LOCAL_SHARED | LOCAL_REMOTE_TOO));
}

GLOBAL int arp(struct __sk_buff *skb, __u32 number)
{
    struct endpoint *e = bpf_map_lookup_elem(&endpoint, &number);
    int secure;
    struct address sender, target;
    struct ethernet eth;
    struct arp a;
    struct source own = {};
    __be32 sender_ip, target_ip;

    KEEP(skb);
    if (!e)
        return drop_at(skb, number, NO_ENDPOINT);
    secure = !(e->flags & ENDPOINT_NO_PORT_SECURITY);
    if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)) || bpf_skb_load_bytes(skb, ETH_LENGTH, &a, sizeof(a)) ||
        a.hardware != bpf_htons(1) || a.protocol != bpf_htons(ETHERTYPE_IPV4) || a.hardware_length != 6 ||
        a.protocol_length != 4)
        return drop_at(skb, number, MALFORMED);
    if (!mac_equal(eth.destination, e->host_mac) && !is_broadcast_mac(eth.destination))
        return drop_at(skb, number, WRONG_DESTINATION_MAC);
    __builtin_memcpy(&sender_ip, a.sender, 4);
    __builtin_memcpy(&target_ip, a.target, 4);
    address_from_ipv4(&sender, sender_ip);
    address_from_ipv4(&target, target_ip);
    if (secure) {
        const __u8 *mac = e->mac;

        if (sender_ip) {
            if (!find_owner(number, &sender, &own))
                return drop_at(skb, number, SPOOFED_ARP);
            if (!mac_is_zero(own.mac))
                mac = own.mac;
        }
        if (!mac_equal(a.sender_mac, mac))
            return drop_at(skb, number, SPOOFED_ARP);
        if (!mac_equal(eth.source, mac) && !mac_equal(eth.source, e->mac))
            return drop_at(skb, number, SPOOFED_MAC);
    }
    if (a.operation == bpf_htons(2)) {
        if (!sender_ip)
            return drop_at(skb, number, SPOOFED_ARP);
        announce(number, &sender);
        return mac_equal(eth.destination, e->host_mac) ? to_host(skb) : drop_at(skb, number, ARP_ABSORBED);
    }
    if (a.operation != bpf_htons(1))
        return drop_at(skb, number, MALFORMED);
    if (sender_ip && sender_ip == target_ip) {
        announce(number, &sender);
        return drop_at(skb, number, ARP_ABSORBED);
    }
    if (is_multicast(&target, 4) || is_martian(&target, 4) ||
        (is_link_scope(&target, 4) && !is_metadata_address(&target, 4, control_flags())) ||
        is_own(number, &target, !sender_ip))
        return drop_at(skb, number, ARP_ABSORBED);
    /* RFC 826: swap, and say that it is us. */
    a.operation = bpf_htons(2);
    __builtin_memcpy(eth.destination, eth.source, 6);
    __builtin_memcpy(eth.source, e->host_mac, 6);
    __builtin_memcpy(a.target_mac, a.sender_mac, 6);
    __builtin_memcpy(a.sender_mac, e->host_mac, 6);
    __builtin_memcpy(a.target, &sender_ip, 4);
    __builtin_memcpy(a.sender, &target_ip, 4);
    if (bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0) || bpf_skb_store_bytes(skb, ETH_LENGTH, &a, sizeof(a), 0))
        return drop_at(skb, number, MALFORMED);
    return reply(skb);
}

/* Walks the options behind the fixed part of a message for one link-layer address; 0 none, 1 found, -1 malformed. */
NOINLINE int find_option(struct __sk_buff *skb, struct packet *p, __u32 fixed, __u8 wanted, __u8 *mac)
{
    __u32 offset = p->l4 + fixed, end = ETH_LENGTH + p->length;

    for (int i = 0; i < 8; i++) {
        __u8 option[8];

        if (offset + 8 > end)
            return offset == end ? 0 : -1;
        if (bpf_skb_load_bytes(skb, offset, option, 8) || !option[1])
            return -1;
        if (option[0] == wanted) {
            __builtin_memcpy(mac, option + 2, 6);
            return 1;
        }
        offset += (__u32)option[1] * 8;
    }
    return -1;
}

/* A neighbour advertisement for `target`, in the place of the solicitation. Its source is the address that was asked
 * for. A verdict, or -1: the frame could not be written (said by the caller: this is the deepest of all calls). */
NOINLINE int advertise(struct __sk_buff *skb, struct packet *p, struct endpoint *e, const struct address *target)
{
    struct neighbour_message m = {.type = ND_ADVERTISEMENT, .option = OPTION_TARGET_MAC, .option_length = 1};
    struct ipv6 ip = {.version_class_label = bpf_htonl(0x60000000),
                      .payload_length = bpf_htons(sizeof(struct neighbour_message)),
                      .next_header = PROTOCOL_ICMPV6,
                      .hop_limit = 255};
    struct ethernet eth;
    __be32 pseudo[2] = {bpf_htonl(sizeof(struct neighbour_message)), bpf_htonl(PROTOCOL_ICMPV6)};
    __s64 sum;

    if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)))
        return -1;
    if (bpf_skb_change_tail(skb, ETH_LENGTH + sizeof(ip) + sizeof(m), 0))
        return -1;
    __builtin_memcpy(eth.destination, eth.source, 6);
    __builtin_memcpy(eth.source, e->host_mac, 6);
    ip.source = *target;
    ip.destination = p->source;
    m.flags = bpf_htonl(0xe0000000); /* router, solicited, override */
    m.target = *target;
    __builtin_memcpy(m.mac, e->host_mac, 6);
    sum = bpf_csum_diff(0, 0, (__be32 *)&ip.source, 32, 0);
    sum = bpf_csum_diff(0, 0, pseudo, sizeof(pseudo), sum);
    sum = bpf_csum_diff(0, 0, (__be32 *)&m, sizeof(m), sum);
    sum = (sum & 0xffff) + (sum >> 16 & 0xffff);
    sum = (sum & 0xffff) + (sum >> 16);
    m.checksum = ~sum;
    if (bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0) || bpf_skb_store_bytes(skb, ETH_LENGTH, &ip, sizeof(ip), 0) ||
        bpf_skb_store_bytes(skb, ETH_LENGTH + sizeof(ip), &m, sizeof(m), 0))
        return -1;
    return reply(skb);
}

NOINLINE int solicitation(struct __sk_buff *skb, struct packet *p, struct endpoint *e, const struct address *target,
                          const __u8 *mac)
{
    struct address host;
    __u8 option[6] __attribute__((aligned(2)));
    int found = find_option(skb, p, 24, OPTION_SOURCE_MAC, option), verdict;

    if (found < 0)
        return drop_packet(skb, p, MALFORMED);
    if (found && !mac_equal(option, mac) && !(e->flags & ENDPOINT_NO_PORT_SECURITY))
        return drop_packet(skb, p, SPOOFED_ND);
    link_local_of(e->host_mac, &host);
    if (is_multicast(target, 6) || is_martian(target, 6) || address_is_zero(&p->source))
        return drop_packet(skb, p, ND_ABSORBED); /* a probe for a duplicate is never answered */
    if (address_is_link_local(target)
            ? !address_equal(target, &host) && !is_metadata_address(target, 6, control_flags())
            : is_own(p->endpoint, target, 0))
        return drop_packet(skb, p, ND_ABSORBED);
    verdict = advertise(skb, p, e, target);
    return verdict < 0 ? drop_packet(skb, p, MALFORMED) : verdict;
}

/*
 * Whether what is sent there ends at this host: on the link, its link-local address, or one that the FIB does not
 * forward to. What goes to the host unjudged must not leave it again.
 */
NOINLINE int ends_here(struct __sk_buff *skb, const struct packet *p, const struct address *host)
{
    struct bpf_fib_lookup fib = {.family = FAMILY_INET6, .ifindex = skb->ifindex};

    if (is_multicast(&p->destination, 6) || address_equal(&p->destination, host))
        return 1;
    if (address_is_link_local(&p->destination))
        return 0;
    __builtin_memcpy(fib.ipv6_src, &p->source, 16);
    __builtin_memcpy(fib.ipv6_dst, &p->destination, 16);
    return bpf_fib_lookup(skb, &fib, sizeof(fib), 0) == BPF_FIB_LKUP_RET_NOT_FWDED;
}

/* ICMPv6 133..137 from a guest. */
GLOBAL int neighbour_discovery(struct __sk_buff *skb, __u32 number)
{
    struct endpoint *e = bpf_map_lookup_elem(&endpoint, &number);
    struct scratch *w = work();
    struct packet *p;
    const __u8 *mac;
    __u8 option[6] __attribute__((aligned(2)));
    __u8 type;
    int secure;
    struct source own = {};
    struct address target, host;
    struct ethernet eth;

    KEEP(skb);
    if (!e || !w)
        return drop_at(skb, number, NO_ENDPOINT);
    p = &w->packet;
    mac = e->mac;
    type = p->destination_port >> 8;
    secure = !(e->flags & ENDPOINT_NO_PORT_SECURITY);
    if (p->ttl != 255 || p->l4 != ETH_LENGTH + sizeof(struct ipv6) || bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)))
        return drop_packet(skb, p, MALFORMED);
    if (!mac_equal(eth.destination, e->host_mac) && !is_ipv6_multicast_mac(eth.destination))
        return drop_packet(skb, p, WRONG_DESTINATION_MAC);
    if (type != ND_SOLICITATION && type != ND_ADVERTISEMENT && type != ND_ROUTER_SOLICITATION)
        return drop_packet(skb, p, ROUTER_ADVERTISEMENT);
    link_local_of(e->host_mac, &host);
    if (secure) {
        if (address_equal(&p->source, &host))
            return drop_packet(skb, p, SPOOFED_ND);
        if (!address_is_zero(&p->source) && !address_is_link_local(&p->source)) {
            if (!find_owner(p->endpoint, &p->source, &own))
                return drop_packet(skb, p, SPOOFED_ND);
            if (!mac_is_zero(own.mac))
                mac = own.mac;
        }
        if (!mac_equal(eth.source, mac) && !mac_equal(eth.source, e->mac))
            return drop_packet(skb, p, SPOOFED_MAC);
        mac = eth.source;
    } else {
        mac = eth.source;
    }
    if (type == ND_ROUTER_SOLICITATION) {
        if (address_is_zero(&p->source))
            return drop_packet(skb, p, UNSPECIFIED_SOURCE);
        if (!is_multicast(&p->destination, 6) && !address_equal(&p->destination, &host))
            return drop_packet(skb, p, ND_ABSORBED);
        int found = find_option(skb, p, 8, OPTION_SOURCE_MAC, option);

        if (found < 0)
            return drop_packet(skb, p, MALFORMED);
        return found && secure && !mac_equal(option, mac) ? drop_packet(skb, p, SPOOFED_ND) : to_host(skb);
    }
    if (p->length < 40 + 24 || bpf_skb_load_bytes(skb, p->l4 + 8, &target, sizeof(target)))
        return drop_packet(skb, p, MALFORMED);
    if (type == ND_SOLICITATION)
        return solicitation(skb, p, e, &target, mac);
    if (secure) {
        int found = find_option(skb, p, 24, OPTION_TARGET_MAC, option);

        __builtin_memset(&own, 0, sizeof(own));
        if (found < 0)
            return drop_packet(skb, p, MALFORMED);
        if (address_equal(&target, &host) ||
            (!address_is_link_local(&target) && !find_owner(p->endpoint, &target, &own)))
            return drop_packet(skb, p, SPOOFED_ND);
        if (found && !mac_equal(option, mac_is_zero(own.mac) ? e->mac : own.mac))
            return drop_packet(skb, p, SPOOFED_ND);
    }
    announce(p->endpoint, &target);
    return mac_equal(eth.destination, e->host_mac) && ends_here(skb, p, &host) ? to_host(skb)
                                                                               : drop_packet(skb, p, ND_ABSORBED);
}
