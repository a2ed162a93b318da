// SPDX-License-Identifier: MIT
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "maps.h"
SEC("tc") int tap_ingress(struct __sk_buff *skb) { return TC_ACT_SHOT; }
SEC("tc") int tap_egress(struct __sk_buff *skb) { return TC_ACT_SHOT; }
SEC("tc") int uplink_ingress(struct __sk_buff *skb) { return TC_ACT_OK; }
const volatile __u32 mark_shift = 0;
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
};
const volatile struct abi_types abi_types = {0};
const volatile __u32 abi_version = ABI_VERSION;

char LICENSE[] SEC("license") = "Dual MIT/GPL";
