// SPDX-License-Identifier: MIT
#include "descriptor.h"

int CheckKind(int fd, const char *kind)
{
    char target[64];
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    const ssize_t length = readlink(path.c_str(), target, sizeof(target));
    if (length < 0)
        return errno;
    const std::string name(target, static_cast<size_t>(length));
    // Links are "bpf_link" in the kernel's sources, "bpf-link" in some versions.
    return name == std::string("anon_inode:bpf-") + kind || name == std::string("anon_inode:bpf_") + kind ? 0 : EINVAL;
}
