// SPDX-License-Identifier: MIT
#pragma once
#include <bpf/libbpf.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "descriptor.h"

/**
 * A ring buffer and the thread that waits on it. The thread only waits: it calls `ready` once and then rests until
 * Drain() was called, so records stay in the kernel's ring, which bounds them, until JavaScript takes them.
 */
class RingReader
{
  public:
    using Records = std::vector<std::vector<uint8_t>>;

    RingReader() = default;
    RingReader(const RingReader &) = delete;
    RingReader &operator=(const RingReader &) = delete;
    ~RingReader();

    /** 0 or an errno. The map's descriptor is not needed afterwards. `ready` is called on the waiting thread. */
    int Start(int mapFd, std::function<void()> ready);
    /** Takes what is there, some at a time, and lets the thread wait again. JavaScript thread. 0 or an errno. */
    int Drain(Records &records);
    /** Ends the thread and gives the ring back. May be called again. JavaScript thread. */
    void Stop();

  private:
    void Wait();
    static int OnRecord(void *context, void *data, size_t size);

    ring_buffer *ring_ = nullptr;
    Descriptor map_, stop_, epoll_;
    std::function<void()> ready_;
    std::thread thread_;
    std::mutex mutex_;
    std::condition_variable drained_;
    bool told_ = false;
    bool stopping_ = false;
    Records *target_ = nullptr;
};
