/* SPDX-License-Identifier: MIT */
/* Packets of known flows: the check that the fast path makes, the TCP states, and the way round when it fails. */
#pragma once
#include "rejudge.h"

/* Whether all is as it was when the flow was judged. `own` is the entry of the local end that asks, `peer` of the
 * other. */
ALWAYS_INLINE int generations_hold(const struct flow *f, const struct control *c, __u32 side,
                                   const struct endpoint *own, const struct endpoint *peer)
{
    if (f->host_generation != c->generation)
        return 0;
    if (own && f->generation[side & 1] != own->generation)
        return 0;
    return !peer || f->generation[(side ^ 1) & 1] == peer->generation;
}

/* A SYN that does not belong to the connection that the entry remembers (S5). */
ALWAYS_INLINE int is_new_connection(const struct packet *p, __u8 state, __u8 flags)
{
    if (p->protocol != PROTOCOL_TCP || (p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN)
        return 0;
    return state == FLOW_CLOSING || state == FLOW_CLOSED || p->source_hi != (flags & FLOW_OPENER_HI);
}

/* From the opener, but to the floating IP where the flow is to the address itself, or the other way round. */
ALWAYS_INLINE int is_other_way(const struct packet *p, const struct flow *f)
{
    return p->source_hi == (f->flags & FLOW_OPENER_HI) && !p->translated != !f->translated;
}

/* Advances the state and counts. Plain stores: the packets of one direction of a flow mostly come on one CPU. */
ALWAYS_INLINE void flow_seen(struct packet *p, struct flow *f, __u8 state, __u8 flags)
{
    __u32 side = p->source_hi & 1;
    int from_opener = p->source_hi == (flags & FLOW_OPENER_HI);

    if (DRY)
        return;
    f->last_seen = p->now;
    f->packets[side]++;
    f->bytes[side] += p->length;
    /* An answer alone proves nothing: whoever forged the sender of a SYN gets none. */
    if (flags & FLOW_HALF_OPEN && from_opener && f->packets[(side ^ 1) & 1])
        flow_not_half_open(f);
    if (p->protocol == PROTOCOL_TCP) {
        if (p->tcp_flags & TCP_RST) {
            f->state = FLOW_CLOSED;
        } else if (p->tcp_flags & TCP_FIN) {
            __u8 fin = side ? FLOW_FIN_HI : FLOW_FIN_LO;

            if (!(flags & fin)) {
                bpf_spin_lock(&f->lock);
                f->flags |= fin;
                flags = f->flags;
                bpf_spin_unlock(&f->lock);
            }
            if (state == FLOW_SYN_SENT || state == FLOW_ESTABLISHED || state == FLOW_FIN)
                f->state = (flags & FLOW_FIN_LO) && (flags & FLOW_FIN_HI) ? FLOW_CLOSING : FLOW_FIN;
        } else if (state == FLOW_SYN_SENT && from_opener && f->packets[(side ^ 1) & 1]) {
            f->state = FLOW_ESTABLISHED;
        }
    } else if (state == FLOW_NEW && !from_opener) {
        f->state = FLOW_REPLIED;
    }
}

/* What the table says of a packet that has not met an entry as it should be. */
ALWAYS_INLINE void note_finding(const struct packet *p, const struct flow *f, const struct control *c)
{
    __u32 finding;

    if (!f)
        finding = FINDING_NONE;
    else if (flow_expired(f, c, p->now))
        finding = FINDING_EXPIRED;
    else if (f->slot == NO_SLOT)
        finding = FINDING_BUSY;
    else if (f->endpoint[p->source_hi & 1] != p->endpoint)
        finding = FINDING_OTHER_SENDER;
    else
        finding = FINDING_NEW_CONNECTION;
    note(STEP_FLOW, 0, finding, f ? f->state | (__u32)f->flags << 8 : 0, f ? f->rule : 0);
}

/*
 * Any packet with a flow key, p->endpoint being the sender's number (0: not local). Finds or makes the flow, or
 * refuses. 0: may pass, p->receiver is set. p->host tells that the flow is the host's own.
 */
GLOBAL int flow_decide(struct __sk_buff *skb)
{
    struct scratch *w = work();
    struct packet *p;
    struct control *c;
    struct flow *f;
    __u32 zero = 0, side;
    int reason;

    KEEP(skb);
    if (!w)
        return POLICY_MISSING;
    p = &w->packet;
    p->host = 0;
    side = p->source_hi & 1;
    c = bpf_map_lookup_elem(&control, &zero);
    if (!c)
        return POLICY_MISSING;
    f = p->no_flow ? 0 : bpf_map_lookup_elem(&flow, &p->key);
    if (f && !flow_expired(f, c, p->now) && f->tag == flow_tag(&p->key) && f->endpoint[side] == p->endpoint &&
        !is_new_connection(p, f->state, f->flags) && f->slot != NO_SLOT && !is_other_way(p, f)) {
        __u32 own_number = p->endpoint, peer_number = f->endpoint[(side ^ 1) & 1];
        struct endpoint *own = 0, *peer = 0;
        __u8 flags;

        if (own_number)
            own = bpf_map_lookup_elem(&endpoint, &own_number);
        if (peer_number)
            peer = bpf_map_lookup_elem(&endpoint, &peer_number);
        p->receiver = peer_number;
        p->own_known = 0;
        note(STEP_FLOW, 0, generations_hold(f, c, side, own, peer) ? FINDING_CURRENT : FINDING_STALE,
             f->state | (__u32)f->flags << 8, f->rule);
        /* Something moved. A peer that was elsewhere may be here by now: then this is another way. */
        if (!generations_hold(f, c, side, own, peer) && ((!peer_number && find_receiver(skb, p)) || rejudge(skb, p, f)))
            goto anew;
        flags = flags_now(f);
        if (flags & (FLOW_STATELESS_LO | FLOW_STATELESS_HI)) {
            __u32 sides = 0;

            if (p->kind == KIND_ERROR)
                return ICMP_ERROR_UNRELATED; /* nothing is remembered for that half: the rules decide */
            if (flags & (side ? FLOW_STATELESS_HI : FLOW_STATELESS_LO))
                sides |= SENDER;
            if (flags & (side ? FLOW_STATELESS_LO : FLOW_STATELESS_HI))
                sides |= RECEIVER;
            reason = judge_sides(skb, sides);
            if (reason)
                return reason;
        }
        if (p->kind == KIND_FLOW && p->translated != BEFORE_NAT)
            flow_seen(p, f, f->state, flags);
        p->pair_mac = !!(flags & FLOW_PAIR_MAC);
        if (f->translated && !p->translated)
            p->translated = TRANSLATED;
        p->host = !!(flags & FLOW_HOST);
        return 0;
    }
    note_finding(p, f, c);
anew:
    if (p->kind == KIND_ERROR)
        return ICMP_ERROR_UNRELATED;
    /* What the host opened is not for the guest to open anew. */
    if (f && f->flags & FLOW_HOST && f->endpoint[side] == p->endpoint && !flow_expired(f, c, p->now) && !is_condemned())
        return HOST_UNREACHABLE_TO_GUEST;
    if (!(p->own_known & RECEIVER))
        find_receiver(skb, p);
    reason = judge_sides(skb, SENDER | RECEIVER);
    if (reason)
        return reason;
    if (p->flags & PACKET_REPLY || p->translated == BEFORE_NAT)
        return 0;
    return flow_open(skb, 0);
}

/*
 * An ICMP error (S5): p becomes a packet of the flow that it is about, the other way round. 0, or a reason when the
 * packet inside is not one of a flow; then nothing of p but outer is lost that the rules need.
 */
GLOBAL int error_inside(struct __sk_buff *skb)
{
    struct address inner_source, inner_destination;
    struct scratch *w = work();
    __u8 ports[8] = {};
    struct packet *p;
    __u8 protocol;
    __u32 offset;

    if (!w)
        return ICMP_ERROR_UNRELATED;
    p = &w->packet;
    offset = p->l4 + 8;
    p->outer = p->source;
    if (p->family == 4) {
        struct ipv4 ip;

        if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || (ip.version_length >> 4) != 4 ||
            (ip.version_length & 15) < 5 || ip.fragment & bpf_htons(0x1fff))
            return ICMP_ERROR_UNRELATED;
        offset += (ip.version_length & 15) * 4;
        protocol = ip.protocol;
        address_from_ipv4(&inner_source, ip.source);
        address_from_ipv4(&inner_destination, ip.destination);
    } else {
        struct ipv6 ip;

        if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || (bpf_ntohl(ip.version_class_label) >> 28) != 6)
            return ICMP_ERROR_UNRELATED;
        offset += sizeof(ip);
        protocol = ip.next_header;
        inner_source = ip.source;
        inner_destination = ip.destination;
        for (int i = 0; i < 4; i++) {
            __u8 header[8];

            if (protocol != PROTOCOL_HOP_BY_HOP && protocol != PROTOCOL_ROUTING && protocol != PROTOCOL_DESTINATION &&
                protocol != PROTOCOL_FRAGMENT)
                break;
            if (bpf_skb_load_bytes(skb, offset, header, 8))
                return ICMP_ERROR_UNRELATED;
            if (protocol == PROTOCOL_FRAGMENT) {
                if ((header[2] | (header[3] & 0xf8)) != 0)
                    return ICMP_ERROR_UNRELATED;
                offset += 8;
            } else {
                offset += 8 + (__u32)header[1] * 8;
            }
            protocol = header[0];
        }
    }
    /* An error goes to who sent what it is about. */
    if (!address_equal(&inner_source, p->translated ? &p->floating : &p->destination))
        return ICMP_ERROR_UNRELATED;
    if (bpf_skb_load_bytes(skb, offset, ports, 8)) {
        if (l4_minimum(protocol))
            return ICMP_ERROR_UNRELATED;
    }
    p->source = inner_destination;
    p->own_known = 0;
    p->protocol = protocol;
    if (protocol_has_ports(protocol)) {
        p->source_port = (__u16)ports[2] << 8 | ports[3];
        p->destination_port = (__u16)ports[0] << 8 | ports[1];
        packet_key(p);
        key_of_own(p);
        return 0;
    }
    if ((protocol == PROTOCOL_ICMP && p->family == 4) || (protocol == PROTOCOL_ICMPV6 && p->family == 6)) {
        int reply;
        __u8 request = icmp_request(p->family, ports[0], &reply);

        if (icmp_is_error(p->family, ports[0]))
            return ICMP_ERROR_ABOUT_ERROR;
        if (!request)
            return ICMP_ERROR_UNRELATED;
        p->source_port = 0;
        p->destination_port = 0;
        packet_key(p);
        p->key.port[0] = (__u16)ports[4] << 8 | ports[5];
        p->key.port[1] = (__u16)request << 8 | ports[1];
        /* The packet inside went the other way than p. */
        p->key.asker = 1 + (p->source_hi ^ 1 ^ reply);
        return 0;
    }
    p->source_port = 0;
    p->destination_port = 0;
    packet_key(p);
    return 0;
}

/* Decides an ICMP error: by the flow it is about, else by the rules as a packet of its own. */
GLOBAL int error_decide(struct __sk_buff *skb)
{
    struct scratch *w = work();
    struct packet *p;
    __u8 protocol;
    int reason;

    KEEP(skb);
    if (!w)
        return POLICY_MISSING;
    p = &w->packet;
    protocol = p->protocol;
    reason = error_inside(skb);
    p->host = 0;
    if (!reason)
        reason = flow_decide(skb);
    if (!reason || reason == ICMP_ERROR_ABOUT_ERROR)
        return reason;
    p->source = p->outer;
    p->own_known = 0;
    p->protocol = protocol;
    p->source_port = 0;
    p->destination_port = p->icmp;
    find_receiver(skb, p);
    reason = judge_sides(skb, SENDER | RECEIVER);
    return reason >= POLICY_EGRESS && reason <= DENIED_INGRESS ? ICMP_ERROR_UNRELATED : reason;
}
