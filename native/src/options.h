// SPDX-License-Identifier: MIT
#pragma once
#include <cstring>

/** A libbpf options struct with its size set and every padding byte zero, which libbpf checks. */
template <class T> T Options()
{
    T options;
    memset(&options, 0, sizeof(options));
    options.sz = sizeof(options);
    return options;
}
