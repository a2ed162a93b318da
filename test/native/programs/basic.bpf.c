/* SPDX-License-Identifier: MIT */
/* One program of each kind that the tests run, one map of each kind that they read. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

volatile const __u32 verdict = TC_ACT_OK;
__u64 started = 42;

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 4096);
    __type(key, __u32);
    __type(value, __u64);
} seen SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 4);
    __type(key, __u32);
    __type(value, __u32);
} runs SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 65536);
} events SEC(".maps");

/* Answers what rodata says and notes the length of what it saw. */
SEC("tc")
int count(struct __sk_buff *skb)
{
    __u32 length = skb->len, zero = 0;
    __u64 one = 1, *times = bpf_map_lookup_elem(&seen, &length);
    if (times)
        *times += 1;
    else
        bpf_map_update_elem(&seen, &length, &one, BPF_ANY);
    __u32 *run = bpf_map_lookup_elem(&runs, &zero);
    if (run)
        *run += 1;
    return verdict;
}

/* A second program, to replace the first with. */
SEC("tc")
int drop(struct __sk_buff *skb)
{
    return TC_ACT_SHOT;
}

/* One record per packet: its length and its mark. */
SEC("tc")
int tell(struct __sk_buff *skb)
{
    __u32 *record = bpf_ringbuf_reserve(&events, 8, 0);
    if (!record)
        return TC_ACT_SHOT;
    record[0] = skb->len;
    record[1] = skb->mark;
    bpf_ringbuf_submit(record, 0);
    return TC_ACT_OK;
}

/* Writes into the packet and the context. */
SEC("tc")
int write_back(struct __sk_buff *skb)
{
    __u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
    if (data + 14 > end)
        return TC_ACT_SHOT;
    data[0] = 0x02;
    skb->mark += 1;
    return TC_ACT_OK;
}

SEC("xdp")
int xdp_drop(struct xdp_md *context)
{
    __u32 zero = 0, *run = bpf_map_lookup_elem(&runs, &zero);
    if (run)
        *run += 1;
    return XDP_DROP;
}

char _license[] SEC("license") = "Dual MIT/GPL";
