/* SPDX-License-Identifier: MIT */
/* From a frame to a struct packet. Every parser checks its own bounds and returns a reason, 0 when it is well. */
#pragma once
#include "packet.h"

#define EXTENSION_HEADERS_MAX 8
#define HEADERS_LINEAR 128

/*
 * The first HEADERS_LINEAR bytes (or all there are) into the linear part: a tap's frames may have less there
 * (drivers/net/tun.c takes the guest's word for hdr_len).
 */
ALWAYS_INLINE int pull_headers(struct __sk_buff *skb)
{
    __u32 want = skb->len < HEADERS_LINEAR ? skb->len : HEADERS_LINEAR;

    if ((void *)(long)skb->data + want > (void *)(long)skb->data_end)
        return bpf_skb_pull_data(skb, want);
    return 0;
}

/* The L4 header through a helper: for what does not lie at its usual place. */
NOINLINE int parse_l4(struct __sk_buff *skb, struct packet *p, int fragmented)
{
    __u32 minimum = l4_minimum(p->protocol);
    __u8 header[20] __attribute__((aligned(2))) = {};

    /* Reserved (IANA), and "any" in policy_key. */
    if (p->protocol == PROTOCOL_ANY)
        return MALFORMED;
    if (!minimum || (p->protocol == PROTOCOL_ICMP && p->family == 6) ||
        (p->protocol == PROTOCOL_ICMPV6 && p->family == 4))
        return packet_l4(p, header);
    if ((__u32)p->l4 + minimum > ETH_LENGTH + p->length)
        return fragmented ? FRAGMENT_TINY : MALFORMED;
    if (minimum == 20) {
        if (bpf_skb_load_bytes(skb, p->l4, header, 20))
            return MALFORMED;
    } else if (minimum == 12) {
        if (bpf_skb_load_bytes(skb, p->l4, header, 12))
            return MALFORMED;
    } else if (bpf_skb_load_bytes(skb, p->l4, header, 8)) {
        return MALFORMED;
    }
    return packet_l4(p, header);
}

/* Source routes (RFC 791 §3.1: LSRR 131, SSRR 137) are never forwarded; every other option is the kernel's to judge. */
NOINLINE int parse_ipv4_options(struct __sk_buff *skb, struct packet *p)
{
    __u32 offset = ETH_LENGTH + sizeof(struct ipv4);

    p->flags |= PACKET_OPTIONS;
    for (int i = 0; i < 40; i++) {
        __u8 option[2] = {};

        if (offset >= p->l4)
            return 0;
        if (bpf_skb_load_bytes(skb, offset, option, 1))
            return MALFORMED;
        if (option[0] == 0)
            return 0;
        if (option[0] == 1) {
            offset++;
            continue;
        }
        if (option[0] == 131 || option[0] == 137)
            return SOURCE_ROUTE;
        if (offset + 1 >= p->l4 || bpf_skb_load_bytes(skb, offset + 1, option + 1, 1) || option[1] < 2)
            return MALFORMED;
        offset += option[1];
    }
    return offset > p->l4 ? MALFORMED : 0;
}

/* What is not the usual header of 20 bytes in one piece. `fragment` is the field in host order. */
NOINLINE int parse_ipv4_rest(struct __sk_buff *skb, struct packet *p, __u32 fragment)
{
    int reason;

    if (p->l4 > ETH_LENGTH + sizeof(struct ipv4)) {
        reason = parse_ipv4_options(skb, p);
        if (reason)
            return reason;
    }
    p->fragment_protocol = p->protocol;
    if (fragment & 0x1fff) {
        /* RFC 3128: an offset of 8 would overwrite TCP flags that were judged. */
        if ((fragment & 0x1fff) == 1 && l4_minimum(p->protocol) > 8)
            return FRAGMENT_TINY;
        p->fragment_at = (fragment & 0x1fff) * 8;
        p->kind = KIND_LATER;
        return 0;
    }
    if (fragment & 0x2000) {
        p->flags |= PACKET_FIRST_FRAGMENT;
        p->fragment_at = l4_minimum(p->protocol);
    }
    return parse_l4(skb, p, fragment & 0x2000);
}

ALWAYS_INLINE int parse_ipv4(struct __sk_buff *skb, struct packet *p)
{
    void *data = (void *)(long)skb->data;
    void *end = (void *)(long)skb->data_end;
    struct ipv4 *ip = data + ETH_LENGTH;
    __u32 header;
    __u32 fragment;

    if ((void *)(ip + 1) > end)
        return MALFORMED;
    p->family = 4;
    address_from_ipv4(&p->source, ip->source);
    address_from_ipv4(&p->destination, ip->destination);
    header = (ip->version_length & 15) * 4;
    p->length = bpf_ntohs(ip->total_length);
    if ((ip->version_length >> 4) != 4 || header < sizeof(*ip) || p->length < header ||
        p->length + ETH_LENGTH > skb->len)
        return MALFORMED;
    p->protocol = ip->protocol;
    p->ttl = ip->ttl;
    p->tos = ip->tos;
    p->l4 = ETH_LENGTH + header;
    p->fragment_id = ip->id;
    fragment = bpf_ntohs(ip->fragment) & 0x3fff;
    if (header == sizeof(*ip) && !fragment && (p->protocol == PROTOCOL_TCP || p->protocol == PROTOCOL_UDP)) {
        __u8 *l4 = (__u8 *)(ip + 1);

        if (p->protocol == PROTOCOL_TCP ? (void *)(l4 + 20) <= end && p->length >= 40
                                        : (void *)(l4 + 8) <= end && p->length >= 28) {
            if (p->protocol == PROTOCOL_UDP) {
                packet_udp(p, l4);
                return 0;
            }
            if ((void *)(l4 + 20) <= end)
                return packet_l4(p, l4);
        }
    }
    return parse_ipv4_rest(skb, p, fragment);
}

ALWAYS_INLINE int is_extension(__u8 next)
{
    return next == PROTOCOL_HOP_BY_HOP || next == PROTOCOL_ROUTING || next == PROTOCOL_FRAGMENT ||
           next == PROTOCOL_DESTINATION;
}

/* Extension headers (RFC 8200 §4). AH, ESP and "no next header" end the walk: they are protocols to us. */
NOINLINE int parse_ipv6_extensions(struct __sk_buff *skb, struct packet *p)
{
    __u32 offset = ETH_LENGTH + sizeof(struct ipv6);
    __u32 whole = 0; /* where the part begins that fragments share out; 0: no fragment header yet */
    __u8 next = p->protocol;
    int fragmented = 0;

    for (int i = 0; i < EXTENSION_HEADERS_MAX; i++) {
        __u8 header[8];

        if (!is_extension(next))
            break;
        if (next == PROTOCOL_HOP_BY_HOP && i)
            return EXTENSION_HEADERS;
        if (offset + 8 > ETH_LENGTH + p->length)
            return fragmented ? FRAGMENT_TINY : MALFORMED;
        if (bpf_skb_load_bytes(skb, offset, header, 8))
            return MALFORMED;
        if (next == PROTOCOL_FRAGMENT) {
            __u32 place = (__u32)header[2] << 8 | header[3];

            if (whole)
                return EXTENSION_HEADERS;
            next = header[0];
            offset += 8;
            whole = offset;
            if (!(place & 0xfff9))
                continue; /* atomic fragment, RFC 6946 */
            __builtin_memcpy(&p->fragment_id, header + 4, 4);
            if (place & 0xfff8) {
                p->protocol = next;
                p->l4 = offset;
                if ((place & 0xfff8) == 8 && l4_minimum(next) > 8)
                    return FRAGMENT_TINY;
                p->fragment_at = place & 0xfff8;
                p->fragment_protocol = next;
                p->kind = KIND_LATER;
                return 0;
            }
            p->fragment_protocol = next;
            fragmented = 1;
            p->flags |= PACKET_FIRST_FRAGMENT;
            continue;
        }
        if (next == PROTOCOL_ROUTING && header[3])
            return SOURCE_ROUTE;
        if (next == PROTOCOL_HOP_BY_HOP)
            p->flags |= PACKET_OPTIONS;
        next = header[0];
        offset += 8 + (__u32)header[1] * 8;
        if (offset > ETH_LENGTH + p->length)
            return fragmented ? FRAGMENT_TINY : MALFORMED;
    }
    if (is_extension(next))
        return EXTENSION_HEADERS;
    p->protocol = next;
    p->l4 = offset;
    p->fragment_at = offset - whole + l4_minimum(next);
    return parse_l4(skb, p, fragmented);
}

ALWAYS_INLINE int parse_ipv6(struct __sk_buff *skb, struct packet *p)
{
    void *data = (void *)(long)skb->data;
    void *end = (void *)(long)skb->data_end;
    struct ipv6 *ip = data + ETH_LENGTH;

    if ((void *)(ip + 1) > end)
        return MALFORMED;
    p->family = 6;
    p->source = ip->source;
    p->destination = ip->destination;
    p->length = bpf_ntohs(ip->payload_length) + (__u32)sizeof(*ip);
    if ((bpf_ntohl(ip->version_class_label) >> 28) != 6 || p->length + ETH_LENGTH > skb->len)
        return MALFORMED;
    p->protocol = ip->next_header;
    p->ttl = ip->hop_limit;
    p->tos = bpf_ntohl(ip->version_class_label) >> 20;
    p->l4 = ETH_LENGTH + sizeof(*ip);
    if (address_is_mapped(&p->source) || address_is_mapped(&p->destination))
        return MARTIAN;
    if (p->protocol == PROTOCOL_TCP && p->length >= 60) {
        __u8 *l4 = (__u8 *)(ip + 1);

        if ((void *)(l4 + 20) <= end)
            return packet_l4(p, l4);
    }
    if (p->protocol == PROTOCOL_UDP && p->length >= 48) {
        __u8 *l4 = (__u8 *)(ip + 1);

        if ((void *)(l4 + 8) <= end) {
            packet_udp(p, l4);
            return 0;
        }
    }
    return parse_ipv6_extensions(skb, p);
}
