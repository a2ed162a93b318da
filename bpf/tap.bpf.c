// SPDX-License-Identifier: MIT
/*
 * The programs that Torbie attaches. Policy is data (D1): they are loaded once and never change.
 *
 *   tap_ingress     what a guest sends: judged for both ends when the receiver is here
 *   tap_egress      what reaches a guest: recognises what was judged for it, judges everything else
 *   uplink_ingress  what comes from other hosts for a guest of this one
 *
 * Established packets take the short way in each program (known_flow.h); everything else goes through decide().
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "checksum.h"
#include "from_elsewhere.h"
#include "known_flow.h"

/* Puts every enum of abi.h into the BTF of the object, from which TypeScript's view is generated. */
struct abi_types {
    enum limits limits;
    enum class_number class_number;
    enum direction direction;
    enum action action;
    enum protocol_group protocol_group;
    enum flow_state flow_state;
    enum control_flag control_flag;
    enum endpoint_flag endpoint_flag;
    enum local_flag local_flag;
    enum classes_flag classes_flag;
    enum plane_flag plane_flag;
    enum entry_flag entry_flag;
    enum flow_flag flow_flag;
    enum reason reason;
    enum mark mark;
    enum event_kind event_kind;
    enum name_kind name_kind;
    enum step_kind step_kind;
    enum finding finding;
    struct event event; /* no map names it: it is what the ring buffer holds */
    struct drop_event drop_event;
    struct step step; /* its map is in tap-explain.bpf.c */
};
const volatile struct abi_types abi_types = {0};
const volatile __u32 abi_version = ABI_VERSION;

/* Whose tap this is, when anything may pass it at all. NULL: the verdict is in `verdict`. */
ALWAYS_INLINE struct endpoint *owner_of(struct __sk_buff *skb, __u32 *number, int *verdict)
{
    __u32 ifindex = skb->ifindex, slot_number = ifindex % MAX_TAPS;
    struct tap_slot *slot = bpf_map_lookup_elem(&tap_slot, &slot_number);
    struct endpoint *e;

    if (slot && slot->ifindex == ifindex) {
        *number = slot->endpoint;
    } else {
        __u32 *found = bpf_map_lookup_elem(&tap, &ifindex);

        if (!found) {
            *verdict = drop_at(skb, 0, NO_ENDPOINT);
            return 0;
        }
        *number = *found;
    }
    e = bpf_map_lookup_elem(&endpoint, number);
    if (!e || !(e->flags & ENDPOINT_PRESENT)) {
        *verdict = drop_at(skb, 0, NO_ENDPOINT);
        return 0;
    }
    if (e->flags & (ENDPOINT_BLOCKED | ENDPOINT_ADMIN_DOWN)) {
        *verdict = drop_at(skb, *number, e->flags & ENDPOINT_BLOCKED ? ENDPOINT_IS_BLOCKED : ADMIN_DOWN);
        return 0;
    }
    note(STEP_TAP, *number, e->flags, 0, 0);
    return e;
}

ALWAYS_INLINE int is_vlan_type(__be16 type)
{
    return type == bpf_htons(ETHERTYPE_VLAN) || type == bpf_htons(ETHERTYPE_QINQ);
}

/*
 * IEEE 802.1Q: identifier 0 is a priority, not a VLAN. The kernel puts a received tag beside the frame, not in it
 * (skb_vlan_untag); a test run leaves it inside. 0 or a reason.
 */
NOINLINE int untag(struct __sk_buff *skb)
{
    __u32 tci = skb->vlan_tci;

    if (!skb->vlan_present) {
        __be16 inside;

        if (bpf_skb_load_bytes(skb, ETH_LENGTH, &inside, 2))
            return MALFORMED;
        tci = bpf_ntohs(inside);
    }
    if (tci & 0x0fff)
        return VLAN_TAGGED;
    if (bpf_skb_vlan_pop(skb))
        return MALFORMED;
    return skb->vlan_present ? VLAN_TAGGED : 0; /* there was another one below */
}

SEC("tc") int tap_ingress(struct __sk_buff *skb)
{
    struct scratch *w = work();
    struct endpoint *e, *peer;
    struct ethernet *eth;
    struct control *c;
    struct packet *p;
    struct flow *f;
    __u32 zero = 0, number = 0, type;
    int verdict = TC_ACT_SHOT, reason;

    e = owner_of(skb, &number, &verdict);
    if (!e || !w)
        return verdict;
    p = &w->packet;
    packet_begin(p);
    p->endpoint = number;
    if (skb->vlan_present || is_vlan_type(skb->protocol)) {
        reason = untag(skb);
        if (reason)
            return drop_at(skb, number, reason);
    }
    if (pull_headers(skb))
        return drop_at(skb, number, MALFORMED);
    eth = (void *)(long)skb->data;
    if ((void *)(eth + 1) > (void *)(long)skb->data_end)
        return drop_at(skb, number, MALFORMED);
    type = eth->type;
    if (type == bpf_htons(ETHERTYPE_IPV4))
        reason = parse_ipv4(skb, p);
    else if (type == bpf_htons(ETHERTYPE_IPV6))
        reason = parse_ipv6(skb, p);
    else if (type == bpf_htons(ETHERTYPE_ARP))
        return arp(skb, number);
    else
        return drop_at(skb, number, is_vlan_type(type) ? VLAN_TAGGED : UNKNOWN_ETHERTYPE);
    if (reason)
        return drop_at(skb, number, reason);
    if (!checksum_agrees(skb, p))
        return drop_at(skb, number, CHECKSUM_METADATA);
    p->now = bpf_jiffies64();
    /* Whoever asked, a guest does not answer DHCP: check_source() says so. */
    if (p->kind == KIND_FLOW && !p->flags && !is_dhcp_server(p)) {
        eth = (void *)(long)skb->data;
        if ((void *)(eth + 1) > (void *)(long)skb->data_end)
            return drop_at(skb, number, MALFORMED);
        c = bpf_map_lookup_elem(&control, &zero);
        if (c && mac_equal(eth->source, e->mac) && mac_equal(eth->destination, e->host_mac) &&
            (f = flow_ready(p, c, e, &peer))) {
            if (!peer) {
                flow_seen(p, f, f->state, f->flags);
                return to_uplink(skb, p, 0);
            }
            verdict = to_peer(skb, p, peer);
            if (verdict >= 0) {
                flow_seen(p, f, f->state, f->flags);
                return verdict;
            }
        }
    }
    return tap_ingress_slow(skb);
}

/* Parses IP; -1: not IP, 0: well, else a reason. */
ALWAYS_INLINE int parse_ip(struct __sk_buff *skb, struct packet *p)
{
    struct ethernet *eth;

    if (pull_headers(skb))
        return MALFORMED;
    eth = (void *)(long)skb->data;
    if ((void *)(eth + 1) > (void *)(long)skb->data_end)
        return MALFORMED;
    p->now = bpf_jiffies64();
    if (eth->type == bpf_htons(ETHERTYPE_IPV4))
        return parse_ipv4(skb, p);
    if (eth->type == bpf_htons(ETHERTYPE_IPV6))
        return parse_ipv6(skb, p);
    return -1;
}

SEC("tc") int uplink_ingress(struct __sk_buff *skb)
{
    struct scratch *w = work();
    struct endpoint *peer = 0;
    struct control *c;
    struct packet *p;
    struct flow *f;
    __u32 zero = 0;
    int reason, verdict;

    if (skb->pkt_type != 0 || skb->vlan_present) /* PACKET_HOST; tagged frames are for another interface */
        return TC_ACT_UNSPEC;
    if (!w)
        return TC_ACT_SHOT;
    p = &w->packet;
    packet_begin(p);
    reason = parse_ip(skb, p);
    if (reason < 0)
        return TC_ACT_UNSPEC;
    if (reason) {
        if (!p->family)
            return TC_ACT_UNSPEC; /* not even addresses */
        find_receiver(skb, p);
        return p->receiver ? drop_packet(skb, p, reason) : TC_ACT_UNSPEC;
    }
    c = bpf_map_lookup_elem(&control, &zero);
    if (c && p->kind == KIND_FLOW && !p->flags && (f = flow_ready(p, c, 0, &peer)) && peer) {
        verdict = to_peer(skb, p, peer);
        if (verdict >= 0) {
            flow_seen(p, f, f->state, f->flags);
            return verdict;
        }
    }
    p->receiver = 0;
    return from_elsewhere(skb, 0);
}

/*
 * In what the mark differs from that of what was judged for this tap; MARK_HOST: judged for NAT. Read anew each time:
 * on 5.10 there is no stack left to keep it (512 bytes for all frames, each rounded up to 32).
 */
ALWAYS_INLINE __u32 strangeness(struct __sk_buff *skb)
{
    __u32 mark = *(volatile __u32 *)&skb->mark;

    return (mark >> mark_shift & MARK_ALL) ^ MARK_JUDGED ^ tap_number(skb->ifindex);
}

SEC("tc") int tap_egress(struct __sk_buff *skb)
{
    struct scratch *w;
    __u32 number = 0;
    int verdict = TC_ACT_SHOT, reason;

    if (!strangeness(skb))
        return TC_ACT_UNSPEC;
    w = work();
    if (!w || !owner_of(skb, &number, &verdict))
        return verdict;
    packet_begin(&w->packet);
    reason = parse_ip(skb, &w->packet);
    if (skb->ingress_ifindex == 0) {
        if (reason)
            return reason == -1 || reason == FRAGMENT_TINY ? TC_ACT_UNSPEC : drop_at(skb, number, reason);
        return from_host(skb, number);
    }
    if (reason)
        return drop_at(skb, number, reason == -1 ? UNKNOWN_ETHERTYPE : reason);
    return strangeness(skb) == MARK_HOST ? from_nat(skb, number) : from_elsewhere(skb, number);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
