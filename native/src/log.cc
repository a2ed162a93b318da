// SPDX-License-Identifier: MIT
#include "log.h"

#include <bpf/libbpf.h>

#include <cstdarg>
#include <cstdio>
#include <mutex>

namespace
{

constexpr size_t kMostBytes = 4u << 20;
thread_local std::string *sink = nullptr;

int Print(enum libbpf_print_level level, const char *format, va_list arguments)
{
    if (!sink || level == LIBBPF_DEBUG)
        return 0;
    va_list measured;
    va_copy(measured, arguments);
    const int length = vsnprintf(nullptr, 0, format, measured);
    va_end(measured);
    if (length <= 0)
        return 0;
    const size_t start = sink->size();
    sink->resize(start + static_cast<size_t>(length) + 1);
    vsnprintf(&(*sink)[start], static_cast<size_t>(length) + 1, format, arguments);
    sink->pop_back();
    // The reason for a refusal stands at the end.
    if (sink->size() > kMostBytes)
        sink->erase(0, sink->size() - kMostBytes);
    return 0;
}

} // namespace

LogCapture::LogCapture() : outer_(sink)
{
    static std::once_flag installed;
    std::call_once(installed, [] { libbpf_set_print(Print); });
    sink = &text_;
}

LogCapture::~LogCapture()
{
    sink = outer_;
}
