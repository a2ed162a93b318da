/* SPDX-License-Identifier: MIT */
/* The verifier refuses this: it reads a packet that may be shorter. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int out_of_bounds(struct __sk_buff *skb)
{
    __u8 *data = (void *)(long)skb->data;
    return data[100];
}

char _license[] SEC("license") = "Dual MIT/GPL";
