/* SPDX-License-Identifier: MIT */
/* Puts keys below 1,000 in and takes them out again, without end: what a dump has to cope with. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 4096);
    __type(key, __u32);
    __type(value, __u32);
} churned SEC(".maps");

struct prefix {
    __u32 bits;
    __u32 address;
};

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, 4096);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct prefix);
    __type(value, __u32);
} churned_trie SEC(".maps");

SEC("tc")
int churn(struct __sk_buff *skb)
{
    __u32 key = bpf_get_prandom_u32() % 1000;
    struct prefix prefix = {.bits = 32, .address = key};
    if (bpf_map_delete_elem(&churned, &key))
        bpf_map_update_elem(&churned, &key, &key, BPF_ANY);
    if (bpf_map_delete_elem(&churned_trie, &prefix))
        bpf_map_update_elem(&churned_trie, &prefix, &key, BPF_ANY);
    return 0;
}

char _license[] SEC("license") = "Dual MIT/GPL";
