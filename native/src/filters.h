// SPDX-License-Identifier: MIT
#pragma once
#include <cstdint>
#include <string>
#include <vector>

/** One tc filter on an interface, of any kind. */
struct Filter {
    std::string kind; // "bpf", "flower", …
    std::string name; // kind bpf: what its owner called it
    uint32_t programId = 0;
    uint32_t priority = 0;
    uint32_t handle = 0;
};

/**
 * RTM_GETTFILTER dump in the calling thread's network namespace; libbpf only asks for one filter at a time. An
 * interface without the qdisc, or that does not exist, has no filters. 0 or an errno.
 */
int DumpFilters(int ifindex, bool egress, std::vector<Filter> &filters);
