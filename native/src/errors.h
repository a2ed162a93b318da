// SPDX-License-Identifier: MIT
#pragma once
#include <napi.h>

#include <cstdint>
#include <optional>
#include <string>

#include "batch.h"

/** What went wrong, in plain data, so that it can be gathered on any thread. */
struct Failure {
    int error = 0; // positive errno; 0: nothing went wrong
    std::string operation;
    std::string subject;
    std::string log;
    std::optional<uint32_t> done;

    explicit operator bool() const
    {
        return error != 0;
    }
};

/** A BpfError. JavaScript thread only. */
Napi::Error ToError(Napi::Env env, const Failure &failure);

/** Throws a BpfError; `error` may be an errno of either sign. */
[[noreturn]] void Fail(Napi::Env env, int error, const std::string &operation, const std::string &subject = "",
                       const std::string &log = "");

/** BpfError with code EBADF: the owner closed it. */
[[noreturn]] void FailClosed(Napi::Env env, const std::string &operation, const std::string &subject);
