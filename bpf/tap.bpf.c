// SPDX-License-Identifier: MIT
/*
 * The programs that Torbie attaches. Policy is data (D1): they are loaded once and never change.
 *
 *   tap_ingress     what a guest sends: judged for both ends when the receiver is here
 *   tap_egress      what reaches a guest: recognises what was judged for it, judges everything else
 *   uplink_ingress  what comes from other hosts for a guest of this one
 *
 * Established packets take the short way in each program; everything else goes through decide().
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "neighbour.h"
#include "checksum.h"

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

/* The entry of a flow that p may use as it is, else NULL: then decide() finds out. `peer` is the other local end. */
ALWAYS_INLINE struct flow *flow_ready(struct packet *p, const struct control *c, const struct endpoint *own,
                                      struct endpoint **peer)
{
    struct flow *f = bpf_map_lookup_elem(&flow, &p->key);
    __u32 side = p->source_hi & 1, number;
    __u8 flags;

    if (!f) {
        p->no_flow = 1;
        return 0;
    }
    if (flow_expired(f, c, p->now) || f->tag != flow_tag(&p->key))
        return 0;
    flags = f->flags;
    if (f->endpoint[side] != p->endpoint ||
        flags & (FLOW_STATELESS_LO | FLOW_STATELESS_HI | FLOW_HOST | FLOW_PAIR_MAC) ||
        is_new_connection(p, f->state, flags))
        return 0;
    number = f->endpoint[side ^ 1];
    *peer = 0;
    if (number) {
        *peer = bpf_map_lookup_elem(&endpoint, &number);
        if (!*peer)
            return 0;
    }
    if (!generations_hold(f, c, side, own, *peer))
        return 0;
    p->receiver = number;
    note(STEP_FLOW, 0, FINDING_CURRENT, f->state | (__u32)flags << 8, f->rule);
    return f;
}

/* Straight to a tap, when nothing needs a second look. -1: the long way. */
ALWAYS_INLINE int to_peer(struct __sk_buff *skb, struct packet *p, struct endpoint *peer)
{
    if (p->ttl <= 1 || !peer->ifindex || peer->flags != ENDPOINT_PRESENT ||
        (peer->mtu && segment_length(skb, p) > peer->mtu))
        return -1;
    if (rewrite(skb, p, peer->mac, peer->host_mac))
        return -1;
    set_mark(skb, MARK_JUDGED | tap_number(peer->ifindex));
    note(STEP_TO_TAP, p->receiver, peer->ifindex, 0, 0);
    return bpf_redirect(peer->ifindex, 0);
}

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

/* What `local` and `local_prefix` say of an address; 0: nothing. */
ALWAYS_INLINE struct local *local_of(const struct address *address, const struct control *c)
{
    struct local *l = bpf_map_lookup_elem(&local, address);
    struct prefix_key key = {.prefixlen = 128};

    if (l || !(c->flags & CONTROL_LOCAL_PREFIXES))
        return l;
    key.address = *address;
    return bpf_map_lookup_elem(&local_prefix, &key);
}

/* Whether an address that came from elsewhere is one of a guest of this host, and of no other's. */
ALWAYS_INLINE __u32 is_local_only(const struct address *address, const struct control *c)
{
    struct local *l = local_of(address, c);

    return l && !(l->flags & LOCAL_REMOTE_TOO) ? l->endpoint : 0;
}

/*
 * For a guest of this host, from elsewhere, not judged yet; packet.endpoint is 0. `forwarded`: the kernel has routed it
 * to the tap of endpoint `number` already. A verdict, or TC_ACT_UNSPEC when it is not for a guest.
 */
GLOBAL int from_elsewhere(struct __sk_buff *skb, __u32 forwarded)
{
    struct scratch *w = work();
    struct control *c;
    struct packet *p;
    __u32 zero = 0;
    int reason;

    KEEP(skb);
    c = bpf_map_lookup_elem(&control, &zero);
    if (!w || !c)
        return TC_ACT_SHOT;
    p = &w->packet;
    p->receiver = is_local_only(&p->source, c);
    if (p->receiver)
        return drop_packet(skb, p, UPLINK_SPOOFED); /* counted where the address belongs */
    /* What the kernel has routed already it may have translated: the answers are to pass there too. */
    if (forwarded)
        p->translated = TRANSLATED;
    else if (c->flags & CONTROL_FLOATING)
        find_floating(skb, p);
    find_receiver(skb, p);
    if (!p->receiver && forwarded)
        return drop_at(skb, forwarded, is_multicast(&p->destination, p->family) ? MULTICAST : RECEIVER_GONE);
    if (!p->receiver)
        return TC_ACT_UNSPEC;
    if (is_impossible_source(p))
        return drop_packet(skb, p, MARTIAN);
    /* RFC 3927 §2.6.2, RFC 4291 §2.5.6: no router forwards them, and the metadata address is the host's. */
    if (is_link_scope(&p->source, p->family))
        return drop_packet(skb, p, LINK_LOCAL);
    if (address_equal(&p->source, &p->destination))
        return drop_packet(skb, p, SELF);
    reason = decide(skb, p);
    if (reason)
        return drop_packet(skb, p, reason);
    if (!forwarded)
        return to_receiver(skb);
    /* Judged for another port than the one whose tap this is: a route that is not ours. */
    return p->receiver == forwarded ? TC_ACT_UNSPEC : drop_at(skb, forwarded, RECEIVER_GONE);
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

/* What the host itself sends passes, and so do the answers (S9): a flow remembers it. */
GLOBAL int from_host(struct __sk_buff *skb, __u32 number)
{
    struct scratch *w = work();
    struct control *c;
    struct packet *p;
    __u32 zero = 0;

    KEEP(skb);
    c = bpf_map_lookup_elem(&control, &zero);
    if (!c || !w)
        return drop_at(skb, number, POLICY_MISSING);
    p = &w->packet;
    p->receiver = number;
    note(STEP_FROM_HOST, number, c->flags & CONTROL_HOST_TO_GUEST, 0, 0);
    if (p->kind == KIND_ERROR)
        return TC_ACT_UNSPEC;
    if (!(c->flags & CONTROL_HOST_TO_GUEST))
        return drop_at(skb, number, HOST_TO_GUEST_OFF);
    if (is_service_answer(p, c->flags))
        return TC_ACT_UNSPEC;
    if (p->kind == KIND_FLOW && !is_multicast(&p->destination, p->family) && !(p->flags & PACKET_REPLY)) {
        struct flow *f = bpf_map_lookup_elem(&flow, &p->key);

        if (f && !flow_expired(f, c, p->now) && f->flags & FLOW_HOST && f->slot != NO_SLOT) {
            flow_seen(p, f, f->state, f->flags);
            return TC_ACT_UNSPEC;
        }
        judge_sides(skb, 0);       /* reads the generations */
        flow_open(skb, FLOW_HOST); /* without room for it the packet still passes */
    }
    return TC_ACT_UNSPEC;
}

/*
 * For the tap of endpoint `number`, judged by a program and then given its address by the kernel's NAT. It may have
 * another source port by now, where one client asks two floating IPs of a guest from the same port: its flow is known
 * by what the guest sees, and answers to.
 */
GLOBAL int from_nat(struct __sk_buff *skb, __u32 number)
{
    struct scratch *w = work();
    struct control *c;
    struct packet *p;
    struct local *l;
    __u32 zero = 0;
    int reason;

    KEEP(skb);
    c = bpf_map_lookup_elem(&control, &zero);
    if (!w || !c)
        return TC_ACT_SHOT;
    p = &w->packet;
    /* From a floating IP: an answer, or what a guest sends to itself. */
    if (p->kind != KIND_FLOW || bpf_map_lookup_elem(&floating, &p->source))
        return TC_ACT_UNSPEC;
    l = local_of(&p->source, c);
    if (l)
        p->endpoint = l->endpoint;
    p->translated = TRANSLATED;
    reason = flow_decide(skb);
    if (reason)
        return drop_packet(skb, p, reason);
    return p->receiver == number ? TC_ACT_UNSPEC : drop_at(skb, number, RECEIVER_GONE);
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
