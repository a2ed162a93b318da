/* SPDX-License-Identifier: MIT */
/*
 * A guest's virtio header may ask for a checksum to be filled in anywhere, and so rewrite a port after it was judged
 * (drivers/net/tun.c, skb_partial_csum_set). Only an object that may read struct sk_buff can see that:
 * bpf_cast_to_kern_ctx came with kernel 6.2. The base object can't, which README and `torbie status` name as a limit.
 */
#pragma once
#include "packet.h"

#ifdef KERNEL_CONTEXT
struct sk_buff {
    unsigned char *head;
    unsigned char *data;
    __u16 csum_start;
    __u16 csum_offset;
    __u8 ip_summed : 2;
} __attribute__((preserve_access_index));

extern void *bpf_cast_to_kern_ctx(void *) __ksym;

enum { CHECKSUM_PARTIAL = 3 };

const volatile __u32 sees_checksums = 1;

ALWAYS_INLINE __u32 checksum_offset(__u8 protocol)
{
    switch (protocol) {
    case PROTOCOL_TCP:
        return 16;
    case PROTOCOL_UDP:
    case PROTOCOL_UDPLITE:
    case PROTOCOL_DCCP:
        return 6;
    case PROTOCOL_SCTP:
        return 8;
    case PROTOCOL_ICMP:
    case PROTOCOL_ICMPV6:
        return 2;
    }
    return 0xffff;
}

/* Whether the checksum that is to be filled in is that of the L4 header which is judged. */
ALWAYS_INLINE int checksum_agrees(struct __sk_buff *skb, const struct packet *p)
{
    struct sk_buff *kernel = bpf_cast_to_kern_ctx(skb);

    if (BPF_CORE_READ_BITFIELD(kernel, ip_summed) != CHECKSUM_PARTIAL)
        return 1;
    return p->kind != KIND_LATER && kernel->csum_offset == checksum_offset(p->protocol) &&
           kernel->head + kernel->csum_start == kernel->data + p->l4;
}
#else
const volatile __u32 sees_checksums = 0;

ALWAYS_INLINE int checksum_agrees(struct __sk_buff *skb, const struct packet *p)
{
    return 1;
}
#endif
