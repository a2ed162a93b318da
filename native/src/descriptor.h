// SPDX-License-Identifier: MIT
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

/** A file descriptor with one owner. Closes itself. */
class Descriptor
{
  public:
    Descriptor() = default;
    explicit Descriptor(int fd) : fd_(fd)
    {
    }
    Descriptor(Descriptor &&other) noexcept : fd_(std::exchange(other.fd_, -1))
    {
    }
    Descriptor &operator=(Descriptor &&other) noexcept
    {
        if (this != &other) {
            Close();
            fd_ = std::exchange(other.fd_, -1);
        }
        return *this;
    }
    Descriptor(const Descriptor &) = delete;
    Descriptor &operator=(const Descriptor &) = delete;
    ~Descriptor()
    {
        Close();
    }

    /** Close-on-exec; not valid (errno is set) when the process has no descriptor left. */
    static Descriptor Duplicate(int fd)
    {
        return Descriptor(fcntl(fd, F_DUPFD_CLOEXEC, 3));
    }

    int get() const
    {
        return fd_;
    }
    bool valid() const
    {
        return fd_ >= 0;
    }
    void Close()
    {
        if (fd_ >= 0)
            close(std::exchange(fd_, -1));
    }

  private:
    int fd_ = -1;
};

/**
 * 0 when `fd` is a BPF object of this kind ("map", "prog", "link"), else EINVAL. A pinned path or an id can be of any
 * kind, and BPF_OBJ_GET_INFO_BY_FD would fill the wrong structure without complaint.
 */
int CheckKind(int fd, const char *kind);
