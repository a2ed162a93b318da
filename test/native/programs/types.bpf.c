/* SPDX-License-Identifier: MIT */
/* One of every kind of type. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum colour { RED = 1, BLUE = -2 };

struct inner {
    __u16 port;
    __u8 address[16];
} __attribute__((packed));

typedef struct inner inner_alias;

struct outer {
    __u64 wide;
    __s32 negative;
    __u32 low : 5;
    __u32 high : 27;
    inner_alias in;
    enum colour colour;
    union {
        __u32 number;
        __u8 bytes[4];
    } either;
    const volatile struct outer *next;
    _Bool yes;
};

struct outer shown;
__u32 second = 2;
__u64 third = 3;

SEC("tc")
int use(struct __sk_buff *skb)
{
    return shown.negative + second + third;
}

char _license[] SEC("license") = "Dual MIT/GPL";
