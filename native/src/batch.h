// SPDX-License-Identifier: MIT
#pragma once
#include <cerrno>

/** ENOTSUPP: the kernel's own "this map type cannot do that"; not in errno.h. */
constexpr int kNotSupported = 524;

/** What a kernel or a map type without a batch command answers (EINVAL: before 5.6). */
inline bool NoBatch(int error)
{
    return error == EINVAL || error == kNotSupported || error == EOPNOTSUPP;
}
