// SPDX-License-Identifier: MIT
#include "map_shape.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>

namespace
{

bool PerCpu(uint32_t type)
{
    return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY ||
           type == BPF_MAP_TYPE_LRU_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

/** Maps of descriptors hand out a u32 whatever they declare (kernel: IS_FD_MAP). */
bool HoldsObjects(uint32_t type)
{
    return type == BPF_MAP_TYPE_PROG_ARRAY || type == BPF_MAP_TYPE_PERF_EVENT_ARRAY ||
           type == BPF_MAP_TYPE_CGROUP_ARRAY || type == BPF_MAP_TYPE_ARRAY_OF_MAPS || type == BPF_MAP_TYPE_HASH_OF_MAPS;
}

} // namespace

int MapShape::Read(int fd, MapShape &shape)
{
    bpf_map_info info{};
    uint32_t length = sizeof(info);
    if (bpf_obj_get_info_by_fd(fd, &info, &length))
        return errno;
    shape.id = info.id;
    shape.type = info.type;
    shape.name = info.name;
    shape.keySize = info.key_size;
    shape.declaredValueSize = info.value_size;
    shape.maxEntries = info.max_entries;
    shape.flags = info.map_flags;
    shape.valueSize = info.value_size;
    if (HoldsObjects(info.type))
        shape.valueSize = sizeof(uint32_t);
    if (PerCpu(info.type)) {
        const int cpus = libbpf_num_possible_cpus();
        if (cpus < 0)
            return -cpus;
        shape.valueSize = (size_t{info.value_size} + 7) / 8 * 8 * static_cast<size_t>(cpus);
    }
    return 0;
}

int ReadMemory(int fd, uint64_t &bytes)
{
    std::ifstream file("/proc/self/fdinfo/" + std::to_string(fd));
    if (!file)
        return errno;
    for (std::string line; std::getline(file, line);) {
        if (line.rfind("memlock:", 0) != 0)
            continue;
        bytes = strtoull(line.c_str() + 8, nullptr, 10);
        return 0;
    }
    return ENODATA;
}
