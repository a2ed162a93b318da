/* SPDX-License-Identifier: MIT */
/* Every map: who writes it, who reads it, and what a missing entry means (always: drop, with a reason). */
#pragma once
#include "abi.h"

#define MAP(name, map_type, key_type, value_type, entries)                                                             \
    struct {                                                                                                           \
        __uint(type, map_type);                                                                                        \
        __uint(max_entries, entries);                                                                                  \
        __type(key, key_type);                                                                                         \
        __type(value, value_type);                                                                                     \
    } name SEC(".maps")

/* Not preallocated: only the agent inserts, and memory should follow what is in it. */
#define GROWING_MAP(name, map_type, key_type, value_type, entries)                                                     \
    struct {                                                                                                           \
        __uint(type, map_type);                                                                                        \
        __uint(max_entries, entries);                                                                                  \
        __uint(map_flags, BPF_F_NO_PREALLOC);                                                                          \
        __type(key, key_type);                                                                                         \
        __type(value, value_type);                                                                                     \
    } name SEC(".maps")

/* Written by the agent. */
MAP(control, BPF_MAP_TYPE_ARRAY, __u32, struct control, 1);
MAP(endpoint, BPF_MAP_TYPE_ARRAY, __u32, struct endpoint, MAX_ENDPOINTS);
GROWING_MAP(tap, BPF_MAP_TYPE_HASH, __u32, __u32, MAX_TAPS);
MAP(tap_slot, BPF_MAP_TYPE_ARRAY, __u32, struct tap_slot, MAX_TAPS);
GROWING_MAP(uplink, BPF_MAP_TYPE_HASH, __u32, __u32, 256);
GROWING_MAP(source, BPF_MAP_TYPE_LPM_TRIE, struct source_key, struct source, 65536);
GROWING_MAP(local, BPF_MAP_TYPE_HASH, struct address, struct local, 65536);
GROWING_MAP(floating, BPF_MAP_TYPE_HASH, struct address, struct address, 16384);
GROWING_MAP(local_prefix, BPF_MAP_TYPE_LPM_TRIE, struct prefix_key, struct local, 16384);
GROWING_MAP(remote, BPF_MAP_TYPE_HASH, struct address, struct classes, 262144);
GROWING_MAP(block, BPF_MAP_TYPE_HASH, __u32, __u32, MAX_BLOCKS);
MAP(member, BPF_MAP_TYPE_ARRAY, __u32, struct members, MAX_BLOCKS);
MAP(class_list, BPF_MAP_TYPE_ARRAY, __u32, struct classes, MAX_CLASS_LISTS);
GROWING_MAP(prefix, BPF_MAP_TYPE_LPM_TRIE, struct prefix_key, struct classes, 1048576);
GROWING_MAP(plane, BPF_MAP_TYPE_HASH, struct plane_key, struct plane, 32768);
GROWING_MAP(policy, BPF_MAP_TYPE_HASH, struct policy_key, struct policy_entry, 524288);
GROWING_MAP(name, BPF_MAP_TYPE_HASH, struct name_key, struct name, 131072);

/* Written by the programs. The agent fills `flow_free` with every slot number when it creates the maps. */
MAP(flow, BPF_MAP_TYPE_HASH, struct flow_key, struct flow, MAX_FLOWS);
MAP(flow_slot, BPF_MAP_TYPE_ARRAY, __u32, struct flow_slot, MAX_FLOWS);
MAP(account, BPF_MAP_TYPE_ARRAY, __u32, struct account, MAX_ENDPOINTS);
MAP(pool, BPF_MAP_TYPE_ARRAY, __u32, struct pool, 1);
MAP(fragment, BPF_MAP_TYPE_LRU_HASH, struct fragment_key, struct fragment, 4096);
MAP(drop, BPF_MAP_TYPE_ARRAY, __u32, __u64, MAX_ENDPOINTS *MAX_REASONS);
MAP(drop_seen, BPF_MAP_TYPE_ARRAY, __u32, struct drop_seen, 1);
MAP(rule_hit, BPF_MAP_TYPE_ARRAY, __u32, __u64, MAX_RULES);

struct {
    __uint(type, BPF_MAP_TYPE_QUEUE);
    __uint(max_entries, MAX_FLOWS);
    __type(value, __u32);
} flow_free SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 262144);
} event SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 262144);
} drop_event SEC(".maps");

/* Written by `torbie drop watch`. */
MAP(drop_watch, BPF_MAP_TYPE_ARRAY, __u32, struct drop_watch, 1);
