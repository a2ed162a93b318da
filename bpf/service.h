/* SPDX-License-Identifier: MIT */
/*
 * Services of the host that guests reach whatever their rules say (S7): metadata, DHCP and names. Where the metadata
 * service really listens is the business of a rule of the host's NAT (src/dataplane/services/): what is asked goes up
 * the stack, and what is answered comes with the address that was asked. Neither has a flow here: every packet is known
 * by its address.
 */
#pragma once
#include "source.h"

enum { PORT_METADATA = 80, PORT_NAMES = 53 };

/* 169.254.169.254 or fe80::a9fe:a9fe, where the host serves it. */
ALWAYS_INLINE int is_metadata_address(const struct address *a, __u8 family, __u32 flags)
{
    if (family == 4)
        return flags & CONTROL_METADATA_IPV4 && a->word[3] == bpf_htonl(0xa9fea9fe);
    return flags & CONTROL_METADATA_IPV6 && a->word[0] == bpf_htonl(0xfe800000) && a->word[1] == 0 && a->word[2] == 0 &&
           a->word[3] == bpf_htonl(0xa9fea9fe);
}

ALWAYS_INLINE __u32 control_flags(void)
{
    __u32 zero = 0;
    struct control *c = bpf_map_lookup_elem(&control, &zero);

    return c ? c->flags : 0;
}

ALWAYS_INLINE int asks_names(const struct packet *p, __u32 flags)
{
    return flags & CONTROL_NAMES && p->kind == KIND_FLOW && p->destination_port == PORT_NAMES &&
           (p->protocol == PROTOCOL_UDP || p->protocol == PROTOCOL_TCP);
}

/* A service at an address of the link, which are for nothing else: its source has been checked. */
ALWAYS_INLINE int asks_on_link(const struct packet *p, const struct endpoint *e)
{
    __u32 flags = control_flags();
    struct address host;

    if (p->kind == KIND_FLOW && p->protocol == PROTOCOL_TCP && p->destination_port == PORT_METADATA &&
        !(p->flags & PACKET_FIRST_FRAGMENT) && is_metadata_address(&p->destination, p->family, flags))
        return 1;
    if (p->family != 6 || !asks_names(p, flags))
        return 0;
    link_local_of(e->host_mac, &host);
    return address_equal(&p->destination, &host);
}

/* A service at an address of the host's own: a lease is renewed, a name asked for. The FIB says whose the address is.
 */
NOINLINE int asks_host(struct __sk_buff *skb, const struct packet *p)
{
    struct bpf_fib_lookup fib = {};

    if (!(p->family == 4 && is_dhcp_client(p)) && !asks_names(p, control_flags()))
        return 0;
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
    return bpf_fib_lookup(skb, &fib, sizeof(fib), 0) == BPF_FIB_LKUP_RET_NOT_FWDED;
}

/* From the host to a guest: what a service answers. A client's port is 1024 or above (RFC 6056 §3.2), so that what the
 * host itself asks of a name server in a guest is not meant. */
ALWAYS_INLINE int is_service_answer(const struct packet *p, __u32 flags)
{
    if (p->kind != KIND_FLOW)
        return 0;
    if (p->source_port == PORT_METADATA && p->protocol == PROTOCOL_TCP)
        return is_metadata_address(&p->source, p->family, flags);
    return flags & CONTROL_NAMES && p->source_port == PORT_NAMES && p->destination_port >= 1024 &&
           (p->protocol == PROTOCOL_UDP || p->protocol == PROTOCOL_TCP);
}
