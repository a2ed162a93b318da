/* SPDX-License-Identifier: MIT */
/*
 * What the rules say of a first packet (D2): one lookup per class of the remote address, for each port prefix length
 * that exists. Reads what the agent wrote and changes nothing but hit counters.
 */
#pragma once
#include "drop.h"

/* Position of the only bit that is set: multiplication by a De Bruijn sequence, as BPF has no count of zeros. */
const volatile __u8 bit_position[32] = {0,  1,  28, 2,  29, 14, 24, 3, 30, 22, 20, 15, 25, 17, 4,  8,
                                        31, 27, 13, 23, 21, 19, 16, 7, 26, 12, 18, 6,  11, 5,  10, 9};

ALWAYS_INLINE __u32 lowest_bit(__u32 mask)
{
    return bit_position[((mask & -mask) * 0x077cb531u) >> 27];
}

ALWAYS_INLINE __u32 protocol_group(__u8 protocol)
{
    switch (protocol) {
    case PROTOCOL_TCP:
        return GROUP_TCP;
    case PROTOCOL_UDP:
        return GROUP_UDP;
    case PROTOCOL_ICMP:
        return GROUP_ICMP;
    case PROTOCOL_ICMPV6:
        return GROUP_ICMPV6;
    case PROTOCOL_SCTP:
        return GROUP_SCTP;
    case PROTOCOL_UDPLITE:
        return GROUP_UDPLITE;
    case PROTOCOL_DCCP:
        return GROUP_DCCP;
    }
    return GROUP_OTHER;
}

/* Whether the search is over: with allow rules alone the first that remembers the flow decides. */
ALWAYS_INLINE int consider(struct question *q)
{
    struct policy_entry *entry = bpf_map_lookup_elem(&policy, &q->key);

    if (!entry || entry->order >= q->order)
        return 0;
    q->order = entry->order;
    q->rule = entry->rule;
    q->action = entry->action;
    q->entry_flags = entry->flags;
    return (q->plane_flags & PLANE_ALLOW_ONLY) && !(entry->flags & ENTRY_STATELESS);
}

/* Asks for one class of the remote address. 1: decided. */
GLOBAL int ask_class(struct __sk_buff *skb, __u32 class)
{
    struct scratch *w = work();
    struct question *q;

    KEEP(skb);
    if (!w)
        return 1;
    q = &w->question;
    if (class == CLASS_ANY && !(q->plane_flags & PLANE_ANY_CLASS))
        return 0;
    q->key.class = class;
    for (int round = 0; round < 2; round++) {
        __u32 lengths = q->lengths;

        q->key.source_class = round ? q->source_class : 0;
        q->key.protocol = q->protocol;
        for (int i = 0; i < 17 && lengths; i++) {
            __u32 length = lowest_bit(lengths) & 31;

            lengths &= lengths - 1;
            q->key.length = length;
            q->key.port = q->port & (0xffff0000u >> length);
            if (consider(q))
                return 1;
        }
        if (q->plane_flags & PLANE_ANY_PROTOCOL) {
            q->key.protocol = PROTOCOL_ANY;
            q->key.length = 0;
            q->key.port = 0;
            if (consider(q))
                return 1;
        }
        if (!q->source_class)
            break;
    }
    return 0;
}

/* The class of the packet's source port in this plane, 0 none (policy_key, CLASS_SOURCE_PORT). */
GLOBAL int ask_source_port(struct __sk_buff *skb, __u32 lengths)
{
    struct scratch *w = work();
    struct question *q;

    KEEP(skb);
    if (!w)
        return 0;
    q = &w->question;
    q->source_class = 0;
    q->key.class = CLASS_SOURCE_PORT;
    q->key.source_class = 0;
    q->key.protocol = q->protocol;
    for (int i = 0; i < 17 && lengths; i++) {
        __u32 length = lowest_bit(lengths) & 31;
        struct policy_entry *entry;

        lengths &= lengths - 1;
        q->key.length = length;
        q->key.port = w->packet.source_port & (0xffff0000u >> length);
        entry = bpf_map_lookup_elem(&policy, &q->key);
        if (entry) {
            q->source_class = entry->rule;
            return 0;
        }
    }
    return 0;
}

/* Every class of the remote address, "any" first. */
ALWAYS_INLINE void ask_classes(struct __sk_buff *skb, const struct classes *exact, const struct classes *longest)
{
    if (ask_class(skb, CLASS_ANY))
        return;
    for (int i = 0; i < CLASSES_PER_ADDRESS; i++)
        if (i < exact->count && ask_class(skb, exact->number[i]))
            return;
    for (int i = 0; i < CLASSES_PER_ADDRESS; i++)
        if (longest && i < longest->count && ask_class(skb, longest->number[i]))
            return;
}

GLOBAL int log_packet(struct __sk_buff *skb, __u32 endpoint_number)
{
    struct scratch *w = work();
    struct packet *p;
    struct event *e;

    KEEP(skb);
    if (!w)
        return 0;
    p = &w->packet;
    note(STEP_LOG, endpoint_number, w->question.rule, 0, 0);
    if (DRY)
        return 0;
    e = bpf_ringbuf_reserve(&event, sizeof(*e), 0);
    if (!e)
        return 0;
    e->kind = EVENT_LOG;
    e->endpoint = endpoint_number;
    e->rule = w->question.rule;
    e->direction = w->question.key.way & 1;
    e->protocol = p->protocol;
    e->family = p->family;
    e->action = w->question.action;
    e->source = p->source;
    e->destination = p->destination;
    e->source_port = p->source_port;
    e->destination_port = p->destination_port;
    e->length = p->length;
    bpf_ringbuf_submit(e, 0);
    return 0;
}

/* A log rule speaks when it comes before the rule that decided. */
ALWAYS_INLINE void log_if_earlier(struct __sk_buff *skb, __u32 endpoint_number, __u8 way, const struct classes *longest)
{
    struct scratch *w = work();
    struct question *q;
    __u32 order, rule;
    __u8 action, flags;

    if (!w)
        return;
    q = &w->question;
    order = q->order;
    rule = q->rule;
    action = q->action;
    flags = q->entry_flags;
    q->key.way = way | WAY_LOG;
    q->order = ~0u;
    q->plane_flags &= ~PLANE_ALLOW_ONLY;
    ask_classes(skb, &w->exact, longest);
    if (q->order < order)
        log_packet(skb, endpoint_number);
    q->order = order;
    q->rule = rule;
    q->action = action;
    q->entry_flags = flags;
}

/*
 * The classes that the address has by itself, into scratch.exact: copied, so that what follows does not depend on where
 * they were found (the verifier goes every way once, not once for each map). Nothing is known of it: none.
 */
ALWAYS_INLINE void find_classes(struct scratch *w, const struct address *address)
{
    __u32 key = address->word[3] & bpf_htonl(0xffffff00), list = 0;
    struct classes *found = 0;
    struct members *members;
    __u32 *number;

    if (address_is_mapped(address)) {
        number = bpf_map_lookup_elem(&block, &key);
        members = number ? bpf_map_lookup_elem(&member, number) : 0;
        if (members)
            list = members->list[bpf_ntohl(address->word[3]) & 0xff];
        if (list)
            found = bpf_map_lookup_elem(&class_list, &list);
    }
    if (!found)
        found = bpf_map_lookup_elem(&remote, address);
    if (found) {
        w->exact = *found;
    } else {
        w->exact.count = 0;
        w->exact.flags = 0;
    }
}

ALWAYS_INLINE void rule_counted(__u32 rule)
{
    __u64 *hits = rule ? bpf_map_lookup_elem(&rule_hit, &rule) : 0;

    if (hits && !DRY)
        __sync_fetch_and_add(hits, 1);
}

ALWAYS_INLINE void note_classes(const struct classes *exact, const struct classes *longest)
{
    for (int i = 0; DRY && i < CLASSES_PER_ADDRESS; i++)
        if (i < exact->count)
            note(STEP_CLASS, 0, exact->number[i], 0, 0);
    for (int i = 0; DRY && i < CLASSES_PER_ADDRESS; i++)
        if (longest && i < longest->count)
            note(STEP_CLASS, 0, longest->number[i], 1, 0);
}

/*
 * Judges the packet for one endpoint in one direction: an enum action (ACTION_NONE when the policy set is missing).
 * What decided stays in question: order ~0 when it was no rule but the end of a plane.
 */
GLOBAL int judge(struct __sk_buff *skb, __u32 endpoint_number, __u32 policy_set, __u32 direction, __u32 control_flags)
{
    struct scratch *w = work();
    struct plane_key plane_key = {.policy_set = policy_set, .direction = direction};
    struct classes *longest = 0;
    struct address *remote_address;
    struct plane *plane_now;
    struct question *q;
    struct packet *p;
    __u8 way;

    KEEP(skb);
    if (!w)
        return ACTION_NONE;
    p = &w->packet;
    q = &w->question;
    way = (direction & 1) | (p->family == 6 ? WAY_IPV6 : 0);
    remote_address = direction == EGRESS ? &p->destination : p->kind == KIND_ERROR ? &p->outer : &p->source;
    q->protocol = p->protocol;
    q->port = p->kind == KIND_ERROR ? p->icmp : p->destination_port;
    plane_now = bpf_map_lookup_elem(&plane, &plane_key);
    if (!plane_now)
        return ACTION_NONE;
    q->entry_flags = 0;
    q->rule = plane_now->everything[p->family == 6];
    if (q->rule) {
        note(STEP_PLANE, endpoint_number, 0, ACTION_ALLOW, q->rule);
        rule_counted(q->rule);
        return ACTION_ALLOW;
    }
    find_classes(w, remote_address);
    if (control_flags & CONTROL_PREFIXES && !(w->exact.flags & CLASSES_COMPLETE)) {
        struct prefix_key key = {.prefixlen = 128, .address = *remote_address};

        longest = bpf_map_lookup_elem(&prefix, &key);
    }
    note_classes(&w->exact, longest);
    for (int n = 0; n < MAX_PLANES; n++) {
        q->key.policy_set = policy_set;
        q->key.plane = n;
        q->key.way = way;
        q->lengths = plane_now->lengths[protocol_group(p->protocol)];
        q->plane_flags = plane_now->flags;
        q->order = ~0u;
        q->rule = 0;
        q->action = plane_now->end;
        q->entry_flags = 0;
        q->source_class = 0;
        if (plane_now->flags & PLANE_SOURCE_PORTS)
            ask_source_port(skb, plane_now->source_lengths);
        ask_classes(skb, &w->exact, longest);
        rule_counted(q->rule);
        note(STEP_PLANE, endpoint_number, n, q->action, q->rule);
        if (plane_now->flags & PLANE_LOG)
            log_if_earlier(skb, endpoint_number, way, longest);
        if (q->action != ACTION_PASS)
            return q->action;
        plane_key.number = n + 1;
        plane_now = bpf_map_lookup_elem(&plane, &plane_key);
        if (!plane_now)
            return ACTION_DENY;
    }
    return ACTION_DENY;
}
