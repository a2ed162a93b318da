/* SPDX-License-Identifier: MIT */
/* A packet as the programs see it, and the parsers that fill it in. No maps here. */
#pragma once
#include "abi.h"

#define ALWAYS_INLINE static __attribute__((always_inline)) inline
#define NOINLINE static __attribute__((noinline))

#define ETH_LENGTH 14
#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_ARP 0x0806
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_VLAN 0x8100
#define ETHERTYPE_QINQ 0x88a8

enum protocol {
    PROTOCOL_HOP_BY_HOP = 0,
    PROTOCOL_ICMP = 1,
    PROTOCOL_TCP = 6,
    PROTOCOL_UDP = 17,
    PROTOCOL_DCCP = 33,
    PROTOCOL_ROUTING = 43,
    PROTOCOL_FRAGMENT = 44,
    PROTOCOL_ICMPV6 = 58,
    PROTOCOL_DESTINATION = 60,
    PROTOCOL_SCTP = 132,
    PROTOCOL_UDPLITE = 136,
};

enum tcp_flag { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16 };

enum packet_kind {
    KIND_FLOW,   /* belongs to a flow: packet.key is set */
    KIND_SINGLE, /* ICMP that is neither a query nor an error, or a reply: judged by itself */
    KIND_ERROR,  /* ICMP error: judged by the flow it is about */
    KIND_LATER,  /* a later fragment */
};

enum packet_flag {
    PACKET_OPTIONS = 1, /* IPv4 options or hop-by-hop: the kernel must look at them */
    PACKET_FIRST_FRAGMENT = 2,
    PACKET_REPLY = 4, /* answers an ICMP query: never opens a flow */
};

/* Whether the kernel's NAT has it. */
enum translated {
    NOT_TRANSLATED = 0,
    TRANSLATED = 1,
    BEFORE_NAT =
        2, /* to a floating IP, and NAT may change its source port too: its flow is opened and followed behind it */
};

struct packet {
    struct flow_key key;
    struct address source;
    struct address destination;
    struct address outer;    /* of an ICMP error: who sent it, while source is the far end of the flow */
    struct address floating; /* what it is to on the wire, where `destination` is what that stands for */
    __u32 length;            /* of L3, bytes */
    __u32 fragment_id;       /* as on the wire */
    __u32 endpoint;          /* number of the sender; 0: not on this host */
    __u32 receiver;          /* number of the receiver; 0: not on this host */
    __u32 now;               /* low 32 bits of jiffies */
    __u32 rule;              /* that decided last */
    __u32 slot;              /* of the flow that is judged again */
    __u32 generation[2];     /* of sender and receiver, read before they were judged */
    __u32 host_generation;
    __u32 own_set[2];       /* policy set of the sender's, the receiver's address; 0: the endpoint's */
    __u16 source_port;      /* host order; ICMP: 0 */
    __u16 destination_port; /* host order; ICMP: type << 8 | code */
    __u16 icmp;             /* of an ICMP error: type << 8 | code */
    __u16 l4;               /* offset of the L4 header in the frame */
    __u16 fragment_at;      /* of a later fragment: its offset; of a first one: where the L4 header ends; bytes */
    __u8 fragment_protocol; /* what the IP or fragment header says comes next: part of what ties fragments together */
    __u8 l4_length;         /* of the L4 header, for GSO */
    __u8 protocol;
    __u8 family; /* 4 or 6 */
    __u8 ttl;
    __u8 tcp_flags;
    __u8 kind;      /* enum packet_kind */
    __u8 flags;     /* enum packet_flag */
    __u8 source_hi; /* 1: source is key.address[1] */
    __u8 stateless; /* 1: the sender's half is judged packet by packet, 2: the receiver's */
    __u8 tos;
    __u8 pair_mac;       /* 1: a `local` entry with a MAC of its own was met, or may have been */
    __u8 host;           /* 1: the flow is the host's own */
    __u8 blame_receiver; /* 1: what refuses it does so at the receiver's side */
    __u8 own_known;      /* 1: own_set[0] is known, and that the sender owns the address; 2: the receiver's */
    __u8 no_flow;        /* 1: key was looked up, and there is none */
    __u8 translated;     /* enum translated */
};

struct ethernet {
    __u8 destination[6];
    __u8 source[6];
    __be16 type;
};

struct ipv4 {
    __u8 version_length;
    __u8 tos;
    __be16 total_length;
    __be16 id;
    __be16 fragment;
    __u8 ttl;
    __u8 protocol;
    __be16 checksum;
    __be32 source;
    __be32 destination;
};

struct ipv6 {
    __be32 version_class_label;
    __be16 payload_length;
    __u8 next_header;
    __u8 hop_limit;
    struct address source;
    struct address destination;
};

/* A new packet. What every parser fills in (key, addresses) is left as it was: this is done for every packet. */
ALWAYS_INLINE void packet_begin(struct packet *p)
{
    __builtin_memset(&p->length, 0, sizeof(*p) - __builtin_offsetof(struct packet, length));
}

#define MAPPED_WORD bpf_htonl(0x0000ffff)

ALWAYS_INLINE void address_from_ipv4(struct address *address, __be32 ipv4)
{
    address->word[0] = 0;
    address->word[1] = 0;
    address->word[2] = MAPPED_WORD;
    address->word[3] = ipv4;
}

ALWAYS_INLINE int address_equal(const struct address *a, const struct address *b)
{
    return a->word[3] == b->word[3] && a->word[2] == b->word[2] && a->word[1] == b->word[1] && a->word[0] == b->word[0];
}

ALWAYS_INLINE int address_is_mapped(const struct address *a)
{
    return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == MAPPED_WORD;
}

ALWAYS_INLINE int address_is_zero(const struct address *a)
{
    return (a->word[0] | a->word[1] | a->word[2] | a->word[3]) == 0;
}

/* fe80::/10 */
ALWAYS_INLINE int address_is_link_local(const struct address *a)
{
    return (a->word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* Frames and records are read in words: MACs and headers lie at even offsets, on the stack too. */
typedef __u16 __attribute__((may_alias)) word16;

ALWAYS_INLINE int mac_equal(const void *one, const void *other)
{
    const word16 *a = one, *b = other;

    return ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2])) == 0;
}

ALWAYS_INLINE int mac_is_zero(const void *mac)
{
    const word16 *a = mac;

    return (a[0] | a[1] | a[2]) == 0;
}

ALWAYS_INLINE void mac_copy(void *to, const void *from)
{
    const word16 *a = from;
    word16 *b = to;

    b[0] = a[0];
    b[1] = a[1];
    b[2] = a[2];
}

/* Whether a > b as big-endian numbers. */
ALWAYS_INLINE int address_greater(const struct address *a, const struct address *b)
{
    if (a->word[0] != b->word[0])
        return bpf_ntohl(a->word[0]) > bpf_ntohl(b->word[0]);
    if (a->word[1] != b->word[1])
        return bpf_ntohl(a->word[1]) > bpf_ntohl(b->word[1]);
    if (a->word[2] != b->word[2])
        return bpf_ntohl(a->word[2]) > bpf_ntohl(b->word[2]);
    return bpf_ntohl(a->word[3]) > bpf_ntohl(b->word[3]);
}

/* The key of the flow of which source_port and destination_port are ports (not ICMP). */
ALWAYS_INLINE void packet_key(struct packet *p)
{
    int hi = p->family == 4 ? bpf_ntohl(p->source.word[3]) > bpf_ntohl(p->destination.word[3])
                            : address_greater(&p->source, &p->destination);

    p->source_hi = hi;
    p->key.protocol = p->protocol;
    p->key.family = p->family;
    p->key.asker = 0;
    if (hi) {
        p->key.address[0] = p->destination;
        p->key.address[1] = p->source;
        p->key.port[0] = p->destination_port;
        p->key.port[1] = p->source_port;
    } else {
        p->key.address[0] = p->source;
        p->key.address[1] = p->destination;
        p->key.port[0] = p->source_port;
        p->key.port[1] = p->destination_port;
    }
}

/*
 * The request type of an ICMP query or reply (RFC 792, 950, 4443, 4620), 0 if it is neither. In `reply` whether it is
 * the answer.
 */
ALWAYS_INLINE __u8 icmp_request(__u8 family, __u8 type, int *reply)
{
    *reply = 0;
    if (family == 4) {
        if (type == 8 || type == 13 || type == 15 || type == 17)
            return type;
        if (type == 0 || type == 14 || type == 16 || type == 18) {
            *reply = 1;
            return type == 0 ? 8 : type - 1;
        }
        return 0;
    }
    if (type == 128 || type == 139)
        return type;
    if (type == 129 || type == 140) {
        *reply = 1;
        return type - 1;
    }
    return 0;
}

ALWAYS_INLINE int icmp_is_error(__u8 family, __u8 type)
{
    return family == 4 ? type == 3 || type == 4 || type == 11 || type == 12 : type < 128;
}

ALWAYS_INLINE void packet_icmp(struct packet *p, __u8 type, __u8 code, __u16 id)
{
    int reply;
    __u8 request = icmp_request(p->family, type, &reply);

    p->source_port = 0;
    p->destination_port = (__u16)type << 8 | code;
    if (icmp_is_error(p->family, type)) {
        p->kind = KIND_ERROR;
        p->icmp = p->destination_port;
        return;
    }
    packet_key(p);
    if (!request) {
        p->kind = KIND_SINGLE;
        return;
    }
    if (reply)
        p->flags |= PACKET_REPLY;
    p->key.port[0] = id;
    p->key.port[1] = (__u16)request << 8 | code;
    /* Who asks is part of the key: a question the other way is another flow. */
    p->key.asker = 1 + (p->source_hi ^ reply);
}

ALWAYS_INLINE int protocol_has_ports(__u8 protocol)
{
    return protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP || protocol == PROTOCOL_SCTP ||
           protocol == PROTOCOL_UDPLITE || protocol == PROTOCOL_DCCP;
}

/* Bytes of L4 that must be there: the whole fixed header, so that no later fragment can change what was judged. */
ALWAYS_INLINE __u32 l4_minimum(__u8 protocol)
{
    switch (protocol) {
    case PROTOCOL_TCP:
        return 20;
    case PROTOCOL_SCTP:
    case PROTOCOL_DCCP:
        return 12;
    case PROTOCOL_UDP:
    case PROTOCOL_UDPLITE:
    case PROTOCOL_ICMP:
    case PROTOCOL_ICMPV6:
        return 8;
    }
    return 0;
}

/* The first four bytes of `header`, which lies at an even offset. */
ALWAYS_INLINE void packet_ports(struct packet *p, const void *header)
{
    const word16 *ports = header;

    p->source_port = bpf_ntohs(ports[0]);
    p->destination_port = bpf_ntohs(ports[1]);
}

/* `header` holds a whole UDP header: the usual case, without the branches of packet_l4(). */
ALWAYS_INLINE void packet_udp(struct packet *p, const void *header)
{
    p->kind = KIND_FLOW;
    packet_ports(p, header);
    p->l4_length = 8;
    packet_key(p);
}

/*
 * Fills in what `header` (at least l4_minimum bytes, at p->l4) says. ICMP of the other family is a protocol like any
 * other, without types.
 */
ALWAYS_INLINE int packet_l4(struct packet *p, const __u8 *header)
{
    p->kind = KIND_FLOW;
    if (protocol_has_ports(p->protocol)) {
        packet_ports(p, header);
        p->l4_length = 8;
        if (p->protocol == PROTOCOL_TCP) {
            p->tcp_flags = header[13];
            p->l4_length = (header[12] >> 4) * 4;
            if (p->l4_length < 20)
                return MALFORMED;
        }
        packet_key(p);
        return 0;
    }
    if ((p->protocol == PROTOCOL_ICMP && p->family == 4) || (p->protocol == PROTOCOL_ICMPV6 && p->family == 6)) {
        packet_icmp(p, header[0], header[1], (__u16)header[4] << 8 | header[5]);
        return 0;
    }
    p->source_port = 0;
    p->destination_port = 0;
    packet_key(p);
    return 0;
}
