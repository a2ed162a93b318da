// SPDX-License-Identifier: MIT
/*
 * Puts the numbers of flow_slot's places into `flow_free`, once, when the maps have been made: a run for each
 * (BPF_PROG_TEST_RUN with "repeat"), never attached. From outside it would be a system call for each.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "maps.h"

/* How many are in the queue. */
MAP(filled, BPF_MAP_TYPE_ARRAY, __u32, __u32, 1);

SEC("tc") int fill(struct __sk_buff *skb)
{
    __u32 zero = 0, *next = bpf_map_lookup_elem(&filled, &zero);

    if (next && !bpf_map_push_elem(&flow_free, next, 0))
        ++*next;
    return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
