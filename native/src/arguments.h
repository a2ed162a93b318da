// SPDX-License-Identifier: MIT
// The border: every value that comes from JavaScript is checked here, once, before anything else sees it.
#pragma once
#include <napi.h>

#include <cstdint>
#include <string>

/** Borrowed from a Uint8Array; valid only until control goes back to JavaScript. */
struct Bytes {
    uint8_t *data = nullptr;
    size_t size = 0;
};

class Arguments
{
  public:
    Arguments(const Napi::CallbackInfo &info, const char *operation) : info_(info), operation_(operation)
    {
    }

    /** Each throws a TypeError (wrong kind) or RangeError (wrong size) that names operation and argument. */
    Bytes AnyBytes(size_t index, const char *name) const;
    Bytes ExactBytes(size_t index, const char *name, size_t size) const;
    uint32_t U32(size_t index, const char *name, uint32_t least = 0, uint32_t most = UINT32_MAX) const;
    uint64_t U64(size_t index, const char *name) const;
    bool Flag(size_t index, const char *name) const;
    /** Not empty; without NUL, which would silently cut a path or a name for the kernel. */
    std::string Text(size_t index, const char *name) const;
    Napi::Function Callback(size_t index, const char *name) const;
    /** "ingress" or "egress"; true for egress. */
    bool Egress(size_t index) const;

    bool Has(size_t index) const
    {
        return index < info_.Length() && !info_[index].IsUndefined();
    }
    [[noreturn]] void WrongType(const char *name, const char *wanted) const;
    [[noreturn]] void WrongRange(const char *name, const std::string &wanted) const;

  private:
    const Napi::CallbackInfo &info_;
    const char *operation_;
};
