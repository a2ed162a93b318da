// SPDX-License-Identifier: MIT
#include "ring_reader.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <system_error>

#include "signal_block.h"

namespace
{

/** So that a busy producer cannot keep the JavaScript thread in one call. */
constexpr size_t kMostRecords = 1024;

} // namespace

RingReader::~RingReader()
{
    Stop();
}

int RingReader::Start(int mapFd, std::function<void()> ready)
{
    // libbpf keeps using the descriptor it is given.
    map_ = Descriptor::Duplicate(mapFd);
    stop_ = Descriptor(eventfd(0, EFD_CLOEXEC));
    epoll_ = Descriptor(epoll_create1(EPOLL_CLOEXEC));
    if (!map_.valid() || !stop_.valid() || !epoll_.valid())
        return errno;
    ring_ = ring_buffer__new(map_.get(), OnRecord, this, nullptr);
    if (!ring_)
        return errno;
    for (const int fd : {ring_buffer__epoll_fd(ring_), stop_.get()}) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = fd;
        if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event))
            return errno;
    }
    ready_ = std::move(ready);
    // The thread inherits this: signals are for Node's own threads.
    const SignalBlock block;
    int error = 0;
    try {
        thread_ = std::thread([this] { Wait(); });
    } catch (const std::system_error &failure) {
        error = failure.code().value();
    }
    return error;
}

void RingReader::Wait()
{
    while (true) {
        epoll_event event{};
        const int count = epoll_wait(epoll_.get(), &event, 1, -1);
        if (count < 0 && errno != EINTR)
            return;
        if (count < 1)
            continue;
        if (event.data.fd == stop_.get())
            return;
        std::unique_lock<std::mutex> lock(mutex_);
        if (stopping_)
            return;
        told_ = true;
        lock.unlock();
        ready_();
        lock.lock();
        drained_.wait(lock, [this] { return !told_ || stopping_; });
        if (stopping_)
            return;
    }
}

int RingReader::OnRecord(void *context, void *data, size_t size)
{
    auto *reader = static_cast<RingReader *>(context);
    const auto *bytes = static_cast<const uint8_t *>(data);
    try {
        reader->target_->emplace_back(bytes, bytes + size);
    } catch (const std::exception &) {
        return -ENOMEM; // libbpf's C frames are no place for an exception
    }
    // A negative answer ends the round after this record; what is left wakes the thread again.
    return reader->target_->size() >= kMostRecords ? -EAGAIN : 0;
}

int RingReader::Drain(Records &records)
{
    if (!ring_)
        return 0;
    target_ = &records;
    const int result = ring_buffer__consume(ring_);
    target_ = nullptr;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        told_ = false;
    }
    drained_.notify_one();
    return result < 0 && result != -EAGAIN ? -result : 0;
}

void RingReader::Stop()
{
    if (thread_.joinable()) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            stopping_ = true;
        }
        drained_.notify_one();
        const uint64_t one = 1;
        while (write(stop_.get(), &one, sizeof(one)) < 0 && errno == EINTR)
            continue;
        thread_.join();
    }
    ring_buffer__free(ring_);
    ring_ = nullptr;
    map_.Close();
    stop_.Close();
    epoll_.Close();
}
