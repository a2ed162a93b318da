// SPDX-License-Identifier: MIT
/*
 * What Torbie is measured with and against; never loaded by the agent.
 *
 *   inject         XDP, run with live frames on a tap: varies the flow, then the frame is received by the tap
 *   inject_floor       tc ingress: drops at once; what injecting costs
 *   limit, limit6  tc ingress: one lookup, MACs, TTL, redirect; what forwarding can't do without
 *   insert_limit   the same, with a missed lookup and an insertion in a flow table like ours
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "packet.h"

/* Source ports that are used before the destination port is the next one. */
#define SOURCE_PORTS 50000

struct inject_plan {
    __u32 flows;        /* used in turn: source ports from first_source_port on, then the next destination port */
    __u32 sources;      /* source addresses, drawn at random from first_source on */
    __u32 first_source; /* IPv4, host order */
    __u32 destination;  /* IPv4, host order */
    __u32 ports;        /* destination ports, drawn at random from first_port on */
    __u32 first_port;
    __u64 sent;
    __u8 mac[12]; /* destination and source: frames are used again as the last run left them */
    __u32 first_source_port;
    __u32 family;         /* 6: the frame is an IPv6 one */
    __be32 addresses6[8]; /* its source and destination */
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct inject_plan);
} plan SEC(".maps");

struct bench_flow {
    __u32 word[16];
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, MAX_FLOWS);
    __type(key, struct flow_key);
    __type(value, struct bench_flow);
} bench_flows SEC(".maps");

struct target {
    __u32 ifindex;
    __u8 mac[6];
    __u8 host_mac[6];
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 16);
    __type(key, __u32);
    __type(value, struct target);
} targets SEC(".maps");

struct frame {
    struct ethernet eth;
    struct ipv4 ip;
    __be16 source_port, destination_port;
} __attribute__((packed));

struct frame6 {
    struct ethernet eth;
    struct ipv6 ip;
    __be16 source_port, destination_port;
} __attribute__((packed));

ALWAYS_INLINE int inject6(struct xdp_md *ctx, const struct inject_plan *now, __u32 source_port, __u32 port)
{
    struct frame6 *f = (void *)(long)ctx->data;

    if ((void *)(f + 1) > (void *)(long)ctx->data_end)
        return XDP_DROP;
    __builtin_memcpy(&f->eth, now->mac, 12);
    __builtin_memcpy(&f->ip.source, now->addresses6, 32);
    f->ip.hop_limit = 64;
    f->source_port = bpf_htons(source_port);
    f->destination_port = bpf_htons(port);
    return XDP_PASS;
}

SEC("xdp") int inject(struct xdp_md *ctx)
{
    struct frame *f = (void *)(long)ctx->data;
    struct inject_plan *now;
    __u32 zero = 0, source, source_port, port, flow, sum;
    __be32 header[5];
    __u64 n;

    now = bpf_map_lookup_elem(&plan, &zero);
    if (!now || (void *)(f + 1) > (void *)(long)ctx->data_end)
        return XDP_DROP;
    n = now->sent++;
    source = now->first_source;
    port = now->first_port;
    if (now->sources > 1)
        source += bpf_get_prandom_u32() % now->sources;
    if (now->ports > 1)
        port += bpf_get_prandom_u32() % now->ports;
    flow = now->flows ? n % now->flows : 0;
    source_port = now->first_source_port + flow % SOURCE_PORTS;
    port += flow / SOURCE_PORTS;
    if (now->family == 6)
        return inject6(ctx, now, source_port, port);
    f->ip.source = bpf_htonl(source);
    f->ip.destination = bpf_htonl(now->destination);
    f->source_port = bpf_htons(source_port);
    f->destination_port = bpf_htons(port);
    __builtin_memcpy(&f->eth, now->mac, 12);
    f->ip.ttl = 64;
    f->ip.checksum = 0;
    __builtin_memcpy(header, &f->ip, sizeof(header));
    sum = bpf_csum_diff(0, 0, header, sizeof(header), 0);
    sum = (sum & 0xffff) + (sum >> 16);
    f->ip.checksum = ~((sum & 0xffff) + (sum >> 16));
    return XDP_PASS;
}

ALWAYS_INLINE int to_target(struct __sk_buff *skb)
{
    __u32 ifindex = skb->ifindex, sum;
    struct target *t = bpf_map_lookup_elem(&targets, &ifindex);
    struct frame *f = (void *)(long)skb->data;

    if (!t || (void *)(f + 1) > (void *)(long)skb->data_end)
        return TC_ACT_SHOT;
    __builtin_memcpy(f->eth.destination, t->mac, 6);
    __builtin_memcpy(f->eth.source, t->host_mac, 6);
    sum = f->ip.checksum + bpf_htons(0x0100);
    f->ip.checksum = sum + (sum >= 0xffff);
    f->ip.ttl--;
    return bpf_redirect(t->ifindex, 0);
}

SEC("tc") int inject_floor(struct __sk_buff *skb)
{
    return TC_ACT_SHOT;
}

SEC("tc") int limit(struct __sk_buff *skb)
{
    return to_target(skb);
}

SEC("tc") int limit6(struct __sk_buff *skb)
{
    __u32 ifindex = skb->ifindex;
    struct target *t = bpf_map_lookup_elem(&targets, &ifindex);
    struct frame6 *f = (void *)(long)skb->data;

    if (!t || (void *)(f + 1) > (void *)(long)skb->data_end)
        return TC_ACT_SHOT;
    __builtin_memcpy(f->eth.destination, t->mac, 6);
    __builtin_memcpy(f->eth.source, t->host_mac, 6);
    f->ip.hop_limit--;
    return bpf_redirect(t->ifindex, 0);
}

SEC("tc") int insert_limit(struct __sk_buff *skb)
{
    struct frame *f = (void *)(long)skb->data;
    struct bench_flow value = {};
    struct flow_key key = {};

    if ((void *)(f + 1) > (void *)(long)skb->data_end)
        return TC_ACT_SHOT;
    address_from_ipv4(&key.address[0], f->ip.source);
    address_from_ipv4(&key.address[1], f->ip.destination);
    key.port[0] = f->source_port;
    key.port[1] = f->destination_port;
    key.protocol = f->ip.protocol;
    if (!bpf_map_lookup_elem(&bench_flows, &key))
        bpf_map_update_elem(&bench_flows, &key, &value, BPF_ANY);
    return to_target(skb);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
