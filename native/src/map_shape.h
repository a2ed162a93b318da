// SPDX-License-Identifier: MIT
#pragma once
#include <linux/bpf.h>

#include <cstddef>
#include <cstdint>
#include <string>

/** What is fixed about a map once it exists, and the sizes that the kernel copies from and to user space. */
struct MapShape {
    uint32_t id = 0;
    uint32_t type = 0;
    std::string name;
    uint32_t keySize = 0;
    uint32_t declaredValueSize = 0;
    /** What a value takes in user space: all possible CPUs' for per-CPU maps, a descriptor or id for maps of objects.
     */
    size_t valueSize = 0;
    uint32_t maxEntries = 0;
    uint32_t flags = 0;

    bool keyless() const
    {
        return keySize == 0;
    }
    bool array() const
    {
        return type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY;
    }
    bool hash() const
    {
        return type == BPF_MAP_TYPE_HASH || type == BPF_MAP_TYPE_LRU_HASH || type == BPF_MAP_TYPE_PERCPU_HASH ||
               type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
    }

    /** 0 or an errno. */
    static int Read(int fd, MapShape &shape);
};

/** The `memlock:` line of the descriptor's fdinfo, in bytes. 0 or an errno. */
int ReadMemory(int fd, uint64_t &bytes);
