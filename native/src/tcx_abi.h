// SPDX-License-Identifier: MIT
// The kernel's tcx calls (6.6), which Debian 12's libbpf (1.1) and its headers do not know yet: bpf(2) by hand.
#pragma once
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tcx
{

constexpr uint32_t kIngress = 46;     // BPF_TCX_INGRESS
constexpr uint32_t kEgress = 47;      // BPF_TCX_EGRESS
constexpr uint32_t kBefore = 1u << 3; // BPF_F_BEFORE: with no relative, before all
constexpr uint32_t kAfter = 1u << 4;  // BPF_F_AFTER: with no relative, after all
constexpr uint32_t kLinkType = 11;    // BPF_LINK_TYPE_TCX

/** BPF_LINK_CREATE */
struct LinkCreate {
    uint32_t programFd;
    uint32_t ifindex;
    uint32_t attachType;
    uint32_t flags;
    uint32_t relative;
    uint32_t padding;
    uint64_t expectedRevision;
};
static_assert(offsetof(LinkCreate, expectedRevision) == 24);

/** BPF_PROG_QUERY, as it is since 6.6 */
struct ProgramQuery {
    uint32_t ifindex;
    uint32_t attachType;
    uint32_t queryFlags;
    uint32_t attachFlags;
    uint64_t programIds;
    uint32_t count;
    uint32_t padding;
    uint64_t programFlags;
    uint64_t linkIds;
    uint64_t linkFlags;
    uint64_t revision;
};
static_assert(offsetof(ProgramQuery, revision) == 56);

/** bpf_link_info, as far as all kinds share it and as tcx goes on */
struct LinkInfo {
    uint32_t type;
    uint32_t id;
    uint32_t programId;
    uint32_t padding;
    uint32_t ifindex;
    uint32_t attachType;
    uint8_t rest[128];
};

/** The result, or a negative errno. */
template <class Attributes> int Call(int command, Attributes &attributes)
{
    const long result = syscall(SYS_bpf, command, &attributes, sizeof(attributes));
    return result < 0 ? -errno : static_cast<int>(result);
}

/** The link's descriptor (close-on-exec: the kernel sees to it), or a negative errno. */
inline int Attach(int program, uint32_t ifindex, bool egress, bool first, uint64_t expectedRevision)
{
    LinkCreate attributes{};
    attributes.programFd = static_cast<uint32_t>(program);
    attributes.ifindex = ifindex;
    attributes.attachType = egress ? kEgress : kIngress;
    attributes.flags = first ? kBefore : kAfter;
    attributes.expectedRevision = expectedRevision;
    return Call(BPF_LINK_CREATE, attributes);
}

} // namespace tcx
