// SPDX-License-Identifier: MIT
#include "filters.h"

#include <linux/netlink.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>

#include "descriptor.h"

namespace
{

constexpr int kTries = 8;
constexpr int kInterrupted = -1;

/** Calls `visit` for every attribute that lies wholly within the bytes. */
template <class Visit> void ForEachAttribute(const uint8_t *bytes, size_t size, Visit visit)
{
    while (size >= sizeof(rtattr)) {
        rtattr head;
        memcpy(&head, bytes, sizeof(head));
        if (head.rta_len < sizeof(head) || head.rta_len > size)
            return;
        visit(head.rta_type & NLA_TYPE_MASK, bytes + RTA_LENGTH(0), head.rta_len - RTA_LENGTH(0));
        const size_t step = RTA_ALIGN(head.rta_len);
        if (step >= size)
            return;
        bytes += step;
        size -= step;
    }
}

std::string ToText(const uint8_t *bytes, size_t size)
{
    return std::string(reinterpret_cast<const char *>(bytes), strnlen(reinterpret_cast<const char *>(bytes), size));
}

/** False for the header that each priority has beside its filters: it has no handle. */
bool Parse(const nlmsghdr *message, int ifindex, Filter &filter)
{
    if (message->nlmsg_type != RTM_NEWTFILTER || message->nlmsg_len < NLMSG_LENGTH(sizeof(tcmsg)))
        return false;
    tcmsg head;
    memcpy(&head, NLMSG_DATA(message), sizeof(head));
    if (head.tcm_ifindex != ifindex || head.tcm_handle == 0)
        return false;
    filter.priority = head.tcm_info >> 16;
    filter.handle = head.tcm_handle;
    const auto *attributes = reinterpret_cast<const uint8_t *>(message) + NLMSG_LENGTH(NLMSG_ALIGN(sizeof(tcmsg)));
    const uint8_t *options = nullptr;
    size_t optionsSize = 0;
    ForEachAttribute(attributes, message->nlmsg_len - NLMSG_LENGTH(NLMSG_ALIGN(sizeof(tcmsg))),
                     [&](int type, const uint8_t *bytes, size_t size) {
                         if (type == TCA_KIND)
                             filter.kind = ToText(bytes, size);
                         if (type == TCA_OPTIONS)
                             options = bytes, optionsSize = size;
                     });
    if (filter.kind != "bpf" || !options)
        return true;
    ForEachAttribute(options, optionsSize, [&](int type, const uint8_t *bytes, size_t size) {
        if (type == TCA_BPF_NAME)
            filter.name = ToText(bytes, size);
        if (type == TCA_BPF_ID && size >= sizeof(uint32_t))
            memcpy(&filter.programId, bytes, sizeof(uint32_t));
    });
    return true;
}

/** 0 when complete, kInterrupted when the list changed meanwhile, else an errno. */
int Receive(int fd, int ifindex, std::vector<Filter> &filters)
{
    alignas(nlmsghdr) static thread_local uint8_t buffer[65536];
    bool interrupted = false;
    while (true) {
        const ssize_t received = recv(fd, buffer, sizeof(buffer), 0);
        if (received < 0 && errno == EINTR)
            continue;
        if (received < 0)
            return errno;
        if (received == 0)
            return EPIPE;
        auto left = static_cast<uint32_t>(received);
        for (auto *message = reinterpret_cast<nlmsghdr *>(buffer); NLMSG_OK(message, left);
             message = NLMSG_NEXT(message, left)) {
            if (message->nlmsg_flags & NLM_F_DUMP_INTR)
                interrupted = true;
            if (message->nlmsg_type == NLMSG_DONE)
                return interrupted ? kInterrupted : 0;
            if (message->nlmsg_type == NLMSG_ERROR)
                return -static_cast<nlmsgerr *>(NLMSG_DATA(message))->error;
            Filter filter;
            if (Parse(message, ifindex, filter))
                filters.push_back(std::move(filter));
        }
    }
}

int DumpOnce(int fd, int ifindex, bool egress, std::vector<Filter> &filters)
{
    struct {
        nlmsghdr header;
        tcmsg body;
    } request{};
    request.header.nlmsg_len = sizeof(request);
    request.header.nlmsg_type = RTM_GETTFILTER;
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.body.tcm_family = AF_UNSPEC;
    request.body.tcm_ifindex = ifindex;
    request.body.tcm_parent = TC_H_MAKE(TC_H_CLSACT, egress ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS);
    filters.clear();
    if (send(fd, &request, sizeof(request), 0) < 0)
        return errno;
    return Receive(fd, ifindex, filters);
}

} // namespace

int DumpFilters(int ifindex, bool egress, std::vector<Filter> &filters)
{
    const Descriptor fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!fd.valid())
        return errno;
    const timeval patience{5, 0};
    if (setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)))
        return errno;
    for (int attempt = 0; attempt < kTries; attempt++) {
        const int result = DumpOnce(fd.get(), ifindex, egress, filters);
        if (result != kInterrupted)
            return result;
    }
    return EAGAIN;
}
